"""The two directions of one of the model's bijections where an entry uses them, and the space that it leads to."""

from __future__ import annotations

from typing import Any

from specc.ir.program import Builder, Function, Value
from specc.ir.types import EXAMPLE, DType, Type
from specc.sema import bijections
from specc.sema.arithmetic import lift, shown
from specc.sema.bodies import function_for
from specc.sema.evaluate import Evaluator
from specc.sema.frame import Frame
from specc.sema.networks import call_over, separate, spread_over
from specc.sema.report import choices, did_you_mean, fail
from specc.sema.values import Builtin, Captures, Network, Partial, TypeRef
from specc.source import Span


def towards(ev: Evaluator, net: Network | Partial, way: str, frame: Frame, span: Span) -> Any:
    """`f.forward` and `f.inverse` of a bijection f, as functions, and `f.space`, the type of z."""

    def forward(ev: Evaluator, frame: Frame, span: Span, args: list[Any], kwargs: dict[str, Any]) -> Any:
        return ev.call(net, args, kwargs, frame, span)

    def inverse(ev: Evaluator, frame: Frame, span: Span, args: list[Any], kwargs: dict[str, Any]) -> Any:
        return _back(ev, _named(net, span), args, kwargs, frame, span)

    if way == "space":
        z = _there(ev, _named(net, span), [], {}, frame, span)[0].block.results[0].type
        return TypeRef(Type(z.dtype, z.shape))
    ways = {"forward": forward, "inverse": inverse}
    if way not in ways:
        known = (*ways, "space")
        fail("E0201", span, f"a bijection has no `{way}`", help=did_you_mean(way, known) or f"it has {choices(known)}")
    return Builtin(way, ways[way])


def _named(net: Network | Partial, span: Span) -> Network:
    if not isinstance(net, Network):
        fail("E0309", span, "the parameters of this bijection are not known here", help="give it a name: `bijection f = ...`")
    return net


def _there(
    ev: Evaluator, net: Network, others: list[Any], kwargs: dict[str, Any], frame: Frame, span: Span
) -> tuple[Function, tuple[Value, ...]]:
    """The forward function of one of the model's bijections, and what it is given beside x, from the second one on."""
    if frame.entry is None:
        raise Captures
    x = ev.types.get(net.bundle)
    if x is None:
        fail("E0304", span, f"what `{net.bundle}` maps is not known", help="say so: `bijection f(x: vector(2)) = ...`")
    probe = Builder(ev.ids).param(Type(x.type.dtype, x.type.shape, frozenset({EXAMPLE})), "x")
    inputs, statics = separate(ev, net.partial, [probe, *others], kwargs, frame, span, whole=True)
    given = tuple(v is not None for v in inputs)
    spread = spread_over(ev, inputs, frame, span)
    return function_for(ev, net.partial, statics, given, spread, span), spread


def _back(ev: Evaluator, net: Network, args: list[Any], kwargs: dict[str, Any], frame: Frame, span: Span) -> Any:
    """The inverse of one of the model's bijections at z, over the parameters of its forward direction."""
    if not args:
        fail("E0206", span, "the inverse needs z")
    function, given = _there(ev, net, args[1:], kwargs, frame, span)
    back = bijections.inverse_of(ev, function.name, span)
    assert back is not None
    wanted = function.block.results[0].type
    start = ev.spread(lift(args[0], frame, span, DType.FLOAT), frame, span)
    if start.type != wanted:
        fail("E0301", span, f"z has shape {shown(start.type.shape)}, and `{net.bundle}` gives {shown(wanted.shape)}")
    values = (start, *(given[k] for k in back.others))
    return call_over(ev, net, back.function, values, frame, span)[0]
