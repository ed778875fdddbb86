"""`solve`: fixed points that both solvers find, and gradients that are the implicit ones however they were found."""

from __future__ import annotations

import numpy as np
import pytest
import sema_helpers as helpers

from specc.reference.interpret import run

W = np.array([[0.5, -0.3], [0.2, 0.4]])


def program(by: str) -> object:
    """h = tanh(W h + x), and the gradient of sum(h^2) in x."""
    return helpers.program(
        f"""specc 1
model m {{
  data x: vector(2) from npy("none.npy")
  network deep(x: vector(2)) -> vector(2) {{
    param w: matrix(2, 2) = zeros
    solve h: like(x) = tanh(w @ h + x) from zeros by {by}
    return h
  }}
  query fixed(x) {{ return deep(x) }}
  query slope(x) {{ return grad(sum(deep(x)^2), x) }}
}}
"""
    )


def ask(by: str, entry: str, x: np.ndarray) -> np.ndarray:
    return run(program(by), entry, {"x": x}, {"deep.w": W})[0]


def known(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    h = np.zeros_like(x)
    for _ in range(500):
        h = np.tanh(h @ W.T + x)
    slopes = []
    for row in h:
        d = np.diag(1 - row**2)
        slopes.append(2 * row @ np.linalg.inv(np.eye(2) - d @ W) @ d)
    return h, np.array(slopes)


X = np.random.default_rng(0).normal(size=(5, 2))


@pytest.mark.parametrize("by", ["picard(max = 100, tol = 1e-10)", "anderson(max = 30, tol = 1e-10)"])
def test_fixed_point(by: str) -> None:
    np.testing.assert_allclose(ask(by, "fixed", X), known(X)[0], atol=1e-9)


def test_anderson_needs_fewer_rounds() -> None:
    gaps = [
        np.abs(ask(f"{by}(max = 8, tol = 1e-12, backward = 0)", "fixed", X) - known(X)[0]).max()
        for by in ("anderson", "picard")
    ]
    assert gaps[0] < 0.5 * gaps[1]  # measured 0.27


@pytest.mark.parametrize("by", ["picard", "anderson"])
def test_gradient_is_the_implicit_one(by: str) -> None:
    found = ask(f"{by}(max = 100, tol = 1e-10, backward = 40)", "slope", X)
    np.testing.assert_allclose(found, known(X)[1], atol=1e-6)
    short = ask(f"{by}(max = 100, tol = 1e-10, backward = 1)", "slope", X)
    assert np.abs(short - known(X)[1]).max() > 0.05  # the first term of the Neumann series alone


@pytest.mark.parametrize(
    "text, code",
    [
        ("solve h = tanh(h + x) by picard", "E0206"),
        ("solve h = tanh(h + x) from zeros by picard", "E0304"),
        ("solve h = tanh(h + x) from x by sigmoid", "E0304"),
        ("solve h = sum(h) from x by picard", "E0306"),
        ("solve h = tanh(h + x) from x by picard(backward = -1)", "E0601"),
    ],
)
def test_mistakes(text: str, code: str) -> None:
    network = f"network deep(x: vector(2)) -> vector(2) {{ {text}; return h }}"
    spec = (
        f'specc 1\nmodel m {{\n data x: vector(2) from npy("none.npy")\n {network}\n query fixed(x) {{ return deep(x) }}\n}}\n'
    )
    assert code in helpers.codes(spec), helpers.codes(spec)
