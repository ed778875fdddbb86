"""The table of formats and the arithmetic of codes, against definitions that are written out here."""

from __future__ import annotations

import numpy as np
import pytest

from specc.ir.coding import Codes, as_matrix, encode, from_matrix, pack, unpack
from specc.ir.formats import FORMATS, TARGETS

# The element types of the OCP Microscaling specification 1.0 (section 5.3), written out from its tables: sign, exponent
# and mantissa bits, exponent bias, and the codes that are no numbers.
FLOATS = {
    "mxfp8_e5m2": (5, 2, 15, {c for c in range(256) if (c & 0x7F) >= 0x7C}),
    "mxfp8_e4m3": (4, 3, 7, {0x7F, 0xFF}),
    "mxfp6_e3m2": (3, 2, 3, set()),
    "mxfp6_e2m3": (2, 3, 1, set()),
    "mxfp4": (2, 1, 1, set()),
}
MX = [*FLOATS, "mxint8"]


def table(name: str) -> dict[int, float]:
    """Every code of an element type and its number, in exact arithmetic."""
    if name == "mxint8":  # two's complement with an implied scale of 2^-6; the code of -2 is left unused
        return {c: (c if c < 128 else c - 256) / 64 for c in range(256) if c != 128}
    e, m, bias, none = FLOATS[name]
    found = {}
    for code in range(2 ** (1 + e + m)):
        sign, power, part = code >> (e + m), code >> m & (2**e - 1), code & (2**m - 1)
        size = part / 2**m * 2.0 ** (1 - bias) if power == 0 else (1 + part / 2**m) * 2.0 ** (power - bias)
        if code not in none:
            found[code] = -size if sign else size
    return found


def largest_power(name: str) -> int:
    """emax of the element type: the exponent of its largest power of two."""
    return max(p for p in range(-20, 20) if 2.0**p <= max(table(name).values()))


def nearest(v: float, numbers: dict[int, float]) -> int:
    """The code of the nearest number; of two, the one with an even code; beyond the ends, the end; 0 keeps the sign."""
    zeros = sum(n == 0 for n in numbers.values())
    same = {c: n for c, n in numbers.items() if np.signbit(n) == np.signbit(v) or (n == 0 and zeros == 1)}
    low = min(abs(n - v) for n in same.values())
    ties = [c for c, n in same.items() if abs(n - v) == low]
    return min(ties, key=lambda c: c % 2)


def test_the_table_says_what_the_standard_says() -> None:
    for name, largest in {"mxfp8_e5m2": 57344, "mxfp8_e4m3": 448, "mxfp6_e3m2": 28, "mxfp6_e2m3": 7.5, "mxfp4": 6}.items():
        assert max(table(name).values()) == largest
    for name in MX:
        element = FORMATS[name].element
        for code, number in table(name).items():
            assert element.table()[code] == number
            assert element.codes(np.array([number]))[0] == code
        assert FORMATS[name].block == 32 and FORMATS[name].scale == "e8m0"


@pytest.mark.parametrize("name", MX)
def test_microscaling_is_exact(name: str) -> None:
    """Codes and scales of random blocks, bit for bit: of several sizes, of what lies half way, of zeros and of what is huge."""
    rng = np.random.default_rng(0)
    numbers, top = table(name), largest_power(name)
    halves = rng.choice(sorted(numbers.values()), (4, 32)) / 2 + rng.choice(sorted(numbers.values()), (4, 32)) / 2
    blocks = [rng.standard_normal((4, 32)) * s for s in (1e-30, 1e-3, 1, 1e4, 1e30)] + [halves, np.zeros((1, 32))]
    blocks[2][0] = np.where(np.arange(32) == 7, 4.0, blocks[2][0])  # a power of two is its own exponent
    x = np.concatenate(blocks).astype(np.float32)
    got = encode(x, name, "block")
    for row, codes, scale in zip(x.astype(float), got.codes, got.scales.values[:, 0].astype(float), strict=True):
        most = np.abs(row).max()
        power = -127 if most == 0 else max(-127, min(127, int(np.floor(np.log2(most))) - top))
        assert scale == 2.0**power
        assert codes.tolist() == [nearest(v / scale, numbers) for v in row]
    assert np.array_equal(encode(got.values(), name, "block").values(), got.values())


