"""Networks: functions over bundles of parameters. Layers own theirs; a sub-network is written once for each shape."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

from specc.diagnostics import SpecError
from specc.ir.ops import Op
from specc.ir.program import Builder, Function, Value
from specc.ir.types import FLOAT, DType
from specc.sema import spaces, views
from specc.sema.arithmetic import add, describe, known, lift, shown
from specc.sema.evaluate import Evaluator
from specc.sema.frame import Condition, EntryState, Frame
from specc.sema.report import did_you_mean, fail, foreign, moved
from specc.sema.values import Builtin, Captures, Definition, Env, Law, Network, Partial, Symbol, TypeRef, freeze
from specc.source import Span
from specc.syntax import tree

Shapes = dict[str, tuple[tuple[int, ...], tuple[Any, ...]]]  # of a layer's parameters, and how they start


def call(ev: Evaluator, net: Network, args: list[Any], kwargs: dict[str, Any], frame: Frame, span: Span, node: object) -> Any:
    """A call of one of the model's own networks, with the conditions that it names."""
    if frame.kind == "function" or frame.entry is None:
        raise Captures
    entry = frame.entry
    definition = net.partial.definition
    named = dict(kwargs)
    if net.conditioned:
        for name, condition in conditions_for(definition, entry, len(args)):
            named.setdefault(name, _condition_value(ev, condition, frame, span))
    args, named = _by_head(net, args, named, span)
    inputs, statics = _separate(ev, net.partial, args, named, frame, span, whole=True)
    batched = tuple(
        ev.spread(lift(v, frame, span, None if _is_int(v) else DType.FLOAT), frame, span) for v in inputs if v is not None
    )
    given = tuple(v is not None for v in inputs)
    function = _function(ev, net.partial, statics, given, batched, span, promise=_promised(ev, net, frame))
    types = tuple(r.type for r in function.block.results)
    bundle, origin = views.place(ev.through, net.bundle)
    out = frame.builder.add_many(Op.CALL, *batched, function=function.name, bundle=bundle, lanes=1, types=types, span=span)
    if origin is not None:
        _borrow(ev, bundle, origin, span)
    if origin is None or origin.bundles.kind == "copy":
        ev.networks[bundle] = net
    return out[0] if len(out) == 1 else out


def _by_head(net: Network, args: list[Any], named: dict[str, Any], span: Span) -> tuple[list[Any], dict[str, Any]]:
    """Arguments as the head of a network's section names them: to the inputs of these names, the others in order."""
    if len(args) > len(net.inputs) > 0:
        fail("E0206", span, f"`{net.bundle}` takes {len(net.inputs)} arguments, not {len(args)}")
    known = {a.name for a in net.partial.definition.inputs}
    by_name = {name: value for name, value in zip(net.inputs, args, strict=False) if name in known}
    rest = [value for i, value in enumerate(args) if i >= len(net.inputs) or net.inputs[i] not in known]
    return rest, named | by_name


def _promised(ev: Evaluator, net: Network, frame: Frame) -> TypeRef | None:
    """What a section says that its network gives: `network G(z) -> like(x) = ...`; a backbone of indices gives logits of x."""
    if net.promise is not None:
        kind = ev.expr(net.promise, net.env or ev.world, frame)
        return kind if isinstance(kind, TypeRef) else fail("E0304", net.promise.span, f"{describe(kind)} is not a type")
    assert frame.entry is not None
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


def call_part(
    ev: Evaluator, partial: Partial, args: list[Any], kwargs: dict[str, Any], frame: Frame, span: Span, node: object
) -> Any:
    """A call of a network's definition: inside another network, with parameters of its own, or, without any, anywhere."""
    inputs, statics = _separate(ev, partial, args, kwargs, frame, span)
    definition = partial.definition
    if not any(isinstance(v, Value) for v in inputs) and definition.inputs:
        return dataclasses.replace(partial, args=(*partial.args, *args), kwargs=(*partial.kwargs, *kwargs.items()), span=span)
    if frame.kind != "network":
        return _inline(ev, partial, statics, inputs, frame, span)
    values = tuple(lift(v, frame, span) for v in inputs if v is not None)
    given = tuple(v is not None for v in inputs)
    function = _function(ev, partial, statics, given, values, span)
    stem = frame.stem(definition.name, node)
    types = tuple(r.type for r in function.block.results)
    out = frame.builder.add_many(Op.CALL, *values, function=function.name, bundle=stem, lanes=1, types=types, span=span)
    return out[0] if len(out) == 1 else out


