"""Samplers that fill a sequence place by place ask a causal network for one place a round, and keep what it needs of others.

A loop qualifies where it carries a sequence of which round i puts place i, and reads of what networks make of that sequence
place i alone, which must not know of itself. Everything else stays as it was, and so does a loop that does not qualify: it
computes the same, in longer time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from specc.ir.liveness import live
from specc.ir.ops import Op
from specc.ir.program import Block, Builder, Function, Ids, Node, Program, Value, walk
from specc.ir.rewrite import Subst, ids_after, substitute_node
from specc.ir.types import EXAMPLE, size
from specc.passes.incremental.control import here, put
from specc.passes.incremental.derive import Derivation, follow, makers
from specc.passes.incremental.fixed import taken
from specc.passes.incremental.places import ROUND, Along, Known, Stop
from specc.passes.incremental.steps import Cache, Frame, Steps

ROLES = ("sampler", "query")


def decode(program: Program, stacked: bool = False) -> Program:
    """The program with caches in its samplers and queries, unless it wants none. stacked: see `Frame`."""
    return Decoder(program, stacked).run() if program.cache else program


def decode_for_readers(program: Program) -> Program:
    return decode(program, stacked=True)


@dataclass(slots=True)
class Decoder:
    """Rewrites the loops of a program; `stops` says, by the entry, what kept some as they were."""

    program: Program
    stacked: bool
    stops: dict[str, list[Stop]] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)  # the entries with a loop that got caches
    made: dict[str, Function] = field(default_factory=dict)

    def run(self) -> Program:
        ids = ids_after(self.program)
        changed: dict[str, Function] = {}
        for entry in self.program.entries.values():
            if entry.role in ROLES:
                function, before = self.program.functions[entry.function], len(self.made)
                block = self.block(function, function.block, ids, self.stops.setdefault(entry.name, []))
                changed[entry.function] = replace(function, block=block)
                self.kept |= {entry.name} if len(self.made) > before else set()
        if not self.made:
            return self.program
        return replace(self.program, functions={**self.program.functions, **self.made, **changed})

    def block(self, function: Function, block: Block, ids: Ids, stops: list[Stop]) -> Block:
        nodes: list[Node] = []
        for node in block.nodes:
            regions = tuple(self.block(function, r, ids, stops) for r in node.regions)
            node = replace(node, regions=regions) if regions else node
            nodes += self.loop(function, node, ids, stops) if node.op is Op.FOR else [node]
        return replace(block, nodes=tuple(nodes))

    def loop(self, function: Function, node: Node, ids: Ids, stops: list[Stop]) -> list[Node]:
        """The loop with caches, and the empty caches before it; or the loop alone."""
        filled = list(_filled(function, node))
        sizes = {size((v.type.shape[axis],)) for axis, v in filled}
        if len(sizes) != 1:
            return [node]
        derivation = Derivation(self.program, Frame(1, sizes.pop(), self.stacked), ids, taken=set(self.made))
        turn = Round(function, node, derivation, filled)
        turn.run()
        stops += turn.stops
        body = turn.body()
        call = turn.whole(body)
        if call is not None and not turn.stops:
            help = "read of it the place of the round alone"
            stops.append(Stop(call, "a round reads more of its answer than the place of the round", help))
        if call is not None or not derivation.functions:
            return [node]
        self.made.update(derivation.functions)
        return _with_caches(node, body, turn.s.caches, ids)


def _filled(function: Function, node: Node) -> Iterator[tuple[int, Value]]:
    """The carried sequences whose place i round i puts, with the axis of their places."""
    (body,) = node.regions
    made = makers(function)
    index, *params = body.params
    for param, result in zip(params, body.results, strict=True):
        found = put(made, result, param, index)
        if found is not None and EXAMPLE in param.type.axes:
            yield found[0], param


class Round:
    """One round of a loop: the nodes of its body, and beside them what they say of the place at hand."""

    def __init__(self, function: Function, node: Node, derivation: Derivation, filled: list[tuple[int, Value]]) -> None:
        (self.block,) = node.regions
        self.index, *params = self.block.params
        builder = Builder(derivation.ids, params=list(self.block.params))
        place = builder.add(Op.SPREAD, self.index, filled[0][1])
        self.s = Steps(builder, derivation.frame, place, derivation.step, makers(function))
        self.functions = derivation.program.functions
        self.subst: Subst = {}
        self.stops: list[Stop] = []
        self.s.made.update({v.id: Known(ROUND, v) for v in (self.index, *params)})
        for axis, sequence in filled:
            last = self.s.calc.op(Op.SUB, self.index, self.s.whole(1))
            before = self.s.calc.op(Op.MAX, last, self.s.whole(0))  # the first round looks at no place
            self.s.made[sequence.id] = Known(Along(axis=axis), taken(self.s.calc, sequence, axis, before))

    def run(self) -> None:
        for node in self.block.nodes:
            if not self.answer(node):
                made = self.s.builder.push(substitute_node(node, self.subst))
                self.subst.update(zip((v.id for v in node.outputs), made, strict=True))
                follow(self.s, node, self.functions, lambda n, _: tuple(self.subst[v.id] for v in n.outputs))

    def answer(self, node: Node) -> bool:
        """Whether a node reads, of what lies along the places, the place of the round; then it is computed for that."""
        if node.op is not Op.TAKE or node.inputs[1] is not self.index:
            return False
        try:
            if not self.s.along(node.inputs[0]).timed:
                return False
            value = here(self.s, node, self.index, 0)
        except Stop as stop:
            self.stops.append(stop)
            return False
        value = self.s.builder.name(value, node.out.name) if node.out.name else value
        self.subst[node.out.id] = value
        self.s.made[node.out.id] = Known(ROUND, value)
        return True

    def body(self) -> Block:
        results = tuple(self.subst.get(v.id, v) for v in self.block.results)
        whole = self.s.builder.block(*results, *(c.after for c in self.s.caches))
        return live(replace(whole, params=(*whole.params, *(c.before for c in self.s.caches))))

    def whole(self, body: Block) -> Node | None:
        """A call that still asks a network for all places."""
        kept = {v.id for n in walk(body) for v in n.outputs}
        calls = (n for n in self.block.nodes if n.op in (Op.CALL, Op.REPEAT) and n.get("bundle") is not None)
        found = (n for n in calls if self.sees_all(n) and not kept.isdisjoint(self.subst[v.id].id for v in n.outputs))
        return next(found, None)

    def sees_all(self, node: Node) -> bool:
        found = [self.s.made.get(v.id) for v in node.inputs]
        return any(k is not None and (k.along.timed or k.stop is not None) for k in found)


def _with_caches(node: Node, body: Block, caches: list[Cache], ids: Ids) -> list[Node]:
    """The loop that carries caches as well, which begin as zeros; one that grows begins with no place."""
    builder = Builder(ids)
    like = next(v for v in node.inputs[1:] if EXAMPLE in v.type.axes)
    starts = []
    for cache in caches:
        type = cache.before.type
        zero = builder.add(Op.CONST, value=0, shape=type.shape, dtype=type.dtype.value)
        starts.append(builder.add(Op.SPREAD, zero, like, name=cache.before.name))
    outputs = tuple(Value(ids.fresh(), c.before.type, c.before.name) for c in caches)
    whole = replace(node, inputs=(*node.inputs, *starts), outputs=(*node.outputs, *outputs), regions=(body,))
    return [*builder.nodes, whole]