@pytest.mark.parametrize("name", FORMATS)
def test_codes_are_the_nearest_of_their_numbers(name: str) -> None:
    w = np.random.default_rng(0).standard_normal((6, 70)).astype(np.float32)
    for granularity in FORMATS[name].weights:
        codes = encode(w, name, granularity)
        element = FORMATS[name].element
        numbers = element.table()[np.abs(element.table()) <= element.largest]
        spread = np.broadcast_to(codes.scales.spread(70), w.shape)
        best = np.abs(w[..., None] - numbers * spread[..., None]).min(axis=-1)
        assert np.allclose(np.abs(codes.values() - w), best, atol=1e-6)
        packed = pack(codes.codes, FORMATS[name].bits)
        assert np.array_equal(unpack(packed, FORMATS[name].bits, 70), codes.codes)
        assert sum(p.nbytes for p in packed) <= 6 * -(-70 * FORMATS[name].bits // 8) + 6


@pytest.mark.parametrize("name", [name for name, row in FORMATS.items() if row.affine])
def test_affine_codes_cover_a_range_with_a_zero(name: str) -> None:
    w = np.random.default_rng(0).uniform(-0.2, 1.0, (6, 70)).astype(np.float32)
    symmetric, affine = encode(w, name, "channel"), encode(w, name, "channel", affine=True)
    assert np.abs(affine.values() - w).max() <= 0.51 * affine.scales.values.max()
    assert np.linalg.norm(affine.values() - w) < 0.75 * np.linalg.norm(symmetric.values() - w)
    assert not encode(np.zeros((2, 4), np.float32), name, "tensor", affine=True).values().any()


def test_ternary_scales_are_mean_sizes() -> None:
    w = np.random.default_rng(0).standard_normal((8, 40)).astype(np.float32)
    codes = encode(w, "ternary", "tensor")
    g = np.abs(w).mean()
    assert np.isclose(codes.scales.values.item(), g)
    assert np.array_equal(codes.values() / codes.scales.values, np.clip(np.rint(w / codes.scales.values), -1, 1))
    assert codes.nbytes == 8 * 40 // 4 + 4


def test_bits_lie_close() -> None:
    """Bits a number with its share of the scales, as the standard counts: element bits + 8 / 32."""
    w = np.random.default_rng(0).standard_normal((64, 256)).astype(np.float32)
    for name, bits in {"mxfp4": 4.25, "mxfp6_e2m3": 6.25, "mxfp8_e4m3": 8.25, "mxint8": 8.25}.items():
        codes = encode(w, name, "block")
        assert 8 * codes.nbytes / w.size == bits
        packed = pack(codes.codes, FORMATS[name].bits)
        assert sum(p.nbytes for p in packed) + codes.scales.values.size == codes.nbytes
    assert 8 * encode(w, "int3", "channel").nbytes / w.size == 3 + 32 / 256


def test_kernels_as_matrices() -> None:
    w = np.arange(2 * 3 * 4.0, dtype=np.float32).reshape(2, 3, 4)
    for transposed in (False, True):
        matrix = as_matrix(w, transposed)
        assert matrix.shape == ((3, 8) if transposed else (2, 12))
        assert np.array_equal(from_matrix(matrix, w.shape, transposed), w)
    assert np.array_equal(as_matrix(w, True)[1], w[:, 1].reshape(-1))


def test_what_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        encode(np.array([[1.0, np.nan]], np.float32), "int8", "tensor")


def test_every_row_says_where_it_runs() -> None:
    for row in FORMATS.values():
        assert set(row.products) <= set(TARGETS) and set(row.integer) <= set(TARGETS)
        assert row.doc and row.weights
        assert isinstance(encode(np.ones((2, 8), np.float32), next(k for k, r in FORMATS.items() if r is row), "block"), Codes)
