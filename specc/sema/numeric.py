"""Functions of numbers: one by one, over the axes of an array, along one of them; and what is composed of these."""

from __future__ import annotations

import math
from typing import Any

from specc.ir.ops import Op
from specc.ir.program import Value
from specc.ir.types import DType
from specc.sema.arguments import Args, Knobs, exactly
from specc.sema.arithmetic import add, binary, describe, lift, shown, where
from specc.sema.evaluate import Evaluator
from specc.sema.frame import Frame
from specc.sema.report import fail
from specc.sema.shaping import axis_of, expand, ints
from specc.source import Span

UNARY: dict[str, tuple[Op, Any]] = {
    "abs": (Op.ABS, abs),
    "sign": (Op.SIGN, lambda x: (x > 0) - (x < 0)),
    "exp": (Op.EXP, math.exp),
    "expm1": (Op.EXPM1, math.expm1),
    "log": (Op.LOG, math.log),
    "log1p": (Op.LOG1P, math.log1p),
    "sqrt": (Op.SQRT, math.sqrt),
    "sin": (Op.SIN, math.sin),
    "cos": (Op.COS, math.cos),
    "tan": (Op.TAN, math.tan),
    "asin": (Op.ASIN, math.asin),
    "acos": (Op.ACOS, math.acos),
    "atan": (Op.ATAN, math.atan),
    "tanh": (Op.TANH, math.tanh),
    "sigmoid": (Op.SIGMOID, lambda x: 1 / (1 + math.exp(-x)) if x > -700 else 0.0),
    "softplus": (Op.SOFTPLUS, lambda x: max(x, 0.0) + math.log1p(math.exp(-abs(x)))),
    "erf": (Op.ERF, math.erf),
    "erfinv": (Op.ERFINV, None),
    "lgamma": (Op.LGAMMA, math.lgamma),
    "floor": (Op.FLOOR, math.floor),
    "ceil": (Op.CEIL, math.ceil),
    "round": (Op.ROUND, round),
    "silu": (Op.SILU, None),
    "gelu": (Op.GELU, None),
    "relu": (Op.RELU, None),
}
REDUCTIONS = {"sum": Op.SUM, "mean": Op.MEAN, "prod": Op.PROD, "amax": Op.AMAX, "amin": Op.AMIN, "logsumexp": Op.LOGSUMEXP}
ALONG = {"softmax": Op.SOFTMAX, "cumsum": Op.CUMSUM, "sort": Op.SORT, "flip": Op.FLIP, "argmax": Op.ARGMAX}
UNSEEN = -1e9  # a score that softmax sends to 0; finite, so that a query that sees nothing gives a mean and no NaN


