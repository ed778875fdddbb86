"""The library's bijections at random weights: the inverse undoes forward, and logdet is that of the Jacobian."""

from __future__ import annotations

import numpy as np
import pytest
import sema_helpers as helpers

from specc.ir.program import Program
from specc.passes.count import parameters
from specc.reference.interpret import run

NET = "convnet(width = 4, ratio = {})"
BIJECTIONS = {
    "squeeze": "squeeze(2)",
    "reverse": "reverse",
    "actnorm": "actnorm",
    "conv1x1": "conv1x1",
    "affine_coupling": f"affine_coupling(net = {NET.format(2)})",
    "additive_coupling": f"additive_coupling(net = {NET.format(1)})",
    "factor_out": f"factor_out(prior = {NET.format(2)}, rest = squeeze(2))",
    "stack": f"stack(2, [actnorm, conv1x1, affine_coupling(net = {NET.format(2)})])",
    "nested": f"chain(squeeze(2), stack(2, actnorm, conv1x1), factor_out(prior = {NET.format(2)}, rest = chain(actnorm)))",
}


def program(bijection: str, space: str = "image(4, 2, 2)") -> Program:
    return helpers.program(
        f"""specc 1
model m {{
  data x: {space} from npy("none.npy")
  bijection f = {bijection}
  loss nll
  query there {{ return f(x) }}
  query back {{ return f.inverse(reshape_like(x, f.space)) }}
  sampler inverse
}}
"""
    )


def weights(made: Program, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    around = {"scale": 1.0, "diagonal": 1.0}
    return {p: around.get(p.rsplit(".", 1)[-1], 0.0) + 0.3 * rng.normal(size=s) for p, s in parameters(made).items()}


def ask(made: Program, entry: str, x: np.ndarray, w: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
    return run(made, entry, {"x": x}, w)


@pytest.mark.parametrize("name", BIJECTIONS)
def test_library(name: str) -> None:
    made = program(BIJECTIONS[name])
    w, rng = weights(made), np.random.default_rng(1)
    x = rng.normal(size=(3, 4, 2, 2))
    z, logdet = ask(made, "there", x, w)
    np.testing.assert_allclose(ask(made, "back", z.reshape(x.shape), w)[0], x, atol=1e-9)
    h, start = 1e-5, x[:1]
    steps = h * np.concatenate([np.eye(16), -np.eye(16)]).reshape(32, 4, 2, 2)
    ends = ask(made, "there", start + steps, w)[0].reshape(32, 16)
    found = np.linalg.slogdet((ends[:16] - ends[16:]) / (2 * h))[1]
    np.testing.assert_allclose(logdet[0], found, atol=1e-7)


def test_inverse_shares_the_parameters_of_forward() -> None:
    made = program(BIJECTIONS["nested"])
    names = set(parameters(made))
    assert names and all(n.startswith("f.") for n in names)
    assert len(made.networks) == 1


def test_turns_are_undone_from_the_last() -> None:
    made = program("stack(3, [conv1x1])")
    w, x = weights(made), np.random.default_rng(0).normal(size=(2, 4, 2, 2))
    z = ask(made, "there", x, w)[0]
    swapped = {k.replace(".0.", ".9.").replace(".2.", ".0.").replace(".9.", ".2."): v for k, v in w.items()}
    np.testing.assert_allclose(ask(made, "back", z, w)[0], x, atol=1e-9)
    assert np.abs(ask(made, "back", z, swapped)[0] - x).max() > 0.1  # the turns do not commute


def test_vectors() -> None:
    made = program("chain(actnorm, conv1x1, affine_coupling(net = mlp(hidden = 8, width = 4)), reverse)", "vector(4)")
    w, x = weights(made), np.random.default_rng(0).normal(size=(2, 4))
    np.testing.assert_allclose(ask(made, "back", ask(made, "there", x, w)[0], w)[0], x, atol=1e-9)


def test_starts_are_what_the_first_batch_says() -> None:
    made = program("chain(actnorm, conv1x1)")
    (start,) = made.starts
    assert (start.network, start.paths) == ("actnorm", ("shift", "scale"))
    assert not {n.op.value for n in made.functions["actnorm"].block.nodes} & {"batch_mean"}  # it does not compute them


@pytest.mark.parametrize(
    "text, code",
    [
        ("forward(x) -> (z, logdet) { return x }", "E0301"),
        ("forward(x) -> (z, logdet) { return x, x }", "E0301"),
        ("inverse(z) { return z }", "E0209"),
        ("forward(x) -> (z, logdet) { return x, 0 }\n inverse(z) { return z[0] }", "E0301"),
        ("param a: vector(2) = first_batch(x)\n forward(x) -> (z, logdet) { return x + a, 0 }", "E0305"),
        ("param a: vector(2) = first_batch(batch.mean(x[0]))\n forward(x) -> (z, logdet) { return x + a, 0 }", "E0301"),
    ],
)
def test_mistakes(text: str, code: str) -> None:
    model = "model m {\n data x: vector(2) from moons\n bijection f = b\n loss nll\n}\n"
    assert code in helpers.codes(f"specc 1\nbijection b(x: vector(2)) {{\n{text}\n}}\n{model}")
