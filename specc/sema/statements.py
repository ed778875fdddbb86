"""Statements: binding, drawing, loops and branches, and the members of a definition's body."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from specc.ir.liveness import live
from specc.ir.ops import Op
from specc.ir.program import Builder, Function, Value, walk
from specc.ir.types import EXAMPLE, INT
from specc.record import record
from specc.sema import held, networks, parts, routine, solve, starts
from specc.sema.arithmetic import add, describe, lift, where
from specc.sema.evaluate import Evaluator
from specc.sema.frame import Frame
from specc.sema.members import params_of, single
from specc.sema.networks import names_in
from specc.sema.report import fail
from specc.sema.values import Captures, Closure, Env, Law, Marker, Pairs, TypeRef, View, runtime
from specc.source import Span
from specc.syntax import tree

LONGEST_LOOP = 1_000_000

MOST_LAYERS = 10_000

ROUND = " turn"  # of a `while`: what its draws are named by; not a name of the language


@record
class Returned:
    value: Any


def run_function(ev: Evaluator, block: tree.Block, env: Env, frame: Frame) -> Any:
    """Run a body and give what it returns."""
    out = run_block(ev, block.items, env, frame)
    if out is None:
        return None
    return out.value


def run_block(ev: Evaluator, items: Iterable[tree.Statement], env: Env, frame: Frame) -> Returned | None:
    for item in items:
        if (out := run_statement(ev, item, env, frame)) is not None:
            return out
    return None


def run_statement(ev: Evaluator, item: tree.Statement, env: Env, frame: Frame) -> Returned | None:
    """Run one statement; gives what it returns when it does."""
    match item:
        case tree.Bind():
            _bind(ev, item, env, frame)
        case tree.Method():
            env.names[item.name] = Closure(
                item.name, params_of(item.params), item.body or tree.Block(span=item.span, items=()), env, id(item), item.span
            )
        case tree.Return():
            values = tuple(ev.expr(e, env, frame) for e in item.values)
            return Returned(values[0] if len(values) == 1 else values or None)
        case tree.For() if routine.repeats(item, frame):
            routine.rounds(ev, item, env, frame, run_block)
        case tree.For():
            return _for(ev, item, env, frame)
        case tree.While():
            _while(ev, item, env, frame)
        case tree.Repeat():
            _repeat(ev, item, env, frame)
        case tree.If():
            return _if(ev, item, env, frame)
        case tree.Minimize():
            routine.minimize(ev, item, env, frame)
        case tree.Update():
            routine.update(ev, item, env, frame)
        case tree.Require():
            _require(ev, item, env, frame)
        case tree.ExprStatement():
            ev.expr(item.value, env, frame)
        case tree.Section(kind="param") if frame.kind == "network":
            networks.parameter(ev, item, env, frame)
        case tree.Section(kind="network"):
            networks.share(ev, item, env, frame)
        case tree.Section(kind="param" | "state"):
            held.in_loss(ev, item, env, frame)
        case tree.Section(kind="solve"):
            solve.solve(ev, item, env, frame)
        case tree.Section(kind="together"):
            routine.together(ev, item, env, frame, run_block)
        case tree.Section() | tree.Block():
            what = item.kind if isinstance(item, tree.Section) else "a block of its own"
            fail(
                "E0211",
                item.span,
                f"`{what}` is not supported here yet",
                help="the constructs that work are in docs/language.md",
            )
        case tree.Import() | tree.Version():
            fail("E0211", item.span, "this belongs at the top of the file")
    return None


def _bind(ev: Evaluator, item: tree.Bind, env: Env, frame: Frame) -> None:
    if not item.values:
        fail("E0209", item.span, "a name with a type needs a value as well", help="as in `a: vector(2) = zeros(2)`")
    empty = next((c for c in item.clauses if not c.values), None)
    if empty is not None:
        fail("E0204", empty.span, f"`{empty.word}` is followed by nothing", help='as in `per batch` or `tag "mid"`')
    tag = next((c for c in item.clauses if c.word == "tag"), None)
    if tag is not None and isinstance(item.values[0], tree.Call):
        frame.tagged[id(item.values[0])] = str(ev.expr(tag.values[0], env, frame))
    if len(item.targets) == 1 and isinstance(item.targets[0], tree.Call):
        head = item.targets[0]
        if not isinstance(head.func, tree.Name):
            fail("E0304", head.span, "the left side of `=` must be a name or a function with its arguments")
        env.names[head.func.id] = Closure(head.func.id, params_of(head.args), single(item), env, id(item), item.span)
        return
    per = next((c.values[0] for c in item.clauses if c.word == "per"), None)
    per_batch = isinstance(per, tree.Name) and per.id == "batch"
    values = [
        _drawn(ev, e, env, frame, per_batch) if item.draw else ev.small(ev.expr(e, env, frame), frame) for e in item.values
    ]
    if per is not None and not per_batch:
        values = [parts.shared(ev, per, v, env, frame) for v in values]
    value = values[0] if len(values) == 1 else tuple(values)
    if item.type is not None:
        _of_type(ev, item, value, env, frame)
    targets = item.targets
    if len(targets) == 1:
        _assign(targets[0], value, env, frame, alias=not item.draw and isinstance(item.values[0], tree.Name))
        if tag is not None and isinstance(value, Value):
            frame.marks[str(ev.expr(tag.values[0], env, frame))] = value.id
        return
    if isinstance(value, Value) and value.type.shape[:1] == (len(targets),):
        value = [ev.item(value, i, frame, item.span) for i in range(len(targets))]
    if not isinstance(value, (tuple, list)) or len(value) != len(targets):
        fail("E0304", item.span, f"{len(targets)} names for {describe(value)}")
    for target, part in zip(targets, value, strict=True):
        _assign(target, part, env, frame)


def _of_type(ev: Evaluator, item: tree.Bind, value: Any, env: Env, frame: Frame) -> None:
    """`a: vector(2) = e`: e has that shape."""
    assert item.type is not None
    kind = ev.expr(item.type, env, frame)
    if not isinstance(kind, TypeRef):
        fail("E0304", item.type.span, f"{describe(kind)} is not a type")
    shape = value.type.shape if isinstance(value, Value) else () if isinstance(value, (int, float)) else None
    if shape != kind.type.shape:
        have = f"shape ({', '.join(map(str, shape))})" if shape is not None else describe(value)
        fail("E0301", item.values[0].span, f"this has {have}", labels=((item.type.span, "promised here"),))


def _drawn(ev: Evaluator, node: tree.Expr, env: Env, frame: Frame, per_batch: bool) -> Any:
    value = ev.expr(node, env, frame)
    if isinstance(value, Law):
        return value.sample(frame, node.span, per_batch)
    if runtime(value):
        return value  # a function that draws
    return fail("E0304", node.span, f"{describe(value)} is not a law to draw from", help="write `=` where nothing is drawn")


def _assign(target: tree.Expr, value: Any, env: Env, frame: Frame, *, alias: bool = False) -> None:
    if not isinstance(target, tree.Name):
        fail("E0304", target.span, "the left side of `=` must be a name or a function with its arguments")
    if isinstance(value, Marker) and not value.name:
        value = Marker(value.default, target.id)
    if isinstance(value, View):
        value = value.called(target.id)
    if isinstance(value, Value) and not alias:
        value = frame.builder.name(value, target.id)
    env.names[target.id] = value


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


def _for(ev: Evaluator, item: tree.For, env: Env, frame: Frame) -> Returned | None:
    iterable = ev.expr(item.iterable, ev.meaning("grid", item.iterable, env), frame)
    if item.static or (isinstance(iterable, list)):
        for value in ev.static_list(iterable, item.iterable.span):
            ev.work += 1
            if len(item.pattern) == 1:
                env.names[item.pattern[0]] = value
            elif isinstance(value, (tuple, list)) and len(value) == len(item.pattern):
                env.names.update(zip(item.pattern, value, strict=True))
            else:
                fail("E0304", item.iterable.span, f"{len(item.pattern)} names for {describe(value)}")
            if (out := run_block(ev, item.body.items, env, frame)) is not None:
                return out
        return None
    span = item.iterable.span
    match iterable:
        case range():
            count: Any = len(iterable)
        case Pairs():
            count = iterable.count
        case (int() as low, Value() as high):
            count = add(frame, span, Op.SUB, high, lift(low - 1, frame, span))
        case _:
            fail("E0304", span, f"a loop walks over a range, a grid or a list, not {describe(iterable)}")
    if isinstance(count, int) and count < 1:
        fail("E0601", span, f"this loop would run {count} times")
    if isinstance(count, int) and count > LONGEST_LOOP:
        fail("E0601", span, f"this loop would run {count} times", help=f"a loop has at most {LONGEST_LOOP} turns")
    start = carried(item.body, env, ev, frame, item.span)
    total = lift(count, frame, span)
    for _ in range(len(start) + 1):
        inner = frame.inside()
        index = inner.builder.param(INT, "i" if not frame.indices else f"i{len(frame.indices) + 1}")
        inner.indices = (*frame.indices, index)
        scope = env.child(**{n: inner.builder.param(v.type, n) for n, v in start.items()})
        _bind_pattern(ev, item, iterable, index, scope, inner)
        if run_block(ev, item.body.items, scope, inner) is not None:
            fail("E0211", item.span, "`return` inside a loop is not supported yet", help="return after the loop")
        ends = {n: lift(scope.names[n], inner, item.span, v.type.dtype) for n, v in start.items()}
        if not (wider := _wider(ev, start, ends, frame, inner, item.span)):
            break
        start.update(wider)
    names = tuple(start)
    region = inner.builder.block(*ends.values())
    after = frame.builder.add_many(Op.FOR, total, *start.values(), regions=(region,), names=names, span=item.span)
    env.names.update(zip(names, after, strict=True))
    return None


def _bind_pattern(ev: Evaluator, item: tree.For, iterable: Any, index: Value, scope: Env, frame: Frame) -> None:
    span = item.iterable.span
    if isinstance(iterable, Pairs):
        if len(item.pattern) != 2:
            fail("E0304", span, "a grid gives pairs of times: write `for (t, s) in ...`")
        following = add(frame, span, Op.ADD, index, lift(1, frame, span))
        for name, i in zip(item.pattern, (index, following), strict=True):
            value = ev.call(iterable.f, [i], {}, frame, span)
            _assign(tree.Name(span=span, id=name), lift(value, frame, span), scope, frame)
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

    Those that no longer vary at the end of a turn are spread there.
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
            ends[name] = ev.spread(end, inner, span)
    return out


def _while(ev: Evaluator, item: tree.While, env: Env, frame: Frame) -> None:
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
        run_block(ev, item.body.items, scope, inner)
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


def _if(ev: Evaluator, item: tree.If, env: Env, frame: Frame) -> Returned | None:
    test = ev.expr(item.test, env, frame)
    if isinstance(test, parts.Part):
        parts.branches(ev, item, test.share, env, frame)
        return None
    if not isinstance(test, Value):
        taken = item.then if test else item.other
        return run_block(ev, taken.items, env, frame) if taken is not None else None
    if frame.kind == "entry" and routine.trains(item):
        help = "what is minimised or updated now and then says so: `minimize e when step > 100`"
        fail("E0306", item.test.span, "this is known only when the program runs", help=help)
    scopes = []
    for block in (item.then, item.other):
        scope = env.child()
        if block is not None and run_block(ev, block.items, scope, frame) is not None:
            fail(
                "E0211",
                item.span,
                "`return` under a run-time condition is not supported",
                help="bind a name in both branches and return it",
            )
        scopes.append(scope)
    for name in dict.fromkeys(n for s in scopes for n in s.names):
        (has_then, then), (has_other, other) = scopes[0].find(name), scopes[1].find(name)
        if has_then and has_other:
            env.names[name] = where(test, ev.settle(then, frame, name), ev.settle(other, frame, name), frame, item.span)
    return None


def _require(ev: Evaluator, item: tree.Require, env: Env, frame: Frame) -> None:
    holds = ev.expr(item.test, env, frame)
    if isinstance(holds, Value) and (known := ev.constant(holds, frame)) is not None:
        holds = bool(known.all())
    if isinstance(holds, Value):
        fail("E0305", item.test.span, "`require` is decided while compiling, and this depends on a run-time value")
    if not holds:
        fail("E0408", item.span, item.message or f"`{item.test.span.text}` does not hold", caption="required here")


def _repeat(ev: Evaluator, item: tree.Repeat, env: Env, frame: Frame) -> None:
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
    inner, ends = _turn(ev, item, start | captured, tuple(start), env)
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
    ev: Evaluator, item: tree.Repeat, given: dict[str, Value], names: tuple[str, ...], env: Env
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
    run_block(ev, item.body.items, scope, inner)
    ends = {n: lift(scope.names[n], inner, item.span, given[n].type.dtype) for n in names}
    return inner, {n: ev.spread(v, inner, item.span) for n, v in ends.items()}
