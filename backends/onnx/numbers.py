"""Rows for numbers: constants, conversions, and functions that ONNX has no op for."""

from __future__ import annotations

import math

import numpy as np
from onnx import TensorProto
from specc.backends.onnx.emit import Emitter, Number
from specc.backends.onnx.scopes import NUMPY

from specc.ir.program import Node
from specc.ir.types import BATCH, GROWING, DType

# Polynomials of erfinv in w = -log(1 - x^2), highest power first: below 5 in w - 2.5, above in sqrt(w) - 3.
# Michael Giles, "Approximating the erfinv function", 2012.
ERFINV_CENTRE = (
    *(2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087),
    *(-0.00125372503, -0.00417768164, 0.246640727, 1.50140941),
)
ERFINV_TAIL = (
    *(-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773),
    *(-0.0076224613, 0.00943887047, 1.00167406, 2.83297682),
)

# Cornelius Lanczos, "A precision approximation of the gamma function", 1964; coefficients of Paul Godfrey for g = 7.
LANCZOS_G = 7
LANCZOS = (
    *(0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059),
    *(12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7),
)


def const(e: Emitter, node: Node) -> str | Number:
    """One number fills the shape; a tuple lists the elements."""
    if e.wide and node.out.type.dtype is DType.FLOAT and np.ndim(node["value"]) == 0:
        return Number(value=float(node["value"]))
    value, shape = np.asarray(node["value"], NUMPY[node.out.type.dtype]), node.out.type.shape
    if value.ndim or BATCH not in shape:
        static = [0 if d == GROWING else int(d) for d in shape]
        return e.const(value.reshape(static) if value.ndim else np.full(static, value))
    return e.op("Expand", e.const(value), e.dims(shape))


def iota(e: Emitter, node: Node) -> str:
    if node["n"] == BATCH:
        return e.op("Range", e.const(np.int64(0)), e.count(), e.const(np.int64(1)))
    return e.const(np.arange(node["n"], dtype=np.int64))


def cast(e: Emitter, node: Node) -> str:
    return e.number(node.inputs[0], node.out.type.dtype)


def silu(e: Emitter, node: Node) -> str:
    """x sigmoid(x): a pair that ONNX Runtime fuses."""
    (x,) = e.names(node, DType.FLOAT)
    return e.op("Mul", x, e.op("Sigmoid", x))


def where(e: Emitter, node: Node) -> str:
    """Where; truth values have no kernel and are chosen by logic."""
    dtype = node.out.type.dtype
    test = e.name(node.inputs[0])
    a, b = (e.number(v, dtype) for v in node.inputs[1:])
    if dtype is DType.BOOL:
        return e.op("Or", e.op("And", test, a), e.op("And", e.op("Not", test), b))
    return e.op("Where", test, a, b)


def mod(e: Emitter, node: Node) -> str:
    a, b = e.names(node, node.out.type.dtype)
    if node.out.type.dtype is DType.INT:
        return e.op("Mod", a, b)
    return e.op("Sub", a, e.op("Mul", b, e.op("Floor", e.op("Div", a, b))))


def floordiv(e: Emitter, node: Node) -> str:
    a, b = e.names(node, node.out.type.dtype)
    if node.out.type.dtype is DType.INT:
        return e.op("Div", e.op("Sub", a, e.op("Mod", a, b)), b)
    return e.op("Floor", e.op("Div", a, b))


def expm1(e: Emitter, node: Node) -> str:
    return _single(e, e.op("Sub", e.op("Exp", _double(e, node)), _f64(e, 1)))


def log1p(e: Emitter, node: Node) -> str:
    return _single(e, e.op("Log", e.op("Add", _double(e, node), _f64(e, 1))))


def erfinv(e: Emitter, node: Node) -> str:
    x = _double(e, node)
    w = e.op("Neg", e.op("Log", e.op("Mul", e.op("Sub", _f64(e, 1), x), e.op("Add", _f64(e, 1), x))))
    centre = _horner(e, ERFINV_CENTRE, e.op("Sub", w, _f64(e, 2.5)))
    tail = _horner(e, ERFINV_TAIL, e.op("Sub", e.op("Sqrt", w), _f64(e, 3)))
    inside = e.op("Mul", e.op("Where", e.op("Less", w, _f64(e, 5)), centre, tail), x)
    end = e.op("Equal", e.op("Abs", x), _f64(e, 1))
    return _single(e, e.op("Where", end, e.op("Mul", x, _f64(e, math.inf)), inside))


def lgamma(e: Emitter, node: Node) -> str:
    """Lanczos' series right of 1/2; left of it the reflection log(pi / |sin(pi x)|) - lgamma(1 - x)."""
    x = _double(e, node)
    left = e.op("Less", x, _f64(e, 0.5))
    z = e.op("Where", left, e.op("Neg", x), e.op("Sub", x, _f64(e, 1)))
    series = _f64(e, LANCZOS[0])
    for i, c in enumerate(LANCZOS[1:], 1):
        series = e.op("Add", series, e.op("Div", _f64(e, c), e.op("Add", z, _f64(e, i))))
    t = e.op("Add", z, _f64(e, LANCZOS_G + 0.5))
    power = e.op("Sub", e.op("Mul", e.op("Add", z, _f64(e, 0.5)), e.op("Log", t)), t)
    right = e.op("Add", e.op("Add", power, e.op("Log", series)), _f64(e, math.log(2 * math.pi) / 2))
    past = e.op("Sub", x, e.op("Round", x))  # exactly 0 at the poles
    sine = e.op("Abs", e.op("Sin", e.op("Mul", past, _f64(e, math.pi))))
    reflected = e.op("Sub", e.op("Sub", _f64(e, math.log(math.pi)), e.op("Log", sine)), right)
    return _single(e, e.op("Where", left, reflected, right))


def _horner(e: Emitter, coefficients: tuple[float, ...], x: str) -> str:
    total = _f64(e, coefficients[0])
    for c in coefficients[1:]:
        total = e.op("Add", e.op("Mul", total, x), _f64(e, c))
    return total


def _double(e: Emitter, node: Node) -> str:
    return e.double(node.inputs[0])


def _single(e: Emitter, x: str) -> str:
    return x if e.wide else e.op("Cast", x, to=TensorProto.FLOAT)


def _f64(e: Emitter, value: float) -> str:
    return e.const(np.float64(value))
