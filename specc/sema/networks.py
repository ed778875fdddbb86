"""Networks: functions over bundles of parameters. Layers own theirs; a sub-network is written once for each shape."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from specc.diagnostics import SpecError
from specc.ir.liveness import live
from specc.ir.ops import Op
from specc.ir.program import Builder, Function, Value
from specc.ir.types import EXAMPLE, FLOAT, DType, Type
from specc.sema import bijections, rewrites, spaces, starts, views
from specc.sema.arithmetic import add, describe, lift, shown
from specc.sema.evaluate import Evaluator
from specc.sema.frame import Condition, EntryState, Frame
from specc.sema.report import fail, foreign, moved
from specc.sema.values import (
    Builtin,
    Captures,
    Closure,
    Definition,
    Env,
    Law,
    Lazy,
    Network,
    Partial,
    Symbol,
    TypeRef,
    freeze,
    runtime,
)
from specc.source import Span
from specc.syntax import tree

LONGEST = 80  # letters of a list that a docstring shows


def call(ev: Evaluator, net: Network, args: list[Any], kwargs: dict[str, Any], frame: Frame, span: Span, node: object) -> Any:
    """A call of one of the model's own networks, with the conditions that it names, or of one that a network shares."""
    if net.home is not None:
        return _call_shared(ev, net, args, kwargs, frame, span, node)
    if frame.kind == "function" or frame.entry is None:
        raise Captures
    entry = frame.entry
    net = net if net.rewrites else dict(ev.instead).get(net.bundle, net)
    definition = net.partial.definition
    named = dict(kwargs)
    if net.conditioned:
        for name, condition in conditions_for(definition, entry, len(args)):
            named.setdefault(name, _condition_value(ev, condition, frame, span))
    args, named = _by_head(net, args, named, span)
    inputs, statics = separate(ev, net.partial, args, named, frame, span, whole=True)
    batched = spread_over(ev, inputs, frame, span)
    for value in batched:
        _of_state(ev, value)
    given = tuple(v is not None for v in inputs)
    function = function_for(ev, net.partial, statics, given, batched, span, promise=_promised(ev, net, frame))
    out = call_over(ev, net, function, batched, frame, span)
    return out[0] if len(out) == 1 else out


def call_over(
    ev: Evaluator, net: Network, function: Function, values: tuple[Value, ...], frame: Frame, span: Span
) -> tuple[Value, ...]:
    """A call of a function over the parameters of one of the model's networks, or of those that stand in their place."""
    if net.promise is not None:
        _keep_promise(net.partial.definition, _promised(ev, net, frame), function.block.results[0].type, span)
    function = rewrites.rewritten(ev, net, function)
    types = tuple(r.type for r in function.block.results)
    bundle, origin = views.place(ev.through, net.bundle)
    out = frame.builder.add_many(Op.CALL, *values, function=function.name, bundle=bundle, lanes=1, types=types, span=span)
    if origin is not None:
        _borrow(ev, bundle, origin, span)
    if origin is None or origin.bundles.kind == "copy":
        ev.networks[bundle] = net
    return out


def spread_over(ev: Evaluator, inputs: list[Any], frame: Frame, span: Span) -> tuple[Value, ...]:
    """A network's inputs as values that vary by example; those that are left out stay out."""
    kinds = [(v, None if _is_int(v) else DType.FLOAT) for v in inputs if v is not None]
    return tuple(ev.spread(lift(v, frame, span, kind), frame, span) for v, kind in kinds)


def _of_state(ev: Evaluator, value: Value) -> None:
    """Integers of the shape of the process's state have as many values as it has, unless more is known of them."""
    state = ev.state
    if state is not None and state.classes and (value.type.dtype, value.type.shape) == (state.type.dtype, state.type.shape):
        ev.classes.setdefault(value.id, state.classes)


def _promised(ev: Evaluator, net: Network, frame: Frame) -> TypeRef | None:
    """What a section says that its network gives: `network G(z) -> like(x) = ...`. A backbone gives the `result` that the
    prediction asks for; without one, a backbone of indices gives logits of x."""
    if net.promise is not None:
        kind = ev.expr(net.promise, net.env or ev.world, frame)
        return kind if isinstance(kind, TypeRef) else fail("E0304", net.promise.span, f"{describe(kind)} is not a type")
    assert frame.entry is not None
    if net.conditioned and isinstance(wanted := ev.world.names.get("result"), Lazy):
        kind = ev.settle(wanted, frame)
        return kind if isinstance(kind, TypeRef) else fail("E0304", wanted.value.span, f"{describe(kind)} is not a type")
    x = frame.entry.bindings.get("x")
    return _logits(ev, x) if net.conditioned else None


