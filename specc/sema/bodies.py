"""The body of a network as a function of the IR, written once for its knobs and the types of its inputs."""

from __future__ import annotations

from typing import Any

from specc.diagnostics import SpecError
from specc.ir.liveness import live
from specc.ir.ops import Op
from specc.ir.program import Builder, Function, Value
from specc.ir.types import EXAMPLE, FLOAT, DType, Type
from specc.sema import bijections, spaces, starts
from specc.sema.arithmetic import lift, shown
from specc.sema.evaluate import Evaluator
from specc.sema.frame import Frame
from specc.sema.report import fail, foreign, moved
from specc.sema.values import (
    Builtin,
    Captures,
    Closure,
    Definition,
    Env,
    Law,
    Partial,
    Symbol,
    TypeRef,
    freeze,
    runtime,
)
from specc.source import Span
from specc.syntax import tree

LONGEST = 80  # letters of a list that a docstring shows


def function_for(
    ev: Evaluator,
    partial: Partial,
    statics: Env,
    given: tuple[bool, ...],
    values: tuple[Value, ...],
    span: Span,
    promise: TypeRef | None = None,
) -> Function:
    """The IR function of a network for these knobs and types, written on first use.

    In its body `result` is the type that the section promises; the first input's, or logits of it, where none does.
    """
    definition = partial.definition
    knobs = freeze([statics.names[a.name] for a in definition.params if a.name])
    classes = tuple(ev.classes.get(v.id) for v in values)
    key = ("network", id(definition), knobs, given, tuple(v.type for v in values), classes, freeze(promise))
    if key in ev.memo:
        return ev.memo[key]  # type: ignore[no-any-return]
    if definition.body is None:
        fail("E0211", span, f"`{definition.name}` is declared and has no body that can be compiled")
    frame = Frame(builder=Builder(ev.ids), kind="network", floor=max(ev.ids.last, 1), span=definition.section.span, starts=[])
    inner = _inputs(ev, definition, given, values, frame)
    try:
        scope = _scope(ev, definition, statics, inner, span)
        scope.names["result"] = promise or _usual_result(ev, inner)
        sizes = statics.child(**{n: _seen_back(v) for n, v in scope.names.items() if n not in statics.names})
        results = _results(ev, definition, inner, scope, frame, span)
    except Captures:
        fail(
            "E0309",
            span if not foreign(span) else partial.span or span,
            f"`{definition.name}` uses a value from outside its inputs",
            help="pass it as an input of the network",
        )
    except SpecError as error:
        raise moved(error, partial.span) from None
    name = ev.unique(definition.name)
    if definition.kind == "bijection":
        name = bijections.name_of(ev, definition, (id(definition), knobs, values[0].type), given)
    block = frame.builder.block(*results)
    made = Function(
        name=name,
        kind="network",
        block=live(block) if frame.starts else block,
        doc=_head(definition, statics),
        about=definition.summary,
        span=span,
    )
    ev.functions[name] = made
    ev.memo[key] = made
    ev.marks[name] = frame.marks
    if definition.kind == "bijection":
        ev.memo["forward", name] = bijections.Origin(partial, statics, sizes, made)
    starts.note(ev, made, block, frame)
    return made


def _inputs(
    ev: Evaluator, definition: Definition, given: tuple[bool, ...], values: tuple[Value, ...], frame: Frame
) -> list[Any]:
    """Parameters of the function in place of the values that it is called with; None where an input is left out."""
    inner: list[Any] = []
    rest = iter(values)
    for a, present in zip(definition.inputs, given, strict=True):
        if not present:
            inner.append(None)
            continue
        value = next(rest)
        param = frame.builder.param(value.type, a.name)
        frame.like = frame.like or (param if value.type.batched else None)
        if (many := ev.classes.get(value.id)) is not None:
            ev.classes[param.id] = many
        inner.append(param)
    frame.stems[""] = 0
    return inner


def _results(
    ev: Evaluator, definition: Definition, inner: list[Any], scope: Env, frame: Frame, span: Span
) -> tuple[Value, ...]:
    """What the body gives, as values for each example."""
    result = _run(ev, definition, inner, scope, frame)
    if result is None or result == ():
        fail("E0209", definition.section.span, f"`{definition.name}` returns nothing", help="end it with `return`")
    kind = DType.FLOAT if definition.kind == "bijection" else None
    several = isinstance(result, tuple) or (isinstance(result, list) and runtime(result))
    given_back = result if several else (result,)
    results = tuple(lift(r, frame, span, kind) for r in given_back)
    _check_result(definition, scope, results, span)
    results = tuple(v if isinstance(r, Value) else _varying(v, frame) for r, v in zip(given_back, results, strict=True))
    if definition.kind != "bijection":
        return results
    bijections.check_forward(definition, results, span)
    return tuple(ev.spread(r, frame, span) for r in results)


def _head(definition: Definition, statics: Env) -> str:
    """A definition with its knobs, as docstrings show it."""
    knobs = ", ".join(f"{a.name} = {_show(statics.names[a.name])}" for a in definition.params if a.name)
    return f"{definition.kind} {definition.name}({knobs})"


