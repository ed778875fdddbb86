"""Zheng et al. 2024: a masked model needs no clock, its places show one by one at known times, and coarse noise cheats."""

import itertools

import numpy as np
import pytest
import tools
from scipy import stats

from specc.ir.ops import Op
from specc.ir.program import walk
from specc.reference.interpret import run

SPEC = "discrete/first_hitting_sampler.spec"
LENGTH = 8
TABLE = "backbone.embedding.weight"
DATA = np.array(list(itertools.product(range(2), repeat=LENGTH)))
STATES = np.array(list(itertools.product(range(3), repeat=LENGTH)))[:, ::-1]


def law(seed=0):
    return np.random.default_rng(seed).dirichlet(np.full(len(DATA), 0.3))


def conditionals(p):
    """log p(x_i | what is not masked) for every state."""
    agrees = ((DATA[None] == STATES[:, None]) | (STATES[:, None] == 2)).all(axis=-1) * p  # (states, data)
    ones = agrees @ DATA
    both = np.stack([agrees.sum(axis=1)[:, None] - ones, ones], axis=-1)
    return np.log(np.maximum(both, 1e-30) / np.maximum(both.sum(axis=-1, keepdims=True), 1e-30)).reshape(len(STATES), -1)


def frequencies(x):
    return np.bincount(x @ 2 ** np.arange(LENGTH)[::-1], minlength=len(DATA)) / len(x)


def draw(name, sampler, n, **inputs):
    weights = {TABLE: conditionals(law())}
    return run(tools.graph(SPEC, name), sampler, {"seed": np.arange(n), **inputs}, weights, dtype="float32")[0]


def test_the_loss_without_a_clock_is_the_bound():
    """Both are unbiased estimates of one number, whatever the network; the first draws no time at all."""
    table = np.random.default_rng(1).normal(size=(len(STATES), 2 * LENGTH))
    rng, found = np.random.default_rng(2), {}
    x = DATA[rng.choice(len(DATA), size=20_000, p=law())]
    for name, loss in (("bits", "any_order"), ("bound", "masked_elbo")):
        program = tools.graph(SPEC, name)
        found[name] = run(program, loss, {"x": x}, {TABLE: table}, dtype="float64", rng=rng)[0]
    error = np.hypot(*(v.std() / np.sqrt(len(v)) for v in found.values()))
    assert abs(found["bits"].mean() - found["bound"].mean()) < 3 * error
    assert found["bits"].mean() > -(law() * np.log(law())).sum()


def test_hitting_times_are_order_statistics():
    t = run(tools.graph(SPEC, "bits"), "showing", {"x": np.zeros((20_000, 8), np.int64)}, {}, rng=np.random.default_rng(0))[0]
    for k in (0, 3, 7):  # the k + 1 largest of 8 uniform numbers
        assert stats.kstest(t[:, k], stats.beta(LENGTH - k, k + 1).cdf).pvalue > 0.01
    assert stats.kstest(t[:, 1], stats.beta(LENGTH, 1).cdf).pvalue < 1e-100  # and no other
    assert (np.diff(t, axis=1) < 0).all()


def test_calls_and_categorical_draws():
    assert tools.calls(SPEC, "bits", "first_hitting") == LENGTH
    assert tools.calls(SPEC, "bits", "ancestral") == 1000
    assert categorical_numbers("first_hitting") == LENGTH * 2 * 2  # two draws of 24 bits for two values, once a place
    assert categorical_numbers("ancestral") == 1000 * LENGTH * 2 * 2


def categorical_numbers(entry):
    """Uniform numbers of categorical draws, over the whole loop: those with an axis for the values."""
    program = tools.graph(SPEC, "bits")
    loop = next(n for n in program.functions[program.entries[entry].function].block.nodes if n.op is Op.FOR)
    drawn = [n for n in walk(loop.regions[0]) if n.op is Op.UNIFORM and n["shape"][-1:] == (2,)]
    rounds = {"first_hitting": LENGTH, "ancestral": 1000}[entry]
    return rounds * sum(int(np.prod(n["shape"])) for n in drawn)


def test_first_hitting_draws_what_a_thousand_steps_draw():
    n = 2000
    p, x, y = law(), draw("bits", "first_hitting", n), draw("bits", "ancestral", n)
    noise = np.mean([np.abs(np.random.default_rng(k).multinomial(n, p) / n - p).sum() / 2 for k in range(20)])
    for made in (x, y):
        assert np.abs(frequencies(made) - p).sum() / 2 < 1.2 * noise  # measured 0.94 and 1.01


def test_how_many_of_the_steps_change_anything():
    x = np.zeros((4000, 8), np.int64)
    count = run(tools.graph(SPEC, "bits"), "fresh", {"x": x}, {}, rng=np.random.default_rng(0))[0]
    expected = 50 * (1 - (1 - 1 / 50) ** LENGTH)  # 7.462
    assert abs(count.mean() - expected) < 3 * count.std() / np.sqrt(len(count)) + 1e-3


def truncated(p, most):
    """The chance of each value under noise that ends at `most`; p falls."""
    after = np.append(p[1:], 0)
    total, edge = np.cumsum(p), np.exp(-most)
    with np.errstate(divide="ignore"):
        part = (np.exp(-total / p * edge) - np.exp(-total / after * edge)) * np.exp(np.arange(1, len(p) + 1) * edge) / total
    return np.array([p[k] * part[k:].sum() for k in range(len(p))])


def test_noise_that_ends_prefers_the_likely():
    p, n = np.array([0.5, 0.3, 0.15, 0.05]), 400_000
    given = {"x": np.zeros((n, 8), np.int64), "logits": np.tile(np.log(p), (n, 1))}
    program, rng = tools.graph(SPEC, "short_noise"), np.random.default_rng(0)
    short = np.bincount(run(program, "truncated", given, {}, rng=rng)[0], minlength=4) / n
    whole = np.bincount(run(program, "whole", given, {}, rng=rng)[0], minlength=4) / n
    np.testing.assert_allclose(truncated(p, 1.0), [0.6775, 0.2760, 0.0463, 0.0001], atol=1e-4)
    np.testing.assert_allclose(short, truncated(p, 1.0), atol=0.0025)
    np.testing.assert_allclose(whole, p, atol=0.0025)


def test_coarse_noise_lowers_the_entropy():
    def entropy(bits):
        q = frequencies(draw("coarse", "few_bits", 1000, bits=bits))
        return -(q[q > 0] * np.log(q[q > 0])).sum()

    assert entropy(8.0) < entropy(23.0) - 0.2


@pytest.mark.slow
def test_letters_by_first_hitting():
    trained = tools.train(SPEC, "letters")
    x = tools.sample(trained, SPEC, "letters", "first_hitting", 8)
    assert x.shape == (8, 64) and x.dtype == np.int64