def _logits(ev: Evaluator, x: Any) -> TypeRef | None:
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


def _borrow(ev: Evaluator, path: str, origin: views.Borrowed, span: Span) -> None:
    """Note whose weights these are; one name stands for one network."""
    before = ev.borrowed.setdefault(path, origin)
    if (before.of, before.bundles.of, before.bundles.span) != (origin.of, origin.bundles.of, origin.bundles.span):
        at = before.bundles.span or span
        fail(
            "E0208",
            origin.bundles.span or span,
            f"`{path}` is two networks",
            labels=((at, "the first one"),),
            help="give this one another name",
        )


def _by_head(net: Network, args: list[Any], named: dict[str, Any], span: Span) -> tuple[list[Any], dict[str, Any]]:
    """Arguments as the head of a network's section names them: to the inputs of these names, the others in order."""
    if len(args) > len(net.inputs) > 0:
        fail("E0206", span, f"`{net.bundle}` takes {len(net.inputs)} arguments, not {len(args)}")
    known = {a.name for a in net.partial.definition.inputs}
    by_name = {name: value for name, value in zip(net.inputs, args, strict=False) if name in known}
    rest = [value for i, value in enumerate(args) if i >= len(net.inputs) or net.inputs[i] not in known]
    return rest, named | by_name


def _is_int(value: Any) -> bool:
    return isinstance(value, Value) and value.type.dtype is DType.INT


def conditions_for(definition: Definition, entry: EntryState, given: int) -> Iterator[tuple[str, Condition]]:
    """Conditions by the name of the input that takes them; a model's only condition goes to an input called `y` as well."""
    names = [a.name for a in definition.inputs[given:]]
    for name, condition in entry.conditions.items():
        if name in names:
            yield name, condition
        elif "y" in names and len(entry.conditions) == 1:
            yield "y", condition


def _condition_value(ev: Evaluator, condition: Condition, frame: Frame, span: Span) -> Value:
    entry = frame.entry
    assert entry is not None
    entry.used.add(condition.name)
    if entry.null:
        if condition.null is None:
            fail(
                "E0308",
                span,
                f"`{condition.name}` has no null value: it was never left out in training",
                help="say `with { drop = 0.1 }`",
            )
        return condition.null
    return condition.value


def share(ev: Evaluator, item: tree.Section, env: Env, frame: Frame) -> None:
    """`network cell = gru_cell(width = 8)` in a network: the same parameters wherever it is called by that name."""
    if frame.kind != "network":
        fail("E0309", item.span, "a network that others share stands in a network, or among the sections of the model")
    if not isinstance(item.head, tree.Name) or not item.values:
        fail("E0304", item.span, "a shared network is written `network NAME = DEFINITION(...)`")
    found = ev.expr(item.values[0], ev.meaning("network", item.values[0], env), frame)
    if not isinstance(found, Partial) or found.definition.kind not in ("network", "backbone"):
        fail("E0304", item.values[0].span, f"{describe(found)} is not a network")
    env.names[item.head.id] = Network(found, frame.stem(item.head.id), home=frame.stems)


def _call_shared(
    ev: Evaluator, net: Network, args: list[Any], kwargs: dict[str, Any], frame: Frame, span: Span, node: object
) -> Any:
    if frame.stems is not net.home:
        help = "call it from the network that declares it, outside of `repeat`"
        fail("E0309", span, f"`{net.bundle}` belongs to the network around this one", help=help)
    return call_part(ev, net.partial, args, kwargs, frame, span, node, bundle=net.bundle)


