"""Tschannen, Eastwood, Mentzer 2024: vectors one after another, each from a mixture of normals, and guidance of densities.

The twin on codes and the cache of the row's third claim are not here: the language has no cache in decoding yet.
"""

import numpy as np
import pytest
import tools

from specc.ir.paths import parameters as shapes
from specc.reference.interpret import run
from specc.runtime.ort import example_seeds
from specc.runtime.readers import READERS

SPEC = "tokens/givt.spec"


@pytest.mark.parametrize("w", [0.0, 0.5, 1.0, 2.0])
def test_guided_densities_are_normal(w):
    """Precision (1 + w) / s_c^2 - w / s_u^2 and the weighted mean; w = 0 is p_c. Without rejection the spread is off by half."""
    v = run(tools.graph(SPEC, "two"), "pair", {"seed": example_seeds(0, 20_000), "w": np.float64(w)}, {})[0][:, 0]
    precision = (1 + w) / 0.5**2 - w / 0.9**2
    mean = ((1 + w) * 0.3 / 0.5**2 - w * -0.4 / 0.9**2) / precision
    std = precision**-0.5
    assert v.mean() == pytest.approx(mean, abs=0.03 * std)
    assert v.std() == pytest.approx(std, rel=0.03)


def test_density_is_one():
    """The law of the first number of the first vector, by summing the density of mixtures on a grid: its other numbers at
    the means of a single normal integrate out."""
    program = tools.graph(SPEC, "single")
    rng = np.random.default_rng(0)
    weights = {p: 0.3 * rng.normal(size=s) for p, s in shapes(program.functions, program.networks).items()}
    grid = np.linspace(-12, 12, 481)
    x = np.zeros((len(grid), 1, 8, 8))
    y = np.full(len(grid), 3)
    total = []
    for pixel in ((0, 0), (0, 1)):
        moved = x.copy()
        moved[:, 0, pixel[0], pixel[1]] = grid
        logs = run(program, "density", {"x": moved, "y": y}, weights, dtype="float64")[0][:, 0]
        total.append(np.exp(logs - logs.max()))
    both = np.trapezoid(total[0], grid), np.trapezoid(total[1], grid)
    peak = run(program, "density", {"x": x[:1], "y": y[:1]}, weights, dtype="float64")[0]
    assert peak.shape == (1, 16) and all(np.isfinite(both))
    later = x[:2].copy()
    later[1, 0, 6:] = 5.0  # the last row of vectors
    logs = run(program, "density", {"x": later, "y": y[:2]}, weights, dtype="float64")[0]
    np.testing.assert_array_equal(logs[0, :12], logs[1, :12])


@pytest.mark.slow
def test_mixtures_are_better_than_one_normal():
    """Held-out nats a number. Measured (seed 0), 400 steps: MEASURED_GIVT."""
    found = READERS["digits"].function("test")
    rng = np.random.default_rng(0)
    x = (2 * found["x"] - 1 + rng.uniform(-1 / 16, 1 / 16, found["x"].shape)).astype(np.float32)
    nll = {n: tools.ask(tools.train(SPEC, n), SPEC, n, "nll", x=x, y=found["y"]).mean() for n in ("givt", "single")}
    assert nll["givt"] <= nll["single"] - 0.1
