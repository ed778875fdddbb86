"""Transformers of the library: what a place sees, rotary positions, and the same numbers everywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from everywhere import everywhere, parameters, query
from programs import weights

from specc.reference.interpret import run

RNG = np.random.default_rng(0)

SMALL = "dim = 16, depth = 2, heads = 2"
REAL = """model m {{
  data x: sequence(6, 4) from npy("a.npy")
  {condition}
  backbone transformer({small}, {knobs})
  query main {{ return backbone(x{call}) }}
}}"""
TOKENS = """model m {{
  data x: sequence(6, 5) from npy("a.npy")
  backbone transformer({small}, {knobs})
  query main {{ return backbone(argmax(x, axis = -1)) }}
}}"""


def real(knobs: str, condition: str = "", call: str = "") -> str:
    return REAL.format(small=SMALL, knobs=knobs, condition=condition, call=call)


def tokens(knobs: str) -> str:
    return TOKENS.format(small=SMALL, knobs=knobs)


@pytest.mark.parametrize(
    "knobs",
    [
        "positions = learnt",
        "positions = rotary, norm = layernorm, ffn = mlp(act = gelu)",
        "positions = rotary, grid = [2, 3], qk_norm = true",
        "positions = none, causal = true, shift = false",
        "positions = rotary, grid = [2, 3], causal = true",
        "out = 3",
    ],
)
def test_sequences_of_vectors(knobs: str, tmp_path: Path) -> None:
    out = everywhere(tmp_path, real(knobs), x=RNG.normal(size=(3, 6, 4)))
    assert out.shape == (3, 6, 3 if "out" in knobs else 4)


@pytest.mark.parametrize("condition, y", [("class(3)", np.array([0, 2, 3])), ("vector(7)", RNG.normal(size=(3, 7)))])
@pytest.mark.parametrize("knobs", ["prefix = true", "prefix = false", "causal = true", "prefix = true, positions = rotary"])
@pytest.mark.parametrize("timed", [True, False])
def test_conditions(condition: str, y: np.ndarray, knobs: str, timed: bool, tmp_path: Path) -> None:
    text = real(knobs, f"condition y: {condition} with {{ drop = 0.1 }}", ", 0.3" if timed else "")
    x = RNG.normal(size=(3, 6, 4))
    out = everywhere(tmp_path, text, x=x, y=y)
    program = query(tmp_path, text)
    other = run(program, "main", {"x": x, "y": y[::-1]}, parameters(program))[0]
    assert np.abs(out[0] - other[0]).max() > 1e-3  # the condition is heard
    np.testing.assert_allclose(out[1], other[1])


def test_a_sequence_is_attended_to(tmp_path: Path) -> None:
    text = real("positions = learnt", "condition y: sequence(5, 3) with { drop = 0.1 }", ", 0.3")
    x, y = RNG.normal(size=(2, 6, 4)), RNG.normal(size=(2, 5, 3))
    out = everywhere(tmp_path, text, x=x, y=y)
    program = query(tmp_path, text)
    turned = run(program, "main", {"x": x, "y": y[:, ::-1]}, parameters(program))[0]
    np.testing.assert_allclose(turned, out, atol=1e-6)  # the context is a set: it has no positions here
    other = run(program, "main", {"x": x, "y": y + 1}, parameters(program))[0]
    assert np.abs(out - other).max() > 1e-3


def sees(program, x: np.ndarray) -> np.ndarray:
    """[i, j]: whether the answer at place i changes with the input at place j."""
    held = weights(program)
    base = run(program, "main", {"x": x}, held)[0]
    moved = [run(program, "main", {"x": _moved(x, j)}, held)[0] for j in range(x.shape[1])]
    return np.stack([np.abs(m - base).max(axis=(0, 2)) > 0 for m in moved], axis=1)


def _moved(x: np.ndarray, j: int) -> np.ndarray:
    out = x.copy()
    out[:, j] = np.roll(out[:, j], 1, axis=-1) + 0.5
    return out


@pytest.mark.parametrize("make", [real, tokens])
def test_what_a_place_sees(make, tmp_path: Path) -> None:
    x = RNG.normal(size=(2, 6, 5 if make is tokens else 4))
    everything = np.ones((6, 6), bool)
    np.testing.assert_array_equal(sees(query(tmp_path, make("positions = rotary")), x), everything)
    np.testing.assert_array_equal(sees(query(tmp_path, make("causal = true, shift = false")), x), np.tril(everything))
    for positions in ("learnt", "rotary", "rotary, grid = [2, 3]"):
        strict = query(tmp_path, make(f"causal = true, positions = {positions}"))
        np.testing.assert_array_equal(sees(strict, x), np.tril(everything, -1))


def test_tokens_are_answered_with_logits(tmp_path: Path) -> None:
    assert everywhere(tmp_path, tokens("causal = true, positions = rotary"), x=RNG.normal(size=(3, 6, 5))).shape == (3, 6, 5)


def test_positions(tmp_path: Path) -> None:
    """Without positions the places are a set; rotary ones tell them apart."""
    x = RNG.normal(size=(2, 6, 4))
    gaps = {}
    for knob in ("none", "rotary", "rotary, grid = [2, 3]"):
        program = query(tmp_path, real(f"positions = {knob}"))
        held = weights(program)
        out, turned = (run(program, "main", {"x": v}, held)[0] for v in (x, x[:, ::-1]))
        gaps[knob] = np.abs(turned[:, ::-1] - out).max()
    assert gaps["none"] < 1e-9
    assert gaps["rotary"] > 1e-3 and gaps["rotary, grid = [2, 3]"] > 1e-3


ROTARY = """model m {{
  data x: sequence(6, 8) from npy("a.npy")
  network turned(z: sequence(n, d)) -> like(z) {{
    return reshape_like(rotary(reshape(z, 1, n, d), grid = {grid}, lead = {lead}), z)
  }}
  query main {{ return turned(x) }}
}}"""


@pytest.mark.parametrize("grid, lead", [([6], 0), ([2, 3], 0), ([1, 5], 1)])
def test_rotary_products_depend_on_distance(grid: list[int], lead: int, tmp_path: Path) -> None:
    """Products of turned vectors are functions of the differences of their coordinates on the grid alone, and lengths stay."""
    program = query(tmp_path, ROTARY.format(grid=grid, lead=lead))
    a, b = RNG.normal(size=(2, 8))
    out_a, out_b = (run(program, "main", {"x": np.tile(v, (1, 6, 1))}, {})[0][0] for v in (a, b))
    np.testing.assert_allclose(np.linalg.norm(out_a, axis=-1), np.linalg.norm(a), rtol=1e-6)
    places = [np.unravel_index(max(i - lead, 0), grid) for i in range(6)]
    products: dict[tuple, float] = {}
    for i in range(6):
        for j in range(6):
            gap = tuple(int(p) - int(q) for p, q in zip(places[i], places[j], strict=True))
            assert products.setdefault(gap, out_a[i] @ out_b[j]) == pytest.approx(out_a[i] @ out_b[j], abs=1e-6)
    assert len({round(v, 6) for v in products.values()}) == len(products)


def test_masks(tmp_path: Path) -> None:
    """A masked key changes nothing; a query that sees nothing gives finite numbers."""
    text = """model m {
      data x: sequence(6, 4) from npy("a.npy")
      condition y: vector(6) with { drop = 0.1 }
      network f(z: sequence(n, d), y: vector(n)) -> like(z) { return attention(z, none, y > 0, heads = 2) }
      query main { return f(x, y) }
    }"""
    x = RNG.normal(size=(3, 6, 4))
    y = np.tile([1.0, 1, 1, 0, 0, 1], (3, 1))
    y[2] = 0
    out = everywhere(tmp_path, text, x=x, y=y)
    program = query(tmp_path, text)
    other = run(program, "main", {"x": np.where(y[..., None] > 0, x, 9.0), "y": y}, parameters(program))[0]
    np.testing.assert_allclose(other[:2][:, [0, 1, 2, 5]], out[:2][:, [0, 1, 2, 5]], atol=1e-6)
    assert np.isfinite(out).all()