def _separate(
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
    parent = partial.env if partial.env is not None and not definition.library else ev.builtins
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
            spaces.match(a.type, value, dims, f"`{a.name}` of `{definition.name}`", span, statics.names)
    scope.names.update(dims)
    return scope


def _inline(ev: Evaluator, partial: Partial, statics: Env, inputs: list[Any], frame: Frame, span: Span) -> Any:
    scope = _scope(ev, partial.definition, statics, inputs, span)
    if partial.definition.body is None:
        fail("E0209", partial.definition.section.span, f"`{partial.definition.name}` has no body", help="define it: `{ ... }`")
    return ev.body(partial.definition.body, scope, frame)


def _function(
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
    frame = Frame(builder=Builder(ev.ids), kind="network", floor=max(ev.ids.last, 1), span=definition.section.span)
    inner: list[Any] = []
    rest = iter(zip(values, classes, strict=True))
    for a, present in zip(definition.inputs, given, strict=True):
        if not present:
            inner.append(None)
            continue
        value, many = next(rest)
        param = frame.builder.param(value.type, a.name)
        if many is not None:
            ev.classes[param.id] = many
        inner.append(param)
    frame.stems[""] = 0
    try:
        scope = _scope(ev, definition, statics, inner, span)
        scope.names["result"] = promise or _usual_result(ev, inner)
        result = ev.body(definition.body, scope, frame)
        if result is None or result == ():
            fail("E0209", definition.section.span, f"`{definition.name}` returns nothing", help="end it with `return`")
        results = tuple(lift(r, frame, span) for r in (result if isinstance(result, tuple) else (result,)))
        _check_result(definition, scope, results, span)
        _keep_promise(definition, promise, results, span)
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
    shown = ", ".join(f"{a.name} = {_show(statics.names[a.name])}" for a in definition.params if a.name)
    made = Function(
        name=name,
        kind="network",
        block=frame.builder.block(*results),
        doc=f"{definition.kind} {definition.name}({shown})",
        span=span,
    )
    ev.functions[name] = made
    ev.memo[key] = made
    return made


def _show(value: Any) -> str:
    match value:
        case TypeRef():
            return f"{value.kind}{shown(value.type.shape)}" if value.type.shape else value.kind
        case Partial():
            return value.definition.name
        case Builtin():
            return value.name
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case _:
            return str(value)


def _check_result(definition: Definition, scope: Env, results: tuple[Value, ...], span: Span) -> None:
    wanted = definition.result
    if isinstance(wanted, tree.Call) and isinstance(wanted.func, tree.Name) and wanted.func.id == "like":
        like = scope.names.get(wanted.args[0].value.id) if isinstance(wanted.args[0].value, tree.Name) else None
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


def _keep_promise(definition: Definition, promise: TypeRef | None, results: tuple[Value, ...], span: Span) -> None:
    if promise is not None and results[0].type.shape != promise.type.shape:
        message = f"`{definition.name}` gives shape {shown(results[0].type.shape)}, and {shown(promise.type.shape)} is needed"
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
    kind = ev.expr(item.type, env, frame)
    if not isinstance(kind, TypeRef):
        fail("E0304", item.type.span, f"{describe(kind)} is not a type")
    init = ("zeros",) if not item.values else initial(ev.expr(item.values[0], env, frame, symbols=True), item.values[0].span)
    path = frame.stem(item.head.id)
    env.names[item.head.id] = add(frame, item.span, Op.PARAM, path=path, shape=kind.type.shape, init=init)


def initial(value: Any, span: Span) -> tuple[Any, ...]:
    """Starting values as the IR writes them."""
    match value:
        case Symbol(id="zeros" | "ones" as word):
            return (word,)
        case Builtin(name="zeros" | "ones" as word):
            return (word,)
        case bool():
            pass
        case int() | float():
            return ("zeros",) if value == 0 else ("ones",) if value == 1 else ("constant", float(value))
        case Law(name=name) if name.startswith(("normal ", "uniform ")):
            kind, number = name.split(" ")
            return (kind, float(number))
        case _:
            pass
    return fail(
        "E0304",
        span,
        f"{describe(value)} is not a start for parameters",
        help="say `zeros`, `ones`, a number or `normal(0.02)`",
    )


# Layers --------------------------------------------------------------------------------------------------------------


def weights(ev: Evaluator, frame: Frame, span: Span, kind: str, shapes: Shapes) -> list[Value]:
    """The parameters of a layer, under one stem."""
    if frame.kind != "network":
        fail(
            "E0309",
            span,
            f"`{kind}` has parameters: it belongs in a network",
            help="write `network NAME(z) -> ... { ... }` and call that",
        )
    stem = frame.stem(kind, ev.node)
    return [add(frame, span, Op.PARAM, path=f"{stem}.{name}", shape=shape, init=init) for name, (shape, init) in shapes.items()]


def _options(name: str, kwargs: dict[str, Any], span: Span, **defaults: Any) -> dict[str, Any]:
    for key in kwargs:
        if key not in defaults:
            fail("E0205", span, f"`{name}` has no knob `{key}`", help=did_you_mean(key, defaults))
    return defaults | kwargs


def _count(value: Any, what: str, span: Span) -> int:
    if isinstance(known(value), bool) or not isinstance(value, int):
        fail("E0305", span, f"{what} is an integer known while compiling, not {describe(value)}")
    if value < 1:
        fail("E0601", span, f"{what} is {value}; it must be 1 or more")
    return value


def _starts(init: Any, fan_in: int, span: Span) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """How weight and bias start: PyTorch's default for linear and convolutional layers unless the spec says otherwise."""
    if init is None:
        bound = ("uniform", 1 / math.sqrt(fan_in))
        return bound, bound
    return initial(init, span), ("zeros",)


def linear(ev: Evaluator, frame: Frame, span: Span, args: list[Any], kwargs: dict[str, Any]) -> Value:
    """linear(x, n, bias = true, init = none): x (..., d) to (..., n)."""
    o = _options("linear", kwargs, span, bias=True, init=None)
    x = _tensor("linear", args, 2, span, frame)
    n = _count(args[1], "the width of `linear`", span)
    if not x.type.shape:
        x = add(frame, span, Op.RESHAPE, x, shape=(1,))
    d = x.type.shape[-1]
    assert isinstance(d, int)
    weight, bias = _starts(o["init"], d, span)
    shapes: Shapes = {"weight": ((n, d), weight)}
    if o["bias"]:
        shapes["bias"] = ((n,), bias)
    return add(frame, span, Op.LINEAR, x, *weights(ev, frame, span, "linear", shapes))


def conv(ev: Evaluator, frame: Frame, span: Span, args: list[Any], kwargs: dict[str, Any]) -> Value:
    """conv(x, n, kernel = 3, stride = 1, padding = kernel // 2, dilation = 1, groups = 1, bias = true, init = none)."""
    o = _options("conv", kwargs, span, kernel=3, stride=1, padding=None, dilation=1, groups=1, bias=True, init=None)
    x = _tensor("conv", args, 2, span, frame)
    n = _count(args[1], "the number of channels of `conv`", span)
    spatial = x.type.rank - 1
    if spatial < 1:
        fail("E0301", span, f"`conv` needs channels and at least one dimension, not shape {shown(x.type.shape)}")
    k, groups = _count(o["kernel"], "the kernel", span), _count(o["groups"], "`groups`", span)
    padding = o["dilation"] * (k - 1) // 2 if o["padding"] is None else o["padding"]
    channels = x.type.shape[0]
    assert isinstance(channels, int)
    if channels % groups or n % groups:
        fail("E0301", span, f"{groups} groups do not divide {channels} and {n} channels")
    weight, bias = _starts(o["init"], channels // groups * k**spatial, span)
    shapes = {"weight": ((n, channels // groups, *[k] * spatial), weight)} | ({"bias": ((n,), bias)} if o["bias"] else {})
    made = weights(ev, frame, span, "conv", shapes)
    return add(frame, span, Op.CONV, x, *made, stride=o["stride"], padding=padding, dilation=o["dilation"], groups=groups)


def embedding(ev: Evaluator, frame: Frame, span: Span, args: list[Any], kwargs: dict[str, Any]) -> Value:
    """embedding(y, n): a learnt vector for each class, the null one included; a vector condition goes through `linear`."""
    o = _options("embedding", kwargs, span, count=None, init=None)
    y = _tensor("embedding", args, 2, span, frame)
    n = _count(args[1], "the width of `embedding`", span)
    if y.type.dtype is not DType.INT:
        return linear(ev, frame, span, args, {})
    count = o["count"] or ev.classes.get(y.id)
    if count is None:
        fail("E0304", span, "how many classes there are is not known here", help="say `count = ...`")
    init = ("normal", 1.0) if o["init"] is None else initial(o["init"], span)
    (table,) = weights(ev, frame, span, "embedding", {"weight": ((count, n), init)})
    return add(frame, span, Op.TAKE, table, y, axis=0)


def _norm(kind: str, op: Op) -> Any:
    def layer(ev: Evaluator, frame: Frame, span: Span, args: list[Any], kwargs: dict[str, Any]) -> Value:
        o = _options(
            kind,
            kwargs,
            span,
            affine=True,
            eps=1e-5 if op is not Op.RMSNORM else 1e-6,
            **({"groups": 8} if op is Op.GROUPNORM else {}),
        )
        x = _tensor(kind, args, 1, span, frame)
        n = x.type.shape[0] if op is Op.GROUPNORM else x.type.shape[-1]
        assert isinstance(n, int)
        shapes: Shapes = {"weight": ((n,), ("ones",))}
        if op is not Op.RMSNORM:
            shapes["bias"] = ((n,), ("zeros",))
        made = weights(ev, frame, span, kind, shapes) if o["affine"] else []
        extra = {"groups": o["groups"], "spatial": x.type.rank - 1} if op is Op.GROUPNORM else {}
        return add(frame, span, op, x, *made, eps=o["eps"], **extra)

    return layer


def _tensor(name: str, args: list[Any], count: int, span: Span, frame: Frame) -> Value:
    if len(args) != count:
        fail("E0206", span, f"`{name}` takes {count} arguments, not {len(args)}")
    return lift(args[0], frame, span)


LAYERS = {
    "linear": linear,
    "conv": conv,
    "embedding": embedding,
    "layernorm": _norm("layernorm", Op.LAYERNORM),
    "groupnorm": _norm("groupnorm", Op.GROUPNORM),
    "rmsnorm": _norm("rmsnorm", Op.RMSNORM),
}
