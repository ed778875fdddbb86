"""Dhariwal, Nichol 2021: a classifier's gradient makes an unconditional model conditional, exactly where both are exact."""

import numpy as np
import pytest
import tools

from specc.reference.interpret import run
from specc.runtime.metrics.distances import sliced_wasserstein
from specc.runtime.ort import example_seeds

SPEC = "diffusion/adm_guided_diffusion.spec"
CENTRES = 0.6 * np.array([[1, 0], [0, 1], [-1, 0], [0, -1]])  # two to a class
STD = 0.45


def told(name, z, t, **inputs):
    """The score at z that the sampler of a model works with."""
    given = {"seed": np.zeros(len(z), int), "t": t, **inputs}
    return run(tools.graph(SPEC, name), "told", given, {}, noise={0: z})[0]


def truth(z, y, t):
    """The class's score at z, from its density."""
    beta = np.linspace(1e-4, 0.02, 1000)
    bar = np.exp(np.interp(t * 1000, np.arange(1001), np.concatenate([[0], np.cumsum(np.log1p(-beta))])))
    rest = z[:, None] - np.sqrt(bar) * CENTRES
    var = STD**2 * bar + 1 - bar
    share = np.exp(-(rest**2).sum(axis=-1) / (2 * var)) * (np.arange(4) // 2 == y[:, None])
    return -(share[..., None] * rest).sum(axis=1) / share.sum(axis=1, keepdims=True) / var


@pytest.mark.parametrize("t", [0.001, 0.02, 0.3, 0.7, 1.0])
def test_unconditional_score_and_slope_of_the_classifier_are_the_conditional_score(t):
    z, y = np.random.default_rng(0).standard_normal((300, 2)), np.arange(300) % 2
    guided = told("steered", z, t, y=y, scale=1.0)
    np.testing.assert_allclose(guided, told("conditional", z, t, y=y), atol=1e-5)
    np.testing.assert_allclose(guided, truth(z, y, t), atol=1e-5)
    free = told("plane", z, t)
    np.testing.assert_allclose(told("steered", z, t, y=y, scale=0.0), free, atol=1e-9)
    assert np.abs(free - guided).max() > 1e-3  # without the classifier
    twice = told("steered", z, t, y=y, scale=2.0)
    np.testing.assert_allclose(twice - free, 2 * (guided - free), atol=1e-9)


N = 4000
CLASS = np.arange(N) % 2


def samples(name, seed=0, **inputs):
    given = {"seed": example_seeds(seed, N), **({} if name == "plane" else {"y": CLASS}), **inputs}
    return run(tools.graph(SPEC, name), "ddim", given, {})[0]


def test_guided_ddim_draws_conditional_samples():
    guided, conditional = samples("steered", scale=1.0), samples("conditional")
    np.testing.assert_allclose(guided, conditional, atol=1e-5)
    fresh, again, free = samples("conditional", seed=1), samples("conditional", seed=2), samples("plane")
    for k in (0, 1):
        mine, others, rest, none = (s[k == CLASS] for s in (guided, fresh, again, free))
        noise = sliced_wasserstein(others, rest)
        assert sliced_wasserstein(mine, others) <= 2 * noise
        assert sliced_wasserstein(none, others) >= 5 * noise


def test_a_larger_scale_is_purer_and_narrower():
    purity, variance = [], []
    for scale in (0.0, 1.0, 2.0, 4.0, 8.0):
        x = samples("steered", scale=scale)
        p = np.exp(-((x[:, None] - CENTRES) ** 2).sum(axis=-1) / (2 * STD**2))
        own = (p * (np.arange(4) // 2 == CLASS[:, None])).sum(axis=1) / p.sum(axis=1)
        purity.append(own.mean())
        variance.append(np.mean([x[k == CLASS].var(axis=0).sum() for k in (0, 1)]))
    assert (np.diff(purity) > 0).all(), purity
    assert (np.diff(variance) < 0).all(), variance
    np.testing.assert_allclose(purity, [0.498, 0.795, 0.935, 0.988, 0.998], atol=0.03)
    assert purity[0] == pytest.approx(0.5, abs=0.02)  # without guidance the class is chance


def test_a_step_costs_one_call_of_each_network():
    assert tools.calls(SPEC, "plane", "ddim") == 50
    assert tools.calls(SPEC, "steered", "ddim") == 100
    assert tools.calls(SPEC, "adm", "ddim") == 25


@pytest.mark.slow
def test_guided_digits_are_of_their_class():
    """25 steps of DDIM from one unconditional network and a classifier of noisy digits, an own probe as the judge."""
    from specc.runtime.metrics.features import digits_features

    probe = digits_features()
    y = np.arange(1000) % 10
    folder = tools.train(SPEC, "guided")
    accuracy = {}
    for scale in (0.0, 1.0, 2.0, 4.0):
        x = tools.sample(folder, SPEC, "guided", "ddim", 1000, scale=scale)
        accuracy[scale] = probe.accuracy(x, y)
    assert accuracy[0.0] <= 0.2
    assert accuracy[2.0] >= 0.85
    assert (np.diff(list(accuracy.values())) > 0).all()
