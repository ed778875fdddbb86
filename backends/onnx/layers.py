"""Rows for parameters, matrix products, convolutions, normalisations and attention.

Layouts follow what ONNX Runtime runs fastest: the weight of a linear map is stored transposed, so that a MatMul packs it
once; the weight of a convolution lies in the graph of its use, without which the blocked layout of the CPU is lost. That
layout computes a register full of channels at a time, so that a convolution to fewer is written as a transposed one, which
multiplies first and adds up places after.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from specc.backends.onnx.arrays import LAST
from specc.backends.onnx.emit import Emitter, Weight
from specc.backends.onnx.rounding import dynamic

from specc.ir.formats import FORMATS
from specc.ir.ops import Op
from specc.ir.program import Node, Value
from specc.ir.types import DType, Shape, per_dimension

FEW = 8  # channels below which a transposed convolution is faster


def param(e: Emitter, node: Node) -> Weight:
    path = f"{e.bundle}.{node['path']}" if e.bundle else node["path"]
    e.paths.add(path)
    return Weight(path, tuple(node["shape"]))


def linear(e: Emitter, node: Node) -> str:
    """x W' + b."""
    x, bound = e.name(node.inputs[0]), e.env[node.inputs[1].id]
    bias = e.name(node.inputs[2]) if len(node.inputs) > 2 else None
    if rounds := node.get("rounds"):
        weights, activations = (FORMATS[name] for name in rounds[:2])
        rows = dynamic(e, e.name(node.inputs[1]), node.inputs[1].type.shape, (-1,), weights, weights.block or 0)
        x = dynamic(e, x, node.inputs[0].type.shape, (-1,), activations, activations.block or 0)
        return _linear(e, node, x, e.op("Transpose", rows, perm=[1, 0]), bias)
    if isinstance(bound, Weight):
        return _layer(e, node, x, bound, bias) or _seen(e, node, x, bound, _linear(e, node, x, e.weight(bound, "T"), bias))
    return _linear(e, node, x, e.op("Transpose", bound, perm=[1, 0]), bias)


def _linear(e: Emitter, node: Node, x: str, weight: str, bias: str | None) -> str:
    if bias is not None and node.inputs[0].type.rank == 2:
        return e.op("Gemm", x, weight, bias)
    out = e.op("MatMul", x, weight)
    return out if bias is None else e.op("Add", out, bias)


def _layer(e: Emitter, node: Node, x: str, weight: Weight, bias: str | None) -> str | None:
    """Let a quantiser write the layer."""
    return e.layers.layer(e, node, x, weight, bias) if e.layers is not None else None


def _seen(e: Emitter, node: Node, x: str, weight: Weight, out: str) -> str:
    """Let calibration see the layer's operand, and a convolution's result."""
    if e.observe is not None:
        e.observe(e, node, weight.path, {"x": x} | ({"y": out} if node.op is Op.CONV else {}))
    return out


def conv(e: Emitter, node: Node) -> str:
    return _convolution(e, node, "Conv")


def conv_transpose(e: Emitter, node: Node) -> str:
    return _convolution(e, node, "ConvTranspose")


def _convolution(e: Emitter, node: Node, kind: str) -> str:
    """x ([B,] c, *s); without a batch one is made of a single example."""
    x, weight = node.inputs[:2]
    single = x.type.rank == weight.type.rank - 1
    inner = e.op("Unsqueeze", e.name(x), e.ints(0)) if single else e.name(x)
    bias = [e.name(v) for v in node.inputs[2:]]
    bound = e.env[weight.id]
    out = _layer(e, node, inner, bound, bias[0] if bias else None) if isinstance(bound, Weight) else None
    if out is None:
        w = e.weight(bound, local=True) if isinstance(bound, Weight) else bound
        for v in node.inputs[2:]:
            if isinstance(b := e.env[v.id], Weight):
                e.use(b.path, local=True)
        few = isinstance(bound, Weight) and not e.plain and _to_few(node)
        out = _turned(e, node, inner, w, bias) if few else e.op(kind, inner, w, *bias, **window(node))
        if isinstance(bound, Weight):
            _seen(e, node, inner, bound, out)
    return e.op("Squeeze", out, e.ints(0)) if single else out


def _to_few(node: Node) -> bool:
    """Whether this is a convolution to few channels that has a transposed form."""
    if node.op is not Op.CONV or int(node.inputs[1].type.shape[0]) >= FEW:
        return False
    at = window(node)
    return at["group"] == 1 and set(at["strides"]) == {1} and min(_rests(at)) >= 0


def _rests(at: dict[str, Any]) -> list[int]:
    """What the transposed form leaves out at each end."""
    return [d * (k - 1) - p for d, k, p in zip(at["dilations"], at["kernel_shape"], at["pads"], strict=False)]


