"""Albergo et al. 2024: a base drawn around what is known of x makes paths short, and keeps what is known as it is."""

import numpy as np
import pytest
import tools
from specc.backends.onnx.write import initial

from specc.reference.interpret import run
from specc.runtime.metrics.distances import sliced_wasserstein
from specc.runtime.ort import example_seeds
from specc.runtime.readers import READERS

SPEC = "flow/si_dependent_coupling.spec"
X = 2 * READERS["digits"].function("test")["x"].astype(np.float64) - 1
LOW = X.reshape(-1, 1, 4, 2, 4, 2).mean(axis=(3, 5)).repeat(2, axis=2).repeat(2, axis=3)


def path(name, weights, steps, *, spec=SPEC, **known):
    """The states of Euler's method, its start included: (steps + 1, n, 1, 8, 8)."""
    trace = []
    given = {"seed": example_seeds(0, len(X)), "steps": steps, **known}
    run(tools.graph(spec, name), "euler", given, weights, dtype="float32", trace=trace)
    return np.stack([trace[0].before[0], *(s.after[0] for s in trace)])


def test_known_pixels_never_change():
    weights = initial(tools.model(SPEC, "inpainting"))
    known = np.random.default_rng(0).integers(2, size=(len(X), 1, 8, 8)).astype(np.float64)
    states = path("inpainting", weights, 20, known=known, seen=known * X)
    assert np.abs(known * (states - X)).max() <= 1e-6
    assert np.abs((1 - known) * np.diff(states, axis=0)).max() > 1e-3  # the others move


@pytest.mark.parametrize("change", ["source standard_normal", "network"])
def test_both_the_base_and_the_mask_on_the_velocity_keep_them(tmp_path, change):
    """Without either, known pixels move: the claim above fails."""
    free = """backbone net(z: image(1, 8, 8), t: scalar, known: image(1, 8, 8)) -> like(z) {
      h = linear(concat([flatten(z), flatten(known), reshape(t, 1)]), 256)
      repeat 2 { h = linear(silu(h), 256) }
      return reshape_like(linear(silu(h), size(z)), z)
    }"""
    spec = tools.variant(tmp_path, SPEC, f"model v from base.inpainting {{ {free if change == 'network' else change} }}")
    weights = initial(tools.model(spec, "v"))
    known = np.ones_like(X)
    assert np.abs(path("v", weights, 20, spec=spec, known=known, seen=X)[-1] - X).max() > 1e-2


def test_with_nothing_known_it_is_the_independent_coupling(tmp_path):
    text = "model nothing from base.inpainting { condition known = 0 * x }\n"
    text += "model free from base.inpainting { condition known = 0 * x; source standard_normal }"
    spec = tools.variant(tmp_path, SPEC, text)
    weights = initial(tools.model(SPEC, "inpainting"))
    rng = np.random.default_rng(0)
    t, w = rng.uniform(size=len(X)), rng.standard_normal(X.shape)
    losses = [
        run(tools.graph(spec, name), "mse", {"x": X}, weights, draws=lambda op, place, shape, _: w if len(shape) > 1 else t)
        for name in ("nothing", "free")
    ]
    np.testing.assert_allclose(*losses, rtol=1e-12)
    zero = np.zeros_like(X)
    masked = path("nothing", weights, 8, spec=spec, known=zero, seen=zero)
    np.testing.assert_allclose(masked, path("free", weights, 8, spec=spec, known=zero, seen=zero), atol=1e-6)


@pytest.fixture(scope="module")
def flows():
    """The paths of the learnt flows with 1, 2, 4, 8 and 64 steps, for a base around the image and for a normal one."""
    found = {}
    for name in ("superresolution", "independent"):
        weights = tools.weights(tools.train(SPEC, name))
        found[name] = {steps: path(name, weights, steps, low=LOW) for steps in (1, 2, 4, 8, 64)}
    return found


def test_transport_is_cheap(flows):
    cost, energy, length = {}, {}, {}
    for name, paths in flows.items():
        speed = np.diff(paths[64], axis=0) * 64
        cost[name] = ((paths[64][0] - X) ** 2).sum(axis=(1, 2, 3)).mean()
        energy[name] = (speed**2).sum(axis=(2, 3, 4)).mean()
        length[name] = np.sqrt((speed**2).sum(axis=(2, 3, 4))).mean()
        assert energy[name] <= cost[name]
    for values, most in ((cost, 0.25), (energy, 0.25), (length, 0.5)):  # measured 0.17, 0.14, 0.37
        assert values["superresolution"] <= most * values["independent"]


def test_few_steps_are_enough(flows):
    def error(name, steps):
        return np.sqrt(((flows[name][steps][-1] - flows[name][64][-1]) ** 2).mean())

    for steps in (1, 2, 4, 8):  # measured 0.35 to 0.39
        assert error("superresolution", steps) <= 0.6 * error("independent", steps)
    near, far = (sliced_wasserstein(flows[name][4][-1], X) for name in ("superresolution", "independent"))
    assert near <= 0.85 * far  # measured 0.75
