"""Functions that the compiler knows: one table, each row a few lines over the ops."""

from __future__ import annotations

import itertools
import math
from typing import Any

from specc.ir.ops import Op
from specc.ir.program import Value
from specc.ir.types import EXAMPLE, DType, Type
from specc.sema import densities, mixtures, parts, spaces
from specc.sema.arguments import Args, Knobs, exactly
from specc.sema.arithmetic import add, binary, describe, known, lift, shown, where
from specc.sema.calculus import DERIVATIVES
from specc.sema.evaluate import Evaluator
from specc.sema.frame import Frame
from specc.sema.laws import LAWS
from specc.sema.layers import LAYERS
from specc.sema.matrices import MATRICES
from specc.sema.networks import index_count
from specc.sema.padding import padded
from specc.sema.report import choices, did_you_mean, fail
from specc.sema.rewrites import tap
from specc.sema.values import (
    Builtin,
    Captures,
    Clock,
    Closure,
    Dynamic,
    Env,
    Marker,
    Namespace,
    Pairs,
    Partial,
    Symbol,
    TypeRef,
    word_of,
)
from specc.sema.views import ema, of_parent
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
CHANNEL_AXES = {"channel": 0, "row": -2, "column": -1, "place": 0, "feature": -1}
REDUCTIONS = {"sum": Op.SUM, "mean": Op.MEAN, "prod": Op.PROD, "amax": Op.AMAX, "amin": Op.AMIN, "logsumexp": Op.LOGSUMEXP}
ALONG = {"softmax": Op.SOFTMAX, "cumsum": Op.CUMSUM, "sort": Op.SORT, "flip": Op.FLIP, "argmax": Op.ARGMAX}
UNSEEN = -1e9  # a score that softmax sends to 0; finite, so that a query that sees nothing gives a mean and no NaN
SOLVERS = ("exact", "stable")
COSTS = ("sqdist", "dist")


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


def axis_of(value: Any, rank: int, span: Span) -> int:
    number = CHANNEL_AXES.get(value.id) if isinstance(value, Symbol) else value
    if isinstance(number, bool) or not isinstance(number, int):
        fail("E0303", span, f"{describe(value)} is not an axis", help=f"axes are numbers from 0, or {choices(CHANNEL_AXES)}")
    if not -rank <= number < rank:
        fail("E0303", span, f"a value of {rank} dimensions has no axis {number}")
    return number % rank


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
            ev.classes[out.id] = _ints([v.type.shape[place]], span)[0]
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
    v, n = lift(x, frame, span), _ints([k], span)[0]
    if v.type.dtype is not DType.INT:
        fail("E0304", span, f"`onehot` is of integers, not of {describe(v)}")
    wide = add(frame, span, Op.RESHAPE, v, shape=(*v.type.shape, 1))
    places = add(frame, span, Op.RESHAPE, add(frame, span, Op.IOTA, n=n), shape=(*(1,) * v.type.rank, n))
    return add(frame, span, Op.CAST, add(frame, span, Op.EQ, wide, places), dtype="float")


