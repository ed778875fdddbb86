"""Writes quantised layers: integer kernels where ONNX Runtime has them, packed weights elsewhere.

With int8 activations the operand is rounded and the layer stands between QuantizeLinear and DequantizeLinear pairs, which the
runtime replaces by its integer kernels (unsigned activations, signed weights). Convolutions round their result too.

Weights alone are expanded: where an example has few rows by DequantizeLinear in front of a MatMul, which becomes a product over
packed blocks; for many rows, where such products are slower than float ones, and for convolutions by plain nodes, which are
folded when the file is opened.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from onnx import TensorProto
from specc.backends.onnx.emit import Emitter, Weight, tensor
from specc.backends.onnx.layers import window
from specc.backends.onnx.wire import Tensor

from specc.ir.formats import FORMATS, Codes, activation_range, encode
from specc.ir.ops import Op
from specc.ir.program import Node
from specc.record import record

MANY = 8  # rows of one example from which a float product beats one over packed blocks


@record(kw_only=True)
class LayerPlan:
    """How one layer is quantised. `operand` and `result` are ranges of values, where activations are rounded."""

    path: str
    rule: str
    weights: str  # a row of FORMATS
    granularity: str
    block: int | None
    operand: tuple[float, float] | None = None
    result: tuple[float, float] | None = None
    shared: bool = False  # several graphs of the file use it


@dataclass(slots=True)
class Writer:
    """The `Layers` of a quantised export."""

    plans: Mapping[str, LayerPlan]
    weights: Mapping[str, np.ndarray]
    expanded: dict[str, str] = field(default_factory=dict)

    def layer(self, e: Emitter, node: Node, x: str, weight: Weight, bias: str | None) -> str | None:
        """A product of two dimensions gets a third: MatMul and Add would become a float Gemm before they become integer."""
        plan = self.plans.get(weight.path)
        if plan is None:
            return None
        if node.op is Op.LINEAR:
            flat = node.inputs[0].type.rank == 2
            rows = math.prod(d for d in node.inputs[0].type.shape[:-1] if isinstance(d, int))
            out = self._product(e, plan, e.op("Unsqueeze", x, e.ints(0)) if flat else x, rows)
            out = out if bias is None else e.op("Add", out, bias)
            return e.op("Squeeze", out, e.ints(0)) if flat else out
        if bias in e.placed:
            e.use(bias, local=True)
        if plan.operand is not None and plan.result is not None and (bias is None or bias in self.weights):
            return self._convolution(e, node, plan, x, bias)
        kind = "Conv" if node.op is Op.CONV else "ConvTranspose"
        return e.op(kind, x, self._kernel(e, plan), *([bias] if bias else []), **window(node))

    # Linear layers

    def _product(self, e: Emitter, plan: LayerPlan, x: str, rows: int) -> str:
        if plan.operand is not None:
            return e.op("MatMul", _rounded(e, x, plan.operand), self._columns(e, plan, local=False))
        if rows >= MANY:
            return e.op("MatMul", x, self._matrix(e, plan))
        if FORMATS[plan.weights].bits == 4 and plan.shared:
            return self._blocks(e, plan, x)
        return e.op("MatMul", x, self._columns(e, plan, local=True))

    def _columns(self, e: Emitter, plan: LayerPlan, *, local: bool) -> str:
        """DequantizeLinear of the transposed codes (k, n); blocks lie along axis 0."""
        codes = self._codes(plan)
        q = _codes(e, plan.path, codes.codes.T, plan.weights, local=local)
        s = _array(e, f"{plan.path}.scales", codes.scales.T, local=local)
        if codes.block is not None:
            return e.op("DequantizeLinear", q, s, axis=0, block_size=codes.block)
        return e.op("DequantizeLinear", q, s, **({"axis": 1} if codes.scales.ndim else {}))

    def _matrix(self, e: Emitter, plan: LayerPlan) -> str:
        """The transposed weight (k, n) from its codes, once in the file, in nodes that are folded when it is opened."""
        if plan.path not in self.expanded:
            codes = self._codes(plan)
            n, k = codes.codes.shape
            flat, scales = codes.codes.T, codes.scales.T
            if codes.block is not None:
                flat, scales = np.pad(flat, ((0, -k % codes.block), (0, 0))), scales[:, None]
            with e.outermost():
                real = e.op("Cast", _codes(e, plan.path, flat, plan.weights, local=False), to=TensorProto.FLOAT)
                if codes.block is not None:
                    real = e.op("Reshape", real, e.ints(-1, codes.block, n))
                wide = e.op("Mul", real, _array(e, f"{plan.path}.scales", scales, local=False))
                if codes.block is not None:
                    wide = e.op("Slice", e.op("Reshape", wide, e.ints(-1, n)), e.ints(0), e.ints(k), e.ints(0))
                self.expanded[plan.path] = wide
        return self.expanded[plan.path]

    def _blocks(self, e: Emitter, plan: LayerPlan, x: str) -> str:
        """MatMulNBits, for 4-bit weights that several graphs use: DequantizeLinear would have to lie in each."""
        codes = self._codes(plan)
        n, k = codes.codes.shape
        size = codes.block or 32
        padded = np.pad(codes.codes, ((0, 0), (0, -k % size))).reshape(n, -1, size)
        scales = codes.scales if codes.block else np.broadcast_to(codes.scales.reshape(-1, 1), (n, padded.shape[1]))
        q = _array(e, f"{plan.path}.codes", _nibbles(padded + np.int8(8)), local=False)
        s = _array(e, f"{plan.path}.scales", np.ascontiguousarray(scales, np.float32).reshape(-1), local=False)
        attrs = {"K": k, "N": n, "bits": 4, "block_size": size, "accuracy_level": 4}
        return e.op("MatMulNBits", x, q, s, domain="com.microsoft", **attrs)

    # Convolutions

    def _convolution(self, e: Emitter, node: Node, plan: LayerPlan, x: str, bias: str | None) -> str:
        """QDQ around a Conv with its bias in int32, as the integer kernel wants it."""
        assert plan.operand is not None and plan.result is not None
        codes = self._codes(plan)
        q = _codes(e, plan.path, codes.codes, plan.weights, local=True)
        s = _array(e, f"{plan.path}.scales", codes.scales, local=True)
        w = e.op("DequantizeLinear", q, s, **({"axis": 0} if codes.scales.ndim else {}))
        inputs = [_rounded(e, x, plan.operand), w]
        if bias is not None:
            step = (codes.scales * activation_range(*plan.operand)[0]).astype(np.float32)
            whole = np.rint(self.weights[bias].astype(np.float64) / step).astype(np.int32)
            qb = _array(e, f"{bias}.codes", whole, local=True)
            sb = _array(e, f"{bias}.scales", step, local=True)
            inputs.append(e.op("DequantizeLinear", qb, sb, **({"axis": 0} if step.ndim else {})))
        return _rounded(e, e.op("Conv", *inputs, **window(node)), plan.result)

    def _kernel(self, e: Emitter, plan: LayerPlan) -> str:
        """A kernel from its codes, in nodes that are folded when the file is opened."""
        shape = self.weights[plan.path].shape
        codes = self._codes(plan)
        q = _codes(e, plan.path, codes.codes, plan.weights, local=True)
        real = e.op("Cast", q, to=TensorProto.FLOAT)
        scales = codes.scales
        if codes.block is not None:
            real = e.op("Reshape", real, e.ints(shape[0], -1, codes.block))
            scales = scales[:, :, None]
        elif scales.ndim:
            scales = scales.reshape(-1, *[1] * (codes.codes.ndim - 1))
        wide = e.op("Mul", real, _array(e, f"{plan.path}.scales", scales, local=True))
        return e.op("Reshape", wide, e.ints(*shape))

    def _codes(self, plan: LayerPlan) -> Codes:
        """The codes of a weight; a kernel's blocks run over its flattened inputs."""
        weight = np.asarray(self.weights[plan.path], np.float32)
        if plan.granularity == "block" and weight.ndim > 2:
            weight = weight.reshape(weight.shape[0], -1)
        return encode(weight, plan.weights, plan.granularity, plan.block)


