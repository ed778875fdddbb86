"""Products of two activations with rounded operands: attention, written out so that both of its products see them, and `@`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from specc.backends.onnx.emit import Emitter
from specc.backends.onnx.rounding import Rounding, dynamic, rounded

from specc.ir.formats import FORMATS
from specc.ir.ops import Op
from specc.ir.program import Node
from specc.ir.types import GROWING, DType, Shape
from specc.record import record

WEIGHTS = (0.0, 1.0)  # the range of what softmax gives
Weigh = Callable[[str, Shape], str]  # rounds what softmax gives, of a shape


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
    """Each operand rounded along what its product sums over; the values of causal attention by places, as in training."""
    by_places = node.get("causal", False) or GROWING in node.inputs[2].type.shape
    axes = (-1, -1, -1 if by_places else -2)
    operands = [
        rounded(e, e.name(v), v.type.shape, axis, how) for v, axis, how in zip(node.inputs, axes, plan.operands, strict=True)
    ]
    how = plan.operands[0]
    how = how if how.interval is None else Rounding(format=how.format, interval=WEIGHTS)
    return written_out(e, node, operands, lambda x, shape: rounded(e, x, shape, -1, how))


def as_trained(e: Emitter, node: Node) -> str:
    """Attention that rounds what softmax gives; its operands are rounded before."""
    row = FORMATS[node["format"]]

    def weigh(x: str, shape: Shape) -> str:
        return dynamic(e, x, shape, (-1,), row, node.get("block", 0), node.get("affine", False))

    return written_out(e, node, [e.name(v) for v in node.inputs], weigh)


def written_out(e: Emitter, node: Node, operands: list[str], weigh: Weigh | None = None) -> str:
    """softmax(q k' / sqrt(d)) v, as the op is defined."""
    q, k, v = operands
    shape, keys = (i.type.shape for i in node.inputs[:2])
    turned = e.op("Transpose", k, perm=[*range(len(keys) - 2), len(keys) - 1, len(keys) - 2])
    scores = e.op("Mul", e.op("MatMul", q, turned), e.const(np.float32(int(shape[-1]) ** -0.5)))
    if node.get("causal", False):
        later = np.triu(np.full((int(shape[-2]), int(keys[-2])), -np.inf, np.float32), 1)
        scores = e.op("Add", scores, e.const(later))
    weights = e.op("Softmax", scores, axis=-1)
    return e.op("MatMul", weights if weigh is None else weigh(weights, (*shape[:-1], keys[-2])), v)