def unary(name: str) -> Any:
    op, compute = UNARY[name]

    def apply(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Any:
        (x,) = exactly(name, args, kwargs, 1, span)
        if isinstance(x, (int, float)) and not isinstance(x, bool) and compute is not None:
            try:
                return compute(x)
            except (ValueError, OverflowError) as error:
                fail("E0601", span, f"`{name}({x})` does not exist: {error}")
        return add(frame, span, op, lift(x, frame, span, DType.FLOAT if op not in (Op.ABS, Op.SIGN) else None))

    return apply


def reduction(name: str) -> Any:
    def apply(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Any:
        x, axis, like = exactly(name, args, kwargs, 1, span, axis=None, like=None)
        if isinstance(x, (int, float)):
            return x
        v = lift(x, frame, span, DType.FLOAT)
        if like is not None:
            axis = _beyond(v, like, axis, span)
        if not v.type.shape:
            return v
        wanted = (
            list(range(v.type.rank))
            if axis is None
            else [axis_of(a, v.type.rank, span) for a in (axis if isinstance(axis, list) else [axis])]
        )
        return add(frame, span, REDUCTIONS[name], v, axes=tuple(sorted(wanted))) if wanted else v

    return apply


def _beyond(v: Value, like: Any, axis: Any, span: Span) -> list[int]:
    """The trailing axes of a value that another one lacks: `mean(v, like = t)` is a mean for each time of t."""
    shape = like.type.shape if isinstance(like, Value) else ()
    if axis is not None or shape != v.type.shape[: len(shape)]:
        help = "`like = t` takes the mean over the axes after those of t"
        fail(
            "E0302",
            span,
            f"{shown(v.type.shape)} does not begin as {shown(shape)}" if axis is None else "`axis` and `like`",
            help=help,
        )
    return list(range(len(shape), v.type.rank))


def along(name: str) -> Any:
    def apply(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Any:
        x, axis = exactly(name, args, kwargs, 1, span, axis=-1)
        v = lift(x, frame, span)
        place = axis_of(axis, v.type.rank, span)
        out = add(frame, span, ALONG[name], v, axis=place)
        if name == "argmax":
            ev.classes[out.id] = ints([v.type.shape[place]], span)[0]
        return out

    return apply


def pairwise(name: str) -> Any:
    def apply(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Any:
        a, b = exactly(name, args, kwargs, 2, span)
        return binary(name, a, b, frame, span)

    return apply


def _clip(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Any:
    x, low, high = exactly("clip", args, kwargs, 3, span)
    return binary("min", binary("max", x, low, frame, span), high, frame, span)


def _where(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Any:
    test, a, b = exactly("where", args, kwargs, 3, span)
    return where(test, a, b, frame, span)


def _log_softmax(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Any:
    (x,) = exactly("log_softmax", args, kwargs, 1, span)
    v = lift(x, frame, span)
    total = add(frame, span, Op.LOGSUMEXP, v, axes=(v.type.rank - 1,))
    if total.type.shape:
        total = add(frame, span, Op.RESHAPE, total, shape=(*total.type.shape, 1))
        total = add(frame, span, Op.EXPAND, total, shape=v.type.shape)
    return binary("-", v, total, frame, span)


def _cross_entropy(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Any:
    logits, y = exactly("cross_entropy", args, kwargs, 2, span)
    v, last = lift(logits, frame, span), lift(logits, frame, span).type.rank - 1
    if not isinstance(y, Value) or y.type.dtype is not DType.INT or last < 0 or y.type.shape != v.type.shape[:-1]:
        have = f"shapes {shown(v.type.shape)} and {shown(y.type.shape) if isinstance(y, Value) else describe(y)}"
        fail("E0301", span, f"`cross_entropy` takes logits and a class for each place, not {have}")
    chosen = add(frame, span, Op.TAKE, v, y, axis=last, batch=last)
    return binary("-", add(frame, span, Op.LOGSUMEXP, v, axes=(last,)), chosen, frame, span)


def _pick(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Any:
    """pick(v, y): along the last axis of v, at each place the item that y names there."""
    x, y = exactly("pick", args, kwargs, 2, span)
    v, at = lift(x, frame, span), lift(y, frame, span)
    if at.type.dtype is not DType.INT or v.type.rank < 1 or at.type.shape != v.type.shape[:-1]:
        fail("E0301", span, f"`pick` takes an index for each place, not {describe(at)} for {describe(v)}")
    return add(frame, span, Op.TAKE, v, at, axis=v.type.rank - 1, batch=at.type.rank)


def _onehot(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Value:
    """onehot(x, k): 1 at the place that x names among k, along a new last axis, else 0."""
    x, k = exactly("onehot", args, kwargs, 2, span)
    v, n = lift(x, frame, span), ints([k], span)[0]
    if v.type.dtype is not DType.INT:
        fail("E0304", span, f"`onehot` is of integers, not of {describe(v)}")
    wide = add(frame, span, Op.RESHAPE, v, shape=(*v.type.shape, 1))
    places = add(frame, span, Op.RESHAPE, add(frame, span, Op.IOTA, n=n), shape=(*(1,) * v.type.rank, n))
    return add(frame, span, Op.CAST, add(frame, span, Op.EQ, wide, places), dtype="float")


def _int(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Any:
    """int(x): x cut towards 0, as an integer; a truth value as 0 or 1."""
    (x,) = exactly("int", args, kwargs, 1, span)
    return int(x) if isinstance(x, (bool, int, float)) else add(frame, span, Op.CAST, lift(x, frame, span), dtype="int")


def _interpolate(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Value:
    """interpolate(table, u): the table (n) at a real index u, linear between entries, held at the ends."""
    table, u = exactly("interpolate", args, kwargs, 2, span)
    v = lift(table, frame, span)
    last = v.type.shape[0] if v.type.rank == 1 else None
    if not isinstance(last, int) or last < 2:
        fail("E0301", span, f"a table is a vector of two numbers or more, not of shape {shown(v.type.shape)}")
    at = lift(_clip(ev, frame, span, [u, 0.0, float(last - 1)], {}), frame, span, DType.FLOAT)
    low = add(frame, span, Op.FLOOR, _clip(ev, frame, span, [at, 0.0, float(last - 2)], {}))
    index = add(frame, span, Op.CAST, low, dtype="int")
    left = add(frame, span, Op.TAKE, v, index, axis=0)
    right = add(frame, span, Op.TAKE, v, binary("+", index, 1, frame, span), axis=0)
    share = binary("-", at, low, frame, span)
    rise = binary("*", share, binary("-", right, left, frame, span), frame, span)
    return lift(binary("+", left, rise, frame, span), frame, span)


def _attention(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Value:
    """dot_attention(q, k, v, causal = false, mask = none): q (h, n, d), k, v (h, m, d); mask (m) or (n, m), true where seen."""
    q, k, v, causal, mask = exactly("dot_attention", args, kwargs, 3, span, causal=False, mask=None)
    queries, keys, values = (lift(u, frame, span) for u in (q, k, v))
    if mask is None:
        return add(frame, span, Op.ATTENTION, queries, keys, values, causal=bool(causal))
    if causal:
        fail("E0205", span, "`causal` and `mask` exclude each other", help="put the order into the mask")
    turned = add(frame, span, Op.TRANSPOSE, keys, perm=(*range(keys.type.rank - 2), keys.type.rank - 1, keys.type.rank - 2))
    scores = add(frame, span, Op.MATMUL, queries, turned)
    scores = lift(binary("/", scores, math.sqrt(ints([queries.type.shape[-1]], span)[0]), frame, span), frame, span)
    seen = expand(ev, frame, span, [mask], {"like": scores})
    scores = add(frame, span, Op.WHERE, seen, scores, lift(UNSEEN, frame, span))
    return add(frame, span, Op.MATMUL, add(frame, span, Op.SOFTMAX, scores, axis=scores.type.rank - 1), values)


def _pool(name: str, op: Op, knob: str) -> Any:
    def apply(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Value:
        x, k = exactly(name, args, kwargs, 2, span)
        v = lift(x, frame, span)
        return add(frame, span, op, v, **{knob: ints([k], span)[0]}, spatial=v.type.rank - 1)

    return apply


def _gcd(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> int:
    a, b = ints(exactly("gcd", args, kwargs, 2, span), span)
    return math.gcd(a, b)


NUMERIC: dict[str, Any] = {
    **{name: unary(name) for name in UNARY},
    **{name: reduction(name) for name in REDUCTIONS},
    **{name: along(name) for name in ALONG},
    **{name: pairwise(name) for name in ("min", "max", "mod")},
    "clip": _clip,
    "where": _where,
    "log_softmax": _log_softmax,
    "cross_entropy": _cross_entropy,
    "pick": _pick,
    "int": _int,
    "onehot": _onehot,
    "interpolate": _interpolate,
    "dot_attention": _attention,
    "avg_pool": _pool("avg_pool", Op.AVG_POOL, "window"),
    "upsample": _pool("upsample", Op.RESIZE, "factor"),
    "gcd": _gcd,
}