def call_part(
    ev: Evaluator,
    partial: Partial,
    args: list[Any],
    kwargs: dict[str, Any],
    frame: Frame,
    span: Span,
    node: object,
    bundle: str | None = None,
) -> Any:
    """A call of a network's definition: inside another network, with parameters of its own, or, without any, anywhere."""
    definition = partial.definition
    if definition.inputs and not any(isinstance(v, Value) for v in (*args, *kwargs.values())):
        return dataclasses.replace(partial, args=(*partial.args, *args), kwargs=(*partial.kwargs, *kwargs.items()), span=span)
    if definition.kind == "bijection":  # beside x it is handed what any part of a chain may want, and takes what it names
        args = args[: len(definition.inputs)]
    inputs, statics = separate(ev, partial, args, kwargs, frame, span)
    shared = not any(EXAMPLE in v.type.axes for v in inputs if isinstance(v, Value))  # as where a weight is normalised
    if frame.kind != "network" or shared:
        return _inline(ev, partial, statics, inputs, frame, span)
    values = tuple(ev.spread(lift(v, frame, span), frame, span) for v in inputs if v is not None)
    given = tuple(v is not None for v in inputs)
    function = function_for(ev, partial, statics, given, values, span)
    stem = bundle or frame.stem(definition.name, node)
    types = tuple(r.type for r in function.block.results)
    out = frame.builder.add_many(Op.CALL, *values, function=function.name, bundle=stem, lanes=1, types=types, span=span)
    return out[0] if len(out) == 1 else out


def separate(
    ev: Evaluator, partial: Partial, args: list[Any], kwargs: dict[str, Any], frame: Frame, span: Span, *, whole: bool = False
) -> tuple[list[Any], Env]:
    """The inputs of a network in order, and its knobs bound: run-time values fill inputs first, what is left fills knobs.

    With `whole` the knobs are known already, and numbers are inputs too.
    """
    definition = partial.definition
    inputs: dict[str, Any] = {}
    knobs: list[Any] = []
    order = [a.name or "" for a in definition.inputs]
    knob_names = {a.name for a in definition.params}
    for value in args:
        if len(inputs) < len(order) and (whole or isinstance(value, Value) or value is None or not knob_names):
            inputs[order[len(inputs)]] = value
        else:
            knobs.append(value)
    named = dict(partial.kwargs)
    for key, value in kwargs.items():
        if key in order and key not in inputs:
            inputs[key] = value
        else:
            named[key] = value
    seen = ev.world if definition.interface is not None else ev.builtins  # what comes with the process it is for
    parent = partial.env if partial.env is not None and not definition.library else seen
    env = ev.bind(definition.name, definition.params, [*partial.args, *knobs], named, parent, frame, span)
    out: list[Any] = []
    for a in definition.inputs:
        if a.name in inputs:
            out.append(inputs[a.name])
        elif a.value is not None:
            out.append(ev.expr(a.value, env, frame))
        else:
            fail("E0206", span, f"`{definition.name}` needs `{a.name}`")
    return out, env


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


