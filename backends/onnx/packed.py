"""Writes quantised layers: by the kernels that ONNX Runtime has on a target, by standard ops elsewhere.

int8 operands and weights (unsigned activations, signed weights) are multiplied by MatMulIntegerToFloat. Those of convolutions
stand between QuantizeLinear and DequantizeLinear, which the runtime replaces by its integer kernels; they round their result
too. Weights alone are multiplied in packed blocks where an example has few rows. For many rows, where such products are slower
than float ones, for kernels and for every other format they are unpacked by nodes that are folded when the file is opened.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from onnx import TensorProto
from specc.backends.onnx.emit import Emitter, Weight
from specc.backends.onnx.layers import window
from specc.backends.onnx.products import ProductPlan, product
from specc.backends.onnx.rounding import Rounding, quantized, rounded, static
from specc.backends.onnx.unpack import Store

from specc.ir.coding import LEAST, Codes, activation_range, as_matrix, encode
from specc.ir.formats import FORMATS
from specc.ir.methods.grid import NONE, Rounded
from specc.ir.ops import Op
from specc.ir.program import Node
from specc.ir.types import Shape
from specc.record import record

MANY = 8  # rows of one example from which a float product beats one over packed blocks
SIZES = (16, 32, 64, 128, 256)  # of the blocks of MatMulNBits
REPEATED = 128  # size of blocks for a weight with one scale a row, where it has as many columns
MIDDLE = 128  # the code of zero of a symmetric operand

INTEGER = "integer kernel"
PACKED = "packed blocks, operand rounded to 8 bits inside"
EXPANDED = "float, unpacked when opened"
GATHERED = "rows unpacked as they are read"
EMULATED = "float, operand rounded by standard ops"


@record(kw_only=True)
class LayerPlan:
    """How one layer is quantised. `rounding` is of its operand, where that is rounded."""

    path: str
    rule: str
    weights: str  # a row of FORMATS
    granularity: str
    block: int | None
    affine: bool = False
    transposed: bool = False  # the weight of a transposed convolution
    rounding: Rounding | None = None
    method: str = "nearest"
    found: Rounded | None = None  # by the method; the nearest codes otherwise

    @property
    def kept(self) -> np.ndarray:
        """Columns that are not rounded, whose codes stand for 0."""
        return NONE if self.found is None else self.found.kept


@dataclass(slots=True)
class Writer:
    """The `Layers` of a quantised export. `ways` says afterwards how each layer runs, `store` its bytes."""

    plans: Mapping[str, LayerPlan]
    products: Mapping[str, ProductPlan]
    weights: Mapping[str, np.ndarray]
    target: str = "cpu"
    ways: dict[str, str] = field(default_factory=dict)
    store: Store = field(default_factory=Store)
    expanded: dict[str, str] = field(default_factory=dict)

    def layer(self, e: Emitter, node: Node, x: str, weight: Weight, bias: str | None) -> str | None:
        plan = self.plans.get(weight.path)
        if plan is None:
            return None
        return self._linear(e, node, plan, x, bias) if node.op is Op.LINEAR else self._convolution(e, node, plan, x, bias)

    def embedding(self, e: Emitter, node: Node, weight: Weight) -> str | None:
        """Rows of a packed table; what is not read stays packed."""
        plan = self.plans.get(weight.path)
        if plan is None:
            return None
        self.ways[plan.path] = GATHERED
        index = node.inputs[1]
        return self.store.matrix(e, plan.path, self._codes(plan), rows=(e.name(index), index.type.shape))

    def product(self, e: Emitter, node: Node) -> str | None:
        plan = self.products.get(e.site(node))
        if plan is None:
            return None
        whole = all(how.format == "int8" and how.interval is not None for how in plan.operands)
        self.ways[plan.path] = INTEGER if whole and self.target in FORMATS["int8"].integer else EMULATED
        return product(e, node, plan)

    def _integer(self, plan: LayerPlan) -> bool:
        """Whether the target has an integer kernel: int8 with one scale a row at most, and no zero, on int8."""
        how = plan.rounding
        plain = plan.weights == "int8" and plan.block is None and not plan.affine
        rounds = how is not None and how.format == "int8" and not how.block and not how.affine
        return plain and rounds and self.target in FORMATS["int8"].integer

    # Linear layers

    def _linear(self, e: Emitter, node: Node, plan: LayerPlan, x: str, bias: str | None) -> str:
        operand = self._others(e, plan, x, node.inputs[0].type.shape)
        if self._integer(plan):
            self.ways[plan.path] = INTEGER
            out = self._integer_product(e, plan, operand, bias)
        else:
            out = self._product(e, plan, operand, node.inputs[0].type.shape)
            out = out if bias is None else e.op("Add", out, bias)
        if plan.found is not None and plan.kept.size:
            out = e.op("Add", out, self._kept(e, plan.path, plan.found, x))
        return out

    def _others(self, e: Emitter, plan: LayerPlan, x: str, shape: Shape) -> str:
        """The operand as it is rounded: columns that are not count for no scale."""
        if not plan.kept.size or plan.rounding is None:
            return x
        return e.op("Mul", x, e.const(np.isin(np.arange(int(shape[-1])), plan.kept, invert=True).astype(np.float32)))

    def _kept(self, e: Emitter, path: str, found: Rounded, x: str) -> str:
        """The product over the columns that are not rounded."""
        part = e.op("Gather", x, e.const(found.kept.astype(np.int64)), axis=-1)
        return e.op("MatMul", part, self.store.array(e, path, "kept", found.columns.T))

    def _product(self, e: Emitter, plan: LayerPlan, x: str, shape: Shape) -> str:
        if plan.rounding is None and self._few(plan, shape):
            self.ways[plan.path] = PACKED
            return self._blocks(e, plan, x)
        return e.op("MatMul", self._rounded(e, plan, x, shape, -1), self._matrix(e, plan))

    def _few(self, plan: LayerPlan, shape: Shape) -> bool:
        """Whether a product over packed blocks is what the target does best."""
        few = math.prod(d for d in shape[:-1] if isinstance(d, int)) < MANY or self.target == "cuda"
        return few and FORMATS[plan.weights].kernel(self.target) == "blocks" and (plan.block or REPEATED) in SIZES

    def _rounded(self, e: Emitter, plan: LayerPlan, x: str, shape: Shape, axis: int) -> str:
        self.ways[plan.path] = EXPANDED if plan.rounding is None else EMULATED
        return x if plan.rounding is None else rounded(e, x, shape, axis, plan.rounding)

    def _integer_product(self, e: Emitter, plan: LayerPlan, x: str, bias: str | None) -> str:
        """In a range, by the op that ONNX Runtime makes of DequantizeLinear and MatMul; written out, it adds the bias too."""
        assert plan.rounding is not None
        codes = self._codes(plan)
        right, scales = self._columns(e, plan, codes), self._scales(e, plan, codes)
        if plan.rounding.interval is None:
            out = self._by_rows(e, x, right, scales)
            return out if bias is None else e.op("Add", out, bias)
        left, scale, zero = quantized(e, x, plan.rounding.interval)
        inputs = (left, right, scale, scales, zero, *(("", bias) if bias is not None else ()))
        return e.op("MatMulIntegerToFloat", *inputs, domain="com.microsoft")

    def _columns(self, e: Emitter, plan: LayerPlan, codes: Codes) -> str:
        """The transposed codes (k, n)."""
        return self.store.array(e, plan.path, "columns", codes.codes.view(np.int8).T)

    def _scales(self, e: Emitter, plan: LayerPlan, codes: Codes, *, local: bool = False) -> str:
        """One scale a row."""
        n = len(codes.codes)
        return self.store.array(e, plan.path, "scales", np.broadcast_to(codes.scales.values[:, 0], n), local=local)

    def _by_rows(self, e: Emitter, x: str, right: str, scales: str) -> str:
        """An integer product whose operand has a scale for each of its rows."""
        largest = e.op("ReduceMax", e.op("Abs", x), e.ints(-1), keepdims=1)
        scale = e.op("Max", e.op("Div", largest, e.const(np.float32(127))), e.const(LEAST))
        whole = e.op("Add", e.op("Round", e.op("Div", x, scale)), e.const(np.float32(MIDDLE)))
        left = e.op("Cast", whole, to=TensorProto.UINT8)
        product = e.op("MatMulInteger", left, right, e.const(np.uint8(MIDDLE)))
        out = e.op("Mul", e.op("Cast", product, to=TensorProto.FLOAT), scale)
        return e.op("Mul", out, scales)

    def _matrix(self, e: Emitter, plan: LayerPlan) -> str:
        """The transposed weight (k, n), once in the file, in nodes that are folded when it is opened."""
        if plan.path not in self.expanded:
            with e.outermost():
                rows = self.store.matrix(e, plan.path, self._codes(plan))
                self.expanded[plan.path] = e.op("Transpose", rows, perm=[1, 0])
        return self.expanded[plan.path]

    def _blocks(self, e: Emitter, plan: LayerPlan, x: str) -> str:
        """MatMulNBits, which counts codes from the least."""
        codes = self._codes(plan)
        (n, k), bits = codes.codes.shape, FORMATS[plan.weights].bits
        size = plan.block or next(s for s in SIZES if s >= min(k, REPEATED))
        counted = codes.codes if plan.affine else codes.codes ^ np.uint8(1 << (bits - 1))
        padded = np.pad(counted, ((0, 0), (0, -k % size))).reshape(n, -1, size)
        blocks = (n, padded.shape[1])
        inputs = [x, self.store.array(e, plan.path, "blocks", _adjacent(padded, bits))]
        scales = np.broadcast_to(codes.scales.values, blocks)
        inputs.append(self.store.array(e, plan.path, "block_scales", scales.reshape(-1)))
        if codes.scales.zeros is not None:
            zeros = _adjacent(np.broadcast_to(codes.scales.zeros, blocks), bits)
            inputs.append(self.store.array(e, plan.path, "block_zeros", zeros.reshape(-1)))
        attrs = {"K": k, "N": n, "bits": bits, "block_size": size, "accuracy_level": 4}
        return e.op("MatMulNBits", *inputs, domain="com.microsoft", **attrs)

    # Convolutions

    def _convolution(self, e: Emitter, node: Node, plan: LayerPlan, x: str, bias: str | None) -> str:
        if bias in e.placed:
            e.use(bias, local=True)
        if self._integer(plan) and plan.rounding.result is not None and (bias is None or bias in self.weights):
            return self._integer_convolution(e, node, plan, x, bias)
        kind = "Conv" if node.op is Op.CONV else "ConvTranspose"
        shape = node.inputs[0].type.shape
        batched = (1, *shape) if len(shape) < len(node.inputs[1].type.shape) else shape
        x = self._rounded(e, plan, x, batched, 1)
        return e.op(kind, x, self._kernel(e, plan), *([bias] if bias else []), **window(node))

    def _integer_convolution(self, e: Emitter, node: Node, plan: LayerPlan, x: str, bias: str | None) -> str:
        """QDQ around a Conv with its bias in int32, as the integer kernel wants it."""
        how, codes = plan.rounding, self._codes(plan)
        assert how is not None and how.interval is not None and how.result is not None
        self.ways[plan.path] = INTEGER
        kernel = codes.codes.view(np.int8).reshape(self.weights[plan.path].shape)
        q = self.store.array(e, plan.path, "codes", kernel, local=True)
        w = e.op("DequantizeLinear", q, self._scales(e, plan, codes, local=True), axis=0)
        inputs = [static(e, x, "int8", how.interval), w]
        if bias is not None:
            step = (np.broadcast_to(codes.scales.values[:, 0], len(kernel)) * activation_range(*how.interval)[0]).astype(
                np.float32
            )
            whole = np.rint(self.weights[bias].astype(np.float64) / step).astype(np.int32)
            qb = self.store.array(e, bias, "codes", whole, local=True)
            sb = self.store.array(e, bias, "scales", step, local=True)
            inputs.append(e.op("DequantizeLinear", qb, sb, axis=0))
        return static(e, e.op("Conv", *inputs, **window(node)), "int8", how.result)

    def _kernel(self, e: Emitter, plan: LayerPlan) -> str:
        """A kernel from its codes, in the graph of its use."""
        shape = self.weights[plan.path].shape
        matrix = self.store.matrix(e, plan.path, self._codes(plan), local=True)
        if not plan.transposed:
            return e.op("Reshape", matrix, e.ints(*shape))
        turned = e.op("Reshape", matrix, e.ints(shape[1], shape[0], *shape[2:]))
        return e.op("Transpose", turned, perm=[1, 0, *range(2, len(shape))])

    def _codes(self, plan: LayerPlan) -> Codes:
        if plan.found is not None:
            return plan.found.codes
        matrix = as_matrix(self.weights[plan.path], plan.transposed)
        return encode(matrix, plan.weights, plan.granularity, plan.block, plan.affine)


def _adjacent(codes: np.ndarray, bits: int) -> np.ndarray:
    """Codes next to each other in bytes along the last dimension, the first in the lowest bits, as MatMulNBits reads them."""
    each = 8 // bits
    padded = np.pad(codes, [*[(0, 0)] * (codes.ndim - 1), (0, -codes.shape[-1] % each)])
    lanes = padded.reshape(*codes.shape[:-1], -1, each) << np.arange(0, 8, bits, dtype=np.uint8)
    return np.asarray(np.bitwise_or.reduce(lanes, axis=-1), np.uint8)