def _turned(e: Emitter, node: Node, x: str, kernel: str, bias: list[str]) -> str:
    """A convolution in its transposed form. Its kernel is turned when the file is opened."""
    at = window(node)
    spatial = len(at["strides"])
    axes = range(2, 2 + spatial)
    ends, starts = e.ints(*[-LAST] * spatial), e.ints(*[-1] * spatial)
    turned = e.op("Transpose", e.op("Slice", kernel, starts, ends, e.ints(*axes), starts), perm=[1, 0, *axes])
    return e.op("ConvTranspose", x, turned, *bias, **(at | {"pads": _rests(at) * 2}))


def window(node: Node) -> dict[str, Any]:
    """The attributes of Conv and ConvTranspose."""
    weight: Shape = node.inputs[1].type.shape
    spatial = len(weight) - 2
    attrs: dict[str, Any] = {
        "kernel_shape": [int(d) for d in weight[2:]],
        "strides": [*per_dimension(node.get("stride", 1), spatial)],
        "pads": [*per_dimension(node.get("padding", 0), spatial)] * 2,
        "dilations": [*per_dimension(node.get("dilation", 1), spatial)],
        "group": node.get("groups", 1),
    }
    if node.op is Op.CONV_TRANSPOSE:
        attrs["output_padding"] = [*per_dimension(node.get("output_padding", 0), spatial)]
    return attrs


def avg_pool(e: Emitter, node: Node) -> str:
    spatial, k = node["spatial"], node["window"]
    return _batched(e, node, spatial, lambda x: e.op("AveragePool", x, kernel_shape=[k] * spatial, strides=[k] * spatial))


def resize(e: Emitter, node: Node) -> str:
    spatial, k = node["spatial"], node["factor"]
    scales = e.const(np.array([1, 1, *[k] * spatial], np.float32))
    mode = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    (x,), shape = e.names(node, DType.FLOAT), node.inputs[0].type.shape
    planes = e.op("Reshape", x, e.ints(1, -1, *map(int, shape[-spatial:])))
    return e.op("Reshape", e.op("Resize", planes, "", scales, **mode), e.dims(node.out.type.shape, infer=True))


def _batched(e: Emitter, node: Node, spatial: int, write) -> str:
    """Run an op that needs (n, c, *s) on an operand of any leading dimensions."""
    (x,) = e.names(node, DType.FLOAT)
    shape = node.inputs[0].type.shape
    if len(shape) == spatial + 2:
        return write(x)
    flat = e.op("Reshape", x, e.dims((1, *([-1] if len(shape) > spatial else [1]), *shape[-spatial:])))
    return e.op("Reshape", write(flat), e.dims(node.out.type.shape, infer=True))


def layernorm(e: Emitter, node: Node) -> str:
    x, *affine = node.inputs
    names = [e.name(v) for v in affine] or [e.const(np.ones(int(x.type.shape[-1]), np.float32))]
    return e.op("LayerNormalization", e.name(x), *names, axis=-1, epsilon=float(node.get("eps", 1e-5)))


def groupnorm(e: Emitter, node: Node) -> str:
    """The form that ONNX Runtime runs fastest: InstanceNormalization with the groups as channels."""
    x, *affine = node.inputs
    spatial, groups = node["spatial"], node["groups"]
    shape = x.type.shape
    channels = int(shape[-spatial - 1])
    lead = -1 if len(shape) > spatial + 1 else 1
    grouped = e.op("Reshape", e.name(x), e.ints(lead, groups, -1) if lead == 1 else e.ints(0, groups, -1))
    one, zero = e.const(np.ones(groups, np.float32)), e.const(np.zeros(groups, np.float32))
    normal = e.op("InstanceNormalization", grouped, one, zero, epsilon=float(node.get("eps", 1e-5)))
    out = e.op("Reshape", normal, e.dims(shape, infer=True))
    for kind, v in zip(("Mul", "Add"), affine, strict=False):
        out = e.op(kind, out, _per_channel(e, v, channels, spatial))
    return out


def _per_channel(e: Emitter, value: Value, channels: int, spatial: int) -> str:
    if value.type.rank == 1:
        return e.op("Reshape", e.name(value), e.ints(channels, *[1] * spatial))
    return e.op("Reshape", e.name(value), e.ints(-1, channels, *[1] * spatial))


def rmsnorm(e: Emitter, node: Node) -> str:
    x, *scale = node.inputs
    names, eps = [e.name(v) for v in scale], float(node.get("eps", 1e-5))
    if e.plain:  # the op is younger than importers of MLIR
        square = e.op("ReduceMean", e.op("Mul", e.name(x), e.name(x)), e.ints(-1), keepdims=1)
        out = e.op("Div", e.name(x), e.op("Sqrt", e.op("Add", square, e.const(np.float32(eps)))))
        return e.op("Mul", out, *names) if names else out
    names = names or [e.const(np.ones(int(x.type.shape[-1]), np.float32))]
    return e.op("RMSNormalization", e.name(x), *names, axis=-1, epsilon=eps)
