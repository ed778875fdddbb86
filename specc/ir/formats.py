"""Formats of quantised numbers: one table for the checker, the quantiser and every backend.

A code stands for one of the numbers of its *element*; times a scale that it shares with others it is a weight or an
activation. An affine code q stands for (q - zero) scale. Rounding is to the nearest number, ties to even, and values
outside go to the ends. `specc.ir.coding` does the arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

import numpy as np

from specc.ir.ops import Op
from specc.record import record

TARGETS = ("cpu", "web", "cuda")  # where ONNX Runtime runs a file
PLACES = ("first", "last", "clock")  # of a layer in its network, which a rule may name
KINDS = {  # of what has operands to round, which a rule may name
    Op.LINEAR: "linear",
    Op.CONV: "conv",
    Op.CONV_TRANSPOSE: "conv_transpose",
    Op.TAKE: "embedding",
    Op.ATTENTION: "attention",
    Op.MATMUL: "matmul",
}
WORDS = (*PLACES, *KINDS.values())
PRODUCTS = ("attention", "matmul")  # of two activations: these are rounded only where a rule names them

Floats = np.ndarray
Kernel = Literal["blocks", "expanded"]


@record(kw_only=True)
class Element:
    """The numbers that a code can stand for, before its scale.

    Without `exponent` they are integers in two's complement, in units of `unit`, from -largest to largest. With it they
    are floats: a sign, `exponent` bits with the usual bias, and `mantissa` bits; an exponent of 0 is subnormal.
    """

    bits: int
    largest: float
    exponent: int = 0
    mantissa: int = 0
    unit: float = 1.0

    @property
    def bias(self) -> int:
        return int(2 ** (self.exponent - 1)) - 1

    @property
    def top(self) -> int:
        """The exponent of the largest power of two, which a shared power of two is chosen by."""
        return int(np.floor(np.log2(self.largest)))

    def step(self, x: Floats) -> Floats:
        """The distance of neighbouring numbers around x."""
        if not self.exponent:
            return np.float32(self.unit) * np.ones_like(x)
        power = np.maximum(np.frexp(x)[1] - 1, 1 - self.bias) - self.mantissa
        return np.asarray(np.ldexp(np.ones_like(x), power), np.float32)

    def round(self, x: Floats) -> Floats:
        """The nearest number of the table, float32."""
        x = np.clip(np.asarray(x, np.float32), -self.largest, self.largest)
        step = self.step(x)
        return np.asarray(np.rint(x / step) * step, np.float32)

    def codes(self, numbers: Floats) -> np.ndarray:
        """The codes (uint8) of numbers of the table."""
        numbers = np.asarray(numbers, np.float32)
        if not self.exponent:
            whole: np.ndarray = np.rint(numbers / np.float32(self.unit)).astype(np.int64)
            return np.asarray(whole & (2**self.bits - 1), np.uint8)
        size = np.abs(numbers)
        normal = size >= 2.0 ** (1 - self.bias)
        steps = np.rint(size / self.step(size)).astype(np.int64)  # the mantissa with its leading 1, where there is one
        power = np.where(normal, np.frexp(size)[1] - 1 + self.bias, 0)
        code = np.where(normal, (power << self.mantissa) + steps - (1 << self.mantissa), steps)
        return np.asarray(code | np.signbit(numbers).astype(np.int64) << (self.bits - 1), np.uint8)

    def table(self) -> Floats:
        """The number of each code, float32; codes of no number are nan."""
        code = np.arange(2**self.bits)
        if not self.exponent:
            return np.asarray(np.where(code < 2 ** (self.bits - 1), code, code - 2**self.bits) * self.unit, np.float32)
        sign = np.where(code >> (self.bits - 1), -1.0, 1.0)
        power = code >> self.mantissa & (2**self.exponent - 1)
        part = code & (2**self.mantissa - 1)
        lead = np.where(power > 0, 1.0, 0.0)
        size = (lead + part / 2**self.mantissa) * 2.0 ** (np.maximum(power, 1) - self.bias)
        return np.asarray(np.where(size <= self.largest, sign * size, np.nan), np.float32)


@record(kw_only=True)
class Format:
    """A row of the table.

    weights: which numbers may share a scale, the usual choice first. activations: whether ranges come from calibration
    (`static`) or from the values themselves (`dynamic`); () means not at all. products: by which kernel each target
    multiplies with such weights, where an example has few rows; `expanded` is a float product, with weights unpacked by
    standard ops when the file is opened. integer: targets with integer kernels for such weights and 8-bit activations; on
    others rounded activations are emulated by standard ops.
    """

    element: Element
    weights: tuple[str, ...] = ("channel", "tensor", "block")
    activations: tuple[str, ...] = ()
    scale: Literal["float32", "e8m0"] = "float32"
    block: int | None = None  # how many numbers share a scale, unless the rule says otherwise
    fit: Literal["largest", "mean"] = "largest"  # what of the absolute values the scale goes by
    affine: bool = False  # whether a rule may ask for a zero
    products: Mapping[str, Kernel] = field(default_factory=dict)
    integer: tuple[str, ...] = ()
    doc: str = ""

    @property
    def bits(self) -> int:
        return self.element.bits

    def kernel(self, target: str) -> Kernel:
        return self.products.get(target, "expanded")

    @property
    def operands(self) -> int | None:
        """How many numbers of a row of activations share a scale, unless the rule says otherwise; None for all of them."""
        return self.block if self.scale == "e8m0" else None

    @property
    def scale_bytes(self) -> int:
        return 1 if self.scale == "e8m0" else 4


def integer(bits: int) -> Element:
    return Element(bits=bits, largest=2 ** (bits - 1) - 1)


E4M3 = Element(bits=8, exponent=4, mantissa=3, largest=448)
E5M2 = Element(bits=8, exponent=5, mantissa=2, largest=57344)
E3M2 = Element(bits=6, exponent=3, mantissa=2, largest=28)
E2M3 = Element(bits=6, exponent=2, mantissa=3, largest=7.5)
E2M1 = Element(bits=4, exponent=2, mantissa=1, largest=6)
FIXED8 = Element(bits=8, largest=127 / 64, unit=1 / 64)

BLOCKS = ("block", "channel", "tensor")
BOTH = ("static", "dynamic")


def _microscaled(element: Element, doc: str) -> Format:
    """Blocks of 32 along what a product sums over, with a power of two as their scale (Open Compute Project, 2023)."""
    return Format(element=element, weights=("block",), activations=("dynamic",), scale="e8m0", block=32, doc=doc)


FORMATS: dict[str, Format] = {
    "int8": Format(
        element=integer(8),
        activations=BOTH,
        affine=True,
        products={"cpu": "blocks", "cuda": "blocks"},
        integer=("cpu", "web"),
        doc="integers of 8 bits; activations unsigned with a zero",
    ),
    "int4": Format(
        element=integer(4),
        weights=BLOCKS,
        activations=("dynamic",),
        block=32,
        affine=True,
        products={"cpu": "blocks", "cuda": "blocks"},
        doc="integers of 4 bits, two a byte",
    ),
    "int3": Format(
        element=integer(3),
        weights=BLOCKS,
        activations=("dynamic",),
        block=32,
        affine=True,
        doc="integers of 3 bits, in planes of 2 and 1",
    ),
    "int2": Format(
        element=integer(2),
        weights=BLOCKS,
        block=32,
        affine=True,
        products={"cpu": "blocks"},
        doc="integers of 2 bits, four a byte",
    ),
    "ternary": Format(
        element=integer(2),
        weights=("tensor", "channel", "block"),
        block=128,
        fit="mean",
        products={"cpu": "blocks"},
        doc="-1, 0 and 1 times the mean absolute value, four a byte",
    ),
    "fp8_e4m3": Format(element=E4M3, activations=BOTH, doc="floats of 8 bits, 3 of them mantissa"),
    "fp8_e5m2": Format(element=E5M2, activations=BOTH, doc="floats of 8 bits, 2 of them mantissa"),
    "mxfp8_e4m3": _microscaled(E4M3, "floats of 8 bits under a shared power of two"),
    "mxfp8_e5m2": _microscaled(E5M2, "floats of 8 bits under a shared power of two"),
    "mxfp6_e3m2": _microscaled(E3M2, "floats of 6 bits under a shared power of two, in planes of 4 and 2 bits"),
    "mxfp6_e2m3": _microscaled(E2M3, "floats of 6 bits under a shared power of two, in planes of 4 and 2 bits"),
    "mxfp4": _microscaled(E2M1, "floats of 4 bits (e2m1) under a shared power of two, two a byte"),
    "mxint8": _microscaled(FIXED8, "fixed point of 8 bits under a shared power of two"),
}
