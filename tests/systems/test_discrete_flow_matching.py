"""Gat et al. 2024: rates that carry the path's marginals, steps that follow them, a corrector, and any schedule at sampling.

Two tokens of three values, with the exact chances of each in the network's place.
"""

import itertools

import numpy as np
import pytest
import tools

from specc.reference.interpret import run

SPEC = "discrete/discrete_flow_matching.spec"
LAW = np.array([0.30, 0.02, 0.05, 0.01, 0.22, 0.04, 0.16, 0.05, 0.15]).reshape(3, 3)
NOISE = {"any": np.array([1, 1, 1, 0]) / 3, "masks": np.array([0.0, 0, 0, 1])}
STATES = list(itertools.product(range(4), repeat=2))
EYE = np.eye(4)


def marginal(keep, noise):
    """The chance of each state, (4, 4), and of the values of each place given the state, (2, 4, 4, values)."""
    joint = np.zeros((4, 4, 3, 3))
    for a, b in itertools.product(range(3), repeat=2):
        own = np.multiply.outer(keep * EYE[a] + (1 - keep) * noise, keep * EYE[b] + (1 - keep) * noise)
        joint[:, :, a, b] = LAW[a, b] * own
    p = joint.sum(axis=(2, 3))
    with np.errstate(invalid="ignore"):
        given = np.stack([joint.sum(axis=3), joint.sum(axis=2)]) / p[None, ..., None]
    return p, np.nan_to_num(given)


def flow(p, given, hazard):
    """What the rates hazard (chance of a value - what it is now) do to the chances of states."""
    out = np.zeros_like(p)
    for z in (z for z in STATES if p[z]):
        for place in (0, 1):
            rate = hazard * (np.append(given[place][z], 0) - EYE[z[place]])
            assert abs(rate.sum()) < 1e-12 and (np.delete(rate, z[place]) >= 0).all()
            for a in range(4):
                out[(a, z[1]) if place == 0 else (z[0], a)] += p[z] * rate[a]
    return out


@pytest.mark.parametrize("noise", ["any", "masks"])
@pytest.mark.parametrize("name", ["any", "any_square", "any_cosine"])
def test_the_rates_carry_the_marginals(name, noise):
    for t in (0.3, 0.8):
        h = 1e-5
        keep = tools.curve(SPEC, name, "keep", np.array([t, t - h, t + h]))
        rate = tools.curve(SPEC, name, "hazard", np.array([t]))[0]
        p, given = marginal(keep[0], NOISE[noise])
        change = (marginal(keep[1], NOISE[noise])[0] - marginal(keep[2], NOISE[noise])[0]) / (2 * h)  # towards the data
        np.testing.assert_allclose(flow(p, given, rate), change, atol=1e-8)
        assert np.abs(flow(p, given, 1.1 * rate) - change).max() > 1e-4


def test_the_network_is_the_exact_one():
    """Its logits are the chances that the enumeration gives."""
    z = np.array([(0, 2), (1, 1), (2, 0)])
    given = {"x": np.zeros((3, 2), np.int64), "z": z}
    for name in ("any", "masks"):
        made = run(tools.graph(SPEC, name), "answer", given, {})[0]
        wanted = marginal(tools.curve(SPEC, name, "keep", np.array([0.4]))[0], NOISE[name])[1]
        exact = np.stack([[wanted[i][tuple(row)] for i in (0, 1)] for row in z])
        np.testing.assert_allclose(np.exp(made), exact, atol=1e-9)


def distance(name, entry, steps, n):
    """Total variation distance of samples from the law; every token is one of the data."""
    x = run(tools.graph(SPEC, name), entry, {"seed": np.arange(n), "steps": steps}, {}, dtype="float32")[0]
    count = np.zeros((4, 4))
    np.add.at(count, (x[:, 0], x[:, 1]), 1 / n)
    assert not count[3].any() and not count[:, 3].any()
    return np.abs(count[:3, :3] - LAW).sum() / 2


def test_more_steps_come_nearer():
    for name in ("any", "masks"):
        far, near = (distance(name, "euler_steps", steps, 40_000) for steps in (4, 8))
        assert far >= 1.6 * near  # measured 2.07 and 2.01
    assert distance("masks", "ancestral", 16, 40_000) < 0.035


def test_the_corrector_helps_where_noise_is_any_value():
    plain, better = (distance("any", entry, 8, 60_000) for entry in ("euler_steps", "with_corrector"))
    assert better <= 0.9 * plain  # measured 0.85; at 16 steps 0.75


@pytest.mark.slow
def test_many_samples():
    for name in ("any", "masks"):
        assert distance(name, "euler_steps", 64, 200_000) < 0.015
    plain, better = (distance("any", entry, 16, 200_000) for entry in ("euler_steps", "with_corrector"))
    assert better <= 0.8 * plain
    masked = [distance("masks", entry, 16, 200_000) for entry in ("euler_steps", "with_corrector")]
    assert masked[1] > 0.9 * masked[0]  # no gain for masks: the backward rate is really applied
    for name in ("any_square", "any_cosine"):
        assert distance(name, "ancestral", 64, 100_000) < 0.02
