"""Zheng et al. 2024: a masked model needs no clock, its places show one by one at known times, and coarse noise cheats."""

import itertools
import time

import numpy as np
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


MASKS = np.array(list(itertools.product([False, True], repeat=LENGTH)))[1:]  # of what is masked
SIZES = MASKS.sum(axis=1)
WHOLE = """
model straight from base.bound { process masking over t in [0, 1] }
model cosine from base.bound { process masking(keep = t => 1 - cos(pi / 2 * (1 - t))) over t in [0, 1] }
"""


def loss_of(spec, name, x, table, at):
    """What the loss says of examples (n, 8) where its first draw is `at` and its second one masks (n, masks)."""

    def draws(op, place, shape, indices):
        first = len(shape) == 1
        return at if first else np.tile(np.where(MASKS, drawn[0], drawn[1]), (len(at) // len(MASKS), 1))

    program = tools.graph(spec, name)
    drawn = (0.25, 0.75) if name == "bits" else (1 - 1e-9, 0.0)  # the smallest show last; a place is kept below its chance
    entry = program.by_role("objective")[0].name
    return run(program, entry, {"x": x}, {TABLE: table}, dtype="float64", draws=draws)[0]


def test_the_loss_without_a_clock_is_the_bound(tmp_path):
    """All masks at all times by quadrature, for any network and both schedules: one number, that of the order-agnostic loss."""
    table, spec = np.random.default_rng(1).normal(size=(len(STATES), 2 * LENGTH)), tools.variant(tmp_path, SPEC, WHOLE)
    some = DATA[::73]
    x = np.repeat(some, len(MASKS), axis=0)
    sizes = np.tile(SIZES, len(some))
    each = loss_of(SPEC, "bits", x, table, (sizes - 0.5) / LENGTH)
    share = 1 / LENGTH / np.bincount(SIZES)[sizes]  # every size alike, and every mask of a size
    wanted = (each * share).reshape(len(some), -1).sum(axis=1)
    nodes, weights = np.polynomial.legendre.leggauss(16)
    for name in ("straight", "cosine"):
        total = np.zeros(len(some))
        for t, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            keep = tools.curve(spec, name, "keep", np.array([t]))[0]
            chance = keep ** (LENGTH - sizes) * (1 - keep) ** sizes
            total += weight * (chance * loss_of(spec, name, x, table, np.full(len(x), t))).reshape(len(some), -1).sum(axis=1)
        np.testing.assert_allclose(total, wanted, rtol=1e-6)
    flat = (each * share * sizes / LENGTH).reshape(len(some), -1).sum(axis=1)
    assert np.abs(flat / wanted - 1).min() > 0.1  # without the weight n / k


def test_hitting_times_are_order_statistics(tmp_path):
    t = run(tools.graph(SPEC, "bits"), "showing", {"x": np.zeros((20_000, 8), np.int64)}, {}, rng=np.random.default_rng(0))[0]
    for k in (0, 3, 7):  # the k + 1 largest of 8 uniform numbers
        assert stats.kstest(t[:, k], stats.beta(LENGTH - k, k + 1).cdf).pvalue > 0.01
    assert (np.diff(t, axis=1) < 0).all()
    text = """model wrong from base.bits {
      process masking with { shows(t, k) { u ~ uniform(); return inverse(keep)(1 - u * (1 - keep(t))) } }
    }"""
    wrong = tools.graph(tools.variant(tmp_path, SPEC, text), "wrong")  # without the root
    t = run(wrong, "showing", {"x": np.zeros((20_000, 8), np.int64)}, {}, rng=np.random.default_rng(0))[0]
    assert all(stats.kstest(t[:, k], stats.beta(LENGTH - k, k + 1).cdf).pvalue < 1e-100 for k in (0, 3))


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


def test_first_hitting_draws_what_a_thousand_steps_draw(record_property):
    """How much faster it is, is recorded: what it does less of is asserted above."""
    n, seconds, made = 2000, [], []
    for sampler in ("first_hitting", "ancestral"):
        tools.graph(SPEC, "bits")
        start = time.process_time()
        made.append(draw("bits", sampler, n))
        seconds.append(time.process_time() - start)
    record_property("seconds of a thousand steps over those of first hitting", f"{seconds[1] / seconds[0]:.0f}")
    p, (x, y) = law(), made
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
    p, n = np.array([0.5, 0.3, 0.15, 0.05]), 1_000_000
    given = {"x": np.zeros((n, 8), np.int64), "logits": np.tile(np.log(p), (n, 1))}
    program, rng = tools.graph(SPEC, "short_noise"), np.random.default_rng(0)
    short = np.bincount(run(program, "truncated", given, {}, rng=rng)[0], minlength=4) / n
    whole = np.bincount(run(program, "whole", given, {}, rng=rng)[0], minlength=4) / n
    np.testing.assert_allclose(truncated(p, 1.0), [0.6775, 0.2760, 0.0463, 0.0001], atol=1e-4)
    np.testing.assert_allclose(short, truncated(p, 1.0), atol=1e-3)
    np.testing.assert_allclose(whole, p, atol=1.5e-3)


def test_coarse_noise_lowers_the_entropy():
    def entropy(bits):
        q = frequencies(draw("coarse", "few_bits", 1000, bits=bits))
        return -(q[q > 0] * np.log(q[q > 0])).sum()

    assert entropy(8.0) < entropy(23.0) - 0.2
