"""Reference ops against numbers and definitions that are known otherwise."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from specc.ir.ops import Op
from specc.ir.types import BATCH
from specc.reference.externs import EXTERNS
from specc.reference.ops import REFERENCE, bind

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("op", "operands", "want"),
    [
        (Op.FLOORDIV, (-7, 2), -4),
        (Op.MOD, (-7, 2), 1),
        (Op.MOD, (7, -2), -1),
        (Op.MOD, (-0.5, 2.0), 1.5),
        (Op.POW, (2, -1), 0),
        (Op.POW, (-2, 3), -8),
        (Op.ROUND, (2.5,), 2.0),
        (Op.SIGN, (-0.5,), -1.0),
        (Op.EXPM1, (1e-12,), 1e-12),
        (Op.LOG1P, (1e-12,), 1e-12),
        (Op.SIGMOID, (-800.0,), 0.0),
        (Op.SOFTPLUS, (800.0,), 800.0),
        (Op.SILU, (1.0,), 1 / (1 + math.exp(-1))),
        (Op.GELU, (1.0,), 0.8413447460685429),
        (Op.ERFINV, (0.5,), 0.4769362762044699),
        (Op.ERFINV, (1.0,), math.inf),
        (Op.LGAMMA, (5.0,), math.log(24)),
        (Op.LGAMMA, (-1.0,), math.inf),
        (Op.DIV, (1, 4), 0.25),
    ],
)
def test_numbers(op: Op, operands: tuple, want: float):
    out = np.asarray(REFERENCE[op](*map(np.asarray, operands)))
    np.testing.assert_allclose(out, want, rtol=1e-12, atol=1e-20)
    assert (out.dtype.kind == "i") == isinstance(want, int)


def test_erfinv_undoes_erf():
    x = np.concatenate([np.linspace(-5, 5, 301), 10.0 ** -np.arange(1, 200, 7)])
    inside = np.abs(x) < 3  # further out the double next to 1 decides
    np.testing.assert_allclose(REFERENCE[Op.ERFINV](REFERENCE[Op.ERF](x))[inside], x[inside], rtol=1e-11, atol=0)
    assert np.isnan(REFERENCE[Op.ERFINV](np.asarray(1.5)))


def test_cast_cuts_towards_zero():
    np.testing.assert_array_equal(REFERENCE[Op.CAST](np.array([-1.7, 1.7, 0.2]), dtype="int"), [-1, 1, 0])
    np.testing.assert_array_equal(REFERENCE[Op.CAST](np.array([-1, 0, 2]), dtype="bool"), [True, False, True])


def test_floats_keep_their_width():
    x = np.ones(3, np.float32)
    assert all(REFERENCE[op](x).dtype == np.float32 for op in (Op.ERF, Op.GELU, Op.LGAMMA, Op.SOFTPLUS, Op.SIGMOID))
    assert REFERENCE[Op.FLOOR](np.ones(3, np.int64)).dtype == np.float64


@pytest.mark.parametrize(("stride", "padding", "dilation", "groups"), [(1, 0, 1, 1), (2, 1, 1, 2), (1, 2, 2, 4), (3, 1, 2, 1)])
def test_conv_is_the_sum_of_its_definition(stride: int, padding: int, dilation: int, groups: int):
    x, w = RNG.normal(size=(4, 8, 7)), RNG.normal(size=(8, 4 // groups, 3, 2))
    out = REFERENCE[Op.CONV](x, w, stride=stride, padding=padding, dilation=dilation, groups=groups)
    want = np.zeros(out.shape)
    for o, i, j in np.ndindex(*out.shape):
        first = o // (8 // groups) * (4 // groups)
        for c, a, b in np.ndindex(*w.shape[1:]):
            row, column = i * stride + a * dilation - padding, j * stride + b * dilation - padding
            if 0 <= row < 8 and 0 <= column < 7:
                want[o, i, j] += w[o, c, a, b] * x[first + c, row, column]
    np.testing.assert_allclose(out, want, atol=1e-12)


@pytest.mark.parametrize(
    ("dims", "stride", "padding", "dilation", "groups"), [*itertools.product((1, 2, 3), (1, 2), (0, 1), (1, 2), (1, 2))]
)
def test_conv_transpose_is_the_adjoint(dims: int, stride: int, padding: int, dilation: int, groups: int):
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    x, w = RNG.normal(size=(2, 4, *(7, 6, 5)[:dims])), RNG.normal(size=(6, 4 // groups, *(3, 2, 2)[:dims]))
    y = REFERENCE[Op.CONV](x, w, **options)
    v = RNG.normal(size=y.shape)
    back = np.zeros_like(x)
    full = REFERENCE[Op.CONV_TRANSPOSE](v, w, **options, output_padding=stride - 1)  # may pass the end that no window reached
    inside = tuple(slice(0, min(a, b)) for a, b in zip(back.shape, full.shape, strict=True))
    back[inside] = full[inside]
    np.testing.assert_allclose(np.sum(y * v), np.sum(x * back), rtol=1e-10)


def test_norms():
    x = RNG.normal(size=(2, 6, 4, 5))
    out = REFERENCE[Op.GROUPNORM](x, groups=3, eps=0.0, spatial=2).reshape(2, 3, -1)
    np.testing.assert_allclose(out.mean(-1), 0, atol=1e-12)
    np.testing.assert_allclose(out.var(-1), 1)
    out = REFERENCE[Op.LAYERNORM](x, eps=0.0)
    np.testing.assert_allclose(out.var(-1), 1)
    np.testing.assert_allclose((REFERENCE[Op.RMSNORM](x, eps=0.0) ** 2).mean(-1), 1)


def test_causal_attention_sees_no_later_key():
    q, k, v = (RNG.normal(size=(2, 4, 3)) for _ in range(3))
    out = REFERENCE[Op.ATTENTION](q, k, v, causal=True)
    np.testing.assert_allclose(out[:, 0], v[:, 0])
    for n in range(1, 5):
        part = REFERENCE[Op.ATTENTION](q[:, :n], k[:, :n], v[:, :n], causal=False)
        np.testing.assert_allclose(out[:, n - 1], part[:, n - 1])


def test_pool_undoes_resize():
    x = RNG.normal(size=(2, 3, 4))
    for spatial in (1, 2, 3):
        large = REFERENCE[Op.RESIZE](x, factor=2, spatial=spatial)
        np.testing.assert_allclose(REFERENCE[Op.AVG_POOL](large, window=2, spatial=spatial), x)


def test_scatter_add_is_the_adjoint_of_take():
    for shape, axis, n in (((5,), 0, 5), ((3, 5), 1, 5), ((4, 2), 0, 4)):
        x, index = RNG.normal(size=shape), RNG.integers(0, n, (3, 2))
        taken = REFERENCE[Op.TAKE](x, index, axis=axis)
        v = RNG.normal(size=taken.shape)
        back = REFERENCE[Op.SCATTER_ADD](v, index, axis=axis, n=n)
        np.testing.assert_allclose(np.sum(taken * v), np.sum(x * back))


def test_indices_must_be_inside():
    for index in (-1, 3):
        with pytest.raises(IndexError, match="not all among 0 to 2"):
            REFERENCE[Op.TAKE](np.zeros(3), np.asarray(index), axis=0)


def test_bind_replaces_the_batch():
    assert bind({"shape": (BATCH, 2), "n": BATCH, "axis": 0}, 5) == {"shape": (5, 2), "n": 5, "axis": 0}
    assert bind({"cost": BATCH}, 5) == {"cost": BATCH}
    assert bind({"shape": (2,)}, None) == {"shape": (2,)}


def test_assignments():
    cost = RNG.random((7, 7))
    stable = EXTERNS["assign"](cost, solver="stable")
    assert sorted(stable) == list(range(7))
    partner = {int(c): r for r, c in enumerate(stable)}
    for r, c in np.ndindex(7, 7):  # nobody would rather change, both at once
        assert cost[r, c] >= cost[r, stable[r]] or cost[r, c] >= cost[partner[c], c]
    pytest.importorskip("scipy")
    exact = EXTERNS["assign"](cost[:5, :5], solver="exact")
    totals = [cost[range(5), p].sum() for p in itertools.permutations(range(5))]
    assert cost[range(5), exact].sum() == pytest.approx(min(totals))
    with pytest.raises(ValueError, match="exact or stable"):
        EXTERNS["assign"](cost, solver="greedy")
