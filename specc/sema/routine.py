"""What a loss does in a step of training: its `minimize` and `update` statements, and the blocks around them.

A loss is walked once to list them, and then once for each entry that they make. A `minimize` makes one, together with the
updates of states right before it, which see the same draws; other updates make entries of their own, on current parameters.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from specc.ir.ops import Op
from specc.ir.program import Builder, Function, Step, Value, walk
from specc.ir.types import BOOL, FLOAT, INT
from specc.record import record
from specc.sema import held, views
from specc.sema.arithmetic import add, binary, describe, lift, shown, where
from specc.sema.evaluate import Evaluator
from specc.sema.frame import Around, EntryState, Event, Frame, ObjectiveDone, Walk
from specc.sema.report import fail
from specc.sema.values import Bound, Captures, Closure, Env, Held, Lazy, Network, ParameterSet, Partial
from specc.source import Span
from specc.syntax import tree
from specc.syntax.tree import names_in

MOST_ROUNDS = 10_000
Runs = Callable[[Evaluator, Iterable[tree.Statement], Env, Frame], Any]


# Statements


def minimize(ev: Evaluator, item: tree.Minimize, env: Env, frame: Frame) -> None:
    """`minimize e over G every 2 when step > 100`"""
    at = _walk(frame, item.span, "minimize")
    this = _count(at)
    if not at.wanted:
        over = tuple(p for c in item.clauses if c.word == "over" for e in c.values for p in parameters(ev, e, env, frame))
        at.events.append(Event(sort="minimize", span=item.span, around=tuple(at.around), over=over, **_schedule(ev, item, env)))
    if this not in at.wanted:
        return
    value = ev.expr(item.value, env, frame)
    if not isinstance(value, Value):
        fail("E0502", item.value.span, "this objective is a constant: its gradient is zero")
    if value.type.shape:
        message = f"an objective is one number per example, this one has shape {shown(value.type.shape)}"
        fail("E0301", item.value.span, message, help="say `mean(...)` or `sum(...)`")
    assert frame.entry is not None
    frame.entry.bindings["minimize"] = value
    raise ObjectiveDone


def update(ev: Evaluator, item: tree.Update, env: Env, frame: Frame) -> None:
    """`update a = e` of a state, or `update D = clip(D, -c, c)` of each parameter of a set."""
    at = _walk(frame, item.span, "update")
    this = _count(at)
    if at.wanted and this not in at.wanted:
        return
    target = _among_sections(ev, item.target, env, frame)
    state = isinstance(target, Held) and not target.trainable
    if not at.wanted:
        if not state and any(a.word == "together" for a in at.around):
            fail("E0202", item.span, "parameters are not updated between gradients that are taken together")
        made: dict[str, Any] = _schedule(ev, item, env)
        over = (target.path,) if isinstance(target, Held) and state else _paths(ev, target, item.target.span)
        if not state:
            made |= _map(ev, item, over, env, frame)
        sort = "state" if state else "map"
        at.events.append(Event(sort=sort, span=item.span, around=tuple(at.around), over=over, **made))
        return
    assert isinstance(target, Held)
    new = _new(ev, item, target, env, frame)
    if at.joined:
        new = _when_due(ev, item, new, ev.held(target, frame), env, frame)
    _write(at, this, target.path, new, frame, item.span)


def written(ev: Evaluator, state: Held, new: Callable[[], Value], frame: Frame, span: Span) -> None:
    """An update of a state that a function makes, such as `pool.write(v)`."""
    at = _walk(frame, span, f"{state.path}.write")
    this = _count(at)
    if not at.wanted:
        at.events.append(Event(sort="state", span=span, around=tuple(at.around), over=(state.path,)))
    elif this in at.wanted:
        _write(at, this, state.path, new(), frame, span)


def _write(at: Walk, this: int, path: str, new: Value, frame: Frame, span: Span) -> None:
    assert frame.entry is not None
    if frame.builder is not frame.entry.builder:
        fail("E0504", span, f"`{path}` changes once in a step, and this is inside a loop", help="let the loop end before")
    at.states[path] = add(frame, span, Op.STOP, new)
    if this == at.wanted[-1]:
        raise ObjectiveDone


def repeats(item: tree.For, frame: Frame) -> bool:
    """Whether a loop repeats objectives, each time with a fresh batch, and not a computation."""
    entry = frame.entry
    return not item.static and entry is not None and entry.role == "objective" and trains(item)


def rounds(ev: Evaluator, item: tree.For, env: Env, frame: Frame, run: Runs) -> None:
    """`for k in 1..5 { minimize ... }`"""
    turns = ev.expr(item.iterable, env, frame)
    if not isinstance(turns, range) or not 1 <= len(turns) <= MOST_ROUNDS:
        help = "as in `for k in 1..5 { minimize ... over D }`"
        fail("E0305", item.iterable.span, f"objectives are repeated a known number of times, at most {MOST_ROUNDS}", help=help)
    _inside(ev, Around("for", id(item), len(turns)), item.body, env.child(), frame, run)


def together(ev: Evaluator, item: tree.Section, env: Env, frame: Frame, run: Runs) -> None:
    """`together { minimize a over D; minimize b over G }`: both gradients before either player moves."""
    at = _walk(frame, item.span, "together")
    if any(a.word == "together" for a in at.around):
        fail("E0202", item.span, "`together` inside `together` says nothing new", help="leave the inner one out")
    body = item.body or tree.Block(span=item.span, items=())
    for inner in body.items:
        if isinstance(inner, tree.For) and trains(inner):
            fail("E0202", inner.span, "objectives that are repeated are not taken together", help="let the `for` stand around")
        if isinstance(inner, tree.Minimize) and any(c.word != "over" for c in inner.clauses):
            fail("E0204", inner.span, "objectives that are taken together are all due in every step")
    if not body.items or not isinstance(body.items[-1], tree.Minimize):
        fail("E0209", item.span, "`together` ends with the last of its objectives", help="let updates stand before or after it")
    _inside(ev, Around("together", id(item)), body, env, frame, run)


def _inside(ev: Evaluator, around: Around, body: tree.Block, env: Env, frame: Frame, run: Runs) -> None:
    assert frame.entry is not None
    at = frame.entry.walk
    at.around.append(around)
    run(ev, body.items, env, frame)
    at.around.pop()


def trains(node: Any) -> bool:
    """Whether a statement has a `minimize` or an `update` inside."""
    match node:
        case tree.Minimize() | tree.Update():
            return True
        case tuple():
            return any(map(trains, node))
        case tree.Node():
            return any(trains(getattr(node, f.name)) for f in dataclasses.fields(node) if f.name != "span")
        case _:
            return False


def _walk(frame: Frame, span: Span, what: str) -> Walk:
    if frame.entry is None or frame.entry.role != "objective" or frame.kind != "entry":
        fail("E0504", span, f"`{what}` belongs in a loss", help="write it in `loss NAME { ... }`")
    return frame.entry.walk


def _count(at: Walk) -> int:
    this, at.seen = at.seen, at.seen + 1
    return this


# Sets of parameters


def parameters(ev: Evaluator, node: tree.Expr, env: Env, frame: Frame) -> tuple[str, ...]:
    """`G`, `[G, w]`, `G["*.bias"]`, or a function, which stands for what it and the functions that it calls name."""
    return _paths(ev, _among_sections(ev, node, env, frame), node.span)


def _among_sections(ev: Evaluator, node: tree.Expr, env: Env, frame: Frame) -> Any:
    """What an expression means where parameters stand for themselves and not for their values."""
    return ev.expr(node, env, Frame(builder=frame.builder, kind="model", span=frame.span))


def _paths(ev: Evaluator, target: Any, span: Span) -> tuple[str, ...]:
    match target:
        case Network():
            return (target.bundle,)
        case ParameterSet():
            return target.patterns
        case Bound(value=Network()):
            return (views.place(target.view.bundles, target.value.bundle)[0],)
        case Held() if target.trainable:
            return (target.path,)
        case Held():
            label = ((target.span, "a state"),)
            fail("E0501", span, f"`{target.path}` is a state: updates change it, not gradients", labels=label)
        case list() | tuple() if target:
            return tuple(dict.fromkeys(p for t in target for p in _paths(ev, t, span)))
        case Closure():
            if found := list(_behind(target, set())):
                return _paths(ev, found, span)
        case _:
            pass
    help = 'name a network or a parameter: `minimize ... over G`, `over [D, w]`, `over G["*.bias"]`'
    return fail("E0304", span, "a set of parameters is a network of this model, or a part of one", help=help)


def _behind(value: Any, seen: set[int]) -> Iterator[Network | Held]:
    """The networks and trainable parameters that a function names, and those that stand behind the functions it calls."""
    match value:
        case Network() | Held(trainable=True):
            yield value
        case Closure(body=body, env=env, params=params):
            inside: Any = body
        case Lazy(value=inside, env=env):
            params = ()
        case Partial(definition=definition, env=Env() as env) if definition.kind == "function":
            inside, params = definition.body, definition.params
        case _:
            return
    if isinstance(value, (Network, Held)) or id(inside) in seen:
        return
    seen.add(id(inside))
    own = {p.name for p in params}
    for name in names_in(inside):
        if name.id not in own:
            yield from _behind(env.find(name.id)[1], seen)


def player(over: tuple[str, ...]) -> str:
    """A name for what trains these parameters."""
    return "_".join(re.sub(r"\W+", "_", p).strip("_") for p in over if not p.startswith("!"))


# Updates


def _new(ev: Evaluator, item: tree.Update, state: Held, env: Env, frame: Frame) -> Value:
    value = lift(ev.expr(item.value, env, frame), frame, item.value.span, state.type.dtype)
    return held.fitting(value, state, item.value.span)


def _map(ev: Evaluator, item: tree.Update, over: tuple[str, ...], env: Env, frame: Frame) -> dict[str, Any]:
    """The function of numbers that each parameter goes through, and the other sets that it reads."""
    inner = Frame(builder=Builder(ev.ids), kind="function", floor=max(ev.ids.last, 1), span=item.span)
    scope, sets = env.child(), dict[tuple[str, ...], Value]()

    def number(paths: tuple[str, ...]) -> Value:
        if paths not in sets:
            sets[paths] = inner.builder.param(FLOAT, player(paths))
        return sets[paths]

    def read(node: Any) -> Any:
        """The expression with a number in the place of each set."""
        if isinstance(node, (tree.Name, tree.Index)):
            base = node.value if isinstance(node, tree.Index) else node
            found = env.find(base.id)[1] if isinstance(base, tree.Name) else None
            if isinstance(found, (Network, ParameterSet)) or (isinstance(found, Held) and found.trainable):
                name = f"{node.span.text} of the set"
                scope.names[name] = number(parameters(ev, node, env, frame))
                return tree.Name(span=node.span, id=name)
        if isinstance(node, tree.Node):
            return dataclasses.replace(node, **{f.name: read(getattr(node, f.name)) for f in dataclasses.fields(node)})
        return tuple(map(read, node)) if isinstance(node, tuple) else node

    number(over)
    try:
        value = lift(ev.expr(read(item.value), scope, inner), inner, item.value.span)
    except Captures:
        value = None
    if value is None or value.type != FLOAT:
        message = "each parameter of a set goes through a function of numbers that are known while compiling"
        fail("E0504", item.value.span, message, help="as in `update D = clip(D, -0.01, 0.01)`")
    beside = [p for p in sets if p != over]
    if beside and any(len(p) > 1 or "." in p[0] for p in (over, *beside)):
        fail("E0504", item.value.span, "sets that are read together are whole networks", help="as in `update T = (T + D) / 2`")
    name = ev.unique(f"update_{player(over)}")
    text = " ".join(item.span.text.split())
    ev.functions[name] = Function(
        name=name, kind="function", block=inner.builder.block(value), doc=f"{text}: each parameter", span=item.span
    )
    return {"maps": name, "beside": tuple(p[0] for p in beside)}


# When


def _schedule(ev: Evaluator, item: tree.Minimize | tree.Update, env: Env) -> dict[str, Any]:
    """`every n` and `when c`."""
    out: dict[str, Any] = {}
    for clause in item.clauses:
        if clause.word not in ("over", "every", "when") or (clause.word == "over" and isinstance(item, tree.Update)):
            known = "`every` and `when`" if isinstance(item, tree.Update) else "`over`, `every` and `when`"
            fail("E0204", clause.span, f"this has no clause `{clause.word}`", help=f"its clauses are {known}")
        if clause.word == "every":
            out["every"] = _period(ev, clause.values[0], env)
        elif clause.word == "when":
            out["when"] = _condition(ev, clause.values[0], env)
    return out


def _period(ev: Evaluator, node: tree.Expr, env: Env) -> int:
    n = ev.expr(node, env, Frame(builder=Builder(ev.ids), kind="model"))
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        fail("E0601", node.span, f"`every` takes a number of steps, 1 or more, not {describe(n)}")
    return n


def _condition(ev: Evaluator, node: tree.Expr, env: Env) -> str | None:
    """A function of (step, progress); None for what always holds."""
    floor = max(ev.ids.last, 1)
    builder = Builder(ev.ids)
    step, progress = builder.param(INT, "step"), builder.param(FLOAT, "progress")
    entry = EntryState(role="objective", builder=builder, like=step, clock={"step": step, "progress": progress})
    try:
        value = ev.expr(node, env, Frame(builder=builder, kind="entry", floor=floor, entry=entry, span=node.span))
    except Captures:
        value = None
    if value is True:
        return None
    inside = {n.op for n in walk(builder.block())}
    if not isinstance(value, Value) or value.type != BOOL or inside & {Op.PARAM, Op.NORMAL, Op.UNIFORM}:
        fail("E0305", node.span, "`when` is a condition on `step` and `progress`", help="as in `when progress < 0.5`")
    name = ev.unique("due")
    text = " ".join(node.span.text.split())
    ev.functions[name] = Function(name=name, kind="function", block=builder.block(value), doc=text, span=node.span)
    return name


def _when_due(ev: Evaluator, item: tree.Update, new: Value, old: Value, env: Env, frame: Frame) -> Value:
    """The new value of a state in the steps that its update is for, else the old one."""
    said = _schedule(ev, item, env)
    if not said:
        return new
    step = ev.clock("step", frame)
    due = binary("==", binary("mod", step, said.get("every", 1), frame, item.span), 0, frame, item.span)
    if (name := said.get("when")) is not None:
        progress = ev.clock("progress", frame)
        holds = frame.builder.add(Op.CALL, step, progress, function=name, bundle=None, lanes=1, types=(BOOL,), span=item.span)
        due = holds if "every" not in said else binary("and", due, holds, frame, item.span)
    return lift(where(due, new, old, frame, item.span), frame, item.span)


# Entries, and the routine that they are done in


@record
class Unit:
    """Events that make one part of the routine, by their numbers; `event` says when and where it is done."""

    wanted: range
    event: Event


def units(events: Sequence[Event]) -> list[Unit]:
    """Events in the groups that are done at once: an objective with the updates before it, updates that are due together."""
    out: list[Unit] = []
    waiting: list[int] = []

    def alone() -> None:
        for _, same in groupby(waiting, key=lambda i: (events[i].every, events[i].when)):
            group = list(same)
            out.append(Unit(range(group[0], group[-1] + 1), events[group[0]]))
        waiting.clear()

    for i, event in enumerate(events):
        if waiting and (event.sort == "map" or event.around != events[waiting[0]].around):
            alone()
        if event.sort == "state":
            waiting.append(i)
            continue
        out.append(Unit(range(waiting[0] if waiting else i, i + 1), event))
        waiting.clear()
    alone()
    return out


def nested(parts: Sequence[tuple[tuple[Around, ...], Step]], depth: int = 0) -> tuple[Step, ...]:
    """Steps inside the blocks that stand around them."""
    out: list[Step] = []
    i = 0
    while i < len(parts):
        around, step = parts[i]
        if len(around) == depth:
            out.append(step)
            i += 1
            continue
        block = around[depth]
        same = [p for p in parts[i:] if len(p[0]) > depth and p[0][depth] == block]
        inner = nested(same, depth + 1)
        if block.word == "for":
            out.append(Step(steps=inner, times=block.times))
        else:
            out.append(Step(entries=tuple(name for s in inner for name in s.entries)))
        i += len(same)
    return tuple(out)
