"""Layers and parts of the library: the same numbers everywhere, and what each is for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from everywhere import everywhere, parameters, query

from specc.reference.interpret import run

RNG = np.random.default_rng(0)


def net(body: str, space: str = "sequence(6, 4)", header: str = "z: tensor") -> str:
    return f"""model m {{
  data x: {space} from npy("a.npy")
  network f({header}) {{ {body} }}
  query main {{ return f(x) }}
}}"""


CONVOLUTIONS = [
    ("conv(z, 5, kernel = 4, stride = 2, padding = 1)", (3, 8), (5, 4)),
    ("conv(z, 6, kernel = 3, dilation = 3, groups = 3)", (3, 8), (6, 8)),
    ("conv(z, 4, kernel = [5, 1], stride = [3, 1], padding = [2, 0])", (1, 9, 2), (4, 3, 2)),
    ("conv(z, 2, kernel = 3, padding = 2, mode = reflect, dilation = 2)", (3, 5, 4), (2, 5, 4)),
    ("conv(z, 2, kernel = 3, mode = circular)", (3, 5, 4), (2, 5, 4)),
    ("conv(z, 2, kernel = 5, mode = edge, bias = false)", (3, 4), (2, 4)),
    ("conv_transpose(z, 2)", (3, 4), (2, 8)),
    ("conv_transpose(z, 4, kernel = 3, stride = 2, padding = 1, output_padding = 1, groups = 2)", (2, 3, 4), (4, 6, 8)),
    ("conv_transpose(z, 2, kernel = [8, 1], stride = [4, 1])", (3, 4, 2), (2, 16, 2)),
]


@pytest.mark.parametrize("call, shape, out", CONVOLUTIONS, ids=[c for c, _, _ in CONVOLUTIONS])
def test_convolutions(call: str, shape: tuple[int, ...], out: tuple[int, ...], tmp_path: Path) -> None:
    text = net(f"return {call}", f"tensor({', '.join(map(str, shape))})")
    assert everywhere(tmp_path, text, x=RNG.normal(size=(2, *shape))).shape == (2, *out)


@pytest.mark.parametrize("mode, numpy", [("zeros", "constant"), ("reflect", "reflect"), ("circular", "wrap"), ("edge", "edge")])
def test_padding(mode: str, numpy: str, tmp_path: Path) -> None:
    x = RNG.normal(size=(2, 3, 4))
    for before, after in ((2, 1), (0, 3), (1, 0)):
        got = everywhere(tmp_path, net(f"return pad(z, {before}, {after}, mode = {mode})", "tensor(3, 4)"), x=x)
        np.testing.assert_allclose(got, np.pad(x, [(0, 0), (0, 0), (before, after)], mode=numpy), rtol=1e-6)


def test_given_weights(tmp_path: Path) -> None:
    body = """
    param v: tensor(5, 4, 3) = normal(0.1)
    param g: vector(5) = 1
    param b: vector(5) = 0
    w = weight_norm(v, g)
    return conv(transpose(z), weight = w, bias = b)"""
    text = net(body)
    x = RNG.normal(size=(2, 6, 4))
    out = everywhere(tmp_path, text, x=x)
    program = query(tmp_path, text)
    held = parameters(program)
    scaled = run(program, "main", {"x": x}, held | {"f.v": 7 * held["f.v"]})[0]
    np.testing.assert_allclose(scaled, out, rtol=1e-4, atol=1e-5)  # the direction alone counts


def test_spectral_norm(tmp_path: Path) -> None:
    text = net("param v: matrix(5, 4) = normal(0.1)\n return linear(z, weight = spectral(v, rounds = 30))")
    program = query(tmp_path, text)
    held = parameters(program)
    everywhere(tmp_path, text, x=RNG.normal(size=(2, 6, 4)))
    x = np.tile(np.eye(6, 4), (1, 1, 1))
    weight = run(program, "main", {"x": x}, held)[0][0, :4].T
    assert np.linalg.norm(weight, 2) == pytest.approx(1, abs=1e-4)


def test_maxout_and_leaky_relu(tmp_path: Path) -> None:
    text = net("return maxout(leaky_relu(flatten(z), slope = 0.1), 3)")
    assert everywhere(tmp_path, text, x=RNG.normal(size=(2, 6, 4))).shape == (2, 3)


def test_recurrence(tmp_path: Path) -> None:
    """A state hears of what came before and of nothing after; one cell serves every place."""
    text = net("return gru(z, width = 5)")
    x = RNG.normal(size=(2, 6, 4))
    out = everywhere(tmp_path, text, x=x)
    program = query(tmp_path, text)
    held = parameters(program)
    assert len(held) == 4  # two layers
    later = x.copy()
    later[:, 4:] += 1
    got = run(program, "main", {"x": later}, held)[0]
    np.testing.assert_allclose(got[:, :4], out[:, :4], atol=1e-6)
    assert np.abs(got[:, 4:] - out[:, 4:]).min(axis=(0, 2)).min() > 0
    layers = [(held[f"f.gru.recurrent.step.{n}.weight"], held[f"f.gru.recurrent.step.{n}.bias"]) for n in ("linear", "linear2")]
    state = np.zeros((2, 5))
    for i in range(6):
        gates = 1 / (1 + np.exp(-np.concatenate([state, x[:, i]], axis=1) @ layers[0][0].T - layers[0][1]))
        keep, reset = gates[:, :5], gates[:, 5:]
        new = np.tanh(np.concatenate([reset * state, x[:, i]], axis=1) @ layers[1][0].T + layers[1][1])
        state = keep * state + (1 - keep) * new
        np.testing.assert_allclose(out[:, i], state, rtol=1e-4, atol=1e-5)


def test_a_shared_network_has_one_set_of_parameters(tmp_path: Path) -> None:
    text = net("network g = mlp(hidden = 3)\n return g(z) - g(2 * z)")
    program = query(tmp_path, text)
    assert set(parameters(program)) == {f"f.g.{n}.{w}" for n in ("linear", "linear2") for w in ("weight", "bias")}
    everywhere(tmp_path, text, x=RNG.normal(size=(2, 6, 4)))


def test_message_passing(tmp_path: Path) -> None:
    """Renaming nodes renames the answers; a node that is masked out says nothing."""
    text = """model m {
      data x: tensor(5, 5, 2) from npy("a.npy")
      condition h: set(5, 3) with { drop = 0.1 }
      condition there: vector(5) with { drop = 0.1 }
      network f(e: tensor, h: set(n, d), there: vector(n)) { return message_passing(h, e, there > 0, width = 8) }
      query main { return f(x, h, there) }
    }"""
    e, h = RNG.normal(size=(2, 5, 5, 2)), RNG.normal(size=(2, 5, 3))
    there = np.tile([1.0, 1, 1, 1, 0], (2, 1))
    out = everywhere(tmp_path, text, x=e, h=h, there=there)
    program = query(tmp_path, text)
    held = parameters(program)
    order = np.array([2, 0, 3, 1, 4])
    turned = run(program, "main", {"x": e[:, order][:, :, order], "h": h[:, order], "there": there}, held)[0]
    np.testing.assert_allclose(turned, out[:, order], atol=1e-5)
    moved = h.copy()
    moved[:, 4] += 1
    np.testing.assert_allclose(
        run(program, "main", {"x": e, "h": moved, "there": there}, held)[0][:, :4], out[:, :4], atol=1e-6
    )
