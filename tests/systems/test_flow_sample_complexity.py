"""Cui, Krzakala, Vanden-Eijnden, Zdeborova 2024: a flow learnt from n samples errs as 1 / n in the mean that it generates."""

import numpy as np
import pytest
import tools

from specc.reference.interpret import run

SPEC = "flow/flow_sample_complexity.spec"
LAM = 0.1
STEPS = 80


def training_set(n, d, s, rng):
    """n pairs of x and e (n, d), and the cluster's sign of each. The clusters' means are +-(1, ..., 1)."""
    sign = rng.choice([-1.0, 1.0], n)
    return sign[:, None] + s * rng.standard_normal((n, d)), rng.standard_normal((n, d)), sign


def theory(a, b, n, lam, s):
    """c of the paper's result for the interpolant a e + b x."""
    top, rest = lam * (1 + s**2) + (n - 1) * s**2, lam + n - 1
    return b * top / (b**2 * top + a**2 * rest)


@pytest.mark.parametrize(
    "b, n, lam, s",
    [(0.6, 4, 0.5, 1), (0.3, 8, 0.5, 0.5), (0.8, 16, 2, 0.7), (0.6, 32, 0.1, 1), (0.2, 4, 0.5, 0.3), (0.9, 4, 0.5, 0.3)],
)
def test_ridge_regression_finds_the_known_denoiser(b, n, lam, s):
    a = 1 - b
    x, e, sign = training_set(n, 4000, s, np.random.default_rng(0))
    c, w = run(tools.graph(SPEC, "wide"), "denoiser", {"x": x, "e": e, "t": a, "lam": lam}, {})
    known = theory(a, b, n, lam, s)
    mean, noise = (sign[:, None] * x).mean(axis=0), (sign[:, None] * e).mean(axis=0)
    expected = n / (n + lam) * ((1 - known * b) * mean - known * a * noise)
    assert abs(c - known) <= 0.012
    assert abs(w @ expected) / np.linalg.norm(w) / np.linalg.norm(expected) >= 0.995  # the sign of w is free
    assert 0.97 <= np.linalg.norm(w) / np.linalg.norm(expected) <= 1.03


def generated(n, skip, seed, s=0.5, d=1000, points=40):
    """Samples of a flow learnt from n pairs, brought to one cluster (40, d), and the signed mean of its data (d)."""
    rng = np.random.default_rng((n, seed))
    x, e, sign = training_set(n, d, s, rng)
    made = []
    for _ in range(-(-points // n)):
        given = {"x": x, "e": e, "z": rng.standard_normal((n, d)), "lam": LAM, "skip": skip, "steps": STEPS}
        made.append(run(tools.graph(SPEC, "clusters"), "generate", given, {})[0])
    y = np.concatenate(made)[:points]
    return y * np.sign(y.sum(axis=1))[:, None], (sign[:, None] * x).mean(axis=0)


def slope(counts, values):
    return np.polyfit(np.log(counts), np.log(values), 1)[0]


def test_the_generated_mean_errs_as_one_over_n():
    counts, errors, best, spread = (4, 8, 16, 32), [], [], []
    for n in counts:
        flows = [generated(n, 1.0, seed) for seed in range(3)]
        errors.append(np.mean([((y.mean(axis=0) - 1) ** 2).mean() for y, _ in flows]))
        best.append(np.mean([((mean - 1) ** 2).mean() for _, mean in flows]))
        spread += [((y - y.mean(axis=0)) ** 2).mean() * 40 / 39 / 0.25 for y, _ in flows]
    assert -1.15 <= slope(counts, errors) <= -0.75  # measured -0.84
    assert slope(counts, best) == pytest.approx(-1, abs=0.05)  # the rate of the signed mean of the data itself
    assert np.abs(np.array(spread) - 1).max() <= 0.2  # within a cluster, relative to the data


def test_without_the_skip_it_collapses_to_the_means():
    y, mean = generated(8, 0.0, 0)
    assert y.var(axis=0).mean() / 0.25 <= 0.05
    np.testing.assert_allclose(y[0], mean * 8 / (8 + LAM), rtol=1e-6)


def outer_states(entry, given):
    """The state after each step of the flow, its start included: (steps + 1, n, d)."""
    trace = []
    run(tools.graph(SPEC, "wide"), entry, {**given, "lam": LAM, "steps": STEPS}, {}, trace=trace)
    steps = [s for s in trace if s.depth == 0]
    return np.stack([steps[0].before[0], *(s.after[0] for s in steps)])


def test_three_numbers_follow_the_flow_in_many_dimensions():
    n, d = 16, 4000
    rng = np.random.default_rng(0)
    x, e, sign = training_set(n, d, 0.5, rng)
    z = rng.standard_normal((n, d))
    y = outer_states("generate", {"x": x, "e": e, "z": z})
    y = y * np.sign(y[-1].sum(axis=1))[:, None]
    noise = (sign[:, None] * e).mean(axis=0)
    reduced = outer_states("reduced", {"x": x[:1], "n": np.array([float(n)])})[:, 0]
    assert np.abs(y.mean(axis=2) - reduced[:, :1]).max() <= 0.05  # overlap with the clusters' mean, of 1 at the end
    assert np.abs(y @ noise / (noise @ noise) - reduced[:, 1:2]).mean(axis=1).max() <= 0.05
    assert reduced[-1, 0] > 0.95 and reduced[-1, 1] < -0.4
