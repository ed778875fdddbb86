"""Loops: `for` and `while` over what exists only when the program runs, and `repeat` of layers with parameters of their own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from specc.ir.liveness import live
from specc.ir.ops import Op
from specc.ir.program import Builder, Function, Value, walk
from specc.ir.types import EXAMPLE, INT
from specc.sema import starts
from specc.sema.arithmetic import add, describe, lift
from specc.sema.evaluate import Evaluator
from specc.sema.frame import Frame
from specc.sema.report import fail
from specc.sema.routine import Runs
from specc.sema.values import Captures, Env, Pairs
from specc.source import Span
from specc.syntax import tree
from specc.syntax.tree import names_in

LONGEST_LOOP = 1_000_000
MOST_LAYERS = 10_000
ROUND = " turn"  # of a `while`: what its draws are named by; not a name of the language


def assigned(items: Iterable[tree.Statement]) -> list[str]:
    """Names that statements bind, in order."""
    out: dict[str, None] = {}
    for item in items:
        match item:
            case tree.Bind():
                out.update((t.id, None) for t in item.targets if isinstance(t, tree.Name))
            case tree.For() | tree.While() | tree.Repeat():
                out.update((n, None) for n in assigned(item.body.items))
            case tree.If():
                out.update((n, None) for b in (item.then, item.other) if b is not None for n in assigned(b.items))
            case _:
                pass
    return list(out)


def carried(body: tree.Block, env: Env, ev: Evaluator, frame: Frame, span: Span) -> dict[str, Value]:
    """The names that a loop's body reassigns and that exist before it, as run-time values."""
    out: dict[str, Value] = {}
    for name in assigned(body.items):
        if not env.local(name):
            continue
        value = env.find(name)[1]
        value = ev.settle(value, frame, name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            out[name] = lift(float(value), frame, span)
        elif isinstance(value, (bool, Value)):
            out[name] = lift(value, frame, span)
    return out


def over(ev: Evaluator, item: tree.For, iterable: Any, env: Env, frame: Frame, run: Runs) -> None:
    """`for` over a range or a grid: one region, and what its body reassigns goes from turn to turn."""
    count = _turns(iterable, frame, item.iterable.span)
    start = carried(item.body, env, ev, frame, item.span)
    total = lift(count, frame, item.iterable.span)
    for _ in range(len(start) + 1):
        inner = frame.inside()
        index = inner.builder.param(INT, "i" if not frame.indices else f"i{len(frame.indices) + 1}")
        inner.indices = (*frame.indices, index)
        scope = env.child(**{n: inner.builder.param(v.type, n) for n, v in start.items()})
        _bind_pattern(ev, item, iterable, index, scope, inner)
        if run(ev, item.body.items, scope, inner) is not None:
            fail("E0211", item.span, "`return` inside a loop is not supported yet", help="return after the loop")
        ends = {n: lift(scope.names[n], inner, item.span, v.type.dtype) for n, v in start.items()}
        if not (wider := _wider(ev, start, ends, frame, inner, item.span)):
            break
        start.update(wider)
    names = tuple(start)
    region = inner.builder.block(*ends.values())
    after = frame.builder.add_many(Op.FOR, total, *start.values(), regions=(region,), names=names, span=item.span)
    env.names.update(zip(names, after, strict=True))


def _turns(iterable: Any, frame: Frame, span: Span) -> Any:
    """How many turns a loop has."""
    match iterable:
        case range():
            count: Any = len(iterable)
        case Pairs():
            count = iterable.count
        case (int() as low, Value() as high):
            count = add(frame, span, Op.SUB, high, lift(low - 1, frame, span))
        case _:
            fail("E0304", span, f"a loop walks over a range, a grid or a list, not {describe(iterable)}")
    if isinstance(count, Value) and EXAMPLE in count.type.axes:
        help = "walk as often as any example needs, and keep what is done with `where`; or use `while`"
        fail("E0305", span, "a loop has as many turns for one example as for another", help=help)
    if isinstance(count, int) and count < 1:
        fail("E0601", span, f"this loop would run {count} times")
    if isinstance(count, int) and count > LONGEST_LOOP:
        fail("E0601", span, f"this loop would run {count} times", help=f"a loop has at most {LONGEST_LOOP} turns")
    return count


def _bind_pattern(ev: Evaluator, item: tree.For, iterable: Any, index: Value, scope: Env, frame: Frame) -> None:
    span = item.iterable.span
    if isinstance(iterable, Pairs):
        if len(item.pattern) != 2:
            fail("E0304", span, "a grid gives pairs of times: write `for (t, s) in ...`")
        following = add(frame, span, Op.ADD, index, lift(1, frame, span))
        for name, i in zip(item.pattern, (index, following), strict=True):
            time = lift(ev.call(iterable.f, [i], {}, frame, span), frame, span)
            scope.names[name] = frame.builder.name(time, name)
        return
    first = iterable.start if isinstance(iterable, range) else iterable[0]
    step = iterable.step if isinstance(iterable, range) else 1
    value = index
    if step != 1:
        value = add(frame, span, Op.NEG, value)
    if first:
        value = add(frame, span, Op.ADD, value, lift(first, frame, span))
    scope.names[item.pattern[0]] = value


def _wider(
    ev: Evaluator, start: dict[str, Value], ends: dict[str, Value], frame: Frame, inner: Frame, span: Span
) -> dict[str, Value]:
    """Carried values that turn out to vary by example, spread before the loop; empty when the types agree.

    Those that no longer vary at the end of a turn are spread there, or before the loop where they come from.
    """
    out: dict[str, Value] = {}
    for name, end in ends.items():
        before = start[name]
        if before.type == end.type:
            continue
        if before.type.shape != end.type.shape or before.type.dtype != end.type.dtype:
            message = f"`{name}` is {before.type} before the loop and {end.type} after a turn of it"
            fail("E0306", span, message, help="what a loop reassigns keeps its shape and kind")
        if EXAMPLE in end.type.axes:
            out[name] = ev.spread(before, frame, span)
        else:
            ends[name] = ev.spread(end, inner if frame.builder.made_by(end) is None else frame, span)
    return out


def while_(ev: Evaluator, item: tree.While, env: Env, frame: Frame, run: Runs) -> None:
    """`while c limit n { ... }`: until the test fails, or n turns."""
    if frame.kind == "function":
        raise Captures
    limit = ev.expr(item.limit, env, frame)
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= LONGEST_LOOP:
        message = f"the limit of a `while` is an integer from 1 to {LONGEST_LOOP}, known while compiling"
        fail("E0601", item.limit.span, message)
    start = carried(item.body, env, ev, frame, item.span)
    if not start:
        fail("E0306", item.span, "nothing changes in this `while`: it would never end")
    start[ROUND] = lift(0, frame, item.span)
    for _ in range(len(start) + 1):
        test, inner = frame.inside(), frame.inside()
        before, params = ({n: f.builder.param(v.type, n.strip()) for n, v in start.items()} for f in (test, inner))
        wanted = ev.expr(item.test, env.child(**_named(before)), test)
        if not isinstance(wanted, Value):
            fail("E0306", item.test.span, "this condition does not depend on anything that the loop changes")
        scope = env.child(**_named(params))
        if ROUND in start:
            inner.indices = (*frame.indices, params[ROUND])
        run(ev, item.body.items, scope, inner)
        ends = {n: lift(scope.names[n], inner, item.span, v.type.dtype) for n, v in _named(start).items()}
        if ROUND in start and any(params[ROUND] in n.inputs for n in walk(inner.builder.block())):
            ends[ROUND] = add(inner, item.span, Op.ADD, params[ROUND], lift(1, inner, item.span))
            if EXAMPLE in wanted.type.axes:  # each example counts its own rounds
                ends[ROUND] = ev.spread(ends[ROUND], inner, item.span)
        elif start.pop(ROUND, None) is not None:  # nothing is drawn
            test.builder.params.remove(before[ROUND])
            inner.builder.params.remove(params[ROUND])
        if not (wider := _wider(ev, start, ends, frame, inner, item.span)):
            break
        start.update(wider)
    regions = (test.builder.block(wanted), inner.builder.block(*ends.values()))
    names = tuple(n.strip() for n in start)
    out = frame.builder.add_many(Op.WHILE, *start.values(), regions=regions, names=names, span=item.span, limit=limit)
    env.names.update(_named(dict(zip(start, out, strict=True))))


def _named(values: dict[str, Value]) -> dict[str, Value]:
    """Without the count of rounds, which has no name in the spec."""
    return {name: value for name, value in values.items() if name != ROUND}


def repeat(ev: Evaluator, item: tree.Repeat, env: Env, frame: Frame, run: Runs) -> None:
    """`repeat n { ... }`: the body becomes a network of its own, applied n times with parameters of their own."""
    if frame.kind != "network":
        fail("E0309", item.span, "`repeat` makes fresh parameters: it belongs in a network", help="use `for` here")
    count = ev.expr(item.count, env, frame)
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        fail("E0305", item.count.span, f"the count of `repeat` is 0 or more, and known while compiling, not {describe(count)}")
    if count == 0:
        return
    if count > MOST_LAYERS:
        message = f"`repeat` {count} times makes as many layers, each with its own parameters"
        fail("E0603", item.count.span, message, help=f"at most {MOST_LAYERS} are supported")
    start = {n: ev.spread(v, frame, item.span) for n, v in carried(item.body, env, ev, frame, item.span).items()}
    used = dict.fromkeys(n.id for n in names_in(item.body))
    captured = {n: v for n in used if n not in start and isinstance(v := env.find(n)[1], Value)}
    inner, ends = _turn(ev, item, start | captured, tuple(start), env, run)
    for name, before, after in zip(start, start.values(), ends.values(), strict=True):
        if before.type != after.type:
            message = f"`{name}` is {before.type} before `repeat` and {after.type} after a turn of it"
            fail("E0306", item.span, message, help="use `static for` where shapes change")
    block = inner.builder.block(*ends.values())
    single = block.nodes[0] if len(block.nodes) == 1 else None
    same = single is not None and [v.id for v in single.inputs] == [p.id for p in block.params]
    results = [v.id for v in block.results]
    if single is not None and single.op is Op.CALL and same and [v.id for v in single.outputs] == results:
        function, stem = single["function"], frame.stem(single["bundle"])
    else:
        function, stem = ev.unique("layer"), frame.stem("layer")
        made = live(block) if inner.starts else block
        doc = f"one turn of `repeat {count}`"
        ev.functions[function] = Function(name=function, kind="network", block=made, doc=doc, span=item.span)
        starts.note(ev, ev.functions[function], block, inner)
        ev.marks[function] = inner.marks
    values = (*start.values(), *captured.values())
    types = tuple(v.type for v in start.values())
    out = frame.builder.add_many(
        Op.REPEAT,
        *values,
        function=function,
        bundle=stem,
        count=count,
        carried=len(start),
        types=types,
        names=tuple(start),
        span=item.span,
    )
    env.names.update(zip(start, out, strict=True))


def _turn(
    ev: Evaluator, item: tree.Repeat, given: dict[str, Value], names: tuple[str, ...], env: Env, run: Runs
) -> tuple[Frame, dict[str, Value]]:
    """One turn of `repeat` as the body of a network: its frame, and what the carried names are after it."""
    inner = Frame(builder=Builder(ev.ids), kind="network", floor=max(ev.ids.last, 1), span=item.span, starts=[])
    scope = env.child()
    for name, value in given.items():
        param = inner.builder.param(value.type, name)
        scope.names[name] = param
        if value.id in ev.classes:
            ev.classes[param.id] = ev.classes[value.id]
    inner.like = next((p for p in inner.builder.params if EXAMPLE in p.type.axes), None)
    run(ev, item.body.items, scope, inner)
    ends = {n: lift(scope.names[n], inner, item.span, given[n].type.dtype) for n in names}
    return inner, {n: ev.spread(v, inner, item.span) for n, v in ends.items()}
