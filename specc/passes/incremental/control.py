"""Rules of calls and of loops over the places of a sequence."""

from __future__ import annotations

from collections.abc import Mapping

from specc.ir.ops import Op
from specc.ir.program import Node, Value
from specc.ir.rewrite import captured
from specc.ir.splice import turns
from specc.ir.types import GROWING, Shape, size
from specc.passes.incremental.fixed import kept, one, taken
from specc.passes.incremental.places import Along, Known, Stop, joined, timely
from specc.passes.incremental.steps import Cache, Step, Steps, resized

# Calls -----------------------------------------------------------------------------------------------------------------


def call(s: Steps, node: Node) -> None:
    """The step of what is called, over the same parameters."""
    step = s.derive(node["function"], tuple(map(s.known, node.inputs)))
    held = [s.cache(c.type, c.name) for c in step.caches]
    results = called(s, node, step, [s.form(v) for v in node.inputs], [c.before for c in held], node.get("bundle"))
    for cache, after in zip(held, results[len(step.along) :], strict=True):
        s.keep(cache, after)
    _given(s, node, step, results)


def called(s: Steps, node: Node, step: Step, args: list[Value], caches: list[Value], bundle: str | None) -> tuple[Value, ...]:
    """Append the call of a step; the values of its results, caches last."""
    index = [s.index] if step.counts else []
    types = (*(k.value.type for k in step.along if k.value is not None), *(c.type for c in step.caches))
    return s.builder.add_many(
        Op.CALL, *args, *index, *caches, function=step.function, bundle=bundle, lanes=1, types=types, span=node.span
    )


def _given(s: Steps, node: Node, step: Step, results: tuple[Value, ...]) -> None:
    for old, known, new in zip(node.outputs, step.along, results, strict=False):
        named = s.builder.name(new, old.name) if old.name else new
        s.made[old.id] = Known(known.along, named)


def repeat(s: Steps, node: Node) -> None:
    """Turn by turn, each with caches of its own; or, for a reader, where all turns are alike, as a loop over parts of them."""
    carried = node["carried"]
    known = [s.known(v) for v in node.inputs]
    steps: list[Step] = []
    for _ in turns(node):
        steps.append(s.derive(node["function"], tuple(known)))
        known[:carried] = steps[-1].along
    args = [s.form(v) for v in node.inputs]
    if s.stacked and len({t.function for t in steps}) == 1 and all(set(c.type.shape) - {GROWING} for c in steps[0].caches):
        _together(s, node, steps[0], args)
        return
    for turn, step in zip(turns(node), steps, strict=True):
        held = [s.cache(c.type, c.name) for c in step.caches]
        results = called(s, node, step, args, [c.before for c in held], f"{node['bundle']}.{turn}")
        args[:carried] = results[:carried]
        for cache, value in zip(held, results[carried:], strict=True):
            s.keep(cache, value)
    _given(s, node, steps[-1], tuple(args[:carried]))


def _together(s: Steps, node: Node, step: Step, args: list[Value]) -> None:
    """One REPEAT; the caches of its turns lie one behind another, along an axis that does not grow."""
    carried, count = node["carried"], node["count"]
    cut = tuple(next(i for i, d in enumerate(c.type.shape) if d != GROWING) for c in step.caches)
    wide = (resized(c.type, a, count * size((c.type.shape[a],))) for c, a in zip(step.caches, cut, strict=True))
    held = [s.cache(t, c.name) for t, c in zip(wide, step.caches, strict=True)]
    given = [*args, *([s.index] if step.counts else []), *(c.before for c in held)]
    attrs = {**dict(node.attrs), "function": step.function} | ({"cut": cut} if cut else {})
    results = s.builder.add_many(Op.REPEAT, *given, span=node.span, **attrs)
    for cache, value in zip(held, results[carried:], strict=True):
        s.keep(cache, value)
    _given(s, node, step, results[:carried])


# Loops -----------------------------------------------------------------------------------------------------------------


def recurrence(s: Steps, node: Node) -> None:
    """A loop whose rounds are the places: it reads what lies along them at its own round alone, and may fill a sequence. Its
    state goes on from step to step; what it is after the last place is not known before."""
    body = Body(s, node)
    for inner in node.regions[0].nodes:
        body.follow(inner)
    body.close()


