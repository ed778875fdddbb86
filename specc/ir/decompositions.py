"""The derivative column of composite ops: the same value in simpler ops, through which derivatives go.

`STOP` marks factors that carry no derivative although they depend on the operands: the shift of a log-sum-exp, the choice
of a largest element.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from specc.ir import factors
from specc.ir.calc import Calc
from specc.ir.ops import Op
from specc.ir.program import Node, Value
from specc.ir.types import BATCH, size

Decomposition = Callable[[Calc, Node], Value]


def _kept(c: Calc, reduced: Value, x: Value, axes: tuple[int, ...]) -> Value:
    """The result of a reduction with its axes back, of size 1."""
    gone = {a % x.type.rank for a in axes}
    return c.reshape(reduced, tuple(1 if k in gone else d for k, d in enumerate(x.type.shape)))


def _prod(c: Calc, n: Node) -> Value:
    """Halves multiplied with each other, so that an element may be 0."""
    x = n.inputs[0]
    axes = sorted(a % x.type.rank for a in n["axes"])
    if any(x.type.shape[a] == BATCH for a in axes):
        raise ValueError("a product over the batch has no derivative")
    for axis in reversed(axes):
        rows = size((x.type.shape[axis],))
        while rows > 1:
            half, odd = rows // 2, rows % 2
            y = c.op(Op.MUL, c.slice(x, axis, 0, half), c.slice(x, axis, half, 2 * half))
            x = c.op(Op.CONCAT, y, c.slice(x, axis, rows - 1, rows), axis=axis) if odd else y
            rows = half + odd
        x = c.reshape(x, (*x.type.shape[:axis], *x.type.shape[axis + 1 :]))
    return x


def _extreme(c: Calc, n: Node) -> Value:
    """The mean of the elements that reach it."""
    x = n.inputs[0]
    reached = c.op(Op.CAST, c.op(Op.EQ, x, _kept(c, n.out, x, n["axes"])), dtype="float")
    share = c.op(Op.DIV, reached, _kept(c, c.op(Op.SUM, reached, axes=n["axes"]), x, n["axes"]))
    return c.op(Op.SUM, c.op(Op.MUL, c.op(Op.STOP, share), x), axes=n["axes"])


def _logsumexp(c: Calc, n: Node) -> Value:
    x = n.inputs[0]
    top = c.op(Op.STOP, c.op(Op.AMAX, x, axes=n["axes"]))
    total = c.op(Op.SUM, c.op(Op.EXP, c.op(Op.SUB, x, _kept(c, top, x, n["axes"]))), axes=n["axes"])
    return c.op(Op.ADD, c.op(Op.LOG, total), top)


def _softmax(c: Calc, n: Node) -> Value:
    x, axis = n.inputs[0], n["axis"]
    powers = c.op(Op.EXP, c.op(Op.SUB, x, c.op(Op.STOP, c.sum_kept(Op.AMAX, x, axis))))
    return c.op(Op.DIV, powers, c.sum_kept(Op.SUM, powers, axis))


def _normalised(c: Calc, x: Value, eps: float, centre: bool) -> Value:
    """Mean square 1 (and mean 0 when centred) over the last dimension."""
    if centre:
        x = c.op(Op.SUB, x, c.sum_kept(Op.MEAN, x, -1))
    power = c.sum_kept(Op.MEAN, c.square(x), -1)
    return c.op(Op.DIV, x, c.op(Op.SQRT, c.op(Op.ADD, power, c.number(eps))))


def _affine(c: Calc, x: Value, weights: tuple[Value, ...], spatial: int = 0) -> Value:
    """x times the scale plus the bias, when there are any, for each channel."""
    for op, weight in zip((Op.MUL, Op.ADD), weights, strict=False):
        x = c.op(op, x, c.reshape(weight, (*weight.type.shape, *(1,) * spatial)))
    return x


def _layernorm(c: Calc, n: Node) -> Value:
    return _affine(c, _normalised(c, n.inputs[0], n["eps"], True), n.inputs[1:])


def _rmsnorm(c: Calc, n: Node) -> Value:
    return _affine(c, _normalised(c, n.inputs[0], n["eps"], False), n.inputs[1:])


def _groupnorm(c: Calc, n: Node) -> Value:
    x, spatial, groups = n.inputs[0], n["spatial"], n["groups"]
    split = x.type.rank - spatial - 1
    each = size(x.type.shape[split:]) // groups
    rows = c.reshape(x, (*x.type.shape[:split], groups, each))
    return _affine(c, c.reshape(_normalised(c, rows, n["eps"], True), x.type.shape), n.inputs[1:], spatial)


def _attention(c: Calc, n: Node) -> Value:
    q, k, v = n.inputs[:3]
    scores = c.scale(1 / math.sqrt(size(q.type.shape[-1:])), c.op(Op.MATMUL, q, c.swap(k)))
    if n.get("causal"):
        rows, columns = q.type.shape[-2], k.type.shape[-2]
        query = c.reshape(c.op(Op.IOTA, n=rows), (rows, 1))
        scores = c.op(Op.WHERE, c.op(Op.LE, c.op(Op.IOTA, n=columns), query), scores, c.number(-1e30))
    weights = c.op(Op.SOFTMAX, scores, axis=scores.type.rank - 1)
    if n.get("format"):
        rounds = {key: n[key] for key in ("format", "block", "affine") if n.get(key)}
        weights = c.op(Op.ROUND_TO, weights, axes=(-1,), **rounds)
    return c.op(Op.MATMUL, weights, v)


def _batch_cost(c: Calc, n: Node) -> Value:
    """Every pair of rows, at array level or, through the gathered examples, at example level."""
    a, b = (v if v.type.shape[:1] == (BATCH,) else c.op(Op.BATCH_GATHER, v) for v in n.inputs)
    width = size(a.type.shape[1:])
    difference = c.op(Op.SUB, c.reshape(a, (BATCH, 1, width)), c.reshape(b, (1, BATCH, width)))
    squared = c.op(Op.SUM, c.square(difference), axes=(2,))
    return c.op(Op.SQRT, squared) if n["cost"] == "dist" else squared


DECOMPOSITIONS: dict[Op, Decomposition] = {
    Op.PROD: _prod,
    Op.AMAX: _extreme,
    Op.AMIN: _extreme,
    Op.LOGSUMEXP: _logsumexp,
    Op.SOFTMAX: _softmax,
    Op.LAYERNORM: _layernorm,
    Op.RMSNORM: _rmsnorm,
    Op.GROUPNORM: _groupnorm,
    Op.ATTENTION: _attention,
    Op.BATCH_COST: _batch_cost,
    Op.CHOLESKY: factors.cholesky,
    Op.INV: factors.inverse,
}
