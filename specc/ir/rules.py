"""Shape rules of the ops: operand types and attributes in, result types out; ValueError says what does not fit."""

from __future__ import annotations

from typing import Any

from specc.ir.types import BATCH, EXAMPLE, FLOAT, GROWING, INT, Dim, DType, Shape, Type, broadcast, per_dimension, size

Types = tuple[Type, ...]
A = dict[str, Any]


def _axes(types: Types) -> frozenset[str]:
    return frozenset().union(*(t.axes for t in types))


def _need(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _show(shape: Shape) -> str:
    return "(" + ", ".join(map(str, shape)) + ")"


def _axis(axis: int, rank: int) -> int:
    _need(-rank <= axis < rank, f"axis {axis} does not exist in a value of {rank} dimensions")
    return axis % rank


def const(types: Types, a: A) -> Types:
    return (Type(DType(a.get("dtype", "float")), tuple(a.get("shape", ()))),)


def param(types: Types, a: A) -> Types:
    return (Type(DType(a.get("dtype", "float")), tuple(a["shape"])),)


def iota(types: Types, a: A) -> Types:
    return (INT.shaped((a["n"],)),)


def identity(types: Types, a: A) -> Types:
    return (types[0],)


def floating(types: Types, a: A) -> Types:
    _need(types[0].dtype is not DType.BOOL, "a number is needed, not a truth value")
    return (Type(DType.FLOAT, types[0].shape, types[0].axes),)


def floating_or_int(types: Types, a: A) -> Types:
    _need(types[0].dtype is not DType.BOOL, "a number is needed, not a truth value")
    return (types[0],)


def logical(types: Types, a: A) -> Types:
    _need(all(t.dtype is DType.BOOL for t in types), "truth values are needed")
    return (Type(DType.BOOL, broadcast(*(t.shape for t in types)), _axes(types)),)


def cast(types: Types, a: A) -> Types:
    return (Type(DType(a["dtype"]), types[0].shape, types[0].axes),)


def arithmetic(types: Types, a: A) -> Types:
    _need(all(t.dtype is not DType.BOOL for t in types), "numbers are needed, not truth values")
    dtype = DType.FLOAT if any(t.dtype is DType.FLOAT for t in types) else DType.INT
    return (Type(dtype, broadcast(*(t.shape for t in types)), _axes(types)),)


def division(types: Types, a: A) -> Types:
    (out,) = arithmetic(types, a)
    return (Type(DType.FLOAT, out.shape, out.axes),)


def comparison(types: Types, a: A) -> Types:
    return (Type(DType.BOOL, broadcast(*(t.shape for t in types)), _axes(types)),)


def where(types: Types, a: A) -> Types:
    _need(types[0].dtype is DType.BOOL, "the condition must be a truth value")
    kinds = {t.dtype for t in types[1:]}
    dtype = kinds.pop() if len(kinds) == 1 else DType.FLOAT
    return (Type(dtype, broadcast(*(t.shape for t in types)), _axes(types)),)


def reduce(types: Types, a: A) -> Types:
    x = types[0]
    gone = {_axis(i, x.rank) for i in a["axes"]}
    return (x.shaped(tuple(d for i, d in enumerate(x.shape) if i not in gone)),)


def round_to(types: Types, a: A) -> Types:
    x = types[0]
    axes = {_axis(i, x.rank) for i in a["axes"]}
    _need(bool(axes) and all(isinstance(x.shape[i], int) for i in axes), "a scale belongs to some axes of one example")
    return floating(types, a)


def argmax(types: Types, a: A) -> Types:
    x = types[0]
    gone = _axis(a["axis"], x.rank)
    return (Type(DType.INT, tuple(d for i, d in enumerate(x.shape) if i != gone), x.axes),)


def along(types: Types, a: A) -> Types:
    _axis(a["axis"], types[0].rank)
    return (types[0],)


def reshape(types: Types, a: A) -> Types:
    shape = tuple(a["shape"])
    have, want = ([d for d in s if isinstance(d, int)] for s in (types[0].shape, shape))
    named = all(types[0].shape.count(d) == shape.count(d) for d in (BATCH, GROWING))
    same = named and size(tuple(have)) == size(tuple(want))
    _need(same, f"{_show(types[0].shape)} cannot become {_show(shape)}: the number of elements differs")
    return (types[0].shaped(shape),)


def transpose(types: Types, a: A) -> Types:
    perm = a["perm"]
    _need(sorted(perm) == list(range(types[0].rank)), f"{tuple(perm)} is not an order of {types[0].rank} dimensions")
    return (types[0].shaped(tuple(types[0].shape[i] for i in perm)),)


def expand(types: Types, a: A) -> Types:
    shape = tuple(a["shape"])
    fits = len(shape) == types[0].rank and all(d in (1, e) for d, e in zip(types[0].shape, shape, strict=False))
    _need(fits, f"{_show(types[0].shape)} does not expand to {_show(shape)}")
    return (types[0].shaped(shape),)


def slice_(types: Types, a: A) -> Types:
    x = types[0]
    axis = _axis(a["axis"], x.rank)
    n = x.shape[axis]
    start, stop, step = a["start"], a["stop"], a.get("step", 1)
    _need(
        isinstance(n, int) and 0 <= start <= stop <= n, f"elements {start} to {stop} are not all among the {n} of axis {axis}"
    )
    return (x.shaped((*x.shape[:axis], -(-(stop - start) // step), *x.shape[axis + 1 :])),)


def concat(types: Types, a: A) -> Types:
    first = types[0]
    axis = _axis(a["axis"], first.rank)
    total: Dim = 0
    for t in types:
        rest = t.rank == first.rank and all(
            d == e for i, (d, e) in enumerate(zip(t.shape, first.shape, strict=True)) if i != axis
        )
        _need(rest, f"{_show(first.shape)} and {_show(t.shape)} differ outside axis {axis}")
        total = GROWING if GROWING in (total, t.shape[axis]) else size((total,)) + size((t.shape[axis],))
    return (Type(first.dtype, (*first.shape[:axis], total, *first.shape[axis + 1 :]), _axes(types)),)


def pad(types: Types, a: A) -> Types:
    x = types[0]
    _need(len(a["pads"]) == x.rank, "one pair of paddings is needed for each dimension")
    shape = tuple(d if not (lo or hi) else size((d,)) + lo + hi for d, (lo, hi) in zip(x.shape, a["pads"], strict=True))
    return (x.shaped(shape),)


def take(types: Types, a: A) -> Types:
    x, index = types
    _need(index.dtype is DType.INT, "indices must be integers")
    axis, batch = _axis(a["axis"], x.rank), a.get("batch", 0)
    _need(
        x.shape[:batch] == index.shape[:batch], f"{_show(x.shape)} and {_show(index.shape)} do not begin with the same {batch}"
    )
    return (Type(x.dtype, (*x.shape[:axis], *index.shape[batch:], *x.shape[axis + 1 :]), _axes(types)),)


def scatter_add(types: Types, a: A) -> Types:
    x, index = types
    axis, batch = a["axis"], a.get("batch", 0)
    shape = (*x.shape[:axis], a["n"], *x.shape[axis + index.rank - batch :])
    return (Type(x.dtype, shape, _axes(types)),)


def matmul(types: Types, a: A) -> Types:
    x, y = types
    fits = x.rank >= 2 and y.rank >= 2 and x.shape[-1] == y.shape[-2]
    _need(fits, f"a matrix product of {_show(x.shape)} and {_show(y.shape)} does not exist")
    lead = broadcast(x.shape[:-2], y.shape[:-2])
    return (Type(DType.FLOAT, (*lead, x.shape[-2], y.shape[-1]), _axes(types)),)


def square(types: Types, a: A) -> Types:
    x = types[0]
    _need(x.rank >= 2 and x.shape[-1] == x.shape[-2] != BATCH, f"a square matrix is needed, not {_show(x.shape)}")
    return (Type(DType.FLOAT, x.shape, x.axes),)


def linear(types: Types, a: A) -> Types:
    x, w = types[0], types[1]
    _need(x.rank >= 1 and x.shape[-1] == w.shape[1], f"a linear layer for {w.shape[1]} features does not fit {_show(x.shape)}")
    return (Type(DType.FLOAT, (*x.shape[:-1], w.shape[0]), _axes(types)),)


WINDOW = {"stride": 1, "padding": 0, "dilation": 1}  # one number for all dimensions, or a tuple of one for each


def _window(n: Dim, k: Dim, stride: int, padding: int, dilation: int) -> int:
    out = (size((n,)) + 2 * padding - dilation * (size((k,)) - 1) - 1) // stride + 1
    _need(out > 0, f"a window of {k} does not fit {n} elements")
    return out


def conv(types: Types, a: A) -> Types:
    x, w = types[0], types[1]
    s = w.rank - 2
    groups = a.get("groups", 1)
    _need(x.rank - s in (1, 2), f"a convolution over {s} dimensions needs channels and {s} dimensions, not {_show(x.shape)}")
    channels = x.shape[-s - 1]
    _need(
        channels == size((w.shape[1],)) * groups,
        f"{channels} channels do not fit a convolution for {size((w.shape[1],)) * groups}",
    )
    options = zip(*(per_dimension(a.get(k, d), s) for k, d in WINDOW.items()), strict=True)
    spatial = tuple(_window(n, k, *o) for n, k, o in zip(x.shape[-s:], w.shape[2:], options, strict=True))
    return (Type(DType.FLOAT, (*x.shape[: -s - 1], w.shape[0], *spatial), _axes(types)),)


def conv_transpose(types: Types, a: A) -> Types:
    x, w = types[0], types[1]
    s = w.rank - 2
    _need(
        x.rank - s in (1, 2) and x.shape[-s - 1] == w.shape[0],
        f"{_show(x.shape)} does not fit a transposed convolution of {_show(w.shape)}",
    )
    options = zip(*(per_dimension(a.get(k, d), s) for k, d in (WINDOW | {"output_padding": 0}).items()), strict=True)
    spatial = tuple(
        (size((n,)) - 1) * stride - 2 * padding + dilation * (size((k,)) - 1) + rest + 1
        for n, k, (stride, padding, dilation, rest) in zip(x.shape[-s:], w.shape[2:], options, strict=True)
    )
    return (Type(DType.FLOAT, (*x.shape[: -s - 1], size((w.shape[1],)) * a.get("groups", 1), *spatial), _axes(types)),)


def avg_pool(types: Types, a: A) -> Types:
    x, k, s = types[0], a["window"], a["spatial"]
    _need(all(size((d,)) % k == 0 for d in x.shape[-s:]), f"windows of {k} do not divide {_show(x.shape[-s:])}")
    return (x.shaped((*x.shape[:-s], *(size((d,)) // k for d in x.shape[-s:]))),)


def resize(types: Types, a: A) -> Types:
    x, k, s = types[0], a["factor"], a["spatial"]
    return (x.shaped((*x.shape[:-s], *(size((d,)) * k for d in x.shape[-s:]))),)


def lastnorm(types: Types, a: A) -> Types:
    _need(types[0].rank >= 1, "a normalisation needs at least one dimension")
    return (types[0].over(*_axes(types)),)


def groupnorm(types: Types, a: A) -> Types:
    x = types[0]
    channels = size((x.shape[-a["spatial"] - 1],))
    _need(channels % a["groups"] == 0, f"{a['groups']} groups do not divide {channels} channels")
    return (x.over(*_axes(types)),)


def attention(types: Types, a: A) -> Types:
    q, k, v = types[:3]
    fits = (
        q.rank >= 3 and q.shape[-1] == k.shape[-1] and k.shape[-2] == v.shape[-2] and q.shape[-3] == k.shape[-3] == v.shape[-3]
    )
    _need(fits, f"queries {_show(q.shape)}, keys {_show(k.shape)} and values {_show(v.shape)} do not fit")
    return (Type(DType.FLOAT, (*q.shape[:-1], v.shape[-1]), _axes(types)),)


def _at_array_level(like: Types) -> bool:
    """Whether the operand that varies by example says so by its shape."""
    return bool(like) and not like[0].axes and like[0].batched


def draw(types: Types, a: A) -> Types:
    if EXAMPLE in a["axes"] and _at_array_level(types):
        return (FLOAT.shaped((BATCH, *a["shape"])),)
    return (Type(DType.FLOAT, tuple(a["shape"]), frozenset(a["axes"])),)


def grad(types: Types, a: A) -> Types:
    _need(types[0].dtype is DType.FLOAT, "only a float has a gradient")
    return tuple(Type(DType.FLOAT, v.shape, v.axes) for v in types[1:])


def carried_for(types: Types, a: A) -> Types:
    return types[1:]


def carried_while(types: Types, a: A) -> Types:
    return types


def branch(types: Types, a: A) -> Types:
    return tuple(a["types"])


def call(types: Types, a: A) -> Types:
    lanes: int = a.get("lanes", 1)
    return tuple(a["types"]) * lanes


def repeat(types: Types, a: A) -> Types:
    return (*types[: a["carried"]], *types[len(types) - len(a.get("cut", ())) :])


def turn(types: Types, a: A) -> Types:
    """What one turn of a REPEAT is given or gives, where all its turns have these types."""
    cut: tuple[int, ...] = a.get("cut", ())
    first = len(types) - len(cut)
    return (*types[:first], *(_part(t, axis, a["count"]) for t, axis in zip(types[first:], cut, strict=True)))


def _part(whole: Type, axis: int, count: int) -> Type:
    n = size((whole.shape[axis],))
    _need(n % count == 0, f"{count} turns do not share {n} evenly")
    return whole.shaped((*whole.shape[:axis], n // count, *whole.shape[axis + 1 :]))


def spread(types: Types, a: A) -> Types:
    if _at_array_level(types[1:]):
        return (types[0].shaped((BATCH, *types[0].shape)),)
    return (types[0].over(EXAMPLE),)


def batch_size(types: Types, a: A) -> Types:
    return (INT,)


def batch_index(types: Types, a: A) -> Types:
    return (INT.shaped((BATCH,)) if _at_array_level(types) else INT.over(EXAMPLE),)


def batch_reduce(types: Types, a: A) -> Types:
    return (Type(types[0].dtype, types[0].shape, types[0].axes - {EXAMPLE}),)


def batch_take(types: Types, a: A) -> Types:
    return (types[0].over(EXAMPLE),)


def batch_gather(types: Types, a: A) -> Types:
    return (Type(types[0].dtype, (BATCH, *types[0].shape), types[0].axes - {EXAMPLE}),)


def batch_scatter(types: Types, a: A) -> Types:
    _need(types[0].shape[:1] == (BATCH,), "one row for each example is needed")
    return (Type(types[0].dtype, types[0].shape[1:], types[0].axes | {EXAMPLE}),)


def batch_cost(types: Types, a: A) -> Types:
    _need(
        types[0].shape == types[1].shape, f"a cost between {_show(types[0].shape)} and {_show(types[1].shape)} has no meaning"
    )
    return (FLOAT.shaped((BATCH, BATCH)),)


def extern(types: Types, a: A) -> Types:
    return tuple(a["types"])
