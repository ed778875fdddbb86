"""Calls of networks: functions over bundles of parameters. Layers own theirs; what is shared is called by its name."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from specc.ir.ops import Op
from specc.ir.program import Function, Value
from specc.ir.types import EXAMPLE, DType, Type
from specc.sema import rewrites, views
from specc.sema.arithmetic import describe, lift, shown
from specc.sema.bodies import function_for, inline, logits
from specc.sema.evaluate import Evaluator
from specc.sema.frame import Condition, EntryState, Frame
from specc.sema.report import choices, fail
from specc.sema.values import Captures, Definition, Env, Lazy, Network, Partial, TypeRef
from specc.source import Span
from specc.syntax import tree


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
    return logits(ev, x) if net.conditioned else None


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
        return inline(ev, partial, statics, inputs, frame, span)
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
            by_name = choices(key for key in kwargs if key in order)
            help = f"{by_name} goes to the input of that name: say it another way, or give `{a.name}` too" if kwargs else ""
            fail("E0206", span, f"`{definition.name}` needs `{a.name}`", help=help)
    return out, env


def _keep_promise(definition: Definition, promise: TypeRef | None, given: Type, span: Span) -> None:
    if promise is not None and given.shape != promise.type.shape:
        message = f"`{definition.name}` gives shape {shown(given.shape)}, and {shown(promise.type.shape)} is needed"
        fail("E0301", span, message)
