"""Functions of shapes: sizes, reshapes, joins and cuts, and arrays of one number."""

from __future__ import annotations

import math
from typing import Any

from specc.ir.ops import Op
from specc.ir.program import Value
from specc.ir.types import DType, Type
from specc.sema import spaces
from specc.sema.arguments import Args, Knobs, exactly
from specc.sema.arithmetic import add, binary, describe, known, lift, shown
from specc.sema.bodies import index_count
from specc.sema.evaluate import Evaluator
from specc.sema.frame import Frame
from specc.sema.padding import padded
from specc.sema.report import choices, fail
from specc.sema.values import (
    Symbol,
    TypeRef,
    word_of,
)
from specc.source import Span

CHANNEL_AXES = {"channel": 0, "row": -2, "column": -1, "place": 0, "feature": -1}


def axis_of(value: Any, rank: int, span: Span) -> int:
    number = CHANNEL_AXES.get(word) if (word := word_of(value)) is not None else value
    if isinstance(number, bool) or not isinstance(number, int):
        fail("E0303", span, f"{describe(value)} is not an axis", help=f"axes are numbers from 0, or {choices(CHANNEL_AXES)}")
    if not -rank <= number < rank:
        fail("E0303", span, f"a value of {rank} dimensions has no axis {number}")
    return number % rank


def ints(values: Args, span: Span) -> tuple[int, ...]:
    for v in values:
        if isinstance(known(v), bool) or not isinstance(v, int):
            fail("E0305", span, f"sizes are integers known while compiling, not {describe(v)}")
    return tuple(values)


def _reshape(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Value:
    exactly("reshape", args[:1], kwargs, 1, span)
    return add(frame, span, Op.RESHAPE, lift(args[0], frame, span), shape=ints(args[1:], span))


def _reshape_like(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Value:
    x, like = exactly("reshape_like", args, kwargs, 2, span)
    v = lift(x, frame, span)
    shape = spaces.shaped_like(like, span)[0]
    return v if v.type.shape == shape else add(frame, span, Op.RESHAPE, v, shape=shape)


def _flatten(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Value:
    (x,) = exactly("flatten", args, kwargs, 1, span)
    v = lift(x, frame, span)
    return v if v.type.rank == 1 else add(frame, span, Op.RESHAPE, v, shape=(math.prod(ints(list(v.type.shape), span)),))


def _size(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> int:
    """size(v): how many elements; of a list or of several values, how many items."""
    (x,) = exactly("size", args, kwargs, 1, span)
    if isinstance(x, (list, range, tuple)):
        return len(x)
    return math.prod(ints(list(spaces.shaped_like(x, span)[0]), span))


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
    perm = ints(args[1:], span) or tuple(reversed(range(v.type.rank)))
    return add(frame, span, Op.TRANSPOSE, v, perm=perm)


def expand(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Value:
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
        return _parts(v, a, ints(n, span), frame, span)
    if not isinstance(n, int) or not isinstance(total, int) or n < 1 or total % n:
        fail("E0301", span, f"{total} does not split into {n if isinstance(n, int) else describe(n)} equal parts")
    each = total // n
    return tuple(add(frame, span, Op.SLICE, v, axis=a, start=i * each, stop=(i + 1) * each, step=1) for i in range(n))


def _pad(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Value:
    """pad(v, before, after, axis = -1, mode = zeros): also `reflect`, `circular` or `edge`."""
    x, before, after, axis, mode = exactly("pad", args, kwargs, 3, span, axis=-1, mode=Symbol("zeros", span))
    v = lift(x, frame, span)
    low, high = ints([before, after], span)
    if low < 0 or high < 0:
        fail("E0601", span, f"padding by {min(low, high)} makes no sense", help="take a slice to make a value shorter")
    return padded(v, axis_of(axis, v.type.rank, span), low, high, mode, frame, span)


def _put(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Any:
    """put(v, i, e): v with e in place of its item i, along the first axis; i may be known only when the program runs."""
    x, i, e = exactly("put", args, kwargs, 3, span)
    v, item = lift(x, frame, span), lift(e, frame, span)
    if v.type.rank < 1 or v.type.shape[1:] != item.type.shape:
        fail("E0301", span, f"an item of shape {shown(item.type.shape)} does not fit {shown(v.type.shape)}")
    (n,) = ints([v.type.shape[0]], span)
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
        shape, kind = spaces.shaped_like(like, span) if like is not None else (ints(sizes, span), DType.FLOAT)
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
    if ints([n], span)[0] < 1:
        fail("E0601", span, f"`iota({n})` is empty", help="`iota(n)` counts from 0 to n - 1, for an n of 1 or more")
    out = add(frame, span, Op.IOTA, n=n)
    ev.classes[out.id] = n
    return out


def _like(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> TypeRef:
    """like(x): the type of x; like(x, copies = n): of n of them with a new first axis."""
    x, copies = exactly("like", args, kwargs, 1, span, copies=None)
    shape, dtype = spaces.shaped_like(x, span)
    if copies is not None:
        return TypeRef(Type(dtype, (*ints([copies], span), *shape)), "tensor")
    if isinstance(x, TypeRef):
        return x
    return TypeRef(Type(dtype, shape), "tensor", ev.classes.get(x.id) if isinstance(x, Value) else None)


SHAPING: dict[str, Any] = {
    "reshape": _reshape,
    "reshape_like": _reshape_like,
    "flatten": _flatten,
    "size": _size,
    "dim": _dim,
    "rank": _rank,
    "classes": _classes,
    "transpose": _transpose,
    "expand": expand,
    "concat": _concat,
    "split": _split,
    "pad": _pad,
    "put": _put,
    "zeros": _filled(0.0),
    "ones": _filled(1.0),
    "fill": _filled(None),
    "iota": _iota,
    "like": _like,
}
