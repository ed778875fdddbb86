"""Song, Meng, Ermon 2021: one trained model, many samplers; with exact denoisers every claim is about the sampler alone."""

import numpy as np
import pytest
import tools

from specc.reference.interpret import run
from specc.runtime.readers import READERS

SPEC = "diffusion/ddim.spec"
T = 1000
BETA = np.linspace(1e-4, 0.02, T)  # of Ho et al.
BAR = np.concatenate([[1.0], np.cumprod(1 - BETA)])  # alpha_bar at the times 0 to T


def at(t):
    """alpha and sigma at times in [0, 1]; log alpha is linear between the steps."""
    alpha = np.exp(np.interp(np.asarray(t) * T, np.arange(T + 1), np.log(BAR)) / 2)
    return alpha, np.sqrt(1 - alpha**2)


def given(name, entry, start, inside=None, seed=0, **inputs):
    """Samples from noise of the test's own: x_T (n, 2), then (steps, n, 2) for the draws inside the loop."""
    noise = {0: start / at(1.0)[1]} | ({1: inside} if inside is not None else {})  # x_T is sigma(1) times what is drawn
    seeds = np.full(len(start), seed)
    return run(tools.graph(SPEC, name), entry, {"seed": seeds, **inputs}, {}, noise=noise)[0]


def gap(a, b):
    return np.linalg.norm(a - b, axis=-1).mean()


def test_eta_one_with_all_steps_is_the_posterior_of_ddpm():
    rng = np.random.default_rng(0)
    start, inside = rng.standard_normal((64, 2)), rng.standard_normal((T, 64, 2))
    z = start
    for n, w in zip(range(T, 0, -1), inside, strict=True):
        bar, before, beta = BAR[n], BAR[n - 1], BETA[n - 1]
        x0 = 0.09 * np.sqrt(bar) / (0.09 * bar + 1 - bar) * z
        mean = np.sqrt(before) * beta / (1 - bar) * x0 + np.sqrt(1 - beta) * (1 - before) / (1 - bar) * z
        z = mean + np.sqrt(beta * (1 - before) / (1 - bar)) * w
    np.testing.assert_allclose(given("normal", "markov", start, inside), z, atol=1e-6)
    np.testing.assert_allclose(given("normal", "posterior", start, inside), z, atol=1e-6)
    assert gap(given("normal", "halfway", start, inside), z) > 0.05  # eta = 1/2: another process of the family


def ring_denoiser(z, alpha, sigma):
    angle = np.arange(8) * np.pi / 4
    centres = 2 * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    u, var = z / alpha, 0.01 + (sigma / alpha) ** 2
    logits = -((u[:, None] - centres) ** 2).sum(axis=-1) / (2 * var)
    w = np.exp(logits - logits.max(axis=1, keepdims=True))
    centre = w @ centres / w.sum(axis=1, keepdims=True)
    return centre + 0.01 / var * (u - centre)


def test_eta_zero_is_euler_in_the_variance_exploding_variables():
    start = np.random.default_rng(1).standard_normal((64, 2))
    times = 1 - np.arange(21) / 20
    alpha, sigma = at(times)
    level = sigma / alpha
    u = start / alpha[0]
    for i in range(20):
        eps = (u - ring_denoiser(alpha[i] * u, alpha[i], sigma[i])) / level[i]
        u = u + (level[i + 1] - level[i]) * eps
    out = given("ring", "ode", start, steps=20)
    np.testing.assert_allclose(out, u, atol=1e-5)
    assert np.array_equal(out, given("ring", "ode", start, seed=5, steps=20))  # nothing else is drawn
    inside = np.random.default_rng(2).standard_normal((2, 20, 64, 2))
    assert gap(*(given("ring", "sde", start, w, steps=20) for w in inside)) > 0.5


def recursion(c, steps, eta):
    """|std / c - 1| of the sampler's law: with normal data each step multiplies z by a number and adds normal noise."""
    alpha, sigma = at((1 - np.arange(steps + 1) / steps) ** 2)
    var = sigma[0] ** 2
    for a, b, st, ss in zip(alpha[:-1], alpha[1:], sigma[:-1], sigma[1:], strict=True):
        x0 = c**2 * a / (c**2 * a**2 + st**2)
        sd = eta * ss / st * np.sqrt(st**2 - (a / b) ** 2 * ss**2)
        factor = b * x0 + np.sqrt(ss**2 - sd**2) * (1 - a * x0) / st
        var = factor**2 * var + sd**2
    return np.sqrt(var)


@pytest.mark.parametrize("name, c", [("normal", 0.3), ("wide", 1.0)])
@pytest.mark.parametrize("steps", [10, 20, 50])
def test_few_steps_lose_less_of_the_spread_without_noise(name, c, steps):
    ode, sde = recursion(c, steps, 0), recursion(c, steps, 1)
    assert abs(ode / c - 1) <= 0.7 * abs(sde / c - 1)
    for entry, std in (("ode", ode), ("sde", sde)):
        assert tools.exact(SPEC, name, entry, 20_000, steps=steps).std() == pytest.approx(std, rel=0.02)


def test_as_close_as_the_stochastic_sampler_with_twice_the_steps():
    error = {(eta, steps): abs(recursion(0.3, steps, eta) / 0.3 - 1) for eta in (0, 1) for steps in (10, 20, 50, 100)}
    assert error[0, 10] == pytest.approx(error[1, 20], abs=0.005)
    assert error[0, 50] <= error[1, 100]


def test_one_noise_is_one_sample_whatever_the_steps():
    ode20, ode100 = (tools.exact(SPEC, "ring", "ode", 2000, steps=steps) for steps in (20, 100))
    sde20, sde100 = (tools.exact(SPEC, "ring", "sde", 2000, steps=steps) for steps in (20, 100))
    between = gap(ode100, np.roll(ode100, 1, axis=0))
    assert gap(ode20, ode100) < 0.1 * between
    assert gap(sde20, sde100) > 0.5 * between  # the same x_T, with noise in the steps


def reconstruction(x, steps):
    """Mean squared error of encode then decode over the variance of the data."""
    code = tools.apply(SPEC, "ring", "encode", x=x, steps=steps)
    return ((tools.apply(SPEC, "ring", "decode", x=code, steps=steps) - x) ** 2).mean() / x.var()


def test_encode_then_decode():
    x = READERS["gaussians"].function(4000, np.random.default_rng(0), k=8, radius=2, std=0.1)["x"].astype(float)
    error = reconstruction(x, 100)
    assert error <= 0.005
    assert error <= 0.3 * reconstruction(x, 20)
    # Another code of the same law says nothing about x: without the encoder the error is twice the variance.
    other = tools.apply(SPEC, "ring", "decode", x=np.random.default_rng(1).standard_normal(x.shape), steps=100)
    assert ((other - x) ** 2).mean() / x.var() > 1


def test_interpolation_ends_at_its_samples():
    ends = [tools.exact(SPEC, "ring", "between", 500, share=s) for s in (0.0, 1e-3, 1.0)]
    np.testing.assert_allclose(ends[0], tools.exact(SPEC, "ring", "ode", 500), atol=1e-9)
    assert gap(ends[0], ends[1]) < 0.05 and gap(ends[0], ends[2]) > 1


@pytest.mark.parametrize("entry, steps", [("fast", 10), ("ddim", 50), ("either", 50), ("encode", 50), ("ancestral", 1000)])
def test_a_step_is_one_network_call(entry, steps):
    assert tools.calls(SPEC, "ddim", entry) == steps
