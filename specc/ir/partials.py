"""The derivative column of elementwise ops: how a small change of one operand changes the result, written in ops.

`PARTIALS[op][i](c, t, node)` is the partial derivative in operand i times t, element by element, for t a tangent of the
operand or a cotangent of the result; None where the partial derivative is 0. The result of an op may stand in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from specc.ir.calc import SQRT_2, SQRT_PI, Calc
from specc.ir.ops import Op
from specc.ir.program import Node, Value
from specc.ir.types import DType

Partial = Callable[[Calc, Value, Node], Value]


def _one_plus(c: Calc, x: Value) -> Value:
    return c.op(Op.ADD, c.number(1), x)


def _one_minus(c: Calc, x: Value) -> Value:
    return c.op(Op.SUB, c.number(1), x)


def _same(c: Calc, t: Value, n: Node) -> Value:
    return t


def _minus(c: Calc, t: Value, n: Node) -> Value:
    return c.neg(t)


def _abs(c: Calc, t: Value, n: Node) -> Value:
    return c.mul(t, c.op(Op.SIGN, n.inputs[0]))


def _exp(c: Calc, t: Value, n: Node) -> Value:
    return c.mul(n.out, t)


def _expm1(c: Calc, t: Value, n: Node) -> Value:
    return c.mul(c.op(Op.EXP, n.inputs[0]), t)


def _log(c: Calc, t: Value, n: Node) -> Value:
    return c.div(t, n.inputs[0])


def _log1p(c: Calc, t: Value, n: Node) -> Value:
    return c.div(t, _one_plus(c, n.inputs[0]))


def _sqrt(c: Calc, t: Value, n: Node) -> Value:
    return c.div(t, c.scale(2, n.out))


def _sin(c: Calc, t: Value, n: Node) -> Value:
    return c.mul(t, c.op(Op.COS, n.inputs[0]))


def _cos(c: Calc, t: Value, n: Node) -> Value:
    return c.neg(c.mul(t, c.op(Op.SIN, n.inputs[0])))


def _tan(c: Calc, t: Value, n: Node) -> Value:
    return c.mul(t, _one_plus(c, c.square(n.out)))


def _asin(c: Calc, t: Value, n: Node) -> Value:
    return c.div(t, c.op(Op.SQRT, _one_minus(c, c.square(n.inputs[0]))))


def _acos(c: Calc, t: Value, n: Node) -> Value:
    return c.neg(_asin(c, t, n))


def _atan(c: Calc, t: Value, n: Node) -> Value:
    return c.div(t, _one_plus(c, c.square(n.inputs[0])))


def _tanh(c: Calc, t: Value, n: Node) -> Value:
    return c.mul(t, _one_minus(c, c.square(n.out)))


def _sigmoid(c: Calc, t: Value, n: Node) -> Value:
    return c.mul(t, c.mul(n.out, _one_minus(c, n.out)))


def _softplus(c: Calc, t: Value, n: Node) -> Value:
    return c.mul(t, c.op(Op.SIGMOID, n.inputs[0]))


def _erf(c: Calc, t: Value, n: Node) -> Value:
    return c.mul(t, c.scale(2 / SQRT_PI, c.op(Op.EXP, c.neg(c.square(n.inputs[0])))))


def _erfinv(c: Calc, t: Value, n: Node) -> Value:
    return c.mul(t, c.scale(SQRT_PI / 2, c.op(Op.EXP, c.square(n.out))))


def _lgamma(c: Calc, t: Value, n: Node) -> Value:
    """The digamma function: reflected below 1/2, moved up by recurrence, then its asymptotic series (error 1e-10)."""
    x = n.inputs[0]
    low = c.op(Op.LT, x, c.number(0.5))
    z = c.op(Op.WHERE, low, _one_minus(c, x), x)
    terms = c.div(c.number(1), z)
    for k in range(1, 8):
        terms = c.add(terms, c.div(c.number(1), c.add(z, c.number(k))))
    z = c.add(z, c.number(8))
    u = c.div(c.number(1), c.square(z))
    series = c.number(1 / 132)
    for coefficient in (-1 / 240, 1 / 252, -1 / 120, 1 / 12):
        series = c.add(c.number(coefficient), c.mul(u, series))
    psi = c.sub(c.sub(c.op(Op.LOG, z), c.div(c.number(0.5), z)), c.add(c.mul(u, series), terms))
    # Away from the reflection the tangent is taken at 1/4, so that no pole turns the choice into NaN.
    angle = c.scale(math.pi, c.op(Op.WHERE, low, x, c.number(0.25)))
    reflected = c.sub(psi, c.div(c.number(math.pi), c.op(Op.TAN, angle)))
    return c.mul(t, c.op(Op.WHERE, low, reflected, psi))


def _silu(c: Calc, t: Value, n: Node) -> Value:
    s = c.op(Op.SIGMOID, n.inputs[0])
    return c.mul(t, c.op(Op.ADD, s, c.mul(n.out, _one_minus(c, s))))


def _gelu(c: Calc, t: Value, n: Node) -> Value:
    x = n.inputs[0]
    below = c.scale(0.5, _one_plus(c, c.op(Op.ERF, c.scale(1 / SQRT_2, x))))
    density = c.scale(1 / (SQRT_2 * SQRT_PI), c.op(Op.EXP, c.scale(-0.5, c.square(x))))
    return c.mul(t, c.op(Op.ADD, below, c.mul(x, density)))


def _where(c: Calc, test: Value, t: Value, keep: bool) -> Value:
    zero = c.number(0)
    return c.op(Op.WHERE, test, *((t, zero) if keep else (zero, t)))


def _relu(c: Calc, t: Value, n: Node) -> Value:
    return _where(c, c.op(Op.LT, c.number(0), n.inputs[0]), t, True)


def _mul_left(c: Calc, t: Value, n: Node) -> Value:
    return c.mul(t, n.inputs[1])


def _mul_right(c: Calc, t: Value, n: Node) -> Value:
    return c.mul(n.inputs[0], t)


def _div_left(c: Calc, t: Value, n: Node) -> Value:
    return c.div(t, n.inputs[1])


def _div_right(c: Calc, t: Value, n: Node) -> Value:
    return c.neg(c.div(c.mul(n.out, t), n.inputs[1]))


def _mod_right(c: Calc, t: Value, n: Node) -> Value:
    return c.neg(c.mul(t, c.op(Op.FLOORDIV, *n.inputs)))


def _pow_left(c: Calc, t: Value, n: Node) -> Value:
    x, k = n.inputs
    exponent = c.constant(k)
    if exponent is None:
        power = c.op(Op.POW, x, c.op(Op.SUB, k, c.number(1)))
        return c.mul(t, c.mul(k, power))
    if exponent == 0:
        return c.number(0)
    if exponent == 1:
        return t
    return c.mul(t, c.scale(exponent, x if exponent == 2 else c.op(Op.POW, x, c.number(exponent - 1))))


def _pow_right(c: Calc, t: Value, n: Node) -> Value:
    """y log x, and 0 where x is not above 0."""
    x = n.inputs[0]
    base = c.constant(x)
    if base is not None and base > 0:
        return c.mul(t, c.scale(math.log(base), n.out))
    safe = c.op(Op.WHERE, c.op(Op.LT, c.number(0), x), x, c.number(1))
    return c.mul(t, c.mul(n.out, c.op(Op.LOG, safe)))


def _min_left(c: Calc, t: Value, n: Node) -> Value:
    return _where(c, c.op(Op.LE, *n.inputs), t, True)


def _min_right(c: Calc, t: Value, n: Node) -> Value:
    return _where(c, c.op(Op.LE, *n.inputs), t, False)


def _max_left(c: Calc, t: Value, n: Node) -> Value:
    return _where(c, c.op(Op.LE, n.inputs[1], n.inputs[0]), t, True)


def _max_right(c: Calc, t: Value, n: Node) -> Value:
    return _where(c, c.op(Op.LE, n.inputs[1], n.inputs[0]), t, False)


def _where_left(c: Calc, t: Value, n: Node) -> Value:
    return _where(c, n.inputs[0], t, True)


def _where_right(c: Calc, t: Value, n: Node) -> Value:
    return _where(c, n.inputs[0], t, False)


def _cast(c: Calc, t: Value, n: Node) -> Value:
    return t if n.out.type.dtype is DType.FLOAT else c.number(0)


PARTIALS: dict[Op, tuple[Partial | None, ...]] = {
    Op.NEG: (_minus,),
    Op.ABS: (_abs,),
    Op.EXP: (_exp,),
    Op.EXPM1: (_expm1,),
    Op.LOG: (_log,),
    Op.LOG1P: (_log1p,),
    Op.SQRT: (_sqrt,),
    Op.SIN: (_sin,),
    Op.COS: (_cos,),
    Op.TAN: (_tan,),
    Op.ASIN: (_asin,),
    Op.ACOS: (_acos,),
    Op.ATAN: (_atan,),
    Op.TANH: (_tanh,),
    Op.SIGMOID: (_sigmoid,),
    Op.SOFTPLUS: (_softplus,),
    Op.ERF: (_erf,),
    Op.ERFINV: (_erfinv,),
    Op.LGAMMA: (_lgamma,),
    Op.CAST: (_cast,),
    Op.ROUND_TO: (_same,),
    Op.SILU: (_silu,),
    Op.GELU: (_gelu,),
    Op.RELU: (_relu,),
    Op.ADD: (_same, _same),
    Op.SUB: (_same, _minus),
    Op.MUL: (_mul_left, _mul_right),
    Op.DIV: (_div_left, _div_right),
    Op.MOD: (_same, _mod_right),
    Op.POW: (_pow_left, _pow_right),
    Op.MIN: (_min_left, _min_right),
    Op.MAX: (_max_left, _max_right),
    Op.WHERE: (None, _where_left, _where_right),
}
