"""Products of two activations with rounded operands: attention, written out so that both of its products see them, and `@`."""

from __future__ import annotations

import numpy as np
from specc.backends.onnx.emit import Emitter
from specc.backends.onnx.rounding import Rounding, rounded

from specc.ir.ops import Op
from specc.ir.program import Node
from specc.ir.types import DType, Shape
from specc.record import record

WEIGHTS = (0.0, 1.0)  # the range of what softmax gives


@record(kw_only=True)
class ProductPlan:
    """How the operands of a product are rounded: those of `@`, or queries, keys and values; softmax's result as the first."""

    path: str
    rule: str
    operands: tuple[Rounding, ...]


def product(e: Emitter, node: Node, plan: ProductPlan) -> str:
    if node.op is Op.ATTENTION:
        return attention(e, node, plan)
    left, right = (
        rounded(e, name, v.type.shape, axis, how)
        for name, v, axis, how in zip(e.names(node, DType.FLOAT), node.inputs, (-1, -2), plan.operands, strict=True)
    )
    return e.op("MatMul", left, right)


def attention(e: Emitter, node: Node, plan: ProductPlan) -> str:
    """softmax(q k' / sqrt(d)) v, each operand rounded along what its product sums over."""
    q, k, v = (e.name(i) for i in node.inputs)
    shape, keys, values = (i.type.shape for i in node.inputs)
    lead, (n, m, d) = shape[:-2], (int(s) for s in (shape[-2], keys[-2], shape[-1]))
    turned = [*range(len(keys) - 2), len(keys) - 1, len(keys) - 2]
    left = rounded(e, q, shape, -1, plan.operands[0])
    right = rounded(e, e.op("Transpose", k, perm=turned), (*keys[:-2], d, m), -2, plan.operands[1])
    scores = e.op("Mul", e.op("MatMul", left, right), e.const(np.float32(1 / np.sqrt(d))))
    if node.get("causal", False):
        scores = e.op("Add", scores, e.const(_past(n, m)))
    weights = _weights(e, e.op("Softmax", scores, axis=-1), (*lead, n, m), plan.operands[0])
    return e.op("MatMul", weights, rounded(e, v, values, -2, plan.operands[2]))


def _weights(e: Emitter, x: str, shape: Shape, how: Rounding) -> str:
    if how.interval is None:
        return rounded(e, x, shape, -1, how)
    return rounded(e, x, shape, -1, Rounding(format=how.format, interval=WEIGHTS))


def _past(n: int, m: int) -> np.ndarray:
    """0 where query i sees key j, else what softmax takes to 0."""
    return np.where(np.arange(m) <= np.arange(n)[:, None], 0, np.finfo(np.float32).min).astype(np.float32)
