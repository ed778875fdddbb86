"""Statements: binding, drawing, branches, and what leads to loops, losses and networks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from specc.ir.program import Value
from specc.record import record
from specc.sema import held, loops, networks, parameters, parts, routine, solve
from specc.sema.arithmetic import describe, where
from specc.sema.evaluate import Evaluator
from specc.sema.frame import MODE, OF_MODE, Frame
from specc.sema.members import params_of, single
from specc.sema.report import fail
from specc.sema.values import Closure, Env, Law, Marker, TypeRef, View, runtime
from specc.syntax import tree


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
            loops.while_(ev, item, env, frame, run_block)
        case tree.Repeat():
            loops.repeat(ev, item, env, frame, run_block)
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
            parameters.parameter(ev, item, env, frame)
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
    if tag is not None:
        if not isinstance(item.values[0], tree.Call):
            help = 'bind the call by itself: `m = block(h) tag "mid"`, and then `h = h + m`'
            fail("E0204", tag.span, "`tag` names a call, and this is none", help=help)
        if ev.expr(tag.values[0], env, frame) == MODE:
            fail("E0208", tag.span, f"no layer can be tagged `{MODE}`{OF_MODE}", help="give it another tag")
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


def _for(ev: Evaluator, item: tree.For, env: Env, frame: Frame) -> Returned | None:
    iterable = ev.expr(item.iterable, ev.meaning("grid", item.iterable, env), frame)
    if item.static or isinstance(iterable, list):
        return _unrolled(ev, item, iterable, env, frame)
    loops.over(ev, item, iterable, env, frame, run_block)
    return None


def _unrolled(ev: Evaluator, item: tree.For, iterable: Any, env: Env, frame: Frame) -> Returned | None:
    """A loop over what is known while compiling: its body is walked for each turn."""
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
