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
MORE = """
model any from base.any {}
model any_cosine from base.any_cosine {}
model any_cube from any { process mixture_path(keep = t => (1 - t)^3) }
model masks_square from base.masks { process mixture_path(keep = t => (1 - t)^2) }
model masks_cosine from base.masks { process mixture_path(keep = t => 1 - cos(pi / 2 * (1 - t))) }
model strong from base.masks {
  sampler with_corrector = corrected((z, x0, t) => fill(3, like = z), steps = input(16), a = 5)
}
"""


@pytest.fixture(scope="module")
def more(tmp_path_factory):
    """Models of other schedules, and one with more of the corrector."""
    return tools.variant(tmp_path_factory.mktemp("specs"), SPEC, MORE)


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
@pytest.mark.parametrize("name", ["any", "any_cube", "any_cosine"])
def test_the_rates_carry_the_marginals(name, noise, more):
    for t in (0.3, 0.8):
        h = 1e-5
        keep = tools.curve(more, name, "keep", np.array([t, t - h, t + h]))
        rate = tools.curve(more, name, "hazard", np.array([t]))[0]
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


def test_masks_show_as_under_absorbing_diffusion():
    """An Euler step of h kappa' / (1 - kappa) is the chance (alpha_s - alpha_t) / (1 - alpha_t) where kappa is linear, there
    alone; and of the masks at t = k / 16 an Euler sampler shows one in k."""
    t = np.arange(1, 17) / 16
    for name, same in (("any", True), ("any_square", False), ("any_cosine", False)):
        euler = tools.curve(SPEC, name, "hazard", t) / 16
        assert np.allclose(euler, tools.curve(SPEC, name, "returns", t, t - 1 / 16), atol=1e-12) == same
    trace, n = [], 20_000
    given = {"seed": np.arange(n), "steps": 16}
    run(tools.graph(SPEC, "masks"), "euler_steps", given, {}, dtype="float32", trace=trace)
    for k, step in zip(range(16, 0, -1), (s for s in trace if len(s.indices) == 1), strict=True):
        before, after = (z[step.names.index("z")] == 3 for z in (step.before, step.after))
        share, left = (before & ~after).sum() / before.sum(), before.sum()
        assert abs(share - 1 / k) <= 4 * np.sqrt((1 - 1 / k) / k / left)


def distance(name, entry, steps, n, spec=SPEC):
    """Total variation distance of samples from the law; every token is one of the data."""
    x = run(tools.graph(spec, name), entry, {"seed": np.arange(n), "steps": steps}, {}, dtype="float32")[0]
    count = np.zeros((4, 4))
    np.add.at(count, (x[:, 0], x[:, 1]), 1 / n)
    assert not count[3].any() and not count[:, 3].any()
    return float(np.abs(count[:3, :3] - LAW).sum() / 2)


def test_more_steps_come_nearer():
    for name in ("any", "masks"):
        four, eight, sixteen = (distance(name, "euler_steps", steps, 40_000) for steps in (4, 8, 16))
        assert four >= 1.6 * eight >= 1.6**2 * sixteen


def test_the_corrector_helps_where_noise_is_any_value():
    """For masks it does not, and five times as much of it overshoots: the backward rate is really applied."""
    plain, better = (distance("any", entry, 16, 60_000) for entry in ("euler_steps", "with_corrector"))
    assert better <= 0.8 * plain
    masked = [distance("masks", entry, 16, 60_000) for entry in ("euler_steps", "with_corrector")]
    assert masked[1] > 0.9 * masked[0]


@pytest.mark.slow
def test_many_samples(more, record_property):
    """200,000 of them, whose own noise is 0.002."""
    plain = {name: distance(name, "euler_steps", 64, 200_000) for name in ("any", "masks")}
    better = distance("any", "with_corrector", 64, 200_000)
    strong, once = (distance(name, "with_corrector", 16, 200_000, spec=s) for name, s in (("strong", more), ("masks", SPEC)))
    record_property("64 calls", {k: round(v, 4) for k, v in plain.items()})
    record_property("with the corrector", round(better, 4))
    record_property("16 calls, masks, a = 5 and 1", f"{strong:.4f}, {once:.4f}")
    assert max(plain.values()) < 0.015
    assert better <= 0.75 * plain["any"]
    assert strong >= 3 * once


@pytest.mark.slow
def test_any_schedule_samples(more, record_property):
    """One network of x, that knows no schedule where the noise is masks; and at 16 calls the schedule matters."""
    found = {name: distance(name, "ancestral", 64, 100_000) for name in ("any", "any_square", "any_cosine", "masks")}
    found |= {name: distance(name, "ancestral", 64, 100_000, spec=more) for name in ("masks_square", "masks_cosine")}
    few = {name: distance(name, "ancestral", 16, 100_000) for name in ("any", "any_square")}
    record_property("64 calls", {k: round(v, 4) for k, v in found.items()})
    record_property("16 calls", {k: round(v, 4) for k, v in few.items()})
    assert max(found.values()) < 0.02
    assert few["any_square"] > 1.5 * few["any"]