def _inline(ev: Evaluator, partial: Partial, statics: Env, inputs: list[Any], frame: Frame, span: Span) -> Any:
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
    inner: list[Any] = []
    rest = iter(zip(values, classes, strict=True))
    for a, present in zip(definition.inputs, given, strict=True):
        if not present:
            inner.append(None)
            continue
        value, many = next(rest)
        param = frame.builder.param(value.type, a.name)
        frame.like = frame.like or (param if value.type.batched else None)
        if many is not None:
            ev.classes[param.id] = many
        inner.append(param)
    frame.stems[""] = 0
    try:
        scope = _scope(ev, definition, statics, inner, span)
        scope.names["result"] = promise or _usual_result(ev, inner)
        sizes = statics.child(**{n: _seen_back(v) for n, v in scope.names.items() if n not in statics.names})
        result = _run(ev, definition, inner, scope, frame)
        if result is None or result == ():
            fail("E0209", definition.section.span, f"`{definition.name}` returns nothing", help="end it with `return`")
        kind = DType.FLOAT if definition.kind == "bijection" else None
        several = isinstance(result, tuple) or (isinstance(result, list) and runtime(result))
        given_back = result if several else (result,)
        results = tuple(lift(r, frame, span, kind) for r in given_back)
        _check_result(definition, scope, results, span)
        results = tuple(v if isinstance(r, Value) else _varying(v, frame) for r, v in zip(given_back, results, strict=True))
        if definition.kind == "bijection":
            bijections.check_forward(definition, results, span)
            results = tuple(ev.spread(r, frame, span) for r in results)
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
    shown = ", ".join(f"{a.name} = {_show(statics.names[a.name])}" for a in definition.params if a.name)
    block = frame.builder.block(*results)
    made = Function(
        name=name,
        kind="network",
        block=live(block) if frame.starts else block,
        doc=f"{definition.kind} {definition.name}({shown})",
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


def _seen_back(value: Any) -> Any:
    """What the way back knows of a name of the way there: of an input, its type alone."""
    return TypeRef(Type(value.type.dtype, value.type.shape)) if isinstance(value, Value) else value


def _run(ev: Evaluator, definition: Definition, inputs: list[Any], scope: Env, frame: Frame) -> Any:
    """What a network gives; of a bijection, what its forward direction gives."""
    if definition.kind == "bijection":
        return bijections.direction(ev, definition, "forward", inputs, scope, frame)
    assert definition.body is not None
    return ev.body(definition.body, scope, frame)


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
    return _logits(ev, first)


def _keep_promise(definition: Definition, promise: TypeRef | None, given: Type, span: Span) -> None:
    if promise is not None and given.shape != promise.type.shape:
        message = f"`{definition.name}` gives shape {shown(given.shape)}, and {shown(promise.type.shape)} is needed"
        fail("E0301", span, message)


# Repetition and bare parameters --------------------------------------------------------------------------------------


def names_in(node: Any) -> Iterator[tree.Name]:
    """Every name that occurs in a tree."""
    if isinstance(node, tree.Name):
        yield node
    elif isinstance(node, tuple):
        for item in node:
            yield from names_in(item)
    elif isinstance(node, tree.Node):
        for f in dataclasses.fields(node):
            if f.name != "span":
                yield from names_in(getattr(node, f.name))


def parameter(ev: Evaluator, item: tree.Section, env: Env, frame: Frame) -> None:
    """`param w: matrix(n, d) = normal(0.02)`"""
    if frame.kind != "network":
        fail("E0309", item.span, "a bare parameter belongs in a network")
    if not isinstance(item.head, tree.Name) or item.type is None:
        fail("E0304", item.span, "a parameter is written `param NAME: TYPE = START`")
    if item.law is not None:
        fail("E0204", item.law.span, "a network's parameter starts with `=`", help="as in `param w: vector(8) = normal(0.02)`")
    kind = ev.expr(item.type, env, frame)
    if not isinstance(kind, TypeRef):
        fail("E0304", item.type.span, f"{describe(kind)} is not a type")
    path = frame.stem(item.head.id)
    first = starts.of_first_batch(item.values[0]) if item.values else None
    init: tuple[Any, ...] = ("zeros",) if first is None else ("ones",)
    if item.values and first is None:
        init = initial(ev.expr(item.values[0], env, frame, symbols=True), item.values[0].span)
    made = add(frame, item.span, Op.PARAM, path=path, shape=kind.type.shape, init=init)
    env.names[item.head.id] = frame.builder.name(made, item.head.id)
    if first is not None and frame.starts is not None:
        start = starts.value(ev, first, kind.type, env, frame)
        frame.starts.append((path, made, frame.builder.name(start, item.head.id)))


def initial(value: Any, span: Span) -> tuple[Any, ...]:
    """Starting values as the IR writes them."""
    match value:
        case Symbol(id="zeros" | "ones" as word):
            return (word,)
        case Builtin(name="zeros" | "ones" as word):
            return (word,)
        case Builtin(name="normal"):
            return ("normal", 1.0)
        case bool():
            pass
        case int() | float():
            return ("zeros",) if value == 0 else ("ones",) if value == 1 else ("constant", float(value))
        case Law(name="normal" | "uniform" as kind, numbers=numbers) if (size := _spread(kind, *numbers.values())) is not None:
            return (kind, size)
        case _:
            pass
    return fail(
        "E0304",
        span,
        f"{describe(value)} is not a start for parameters",
        help="say `zeros`, `ones`, a number, `normal` or `normal(0.02)`",
    )


def _spread(kind: str, first: Any, second: Any) -> float | None:
    """The size of a law around zero as a start for parameters: `normal(0.02)`, `normal(0, 0.02)`, `uniform(-0.1, 0.1)`."""
    if not all(isinstance(v, (int, float)) for v in (first, second)):
        return None
    if second == 1 and first > 0:  # one number is the size
        return float(first)
    return float(second) if first == (0 if kind == "normal" else -second) else None
