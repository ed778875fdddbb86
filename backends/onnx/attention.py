"""Rows for products of two activations: `@`, and attention, which is one op of opset 23 with a kernel in ONNX Runtime."""

from __future__ import annotations

from typing import Any

from specc.backends.onnx import products
from specc.backends.onnx.arrays import reshaped
from specc.backends.onnx.emit import Bound, Emitter, Packed

from specc.ir.ops import Op
from specc.ir.program import Node, Value
from specc.ir.types import GROWING, DType, Shape


def matmul(e: Emitter, node: Node) -> str:
    return _product(e, node) or e.op("MatMul", *e.names(node, DType.FLOAT))


def _product(e: Emitter, node: Node) -> str | None:
    """Let calibration see a product's operands, and a quantiser write it."""
    if e.observe is not None:
        e.observe(e, node, e.site(node), {str(i): e.name(v) for i, v in enumerate(node.inputs)})
    return e.layers.product(e, node) if e.layers is not None else None


HEADS_FIRST = (0, 2, 1, 3)  # (B, n, h, d) to (B, h, n, d) and back


def attention(e: Emitter, node: Node) -> Bound:
    """The op is faster when it need not transpose, and when it adds to caches by itself."""
    rounded = _product(e, node)
    if rounded is not None:
        return rounded
    if node.get("format"):
        return products.as_trained(e, node)
    if e.plain:
        return products.written_out(e, node, [e.name(v) for v in node.inputs])
    causal = int(bool(node.get("causal", False)))
    q, keys, values = node.inputs
    past = [] if causal else _pasts(e, keys, values)
    new = (q, *(made.inputs[1] for made in past)) if past else node.inputs
    split = [_split_heads(e, v) for v in new]
    whole = all(split) and all(_turns(u) for u in e.uses.users(node.out)) and node.out.id not in e.uses.kept
    if whole:
        names = [reshaped(e, e.name(v), v.type.shape, _joined(v)) for v in split if v is not None]
        heads = node.out.type.shape[-3]
        out = _asked(e, names, past, is_causal=causal, q_num_heads=heads, kv_num_heads=heads)
    else:
        out = _asked(e, _with_batch(e, new), past, is_causal=causal)
    if past:
        out, *present = out
        e.bind((keys, values), present)
    if whole:
        e.turned[node.out.id] = out = reshaped(e, out, _joined(split[0]), split[0].type.shape)
    return e.op("Squeeze", out, e.ints(0)) if q.type.rank == 3 else out


def _asked(e: Emitter, names: list[str], past: list[Node], **attrs: int) -> Any:
    """With a past, the caches with the new places in them come out as well."""
    if not past:
        return e.op("Attention", *names, **attrs)
    return e.op("Attention", *names, "", *(e.name(made.inputs[0]) for made in past), outputs=3, **attrs)


def _with_batch(e: Emitter, values: tuple[Value, ...]) -> list[str]:
    names = [e.name(v) for v in values]
    return [e.op("Unsqueeze", n, e.ints(0)) for n in names] if values[0].type.rank == 3 else names


def _joined(value: Value) -> Shape:
    """(B, n, h d)."""
    *lead, heads, width = value.type.shape
    return (*lead, int(heads) * int(width))


def _pasts(e: Emitter, *values: Value) -> list[Node]:
    """What adds new places to caches in this graph, where that is how all of these came to be: the op can do so itself."""
    made = [e.uses.made.get(v.id) for v in values]
    return [m for m in made if m is not None] if all(m is not None and _grows(e, m) for m in made) else []


def _grows(e: Emitter, node: Node) -> bool:
    if node.op is not Op.CONCAT or len(node.inputs) != 2 or node.out.type.rank != 4:
        return False
    if isinstance(e.env[node.out.id], Packed):
        return False
    return node["axis"] % 4 == 2 and node.inputs[0].type.shape[2] == GROWING and e.name(node.out) in e.scope.made


def _split_heads(e: Emitter, value: Value) -> Value | None:
    """(B, n, h, d), where the operand is its transpose."""
    made = e.uses.made.get(value.id)
    return made.inputs[0] if made is not None and _turns(made) else None


def _turns(node: Node) -> bool:
    return node.op is Op.TRANSPOSE and tuple(node["perm"]) == HEADS_FIRST
