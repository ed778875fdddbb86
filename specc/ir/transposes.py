"""The derivative column of linear ops: their transposes, written in ops.

An op of `LINEAR` is linear in each of the operands listed, so that its tangent is the op itself with the tangent in the
operand's place, and its cotangent is `transpose(c, node, i, g)`, for a cotangent g of the result's whole type. What comes
back may still have the dimensions and axes that the op broadcasts over; the engine sums over those.
"""

from __future__ import annotations

from collections.abc import Callable

from specc.ir.calc import Calc
from specc.ir.ops import Op
from specc.ir.program import Node, Value
from specc.ir.rules import WINDOW
from specc.ir.types import BATCH, EXAMPLE, per_dimension, size
from specc.record import record

Transpose = Callable[[Calc, Node, int, Value], Value]


@record
class Linear:
    transpose: Transpose
    operands: tuple[int, ...] = (0,)  # those it is linear in; () stands for all of them
    offset: int | None = None  # an operand that is only added (a bias): in a tangent of the others it is left out


def _reshape(c: Calc, n: Node, i: int, g: Value) -> Value:
    return c.reshape(g, n.inputs[0].type.shape)


def _transpose(c: Calc, n: Node, i: int, g: Value) -> Value:
    perm = n["perm"]
    return c.op(Op.TRANSPOSE, g, perm=tuple(perm.index(k) for k in range(len(perm))))


def _expand(c: Calc, n: Node, i: int, g: Value) -> Value:
    return g  # summed by the engine


def _slice(c: Calc, n: Node, i: int, g: Value) -> Value:
    x, axis = n.inputs[0].type, n["axis"] % n.inputs[0].type.rank
    start, step, rows, whole = n["start"], n.get("step", 1), size((g.type.shape[axis],)), size((x.shape[axis],))
    if step != 1:
        index = c.op(Op.CONST, value=tuple(start + step * k for k in range(rows)), shape=(rows,), dtype="int")
        return c.op(Op.SCATTER_ADD, g, index, axis=axis, n=whole, batch=0)
    pads = tuple((start, whole - start - rows) if k == axis else (0, 0) for k in range(x.rank))
    return c.op(Op.PAD, g, pads=pads, value=0.0)


def _concat(c: Calc, n: Node, i: int, g: Value) -> Value:
    axis = n["axis"] % g.type.rank
    sizes = [size((v.type.shape[axis],)) for v in n.inputs]
    return c.slice(g, axis, sum(sizes[:i]), sum(sizes[: i + 1]))


def _pad(c: Calc, n: Node, i: int, g: Value) -> Value:
    for axis, (before, after) in enumerate(n["pads"]):
        if before or after:
            g = c.slice(g, axis, before, size((g.type.shape[axis],)) - after)
    return g


def _flip(c: Calc, n: Node, i: int, g: Value) -> Value:
    return c.op(Op.FLIP, g, axis=n["axis"])


def _take(c: Calc, n: Node, i: int, g: Value) -> Value:
    x, index = n.inputs
    axis = n["axis"] % x.type.rank
    return c.op(Op.SCATTER_ADD, g, index, axis=axis, n=x.type.shape[axis], batch=n.get("batch", 0))


def _scatter_add(c: Calc, n: Node, i: int, g: Value) -> Value:
    return c.op(Op.TAKE, g, n.inputs[1], axis=n["axis"], batch=n.get("batch", 0))


def _sum(c: Calc, n: Node, i: int, g: Value) -> Value:
    x = n.inputs[0]
    gone = {a % x.type.rank for a in n["axes"]}
    g = c.reshape(g, tuple(1 if k in gone else d for k, d in enumerate(x.type.shape)))
    return c.full(g, x)


def _mean(c: Calc, n: Node, i: int, g: Value) -> Value:
    known, examples = c.count(n.inputs[0], n["axes"])
    g = c.scale(1 / known, g)
    return _sum(c, n, i, g if examples is None else c.div(g, examples))


def _cumsum(c: Calc, n: Node, i: int, g: Value) -> Value:
    axis = n["axis"]
    return c.op(Op.FLIP, c.op(Op.CUMSUM, c.op(Op.FLIP, g, axis=axis), axis=axis), axis=axis)


def _matmul(c: Calc, n: Node, i: int, g: Value) -> Value:
    a, b = n.inputs
    return c.op(Op.MATMUL, g, c.swap(b)) if i == 0 else c.op(Op.MATMUL, c.swap(a), g)


def _linear(c: Calc, n: Node, i: int, g: Value) -> Value:
    x, w = n.inputs[:2]
    if i == 0:
        return c.op(Op.LINEAR, g, c.swap(w))
    if i == 2:
        return g
    lead = x.type.shape[:-1]
    batch = lead[:1] if lead[:1] == (BATCH,) else ()
    rows = size(lead[len(batch) :])
    g = c.reshape(g, (*batch, rows, g.type.shape[-1]))
    return c.op(Op.MATMUL, c.swap(g), c.reshape(x, (*batch, rows, x.type.shape[-1])))


