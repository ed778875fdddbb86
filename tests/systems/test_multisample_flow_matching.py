"""Pooladian et al. 2023: pairs matched within a batch keep both laws, cost less to transport and make straight paths."""

import numpy as np
import pytest
import tools

from specc.reference.interpret import run
from specc.runtime.metrics.distances import energy_distance, exact_wasserstein2
from specc.runtime.metrics.paths import straightness
from specc.runtime.ort import example_seeds
from specc.runtime.readers import READERS

SPEC = "flow/multisample_flow_matching.spec"


PAIRS = "query pairs(x) { e ~ source(); return pair(x, e) }"
LOOK_INSIDE = f"""
model batch_ot from base.batch_ot {{ {PAIRS} }}
model stable from base.stable {{ {PAIRS} }}
model independent from base.independent {{ {PAIRS} }}
model alone from batch_ot {{ coupling minibatch_ot(within = 1) }}
model whole from batch_ot {{ coupling minibatch_ot }}
model batch_eot from base.batch_eot {{
  {PAIRS}
  query plan(x) {{ e ~ source(); return batch.split(exp(log_plan(x, e))) }}
}}
model short from batch_eot {{ coupling sinkhorn(eps = 0.05, rounds = 50) }}
"""


def data(n, rng):
    return READERS["moons"].function(n, rng, scale=3.0, shift=-1.0)["x"].astype(np.float64)


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    """The same models with queries that show their pairs."""
    return tools.variant(tmp_path_factory.mktemp("specs"), SPEC, LOOK_INSIDE)


def asked(spec, name, query, k, seed):
    """For batch number `seed` of k: the same examples and noise for every coupling."""
    rng = np.random.default_rng((k, seed))
    return run(tools.graph(spec, name), query, {"x": data(k, rng)}, {}, rng=rng)


def pairs(spec, name, k, seed):
    """x and its partner e, (k, 2) each."""
    return asked(spec, name, "pairs", k, seed)


def cost(spec, name, k, seed):
    x, e = pairs(spec, name, k, seed)
    return ((x - e) ** 2).sum(axis=1).mean()


def plan_of(spec, k, seed):
    """The entropic plan, times k: (k, k), a row for each x."""
    return asked(spec, "batch_eot", "plan", k, seed)[0]


def plan_cost(spec, k, seed):
    x, e = pairs(spec, "independent", k, seed)
    return (plan_of(spec, k, seed) * ((x[:, None] - e) ** 2).sum(axis=2)).sum() / k


def test_the_entropic_plan_is_doubly_stochastic(spec):
    plan = plan_of(spec, 64, 0)
    np.testing.assert_allclose(plan.sum(axis=0) / 64, 1 / 64, atol=1e-6)
    np.testing.assert_allclose(plan.sum(axis=1) / 64, 1 / 64, atol=1e-6)
    assert plan.max() > 10 / 64 and (plan < 1e-3).mean() > 0.5  # it is not the uniform plan


@pytest.mark.parametrize("name", ["batch_ot", "stable"])
def test_a_matching_is_one_to_one(spec, name):
    matched, free = pairs(spec, name, 64, 0), pairs(spec, "independent", 64, 0)
    np.testing.assert_array_equal(matched[0], free[0])
    np.testing.assert_array_equal(matched[1][np.lexsort(matched[1].T)], free[1][np.lexsort(free[1].T)])
    assert not np.array_equal(matched[1], free[1])


def test_groups_of_a_batch_are_matched_apart(spec):
    """The k of the paper is smaller than the batch: partners come from the same 64 examples of 128."""
    (_, matched), (_, free) = (pairs(spec, name, 128, 0) for name in ("batch_ot", "independent"))
    for group in (slice(0, 64), slice(64, 128)):
        np.testing.assert_array_equal(np.sort(matched[group], axis=0), np.sort(free[group], axis=0))
    assert cost(spec, "whole", 128, 0) < cost(spec, "batch_ot", 128, 0)
    np.testing.assert_array_equal(pairs(spec, "alone", 128, 0)[1], free)  # groups of one: independent pairs


def moments(v):
    """Mean and second moments of (batches, k, 2), (batches, 5)."""
    return np.concatenate([v, v**2, v[..., :1] * v[..., 1:]], axis=-1).mean(axis=1)


def test_pairs_keep_both_laws(spec):
    """Partners drawn from the entropic plan repeat; over 1000 batches their moments are those of the noise."""
    drawn = {name: [pairs(spec, name, 16, seed) for seed in range(1000)] for name in ("short", "independent")}
    for side in (0, 1):
        paired, free = (moments(np.stack([p[side] for p in found])) for found in drawn.values())
        gap = paired - free
        assert (np.abs(gap.mean(axis=0)) <= 3 * gap.std(axis=0) / np.sqrt(len(gap)) + 1e-12).all()
    x, e = (np.stack([p[side] for p in drawn["short"]]) for side in (0, 1))
    assert ((x - e) ** 2).sum(axis=-1).mean() < 20  # and yet they are not independent: 34


def test_costs_are_ordered(spec):
    costs = {name: [cost(spec, name, 64, seed) for seed in range(16)] for name in ("batch_ot", "stable", "independent")}
    costs["batch_eot"] = [plan_cost(spec, 64, seed) for seed in range(16)]
    for name in ("batch_eot", "stable", "independent"):
        assert all(a <= b for a, b in zip(costs["batch_ot"], costs[name], strict=True))
    means = [np.mean(costs[name]) for name in ("batch_ot", "batch_eot", "stable", "independent")]
    assert (np.diff(means) > 0).all()  # measured over 64 batches: 8.9, 9.6, 11.7, 34.3


def test_transport_costs_less_in_larger_batches(spec):
    means = [np.mean([cost(spec, "whole", k, seed) for seed in range(2048 // k)]) for k in (1, 8, 64, 256)]
    assert (np.diff(means) < 0).all()  # measured 34.1, 15.3, 8.8, 7.6
    assert means[-1] <= 1.1 * cost(spec, "whole", 2048, 0)  # measured 7.6


def quality(name, seed, n=2000):
    """Of a trained model: energy distance and squared W2 at 4 Euler steps, curvature of its paths, and its last loss."""
    folder = tools.train(SPEC, name, seed=seed)
    x = data(n, np.random.default_rng(99))
    y = tools.sample(folder, SPEC, name, "euler", n)
    trace = []
    given = {"seed": example_seeds(1, n), "steps": 50}
    run(tools.graph(SPEC, name), "euler", given, tools.weights(folder), dtype="float32", trace=trace)
    bend = straightness(np.stack([trace[0].before[0], *(s.after[0] for s in trace)]))
    return np.array([energy_distance(y, x), exact_wasserstein2(y[:1000], x[:1000]) ** 2, bend, tools.report(folder)["loss"]])


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_flow_learnt_from_matched_pairs_is_straight(seed):
    independent = quality("independent", seed)
    # energy distance, W2^2, curvature, loss; measured 0.06, 0.15, 0.013, 0.07 and 0.03, 0.12, 0.013, 0.06
    assert (quality("batch_ot", seed) <= np.array([0.3, 0.4, 0.1, 0.2]) * independent).all()


@pytest.mark.slow
def test_stable_matching_is_nearly_as_straight():
    assert quality("stable", 0)[2] <= 0.2 * quality("independent", 0)[2]  # measured 0.04