def _rounded(e: Emitter, x: str, interval: tuple[float, float]) -> str:
    scale, zero = activation_range(*interval)
    s, z = e.const(scale), e.const(zero)
    return e.op("DequantizeLinear", e.op("QuantizeLinear", x, s, z), s, z)


def _codes(e: Emitter, path: str, codes: np.ndarray, weights: str, *, local: bool) -> str:
    """The initializer of codes: one byte each, or two codes a byte."""
    if FORMATS[weights].bits == 8:
        return _array(e, f"{path}.codes", codes, local=local)
    name = f"{path}.codes"
    if name not in e.placed:
        shape, codes = codes.shape, np.ascontiguousarray(codes)
        e.place(name, Tensor(name, TensorProto.INT4, shape, -(-codes.size // 2), lambda: _nibbles(codes.reshape(-1))))
    return e.use(name, local=local)


def _array(e: Emitter, name: str, array: np.ndarray, *, local: bool) -> str:
    if name not in e.placed:
        e.place(name, tensor(name, np.ascontiguousarray(array)))
    return e.use(name, local=local)


def _nibbles(codes: np.ndarray) -> np.ndarray:
    """Two codes a byte along the last dimension, the first in the low half."""
    codes = codes.astype(np.uint8) & 15
    if codes.shape[-1] % 2:
        codes = np.concatenate([codes, np.zeros((*codes.shape[:-1], 1), np.uint8)], axis=-1)
    return codes[..., 0::2] | codes[..., 1::2] << 4