def _int(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Any:
    """int(x): x cut towards 0, as an integer; a truth value as 0 or 1."""
    (x,) = exactly("int", args, kwargs, 1, span)
    return int(x) if isinstance(x, (bool, int, float)) else add(frame, span, Op.CAST, lift(x, frame, span), dtype="int")


def _ints(values: Args, span: Span) -> tuple[int, ...]:
    for v in values:
        if isinstance(known(v), bool) or not isinstance(v, int):
            fail("E0305", span, f"sizes are integers known while compiling, not {describe(v)}")
    return tuple(values)


def _reshape(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Value:
    exactly("reshape", args[:1], kwargs, 1, span)
    return add(frame, span, Op.RESHAPE, lift(args[0], frame, span), shape=_ints(args[1:], span))


def _reshape_like(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Value:
    x, like = exactly("reshape_like", args, kwargs, 2, span)
    v = lift(x, frame, span)
    shape = spaces.shaped_like(like, span)[0]
    return v if v.type.shape == shape else add(frame, span, Op.RESHAPE, v, shape=shape)


def _flatten(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Value:
    (x,) = exactly("flatten", args, kwargs, 1, span)
    v = lift(x, frame, span)
    return v if v.type.rank == 1 else add(frame, span, Op.RESHAPE, v, shape=(math.prod(_ints(list(v.type.shape), span)),))


def _size(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> int:
    """size(v): how many elements; of a list, how many items."""
    (x,) = exactly("size", args, kwargs, 1, span)
    if isinstance(x, (list, range)):
        return len(x)
    return math.prod(_ints(list(spaces.shaped_like(x, span)[0]), span))


def _dim(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Any:
    x, axis = exactly("dim", args, kwargs, 2, span)
    shape = spaces.shaped_like(x, span)[0]
    return shape[axis_of(axis, len(shape), span)]


def _rank(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> int:
    """rank(v): how many dimensions one example has."""
    (x,) = exactly("rank", args, kwargs, 1, span)
    return len(spaces.shaped_like(x, span)[0])


def _classes(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> int | None:
    """classes(v): how many indices a value of integers may hold, the null one included; none for real values."""
    (x,) = exactly("classes", args, kwargs, 1, span)
    return index_count(ev, x)


def _transpose(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Value:
    exactly("transpose", args[:1], kwargs, 1, span)
    v = lift(args[0], frame, span)
    perm = _ints(args[1:], span) or tuple(reversed(range(v.type.rank)))
    return add(frame, span, Op.TRANSPOSE, v, perm=perm)


def _expand(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Value:
    """expand(v, like = w, axis = none): v repeated along the axes of w that it lacks: the leading ones, or those named."""
    x, like, axis = exactly("expand", args, kwargs, 1, span, like=None, axis=None)
    if like is None:
        fail("E0206", span, "`expand` needs `like = ...`")
    v = lift(x, frame, span)
    shape = spaces.shaped_like(like, span)[0]
    missing = len(shape) - v.type.rank
    new = (
        list(range(missing))
        if axis is None
        else [axis_of(a, len(shape), span) for a in (axis if isinstance(axis, list) else [axis])]
    )
    rest = iter(v.type.shape)
    with_ones = tuple(1 if i in new else next(rest, None) for i in range(len(shape)))
    if len(new) != missing or any(o not in (1, d) for o, d in zip(with_ones, shape, strict=True)):
        message = f"shape {shown(v.type.shape)} does not expand to {shown(shape)}"
        fail("E0302", span, message, help="`axis = ...` names the new axes, as in `expand(v, like = w, axis = [1, 2])`")
    if with_ones != v.type.shape:
        v = add(frame, span, Op.RESHAPE, v, shape=with_ones)
    return add(frame, span, Op.EXPAND, v, shape=shape)


def _concat(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Value:
    (axis,) = exactly("concat", [], kwargs, 0, span, axis=0)
    parts = args[0] if len(args) == 1 and isinstance(args[0], (list, tuple)) else args
    values = [lift(p, frame, span) for p in parts]
    if not values:
        fail("E0206", span, "`concat` needs at least one value")
    return add(frame, span, Op.CONCAT, *values, axis=axis_of(axis, values[0].type.rank, span))


def _split(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> tuple[Value, ...]:
    x, n, axis = exactly("split", args, kwargs, 2, span, axis=-1)
    v = lift(x, frame, span)
    a = axis_of(axis, v.type.rank, span)
    total = v.type.shape[a]
    if isinstance(n, list):
        return _parts(v, a, _ints(n, span), frame, span)
    if not isinstance(n, int) or not isinstance(total, int) or n < 1 or total % n:
        fail("E0301", span, f"{total} does not split into {n if isinstance(n, int) else describe(n)} equal parts")
    each = total // n
    return tuple(add(frame, span, Op.SLICE, v, axis=a, start=i * each, stop=(i + 1) * each, step=1) for i in range(n))


def _pad(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Value:
    """pad(v, before, after, axis = -1, mode = zeros): also `reflect`, `circular` or `edge`."""
    x, before, after, axis, mode = exactly("pad", args, kwargs, 3, span, axis=-1, mode=Symbol("zeros", span))
    v = lift(x, frame, span)
    low, high = _ints([before, after], span)
    if low < 0 or high < 0:
        fail("E0601", span, f"padding by {min(low, high)} makes no sense", help="take a slice to make a value shorter")
    return padded(v, axis_of(axis, v.type.rank, span), low, high, mode, frame, span)


def _put(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Any:
    """put(v, i, e): v with e in place of its item i, along the first axis; i may be known only when the program runs."""
    x, i, e = exactly("put", args, kwargs, 3, span)
    v, item = lift(x, frame, span), lift(e, frame, span)
    if v.type.rank < 1 or v.type.shape[1:] != item.type.shape:
        fail("E0301", span, f"an item of shape {shown(item.type.shape)} does not fit {shown(v.type.shape)}")
    (n,) = _ints([v.type.shape[0]], span)
    here = binary("==", add(frame, span, Op.IOTA, n=n), i, frame, span)
    if v.type.rank > 1:
        here = add(frame, span, Op.RESHAPE, here, shape=(n, *(1,) * item.type.rank))
        item = add(frame, span, Op.RESHAPE, item, shape=(1, *item.type.shape))
    return add(frame, span, Op.WHERE, here, item, v)


def _parts(v: Value, axis: int, sizes: tuple[int, ...], frame: Frame, span: Span) -> tuple[Value, ...]:
    """Parts of these sizes, in order; one of size 0 is nothing, and left out."""
    if sum(sizes) != v.type.shape[axis] or min(sizes) < 0:
        fail("E0301", span, f"{v.type.shape[axis]} does not split into parts of {', '.join(map(str, sizes))}")
    out, start = [], 0
    for size in sizes:
        if size == v.type.shape[axis]:
            out.append(v)
        elif size:
            out.append(add(frame, span, Op.SLICE, v, axis=axis, start=start, stop=start + size, step=1))
        start += size
    return tuple(out)


def _filled(number: float | None) -> Any:
    def apply(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Any:
        name = "fill" if number is None else "ones" if number else "zeros"
        (like,) = exactly(name, [], kwargs, 0, span, like=None)
        if number is None and not args:
            fail("E0206", span, "`fill` takes the number, then the sizes or `like = ...`")
        value = number if number is not None else args[0]
        sizes = args if number is not None else args[1:]
        shape, kind = spaces.shaped_like(like, span) if like is not None else (_ints(sizes, span), DType.FLOAT)
        if isinstance(known(value), (int, float)):
            whole = kind is DType.INT and (isinstance(value, int) or value in (0.0, 1.0))
            return add(
                frame,
                span,
                Op.CONST,
                value=int(value) if whole else float(value),
                shape=shape,
                dtype="int" if whole else "float",
            )
        filling = lift(value, frame, span, None if kind is DType.INT else DType.FLOAT)
        if not shape:
            return filling
        return add(frame, span, Op.EXPAND, add(frame, span, Op.RESHAPE, filling, shape=(1,) * len(shape)), shape=shape)

    return apply


def _iota(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Value:
    (n,) = exactly("iota", args, kwargs, 1, span)
    if _ints([n], span)[0] < 1:
        fail("E0601", span, f"`iota({n})` is empty", help="`iota(n)` counts from 0 to n - 1, for an n of 1 or more")
    out = add(frame, span, Op.IOTA, n=n)
    ev.classes[out.id] = n
    return out


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
    scores = lift(binary("/", scores, math.sqrt(_ints([queries.type.shape[-1]], span)[0]), frame, span), frame, span)
    seen = _expand(ev, frame, span, [mask], {"like": scores})
    scores = add(frame, span, Op.WHERE, seen, scores, lift(UNSEEN, frame, span))
    return add(frame, span, Op.MATMUL, add(frame, span, Op.SOFTMAX, scores, axis=scores.type.rank - 1), values)


def _pool(name: str, op: Op, knob: str) -> Any:
    def apply(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Value:
        x, k = exactly(name, args, kwargs, 2, span)
        v = lift(x, frame, span)
        return add(frame, span, op, v, **{knob: _ints([k], span)[0]}, spatial=v.type.rank - 1)

    return apply


def _pairs(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Pairs | TypeRef:
    if len(args) == 1 and isinstance(args[0], list) and len(args[0]) > 1:
        return _rows(lift(args[0], frame, span), len(args[0]))
    if len(args) == 1:  # the space of that name
        return spaces.space("pairs", args, span)
    f, n = exactly("pairs", args, kwargs, 2, span)
    if isinstance(n, float) and n.is_integer():
        n = int(n)
    if not isinstance(n, (int, Value)) or isinstance(n, bool) or (isinstance(n, Value) and n.type.shape):
        fail("E0305", span, f"the number of steps is an integer, not {describe(n)}")
    if isinstance(n, int) and n < 1:
        fail("E0601", span, f"{n} steps make no sampler", help="take 1 step or more")
    return Pairs(f, n)


def _rows(rows: Value, count: int) -> Pairs:
    """pairs([a, b, c]): a and b, then b and c: times, or rows of times for each element."""

    def place(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Value:
        return add(frame, span, Op.TAKE, rows, lift(args[0], frame, span), axis=0)

    return Pairs(Builtin("rows", place), count - 1)


def _reversed(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Any:
    """reversed(grid(steps)): the same times from data to noise; of a list, its items from last to first."""
    (times,) = exactly("reversed", args, kwargs, 1, span)
    if not isinstance(times, Pairs):
        return list(reversed(ev.static_list(times, span)))

    def place(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Any:
        return ev.call(times.f, [binary("-", times.count, args[0], frame, span)], {}, frame, span)

    return Pairs(Builtin("reversed", place), times.count)


def _input(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Marker:
    (default,) = exactly("input", args, kwargs, 1, span)
    if isinstance(default, bool) or not isinstance(default, (int, float)):
        fail("E0305", span, "`input(...)` takes its default, a number")
    return Marker(default, "")


def _gcd(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> int:
    a, b = _ints(exactly("gcd", args, kwargs, 2, span), span)
    return math.gcd(a, b)


def _member(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> bool:
    """member(i, list): whether a list known while compiling holds i; words are compared by name."""
    i, items = exactly("member", args, kwargs, 2, span)
    return (word_of(i) or i) in [word_of(item) or item for item in ev.static_list(items, span)]


def _range(ev: Evaluator, span: Span) -> tuple[float, float]:
    """The process's range of times."""
    names = ev.world.names
    if "t_min" not in names:
        fail("E0209", span, "there is no range of times here", help="a process says one: `over t in [0, 1]`")
    return names["t_min"], names["t_max"]


def _for_all(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> bool:
    """for_all(t => condition): on 257 times of the process's range, ends included."""
    (f,) = exactly("for_all", args, kwargs, 1, span)
    low, high = _range(ev, span)
    return all(bool(ev.call(f, [low + (high - low) * i / 256], {}, frame, span)) for i in range(257))


def _falls(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> bool:
    """falls(f): whether a function of time falls strictly, on 257 times of the process's range, ends included."""
    (f,) = exactly("falls", args, kwargs, 1, span)
    low, high = _range(ev, span)
    values = [ev.numeric(f, low + (high - low) * i / 256) for i in range(257)]
    return all(b < a for a, b in itertools.pairwise(values))


def _like(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> TypeRef:
    """like(x): the type of x; like(x, copies = n): of n of them with a new first axis."""
    x, copies = exactly("like", args, kwargs, 1, span, copies=None)
    shape, dtype = spaces.shaped_like(x, span)
    if copies is not None:
        return TypeRef(Type(dtype, (*_ints([copies], span), *shape)), "tensor")
    if isinstance(x, TypeRef):
        return x
    return TypeRef(Type(dtype, shape), "tensor", ev.classes.get(x.id) if isinstance(x, Value) else None)


def _batch_cost(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Value:
    a, b, cost = exactly("batch.cost", args, kwargs, 3, span)
    if not isinstance(cost, Symbol) or cost.id not in COSTS:
        fail("E0203", span, "a cost is needed", help=f"costs are {choices(COSTS)}")
    return add(frame, span, Op.BATCH_COST, lift(a, frame, span), lift(b, frame, span), cost=cost.id)


def _batch_assign(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Value:
    """batch.assign(cost, solver = exact, within = none): partners, in groups of `within` consecutive examples when given."""
    cost, solver, within = exactly("batch.assign", args, kwargs, 1, span, solver=Symbol("exact", span), within=None)
    if not isinstance(solver, Symbol) or solver.id not in SOLVERS:
        word = solver.id if isinstance(solver, Symbol) else describe(solver)
        at = solver.span if isinstance(solver, Symbol) else span
        fail("E0203", at, f"there is no solver `{word}`", help=did_you_mean(word, SOLVERS) or f"solvers are {choices(SOLVERS)}")
    if within is not None and (isinstance(within, bool) or not isinstance(within, int) or within < 1):
        fail("E0601", span, f"`within` is the size of a group of examples, 1 or more, not {describe(within)}")
    if frame.kind == "function":
        raise Captures
    index = Type(DType.INT, (), frozenset({EXAMPLE}))
    options = (("solver", solver.id), *((("within", within),) if within is not None else ()))
    return add(frame, span, Op.EXTERN, lift(cost, frame, span), name="assign", options=options, types=(index,))


def _batch(op: Op, count: int = 1) -> Any:
    def apply(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Value:
        values = exactly(op.value, args, kwargs, count, span)
        return add(frame, span, op, *(lift(v, frame, span) for v in values))

    return apply


def _each(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Value:
    """batch.each(v): a shared value, one for each example."""
    (x,) = exactly("batch.each", args, kwargs, 1, span)
    return ev.spread(lift(x, frame, span, DType.FLOAT), frame, span)


def _space(name: str) -> Any:
    def apply(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> TypeRef:
        exactly(name, [], kwargs, 0, span)
        shapes = [spaces.shaped_like(a, span)[0] if isinstance(a, (TypeRef, Value)) else (a,) for a in args]
        return spaces.space(name, [size for shape in shapes for size in shape], span)

    return apply


def _unconditional(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Any:
    raise AssertionError("`unconditional` is evaluated by its call")


def _apply_partial(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Any:
    """grid(steps, spacing): the times of a spacing given by name."""
    steps, spacing = exactly("grid", args, kwargs, 1, span, spacing=None)
    found = (
        spacing
        if isinstance(spacing, (Partial, Closure))
        else ev.definition("grid", spacing.id if isinstance(spacing, Symbol) else "uniform")
    )
    if found is None:
        fail("E0203", span, f"there is no grid `{spacing.id}`")
    target = found if isinstance(found, (Partial, Closure)) else Partial(found[0], span=span, env=found[1])
    return ev.call(target, [steps], {}, frame, span)


FUNCTIONS: dict[str, Any] = {
    **{name: unary(name) for name in UNARY},
    **{name: reduction(name) for name in REDUCTIONS},
    **{name: along(name) for name in ALONG},
    **{name: pairwise(name) for name in ("min", "max", "mod")},
    **LAYERS,
    **DERIVATIVES,
    **LAWS,
    **densities.FUNCTIONS,
    **mixtures.FUNCTIONS,
    **{name: _space(name) for name in spaces.NAMES if name != "scalar"},
    **MATRICES,
    "clip": _clip,
    "where": _where,
    "log_softmax": _log_softmax,
    "cross_entropy": _cross_entropy,
    "pick": _pick,
    "int": _int,
    "onehot": _onehot,
    "reshape": _reshape,
    "reshape_like": _reshape_like,
    "flatten": _flatten,
    "size": _size,
    "dim": _dim,
    "rank": _rank,
    "classes": _classes,
    "transpose": _transpose,
    "expand": _expand,
    "concat": _concat,
    "split": _split,
    "pad": _pad,
    "put": _put,
    "zeros": _filled(0.0),
    "ones": _filled(1.0),
    "fill": _filled(None),
    "iota": _iota,
    "interpolate": _interpolate,
    "dot_attention": _attention,
    "avg_pool": _pool("avg_pool", Op.AVG_POOL, "window"),
    "upsample": _pool("upsample", Op.RESIZE, "factor"),
    "pairs": _pairs,
    "reversed": _reversed,
    "grid": _apply_partial,
    "input": _input,
    "gcd": _gcd,
    "for_all": _for_all,
    "falls": _falls,
    "member": _member,
    "like": _like,
    "unconditional": _unconditional,
}

BATCH: dict[str, Any] = {
    "cost": Builtin("batch.cost", _batch_cost),
    "assign": Builtin("batch.assign", _batch_assign),
    "take": Builtin("batch.take", _batch(Op.BATCH_TAKE, 2)),
    "mean": Builtin("batch.mean", _batch(Op.BATCH_MEAN)),
    "sum": Builtin("batch.sum", _batch(Op.BATCH_SUM)),
    "join": Builtin("batch.join", _batch(Op.BATCH_GATHER)),
    "split": Builtin("batch.split", _batch(Op.BATCH_SCATTER)),
    "each": Builtin("batch.each", _each),
    "part": Builtin("batch.part", parts.part),
    "groups": Builtin("batch.groups", parts.groups),
    "index": Dynamic("batch.index"),
    "size": Dynamic("batch.size"),
}


def environment() -> Env:
    """The outermost names."""
    names: dict[str, Any] = {name: Builtin(name, fn) for name, fn in FUNCTIONS.items()}
    names["pi"] = math.pi
    names |= {kind: of_parent(kind) for kind in ("frozen", "copy")}
    names |= {"ema": Builtin("ema", ema), "tap": Builtin("tap", tap)}
    names |= {name: Clock(name) for name in ("step", "progress")}
    names["scalar"] = TypeRef(spaces.space("scalar", [], Span.__new__(Span)).type, "scalar")
    names["batch"] = Namespace("batch", BATCH)
    return Env(names)
