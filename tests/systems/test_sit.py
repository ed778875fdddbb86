"""Ma et al. 2024: conversions between velocity and score, samplers chosen after training, and the same DiT two ways."""

import numpy as np
import pytest
import tools
from scipy.spatial.distance import cdist, pdist

from specc.runtime.metrics.distances import mmd
from specc.runtime.readers import READERS

SPEC = "flow/sit.spec"
CENTRES = np.array([[1.5, 0], [-1, 1], [0, -1.5]])
WEIGHTS = np.array([0.5, 0.3, 0.2])
STD = 0.3


def _vp(t):
    alpha = np.exp(-(t**2) * (20 - 0.1) / 4 - t * 0.1 / 2)
    slope = -alpha * (t * (20 - 0.1) / 2 + 0.1 / 2)
    sigma = np.sqrt(1 - alpha**2)
    return alpha, sigma, slope, -alpha * slope / sigma


def _gvp(t):
    a = np.pi / 2
    return np.cos(a * t), np.sin(a * t), -a * np.sin(a * t), a * np.cos(a * t)


PATHS = {  # alpha, sigma and their derivatives in t, data at t = 0
    "mixture": lambda t: (1 - t, t, -1.0, 1.0),
    "gvp": _gvp,
    "vp": _vp,
}


def truth(z, t, path):
    """The score and the velocity of the mixture at time t, from its density."""
    alpha, sigma, slope, widening = PATHS[path](t)
    var = (STD * alpha) ** 2 + sigma**2
    rest = z[:, None] - alpha * CENTRES
    logits = np.log(WEIGHTS) - (rest**2).sum(axis=-1) / (2 * var)
    share = np.exp(logits - logits.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    score = -(share[..., None] * rest).sum(axis=1) / var
    mean = (share[..., None] * (CENTRES + STD**2 * alpha / var * rest)).sum(axis=1)
    return score, slope * mean + widening * (z - alpha * mean) / sigma


# The network gives the score of the mixture; its velocity is a conversion. The times end before 1, where z is noise alone on
# two of the paths: a score says nothing about x there, and the compiler refuses it (E0405).
SCORED = """
model scored {{
  across = [1.5, -1, 0]
  along = [0, 1, -1.5]
  data x: vector(2) from mixture(centres = [[1.5, 0], [-1, 1], [0, -1.5]], weights = [0.5, 0.3, 0.2], noise = 0.3)
  process path for gaussian over t in [0, 0.99] {{ {process} }}
  backbone exact(z: vector(2), t: scalar) -> like(z) {{
    var = 0.09 * alpha(t)^2 + sigma(t)^2
    gap = (z[0] - alpha(t) * across)^2 + (z[1] - alpha(t) * along)^2
    w = softmax(log([0.5, 0.3, 0.2]) - gap / (2 * var))
    centre = concat([reshape(sum(w * across), 1), reshape(sum(w * along), 1)])
    return (alpha(t) * centre - z) / var
  }}
  predict score
  query velocity(t = input(0.5)) {{ return velocity(x, t) }}
}}
"""
PROCESSES = {
    "mixture": "alpha(t) = 1 - t; sigma(t) = t",
    "gvp": "alpha(t) = cos(pi / 2 * t); sigma(t) = sin(pi / 2 * t)",
    "vp": "alpha(t) = exp(-19.9 * t^2 / 4 - 0.1 * t / 2); sigma(t) = sqrt(1 - alpha(t)^2)",
}


@pytest.mark.parametrize("path", PATHS)
def test_velocity_and_score_are_one(path, tmp_path):
    scored = tools.variant(tmp_path, SPEC, SCORED.format(process=PROCESSES[path]))
    rng = np.random.default_rng(0)
    for t in np.linspace(0.02, 0.98, 25):
        z = rng.normal(scale=1.5, size=(200, 2))
        score, velocity = truth(z, t, path)
        found = {
            "score of v": (tools.apply(SPEC, path, "score", x=z, t=t), score),
            "v of score": (tools.apply(scored, "scored", "velocity", x=z, t=t), velocity),
        }
        for name, (got, wanted) in found.items():
            assert (np.abs(got - wanted) / (1 + np.abs(wanted))).max() < 1e-9, (name, t)
    # Read as a velocity, the score is another field: the conversion does the work.
    assert np.abs(score - velocity).max() > 0.1


def energy_distance(a, b):
    """Squared, unbiased."""
    return 2 * cdist(a, b).mean() - pdist(a).mean() - pdist(b).mean()


@pytest.fixture(scope="module")
def data():
    options = {"centres": CENTRES, "weights": WEIGHTS, "noise": STD}
    return READERS["mixture"].function(4000, np.random.default_rng(0), **options)["x"].astype(float)


# The noise without the drift that balances it; the rest is the library's `sde`.
DROPPED = """
sampler driven(steps = 500, noise = t => sigma(t), spacing: grid = uniform) for gaussian {{
  z ~ prior()
  for (t, s) in spacing(steps, low = 0.04) {{
    w ~ normal(like = z)
    z = z + (s - t) * velocity(z, t) + sqrt(2 * noise(t) * (t - s)) * w
  }}
  return z + (t_end - 0.04) * velocity(z, 0.04)
}}
model dropped from base.{path} {{
  sampler sde_sigma = driven()
  sampler sde_decreasing = driven(noise = t => (1 - cos(pi * t))^2 / 4)
  sampler sde_sine = driven(noise = t => sin(pi * t)^2)
  sampler sde_sbdm = driven(noise = t => diffusion(t) / 2, spacing = uniform(high = 0.999))
}}
"""
SDES = ["sde_sigma", "sde_decreasing", "sde_sine", "sde_sbdm"]


@pytest.mark.parametrize("entry", SDES)
def test_any_diffusion_coefficient_keeps_the_law(entry, data, tmp_path):
    assert energy_distance(tools.exact(SPEC, "mixture", entry, 4000), data) <= 0.003
    dropped = tools.variant(tmp_path, SPEC, DROPPED.format(path="mixture"))
    assert energy_distance(tools.exact(dropped, "dropped", entry, 4000), data) >= 0.012


def test_the_ode_has_the_same_law(data):
    assert energy_distance(tools.exact(SPEC, "mixture", "ode", 4000), data) <= 0.003


@pytest.mark.slow
@pytest.mark.parametrize("entry", SDES)
def test_any_diffusion_coefficient_on_the_circle(entry, data, tmp_path):
    kept = energy_distance(tools.exact(SPEC, "gvp", entry, 4000), data)
    dropped = tools.variant(tmp_path, SPEC, DROPPED.format(path="gvp"))
    assert kept <= 0.003
    assert energy_distance(tools.exact(dropped, "dropped", entry, 4000), data) >= 0.0085


CONSTANT = """
model constant from base.mixture {
  sampler early = sde(steps = 500, noise = t => 1)
  sampler late = sde(steps = 500, noise = t => 1, t_last = 0.002)
}
"""


def test_the_last_step_is_only_as_good_as_the_coefficient_is_small(data, tmp_path):
    """The mean step has no noise: with D = 1 a step of 0.04 loses spread that one of 0.002 does not."""
    constant = tools.variant(tmp_path, SPEC, CONSTANT)
    early, late = (energy_distance(tools.exact(constant, "constant", e, 4000), data) for e in ("early", "late"))
    assert early >= 0.01 and late <= 0.003


def of_digits(steps, seed):
    """MMD to the training digits, after so many steps, of the interpolant and of the best sampler of the diffusion model."""
    digits = READERS["digits"].function("train")["x"][:1000] * 2 - 1
    entries = {"sit": ["euler"], "ddpm": ["ddim", "ancestral"]}
    found = {}
    for name, samplers in entries.items():
        folder = tools.train(SPEC, name, steps=steps, seed=seed)
        for entry in samplers:
            assert tools.calls(SPEC, name, entry) == 50
            squared = mmd(tools.sample(folder, SPEC, name, entry, 1000, seed=seed), digits)
            found[name] = min(found.get(name, np.inf), np.sqrt(max(squared, 0)))
    return found["sit"], found["ddpm"]


def test_straight_paths_need_fewer_steps_of_training():
    interpolant, diffusion = of_digits(400, 0)
    assert interpolant <= 0.85 * diffusion


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_velocity_beats_noise_prediction_with_the_same_network(seed):
    interpolant, diffusion = of_digits(1500, seed)
    assert interpolant <= 0.85 * diffusion
