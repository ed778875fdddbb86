"""Shi et al. 2024: a bound that no schedule changes for a network without a clock, its loss, and what a trained model does."""

import itertools

import numpy as np
import pytest
import tools

from specc.reference.interpret import run
from specc.runtime.metrics.symbols import bigram_tv, unigram_tv
from specc.runtime.readers import READERS

SPEC = "discrete/md4.spec"
LENGTH, VALUES = 6, 3
MASKS = np.array(list(itertools.product([False, True], repeat=LENGTH)))  # of what is masked
STATES = np.array(list(itertools.product(range(VALUES + 1), repeat=LENGTH)))[:, ::-1]
DATA = np.array(list(itertools.product(range(VALUES), repeat=LENGTH)))
TABLE = "backbone.embedding.weight"


def random_law(seed=0):
    p = np.random.default_rng(seed).dirichlet(np.full(len(DATA), 0.3))
    return p


def exact_conditionals(p):
    """The log of p(x_i | what is not masked) for every state, as the table of the network."""
    out = np.zeros((len(STATES), LENGTH, VALUES))
    for row, state in enumerate(STATES):
        agrees = ((state == DATA) | (state == VALUES)).all(axis=1) * p
        for v in range(VALUES):
            out[row, :, v] = agrees @ (v == DATA)
    with np.errstate(divide="ignore", invalid="ignore"):
        out = np.log(out / out.sum(axis=-1, keepdims=True))
    return np.nan_to_num(np.maximum(out, -60), nan=0.0).reshape(len(STATES), -1)


def lost(table):
    """The sum of -log p over what is masked, for every example and every mask: (examples, masks)."""
    states = np.where(MASKS[None], VALUES, DATA[:, None])
    made = tools_answer(table, states.reshape(-1, LENGTH)).reshape(len(DATA), len(MASKS), LENGTH, VALUES)
    log_p = made - np.log(np.exp(made).sum(axis=-1, keepdims=True))
    own = np.take_along_axis(log_p, np.broadcast_to(DATA[:, None, :, None], (*log_p.shape[:3], 1)), axis=-1)[..., 0]
    return -np.where(MASKS[None], own, 0).sum(axis=-1)


def tools_answer(table, states):
    """Logits of the compiled network for states, (n, 6, 3)."""
    weights = {TABLE: table.astype(np.float64)}
    code = np.unique(states, axis=0, return_inverse=True)
    given = {"x": np.zeros((len(code[0]), LENGTH), np.int64), "z": code[0]}
    return run(tools.graph(SPEC, "linear"), "answer", given, weights, dtype="float64")[0][code[1].reshape(-1)]


def bound(name, costs):
    """The integral over time of hazard times the mean cost over masks, (examples), by Gauss and Legendre's rule in the
    variable in which the chance of a mask is smooth."""
    nodes, shares = np.polynomial.legendre.leggauss(80)
    t, shares = (nodes + 1) / 2, shares / 2
    keep, hazard = (tools.curve(SPEC, name, f, t)[:, None] for f in ("keep", "hazard"))
    masked = MASKS.sum(axis=1)
    chance = keep ** (LENGTH - masked) * (1 - keep) ** masked  # (times, masks)
    return (shares[:, None] * hazard * chance).sum(axis=0) @ costs.T


def any_order(costs):
    """The mean over the number of masks k of (L / k) times the mean cost over masks of that size."""
    masked = MASKS.sum(axis=1)
    return sum(LENGTH / k * costs[:, masked == k].mean(axis=1) for k in range(1, LENGTH + 1)) / LENGTH


@pytest.fixture(scope="module")
def table():
    return np.random.default_rng(1).normal(size=(len(STATES), LENGTH * VALUES))


@pytest.fixture(scope="module")
def costs(table):
    return lost(table)


def test_no_schedule_changes_the_bound(costs):
    p, orders = random_law(), any_order(costs)
    for name in ("linear", "cosine", "cubic"):
        np.testing.assert_allclose(bound(name, costs) @ p, orders @ p, atol=1e-6)  # measured 1e-12
    assert abs(bound("linear", costs[:, ::-1]) @ p - orders @ p) > 0.1  # the masks matter


def test_exact_conditionals_reach_the_entropy(costs):
    p = random_law()
    entropy = -(p * np.log(p)).sum()
    np.testing.assert_allclose(bound("cosine", lost(exact_conditionals(p))) @ p, entropy, atol=1e-6)
    assert bound("cosine", costs) @ p > entropy + 0.1


@pytest.mark.parametrize("name", ["linear", "cubic"])
def test_the_loss_is_unbiased(name, table, costs):
    rng = np.random.default_rng(2)
    p = random_law()
    x = DATA[rng.choice(len(DATA), size=20_000, p=p)]
    made = run(tools.graph(SPEC, name), "masked_elbo", {"x": x}, {TABLE: table}, dtype="float64", rng=rng)[0]
    exact = bound(name, costs) @ p
    error = made.std() / np.sqrt(len(made))
    assert abs(made.mean() - exact) < 3 * error
    plain = run(tools.graph(SPEC, "unweighted"), "plain_cross_entropy", {"x": x}, {TABLE: table}, dtype="float64", rng=rng)[0]
    assert abs(plain.mean() - exact) > 20 * error  # the same terms without the weight are no bound


def test_samples_have_the_law_of_exact_conditionals():
    p = random_law()
    weights, seeds = {TABLE: exact_conditionals(p)}, np.arange(8000)
    x = run(tools.graph(SPEC, "linear"), "ancestral", {"seed": seeds}, weights, dtype="float32")[0]
    counts = np.bincount(x @ VALUES ** np.arange(LENGTH)[::-1], minlength=len(DATA)) / len(x)
    noise = np.abs(np.random.default_rng(3).multinomial(len(x), p) / len(x) - p).sum() / 2
    assert np.abs(counts - p).sum() / 2 < 1.25 * noise  # 64 steps are nearly exact; measured 1.06


def letters(split):
    return READERS["text"].function(split, path="python:manual", level="letters")["x"]


@pytest.mark.slow
def test_a_trained_model_beats_letters_alone():
    run_of = tools.train(SPEC, "md4")
    x, train = letters("test"), letters("train")
    p = np.bincount(train.reshape(-1), minlength=27) / train.size
    alone = -np.log2(p[x]).mean()
    given = {"x": x[:256]}
    made = run(tools.graph(SPEC, "md4"), "elbo", given, tools.weights(run_of), dtype="float32", rng=np.random.default_rng(0))[0]
    bits = made.mean() / (64 * np.log(2))
    samples = tools.sample(run_of, SPEC, "md4", "ancestral", 512)
    assert bits <= 0.85 * alone
    assert bigram_tv(train, samples) <= 0.15
    assert unigram_tv(train, samples) <= 0.1