def inline(ev: Evaluator, partial: Partial, statics: Env, inputs: list[Any], frame: Frame, span: Span) -> Any:
    """A network without parameters, walked where it is used."""
    scope = _scope(ev, partial.definition, statics, inputs, span)
    if partial.definition.body is None:
        fail("E0209", partial.definition.section.span, f"`{partial.definition.name}` has no body", help="define it: `{ ... }`")
    body = partial.definition.body
    if partial.definition.kind != "bijection" and any(isinstance(i, tree.For) and not i.static for i in body.items):
        return _written_once(ev, partial.definition, body, statics, scope, inputs, frame, span)
    return _run(ev, partial.definition, inputs, scope, frame)


def _written_once(
    ev: Evaluator,
    definition: Definition,
    body: tree.Block,
    statics: Env,
    scope: Env,
    inputs: list[Any],
    frame: Frame,
    span: Span,
) -> Any:
    """What has a loop and no parameters is a function of its own, called wherever it is used."""
    own = {a.name for a in definition.inputs}
    outer = Env({k: v for k, v in scope.names.items() if k not in own}, statics)
    key = (id(definition), freeze(sorted(outer.names.items())), freeze(list(statics.names.values())))
    made = Closure(definition.name, definition.inputs, body, outer, key, definition.section.span, outline=True)
    return ev.call_closure(made, inputs, {}, frame, span)


def _scope(ev: Evaluator, definition: Definition, statics: Env, values: list[Any], span: Span) -> Env:
    """Names inside a network: knobs, inputs and the dimensions that the inputs' types bind."""
    scope = statics.child()
    dims: dict[str, Any] = {}
    for a, value in zip(definition.inputs, values, strict=True):
        assert a.name is not None
        scope.names[a.name] = value
        if isinstance(value, Value):
            what = f"`{a.name}` of `{definition.name}`"
            spaces.match(a.type, value, dims, what, span, statics.names, ev.classes.get(value.id))
    for a in definition.inputs:
        if a.name in dims:
            fail("E0208", a.span, f"`{a.name}` is an input and a size", help="write another letter for the size: `vector(n)`")
    scope.names.update(dims)
    return scope


def _run(ev: Evaluator, definition: Definition, inputs: list[Any], scope: Env, frame: Frame) -> Any:
    """What a network gives; of a bijection, what its forward direction gives."""
    if definition.kind == "bijection":
        return bijections.direction(ev, definition, "forward", inputs, scope, frame)
    assert definition.body is not None
    return ev.body(definition.body, scope, frame)


def _seen_back(value: Any) -> Any:
    """What the way back knows of a name of the way there: of an input, its type alone."""
    return TypeRef(Type(value.type.dtype, value.type.shape)) if isinstance(value, Value) else value


def _varying(value: Value, frame: Frame) -> Value:
    """A number that a network gives whatever it is given, as one for each example."""
    like = frame.like
    return value if like is None or EXAMPLE in value.type.axes else frame.builder.add(Op.SPREAD, value, like)


def _show(value: Any) -> str:
    match value:
        case TypeRef():
            return f"{value.kind}{shown(value.type.shape)}" if value.type.shape else value.kind
        case Partial():
            return value.definition.name
        case Builtin():
            return value.name
        case Symbol():
            return value.id
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case Closure():
            return value.span.text
        case list():
            every = ", ".join(map(_show, value))
            return f"[{every}]" if len(every) <= LONGEST else f"[{len(value)} of them]"
        case Law():
            return value.name
        case _:
            return str(value)


def _check_result(definition: Definition, scope: Env, results: tuple[Value, ...], span: Span) -> None:
    wanted = definition.result
    if isinstance(wanted, tree.Call) and isinstance(wanted.func, tree.Name) and wanted.func.id == "like":
        names = [a.value.id for a in wanted.args if isinstance(a.value, tree.Name)]
        if len(names) != 1:
            fail("E0206", wanted.span, "`like` promises the shape of one input", help="as in `-> like(z)`")
        like = scope.names.get(names[0])
        if isinstance(like, Value) and results[0].type.shape != like.type.shape:
            message = f"`{definition.name}` gives shape {shown(results[0].type.shape)}, and promises {shown(like.type.shape)}"
            fail("E0301", span, message, labels=((wanted.span, "promised here"),))
    elif wanted is not None and len(results) == 1 and not (isinstance(wanted, tree.Name) and wanted.id == "tensor"):
        spaces.match(wanted, results[0], {}, f"the result of `{definition.name}`", span, scope.names)


def _usual_result(ev: Evaluator, inputs: list[Any]) -> TypeRef | None:
    first = next((v for v in inputs if isinstance(v, Value)), None)
    if first is None or first.type.dtype is DType.FLOAT:
        return TypeRef(FLOAT.shaped(first.type.shape)) if first is not None else None
    return logits(ev, first)


def logits(ev: Evaluator, x: Any) -> TypeRef | None:
    """The type of one number for each value that each index of x may have."""
    count = index_count(ev, x)
    return None if count is None else TypeRef(FLOAT.shaped((*x.type.shape, count)))


def index_count(ev: Evaluator, value: Any) -> int | None:
    """How many indices a value of integers may hold, the null one included, where that is known."""
    match value:
        case TypeRef(classes=count):
            return count
        case Value():
            return ev.classes.get(value.id)
        case _:
            return None
