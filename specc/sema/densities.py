"""What a law says besides its draws: its density, moments, entropy and divergence.

The equations are definitions of kind `law`, in specs/std/law.spec and wherever an author writes one: `logp(v)` number by
number, `mean`, `std`, `entropy`, `kl(p)`, and `draw(like)` of laws that the language does not draw from itself. Here they
are found, and summed over the axes of one example.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from specc.ir.ops import Op
from specc.ir.program import Value
from specc.ir.types import DType, Type
from specc.record import record
from specc.sema import spaces
from specc.sema.arithmetic import add, binary, describe, lift
from specc.sema.evaluate import Evaluator
from specc.sema.frame import Frame
from specc.sema.report import choices, did_you_mean, fail
from specc.sema.values import Builtin, Instance, Law, Namespace, Partial, TypeRef
from specc.source import Span


@record(eq=False)
class Computed:
    """A member of a law that is made of others, worked out where it is asked for."""

    value: Callable[[Frame, Span], Any]


MOMENTS = ("mean", "std", "entropy")  # a number of a law that bears such a name need not be it


def law(ev: Evaluator, part: Partial, args: list[Any], kwargs: dict[str, Any], frame: Frame, span: Span) -> Law:
    """A law that is defined in the language, with its numbers; `like = v` gives the shape of a draw."""
    named = dict(kwargs)
    like = named.pop("like", None)
    merged = Partial(part.definition, (*part.args, *args), (*part.kwargs, *named.items()), span, part.env)
    instance = ev.instantiate(merged, frame)
    numbers = {p.name: instance.env.names[p.name] for p in part.definition.params if p.name}
    shape = spaces.shaped_like(like, span)[0] if like is not None else _shape(numbers)

    def sample(frame: Frame, span: Span, per_batch: bool) -> Any:
        if "draw" not in instance.members:
            fail(
                "E0521", span, f"`{part.definition.name}` does not say how to draw from it", help="give it `draw(like) { ... }`"
            )
        before, frame.per_batch = frame.per_batch, per_batch or frame.per_batch
        try:
            return ev.call(instance.members["draw"], [TypeRef(Type(DType.FLOAT, shape))], {}, frame, span)
        finally:
            frame.per_batch = before

    return Law(part.definition.name, sample, numbers, shape, density=instance)


def _shape(numbers: dict[str, Any]) -> tuple[Any, ...]:
    return next((v.type.shape for v in numbers.values() if isinstance(v, Value) and v.type.shape), ())


def equations(ev: Evaluator, law: Law, frame: Frame, span: Span) -> Instance | Namespace:
    """The definition that a law's equations stand in."""
    if law.density is not None:
        return law.density
    found = ev.definition("law", law.name)
    if found is None:
        fail(
            "E0521",
            span,
            f"`{law.name}` has no density here",
            help="a law with equations is written `law NAME { logp(v) = ... }`",
        )
    given = tuple((p.name, law.numbers[p.name]) for p in found[0].params if p.name in law.numbers)
    return ev.instantiate(Partial(found[0], (), given, span, found[1]), frame)


def member(ev: Evaluator, law: Law, name: str, frame: Frame, span: Span) -> Any:
    """`q.logp`, `q.mean`, `q.kl`, or a number of the law."""
    match name:
        case "logp":
            return Builtin("logp", lambda ev, frame, span, args, kwargs: logp(ev, law, args, kwargs, frame, span))
        case "kl":
            return Builtin("kl", lambda ev, frame, span, args, kwargs: kl(ev, frame, span, [law, *args], kwargs))
        case "entropy":
            return _whole(_own(ev, law, name, frame, span), law, frame, span)
    return _own(ev, law, name, frame, span)


def _own(ev: Evaluator, law: Law, name: str, frame: Frame, span: Span) -> Any:
    if name in law.numbers and name not in MOMENTS:
        return law.numbers[name]
    found = equations(ev, law, frame, span)
    if name not in found.members:
        known = {*found.members, *(n for n in law.numbers if n not in MOMENTS), "logp"} - {"draw"}
        help = did_you_mean(name, known) or f"it has {choices(known)}"
        fail("E0521", span, f"`{law.name}` has no `{name}` in closed form", help=help)
    given = found.members[name]
    return given.value(frame, span) if isinstance(given, Computed) else ev.settle(given, frame, name)


def logp(ev: Evaluator, law: Law, args: list[Any], kwargs: dict[str, Any], frame: Frame, span: Span) -> Any:
    """q.logp(v, axis = none): the logarithm of the density at v, summed over all axes of an example or those named."""
    axis = kwargs.pop("axis", None)
    if len(args) != 1 or kwargs:
        fail("E0206", span, "`logp` takes the value, and `axis` for the axes that it sums over")
    v = lift(args[0], frame, span)
    if v.type.dtype is DType.BOOL:
        v = add(frame, span, Op.CAST, v, dtype="float")
    each = lift(ev.call(_own(ev, law, "logp", frame, span), [v], {}, frame, span), frame, span)
    if axis == []:
        return each
    return ev.call(ev.builtins.names["sum"], [each], {} if axis is None else {"axis": axis}, frame, span)


def _whole(each: Any, law: Law, frame: Frame, span: Span) -> Any:
    """A quantity of every number of a draw, summed over them; equal ones are counted."""
    if isinstance(each, Value) and each.type.shape:
        return add(frame, span, Op.SUM, each, axes=tuple(range(each.type.rank)))
    return binary("*", math.prod(law.shape), each, frame, span)


def kl(ev: Evaluator, frame: Frame, span: Span, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """kl(q, p): E under q of log q - log p, summed over the axes of an example; in closed form, or an error."""
    if len(args) != 2 or kwargs or not all(isinstance(a, Law) for a in args):
        wrong = next((a for a in args if not isinstance(a, Law)), None)
        help = "name them, as in `q = normal(m, s)`"
        fail("E0304", span, f"`kl` takes two laws{'' if wrong is None else f', not {describe(wrong)}'}", help=help)
    q, p = args
    found = equations(ev, q, frame, span)
    if q.name != p.name or "kl" not in found.members:
        fail(
            "E0522",
            span,
            f"the divergence from `{q.name}` to `{p.name}` has no closed form here",
            help="estimate it: draw `v ~ q`, then `q.logp(v) - p.logp(v)`",
        )
    each = ev.call(found.members["kl"], [p], {}, frame, span)
    wider = q if math.prod(q.shape) >= math.prod(p.shape) else p
    return _whole(each, wider, frame, span)


FUNCTIONS = {"kl": kl}
