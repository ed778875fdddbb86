"""Karras et al. 2022: preconditioning, a grid of noise levels, a second-order solver and churn, each apart from the others."""

import numpy as np
import pytest
import tools

from specc.reference.interpret import run
from specc.runtime.ort import example_seeds
from specc.runtime.readers import READERS

SPEC = "diffusion/edm.spec"
LEVELS = np.geomspace(0.002, 80, 200)
STD = 0.5


def test_inputs_and_targets_have_unit_variance():
    c_in = tools.curve(SPEC, "edm", "feed", np.ones((200, 1, 8, 8)), LEVELS)[:, 0, 0, 0]
    np.testing.assert_allclose(c_in**2 * (STD**2 + LEVELS**2), 1, rtol=1e-12)
    c_out = tools.curve(SPEC, "edm", "c_out", LEVELS)
    weight = tools.curve(SPEC, "plain", "of_target", LEVELS)  # of x itself
    np.testing.assert_allclose(weight * c_out**2, 1, rtol=1e-9)
    # The target of the network, (x - c_skip z) / c_out, for x and e of their variances: it is affine in both.
    x, e = (np.full((200, 1, 8, 8), v) for v in (STD, 1.0))
    of_x, of_e = (tools.curve(SPEC, "edm", "target", *pair, LEVELS)[:, 0, 0, 0] for pair in ((x, 0 * e), (0 * x, e)))
    np.testing.assert_allclose(of_x**2 + of_e**2, 1, rtol=1e-9)


def test_at_the_data_the_skip_is_all():
    out, z = np.random.default_rng(0).standard_normal((2, 1, 1, 8, 8))
    near, far = (tools.curve(SPEC, "edm", "denoise_of", out, z, np.array([s])) for s in (1e-5, 80.0))
    np.testing.assert_allclose(near, z, atol=1e-4)
    assert np.abs(far - 0.5 * out).max() < 0.01  # and far from them the network is


def test_a_variance_preserving_model_takes_the_same_steps():
    """z = x / sqrt(1 + s^2): DDIM there is Euler's method here."""
    x = tools.exact(SPEC, "ring", "euler", 500, steps=50)
    z = tools.exact(SPEC, "preserving", "ddim", 500, steps=50)
    np.testing.assert_allclose(z * np.sqrt(1 + 0.002**2), x, atol=1e-4)  # measured 1e-14
    assert np.abs(tools.exact(SPEC, "preserving", "ddim", 500, steps=40) - x).max() > 1e-3


@pytest.fixture(scope="module")
def errors():
    """Root mean square distance to Heun's method with 2000 points, for the same noise."""
    end = tools.exact(SPEC, "ring", "heun", 500, steps=2000)

    def error(entry, steps):
        return np.sqrt(((tools.exact(SPEC, "ring", entry, 500, steps=steps) - end) ** 2).sum(axis=1).mean())

    return {(entry, steps): error(entry, steps) for entry in ("heun", "euler") for steps in (36, 72, 144)}


def test_orders_of_convergence(errors):
    slope = {entry: np.log(errors[entry, 36] / errors[entry, 144]) / np.log(4) for entry in ("heun", "euler")}
    assert slope["heun"] >= 1.7  # measured 2.10
    assert 0.8 <= slope["euler"] <= 1.3  # measured 1.02


def test_heun_is_better_at_the_same_cost(errors):
    assert errors["heun", 36] <= 0.5 * errors["euler", 72]  # 71 network calls; measured 0.31
    assert errors["heun", 72] <= 0.25 * errors["euler", 144]  # 143; measured 0.14


def test_network_calls():
    assert tools.calls(SPEC, "edm", "heun") == 35
    assert tools.calls(SPEC, "churned", "heun") == 2 * 128 - 1


def test_churn_keeps_the_law():
    def z_score(noise):
        square = (tools.exact(SPEC, "churned", "heun", 5000, churn_noise=noise) ** 2).sum(axis=1)
        return (square.mean() - 1.02) / (square.std() / np.sqrt(len(square)))

    assert abs(z_score(1.0)) <= 3  # measured 0.1 to 0.3 on four seeds
    assert abs(z_score(0.0)) > 100  # the level rises, and no noise is added


def digits(split):
    return 1.33 * READERS["digits"].function(split)["x"].astype(np.float64) - 0.41


def mistakes(name, seed, levels=(0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 40.0), steps=None):
    """Mean squared error of a trained denoiser on held-out digits at each level of noise."""
    weights, x = tools.weights(tools.train(SPEC, name, steps=steps, seed=seed)), np.tile(digits("test"), (6, 1, 1, 1))
    found = []
    for k, level in enumerate(levels):
        given = {"x": x, "seed": example_seeds(k, len(x)), "level": level}
        made = run(tools.graph(SPEC, name), "restore", given, weights, dtype="float32")[0]
        found.append(((made - x) ** 2).mean())
    return np.array(found)


def frechet(a, b):
    """Between normal laws fitted to two sets of images, on the 16 first principal axes of the data."""
    train = digits("train").reshape(-1, 64)
    axes = np.linalg.svd(train - train.mean(axis=0), full_matrices=False)[2][:16]
    a, b = (v.reshape(len(v), -1) @ axes.T for v in (a, b))
    p, q = np.cov(a.T), np.cov(b.T)
    roots = np.sqrt(np.maximum(np.linalg.eigvals(p @ q).real, 0))
    return ((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum() + np.trace(p) + np.trace(q) - 2 * roots.sum()


@pytest.mark.parametrize(
    "seeds, steps", [(range(3), 300), pytest.param(range(8), None, marks=pytest.mark.slow)], ids=["short", "eight"]
)
def test_preconditioning_learns_more_at_every_level(seeds, steps, record_property):
    """The network that gives x itself does worse, and unevenly: its weights are as noisy as its loss where levels are small.

    After the row's 2000 steps the ratio at 0.1 is 1.92, 2.00, 2.10, 2.12, 3.46, 2.14, 3.00 and 5.53 with the seeds 0 to 7, so
    that the claim is one about means; a network that has just begun to learn shows it more clearly.
    """
    plain, edm = (np.mean([mistakes(name, seed, steps=steps) for seed in seeds], axis=0) for name in ("plain", "edm"))
    ratio = plain / edm
    record_property("by level", ratio.round(2).tolist())
    assert ratio[0] >= 8  # at 0.03
    assert ratio[1] >= 2  # at 0.1
    assert (ratio[2:] >= 1.1).all()


@pytest.mark.slow
def test_a_network_of_the_noise_is_lost_at_high_levels():
    assert mistakes("noise", 0, [10.0]) >= 20 * mistakes("edm", 0, [10.0])  # measured 88 and 100


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_preconditioning_makes_better_samples(seed, record_property):
    x = digits("train")
    edm, plain = (frechet(tools.sample(tools.train(SPEC, n, seed=seed), SPEC, n, "heun", 2000), x) for n in ("edm", "plain"))
    record_property("Frechet distances", f"{edm:.2f}, {plain:.1f}")
    assert edm <= 0.3 * plain