def _window(n: Node) -> dict[str, int | tuple[int, ...]]:
    return {k: n.get(k, d) for k, d in WINDOW.items()}


def _conv(c: Calc, n: Node, i: int, g: Value) -> Value:
    x, w = n.inputs[:2]
    spatial = w.type.rank - 2
    if i == 2:
        return _per_channel(c, n, g, spatial)
    if i == 1:
        raise ValueError(
            "a convolution has no derivative in its weight here: the weight depends on the value differentiated by"
        )
    want = [size((d,)) for d in x.type.shape[-spatial:]]
    a, groups = _window(n), n.get("groups", 1)
    stride, padding, dilation = (per_dimension(o, spatial) for o in a.values())
    covered = [  # by the windows, along each dimension
        (size((d,)) - 1) * s + e * (size((k,)) - 1) + 1
        for d, k, s, e in zip(g.type.shape[-spatial:], w.type.shape[2:], stride, dilation, strict=True)
    ]
    missing = tuple(d - m + 2 * p for d, m, p in zip(want, covered, padding, strict=True))
    rest = missing[0] if len(set(missing)) == 1 else missing
    return c.op(Op.CONV_TRANSPOSE, g, w, **a, groups=groups, output_padding=rest)


def _conv_transpose(c: Calc, n: Node, i: int, g: Value) -> Value:
    if i == 2:
        return _per_channel(c, n, g, n.inputs[1].type.rank - 2)
    if i == 1:
        raise ValueError(
            "a convolution has no derivative in its weight here: the weight depends on the value differentiated by"
        )
    return c.op(Op.CONV, g, n.inputs[1], **_window(n), groups=n.get("groups", 1))


def _per_channel(c: Calc, n: Node, g: Value, spatial: int) -> Value:
    return c.op(Op.SUM, g, axes=tuple(range(g.type.rank - spatial, g.type.rank)))


def _avg_pool(c: Calc, n: Node, i: int, g: Value) -> Value:
    k, s = n["window"], n["spatial"]
    return c.scale(1 / k**s, c.op(Op.RESIZE, g, factor=k, spatial=s))


def _resize(c: Calc, n: Node, i: int, g: Value) -> Value:
    k, s = n["factor"], n["spatial"]
    return c.scale(float(k**s), c.op(Op.AVG_POOL, g, window=k, spatial=s))


def _spread(c: Calc, n: Node, i: int, g: Value) -> Value:
    return g  # summed by the engine


def _batch_sum(c: Calc, n: Node, i: int, g: Value) -> Value:
    return c.full(g, n.inputs[0])


def _batch_mean(c: Calc, n: Node, i: int, g: Value) -> Value:
    x = n.inputs[0]
    if EXAMPLE not in x.type.axes:
        return g
    return c.full(c.div(g, c.op(Op.CAST, c.op(Op.BATCH_SIZE, x), dtype="float")), x)


def _batch_take(c: Calc, n: Node, i: int, g: Value) -> Value:
    index = n.inputs[1] if n.inputs[1].type.shape[:1] == (BATCH,) else c.op(Op.BATCH_GATHER, n.inputs[1])
    added = c.op(Op.SCATTER_ADD, c.op(Op.BATCH_GATHER, g), index, axis=0, n=BATCH, batch=0)
    return c.op(Op.BATCH_SCATTER, added)


def _batch_gather(c: Calc, n: Node, i: int, g: Value) -> Value:
    return c.op(Op.BATCH_SCATTER, g)


def _batch_scatter(c: Calc, n: Node, i: int, g: Value) -> Value:
    return c.op(Op.BATCH_GATHER, g)


LINEAR: dict[Op, Linear] = {
    Op.SUM: Linear(_sum),
    Op.MEAN: Linear(_mean),
    Op.CUMSUM: Linear(_cumsum),
    Op.RESHAPE: Linear(_reshape),
    Op.TRANSPOSE: Linear(_transpose),
    Op.EXPAND: Linear(_expand),
    Op.SLICE: Linear(_slice),
    Op.CONCAT: Linear(_concat, ()),
    Op.PAD: Linear(_pad),
    Op.FLIP: Linear(_flip),
    Op.TAKE: Linear(_take),
    Op.SCATTER_ADD: Linear(_scatter_add),
    Op.MATMUL: Linear(_matmul, (0, 1)),
    Op.LINEAR: Linear(_linear, (0, 1, 2), offset=2),
    Op.CONV: Linear(_conv, (0, 1, 2), offset=2),
    Op.CONV_TRANSPOSE: Linear(_conv_transpose, (0, 1, 2), offset=2),
    Op.AVG_POOL: Linear(_avg_pool),
    Op.RESIZE: Linear(_resize),
    Op.SPREAD: Linear(_spread),
    Op.BATCH_SUM: Linear(_batch_sum),
    Op.BATCH_MEAN: Linear(_batch_mean),
    Op.BATCH_TAKE: Linear(_batch_take),
    Op.BATCH_GATHER: Linear(_batch_gather),
    Op.BATCH_SCATTER: Linear(_batch_scatter),
}
