"""Laws: how to draw from them, written with the two primitive draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from specc.ir.ops import Op
from specc.ir.program import Value
from specc.ir.types import EXAMPLE
from specc.sema.arithmetic import add, binary, lift
from specc.sema.evaluate import Evaluator
from specc.sema.frame import Frame
from specc.sema.report import did_you_mean, fail
from specc.sema.spaces import shaped_like
from specc.sema.values import Captures, Law, Symbol, word_of
from specc.source import Span

Sampler = Callable[[Frame, Span, bool], Any]


def primitive(op: Op, shape: tuple[Any, ...], frame: Frame, span: Span, per_batch: bool) -> Value:
    """One place of the text that draws."""
    entry = frame.entry
    if entry is None:
        raise Captures
    per_batch = per_batch or frame.per_batch
    place, entry.place = entry.place, entry.place + 1
    shape = shape or entry.each
    if entry.seed is None:
        axes = () if per_batch else (EXAMPLE,)
        return frame.builder.add(op, shape=shape, place=place, keyed=False, axes=axes, span=span)
    if per_batch:
        fail("E0503", span, f"a {entry.role} draws for each example: one draw `per batch` belongs in a loss")
    return frame.builder.add(op, entry.seed, *frame.indices, shape=shape, place=place, keyed=True, axes=(EXAMPLE,), span=span)


def _shape(like: Any, numbers: list[Any], span: Span) -> tuple[Any, ...]:
    if like is not None:
        return shaped_like(like, span)[0]
    return next((v.type.shape for v in numbers if isinstance(v, Value) and v.type.shape), ())


def _unit(name: str, transform: Callable[[Any, Any, Any, Frame, Span], Any], op: Op, defaults: dict[str, Any]) -> Any:
    """A law that transforms one primitive draw by its two numbers."""

    def make(ev: Evaluator, frame: Frame, span: Span, args: list[Any], kwargs: dict[str, Any]) -> Law:
        given = _arguments(name, args, kwargs, defaults, span)
        like = given.pop("like")
        numbers = list(given.values())

        def sample(frame: Frame, span: Span, per_batch: bool) -> Any:
            unit = primitive(op, _shape(like, numbers, span), frame, span, per_batch)
            return transform(unit, numbers[0], numbers[1] if len(numbers) > 1 else None, frame, span)

        return Law(name, sample, given, _shape(like, numbers, span))

    return make


def _arguments(name: str, args: list[Any], kwargs: dict[str, Any], defaults: dict[str, Any], span: Span) -> dict[str, Any]:
    out = dict(defaults) | {"like": None}
    order = [k for k in defaults]
    if len(args) > len(order):
        fail("E0206", span, f"`{name}` takes at most {len(order)} numbers", help="say `like = v` for the shape")
    out.update(zip(order, args, strict=False))
    for key, value in kwargs.items():
        if key not in out:
            fail("E0205", span, f"`{name}` has no knob `{key}`", help=did_you_mean(key, out))
        out[key] = value
    return out


def _affine(u: Any, mean: Any, std: Any, f: Frame, s: Span) -> Any:
    return binary("+", binary("*", std, u, f, s), mean, f, s)


def _between(u: Any, low: Any, high: Any, f: Frame, s: Span) -> Any:
    return binary("+", binary("*", binary("-", high, low, f, s), u, f, s), low, f, s)


def _exp(v: Any, f: Frame, s: Span) -> Any:
    return add(f, s, Op.EXP, lift(v, f, s))


def _logit(u: Any, f: Frame, s: Span) -> Any:
    rest = binary("-", 1, u, f, s)
    return binary("-", add(f, s, Op.LOG, u), add(f, s, Op.LOG, rest), f, s)


def gumbel(u: Any, f: Frame, s: Span) -> Any:
    inner = add(f, s, Op.NEG, add(f, s, Op.LOG, u))
    return add(f, s, Op.NEG, add(f, s, Op.LOG, inner))


def _fine_gumbel(shape: tuple[Any, ...], frame: Frame, span: Span, per_batch: bool) -> Any:
    """-log(-log(1 - u)) with u = coarse - 2^-25 + 2^-24 fine, 48 bits: exact near 0, where float32 is fine enough."""
    coarse, fine = (primitive(Op.UNIFORM, shape, frame, span, per_batch) for _ in range(2))
    u = binary("+", binary("-", coarse, 2.0**-25, frame, span), binary("*", 2.0**-24, fine, frame, span), frame, span)
    rate = add(frame, span, Op.NEG, add(frame, span, Op.LOG1P, add(frame, span, Op.NEG, u)))
    return add(frame, span, Op.NEG, add(frame, span, Op.LOG, rate))


def _categorical(ev: Evaluator, frame: Frame, span: Span, args: list[Any], kwargs: dict[str, Any]) -> Law:
    """categorical(logits, precision = float32): an index along the last axis by the largest of logits plus Gumbel noise.

    A uniform number of 24 bits ends the noise at 16.6: values rarer than 1e-7 never come, and the others come less often
    than they should where many are drawn. With `precision = float64` a second draw fills in the bits below.
    """
    given = _arguments("categorical", args, kwargs, {"logits": None, "precision": Symbol("float32", span)}, span)
    logits, precision = lift(given["logits"], frame, span), word_of(given["precision"])
    if precision not in ("float32", "float64"):
        fail("E0304", span, "the precision of `categorical` is `float32` or `float64`")

    def sample(frame: Frame, span: Span, per_batch: bool) -> Any:
        noise = gumbel(primitive(Op.UNIFORM, logits.type.shape, frame, span, per_batch), frame, span)
        if precision == "float64":
            noise = _fine_gumbel(logits.type.shape, frame, span, per_batch)
        return add(frame, span, Op.ARGMAX, binary("+", logits, noise, frame, span), axis=-1)

    return Law("categorical", sample, {"logits": logits}, logits.type.shape[:-1], reparameterised=False)


LAWS: dict[str, Any] = {
    "normal": _unit("normal", _affine, Op.NORMAL, {"mean": 0, "std": 1}),
    "uniform": _unit("uniform", _between, Op.UNIFORM, {"low": 0, "high": 1}),
    "lognormal": _unit("lognormal", lambda u, m, s, f, p: _exp(_affine(u, m, s, f, p), f, p), Op.NORMAL, {"mean": 0, "std": 1}),
    "logit_normal": _unit(
        "logit_normal",
        lambda u, m, s, f, p: add(f, p, Op.SIGMOID, lift(_affine(u, m, s, f, p), f, p)),
        Op.NORMAL,
        {"mean": 0, "std": 1},
    ),
    "logistic": _unit(
        "logistic", lambda u, m, s, f, p: _affine(_logit(u, f, p), m, s, f, p), Op.UNIFORM, {"mean": 0, "scale": 1}
    ),
    "gumbel": _unit("gumbel", lambda u, m, s, f, p: _affine(gumbel(u, f, p), m, s, f, p), Op.UNIFORM, {"mean": 0, "scale": 1}),
    "bernoulli": _unit("bernoulli", lambda u, p, _, f, s: binary("<", u, p, f, s), Op.UNIFORM, {"p": 0.5}),
    "rademacher": _unit(
        "rademacher",
        lambda u, c, _, f, s: add(f, s, Op.SIGN, binary("-", u, c, f, s)),
        Op.UNIFORM,
        {"centre": 0.5},
    ),
    "categorical": _categorical,
}