class Body:
    """The round of a loop that belongs to the place at hand."""

    def __init__(self, s: Steps, node: Node) -> None:
        self.s, self.node = s, node
        self.index, *self.params = node.regions[0].params
        self.results = node.regions[0].results
        lies = [a for a in (s.along(v) for v in captured(node)) if a.timed]
        self.along = joined([*lies, *map(s.along, (*node.inputs, *captured(node)))])
        s.still(node, self.along)
        if any(s.along(v).timed for v in node.inputs):
            raise Stop(node, "it begins with all places", "begin it with a value of no place")
        self.offset = s.offset(self.along)
        self.place = s.place(self.offset)
        puts = {k: put(s.makers, r, p, self.index) for k, (r, p) in enumerate(zip(self.results, self.params, strict=True))}
        self.puts = {k: found for k, found in puts.items() if found is not None}
        self.filled = {self.params[k].id for k in self.puts}
        self.last = {self.results[k].id for k in self.puts}
        self.subst: dict[int, Value] = {self.index.id: self.place}
        self.states: dict[int, Cache] = {}
        for k, (param, start) in enumerate(zip(self.params, node.inputs[1:], strict=True)):
            if k not in self.puts:
                self.states[k] = s.cache(start.type, param.name)
                begun = s.calc.op(Op.LT, s.whole(0), self.place)
                self.subst[param.id] = s.calc.op(Op.WHERE, begun, self.states[k].before, s.form(start))

    def value(self, node: Node, value: Value) -> Value:
        if value.id in self.subst:
            return self.subst[value.id]
        if value.id in self.filled or self.s.along(value).timed:
            raise Stop(node, "a round reads other places than its own", "carry what it needs of them as a state")
        return self.s.form(value)

    def follow(self, node: Node) -> None:
        s, x = self.s, node.inputs[0] if node.inputs else None
        if any(v.id in self.last for v in node.outputs):
            return
        if node.op is Op.TAKE and x is not None and x.id not in self.subst and s.along(x).timed:
            self.subst[node.out.id] = here(s, node, self.index, self.offset)
            return
        if node.regions:
            raise Stop(node, "a loop in a loop over places is not followed", "put it into a network of its own")
        inputs = tuple(self.value(node, v) for v in node.inputs)
        changed = any(a.type != b.type for a, b in zip(inputs, node.inputs, strict=True))
        if node.op is Op.CALL and changed:
            raise Stop(node, "what it calls is given the number of the round", "use that outside of the function")
        listed = tuple(v.type for v in node.outputs) if node.op in LISTED else None
        made = s.builder.add_many(node.op, *inputs, types=listed, span=node.span, **dict(node.attrs))
        self.subst.update({v.id: m for v, m in zip(node.outputs, made, strict=True)})

    def close(self) -> None:
        for k, (out, result) in enumerate(zip(self.node.outputs, self.results, strict=True)):
            if k in self.states:
                self.s.keep(self.states[k], self.value(self.node, result))
                stop = Stop(self.node, "its last state is known after all places alone", "give the states of all places")
                self.s.made[out.id] = Known(Along(), stop=stop)
            else:
                axis, value = self.puts[k]
                form = entry(self.s, self.value(self.node, value), out.type.shape, axis, self.place)
                self.s.made[out.id] = Known(self.along.at(axis), form)


LISTED = {Op.CALL, Op.REPEAT, Op.EXTERN}


def here(s: Steps, node: Node, index: Value, offset: int) -> Value:
    """x[i] where x lies along the places and i is the round: its form for the place, without that axis."""
    x, where = node.inputs
    along = s.along(x)
    if where is not index or along.axis != node["axis"] % x.type.rank or along.column is not None:
        raise Stop(node, "a round reads other places than its own", "carry what it needs of them as a state")
    timely(node, along, s.ahead - offset)
    return s.calc.op(Op.RESHAPE, s.at(node, x, offset), shape=node.out.type.shape)


def entry(s: Steps, value: Value, shape: Shape, axis: int, place: Value) -> Value:
    """What is put at a place, as an entry of size 1 of a sequence of this shape."""
    missing = len(shape) - value.type.rank
    if axis >= missing and value.type.shape[axis - missing] != 1:
        value = taken(s.calc, value, axis - missing, place)
    if missing:
        value = s.calc.op(Op.RESHAPE, value, shape=(*(1,) * missing, *value.type.shape))
    wanted = one(shape, axis)
    return value if value.type.shape == wanted else s.calc.op(Op.EXPAND, value, shape=wanted)


def put(makers: Mapping[int, Node], result: Value, param: Value, index: Value) -> tuple[int, Value] | None:
    """The axis and the value of `put(sequence, i, value)` for the round i, where a result is that: one place of what is
    carried is replaced, and the others stay."""
    node = makers.get(result.id)
    if node is None or node.op is not Op.WHERE or node.inputs[2] is not param:
        return None
    mask, value, _ = node.inputs
    chain: list[Node] = []
    made = makers.get(mask.id)
    while made is not None and made.op in (Op.RESHAPE, Op.EXPAND):
        chain.insert(0, made)
        made = makers.get(made.inputs[0].id)
    if made is None or made.op is not Op.EQ or index not in made.inputs:
        return None
    count = makers.get(next(v for v in made.inputs if v is not index).id)
    if count is None or count.op is not Op.IOTA or made.out.type.rank != 1:
        return None
    axis: int | None = 0
    for step in chain:
        if step.op is Op.RESHAPE and axis is not None:
            axis = kept(axis, step.inputs[0].type.shape, step["shape"])
    if axis is None:
        return None
    unexpanded = makers.get(value.id)
    if unexpanded is not None and unexpanded.op is Op.EXPAND:
        value = unexpanded.inputs[0]
    return axis + param.type.rank - mask.type.rank, value
