"""Shi et al. 2024: a bound that no schedule changes for a network without a clock, its loss, and what a trained model does."""

import itertools
import math

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
    rows, back = np.unique(states @ (VALUES + 1) ** np.arange(LENGTH), return_inverse=True)
    given = {"x": np.zeros((len(rows), LENGTH), np.int64), "z": STATES[rows]}
    return run(tools.graph(SPEC, "linear"), "answer", given, weights, dtype="float64")[0][back]


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


def test_the_weight_moves_the_value_and_not_the_least():
    """What a network without a clock can best say is the exact conditionals, with the weight of the bound and without."""
    p, best = random_law(), exact_conditionals(random_law())

    def both(costs):
        nodes, shares = np.polynomial.legendre.leggauss(80)
        keep, masked = tools.curve(SPEC, "cubic", "keep", (nodes + 1) / 2)[:, None], MASKS.sum(axis=1)
        plain = (shares[:, None] / 2 * keep ** (LENGTH - masked) * (1 - keep) ** masked).sum(axis=0)
        return np.array([bound("cubic", costs) @ p, costs @ plain @ p])

    least, rng = both(lost(best)), np.random.default_rng(7)
    assert abs(least[0] - least[1]) > 1  # the second is no bound
    for _ in range(3):
        assert (both(lost(best + 0.1 * rng.normal(size=best.shape))) > least + 1e-3).all()


def test_samples_have_the_law_of_exact_conditionals():
    p = random_law()
    weights, seeds = {TABLE: exact_conditionals(p)}, np.arange(8000)
    x = run(tools.graph(SPEC, "linear"), "ancestral", {"seed": seeds}, weights, dtype="float32")[0]
    counts = np.bincount(x @ VALUES ** np.arange(LENGTH)[::-1], minlength=len(DATA)) / len(x)
    noise = np.abs(np.random.default_rng(3).multinomial(len(x), p) / len(x) - p).sum() / 2
    assert np.abs(counts - p).sum() / 2 < 1.25 * noise  # 64 steps are nearly exact; measured 1.06


# A rate for each value ----------------------------------------------------------------------------------------------------


def by_value(costs, spare, rates, t):
    """The mean over masks, at one time, of what each value's own rate makes of the costs: (examples)."""
    gone = (1 - 1e-4) * t ** rates[DATA]  # (examples, places)
    chance = np.where(MASKS[None], gone[:, None], 1 - gone[:, None]).prod(axis=-1)
    weighted = np.where(MASKS[None], rates[DATA][:, None] * costs + spare @ rates - rates[DATA][:, None], 0).sum(axis=-1)
    return (chance * weighted).sum(axis=1) / t


def apart(table):
    """-log p of the own value, and the chances of all, for every example, mask and place."""
    states = np.where(MASKS[None], VALUES, DATA[:, None])
    made = tools_answer(table, states.reshape(-1, LENGTH)).reshape(len(DATA), len(MASKS), LENGTH, VALUES)
    chances = np.exp(made) / np.exp(made).sum(axis=-1, keepdims=True)
    own = np.take_along_axis(chances, np.broadcast_to(DATA[:, None, :, None], (*chances.shape[:3], 1)), axis=-1)[..., 0]
    return -np.log(own), chances


def raw_of(rates):
    return np.log(np.expm1(rates))


def test_equal_rates_are_a_power_of_time(table):
    """With the same times and masks, both losses of t^w are one."""
    x = DATA[:300]

    def draws(op, place, shape, indices):
        return np.random.default_rng(len(shape)).random((300, *shape[1:]))  # one mask, however often it is asked for

    for rate in (1.0, 3.0):
        weights = {TABLE: table, "raw": np.full(3, raw_of(rate))}
        made = run(tools.graph(SPEC, "by_value"), "two_masks", {"x": x}, weights, dtype="float64", draws=draws)[0]
        t = 1e-3 + (1 - 1e-3) * np.random.default_rng(1).random(300)
        exact = at(x, table, np.random.default_rng(2).random((300, LENGTH)) < 1 - (1 - 1e-4) * t[:, None] ** rate)
        np.testing.assert_allclose(made, rate / t * exact, rtol=1e-5)


def at(x, table, kept):
    """The sum of -log p over what is masked."""
    made = tools_answer(table, np.where(kept, x, VALUES))
    log_p = made - np.log(np.exp(made).sum(axis=-1, keepdims=True))
    return -np.where(kept, 0, np.take_along_axis(log_p, x[..., None], axis=-1)[..., 0]).sum(axis=1)


def test_the_gradient_of_the_rates_is_unbiased(table):
    """Against differences of the sum over all masks."""
    rates, t, p = np.array([0.7, 1.0, 1.6]), 0.5, random_law()
    costs, spare = apart(table)

    def exact(raw):
        return by_value(costs, spare, np.log1p(np.exp(raw)), t) @ p

    raw, h = raw_of(rates), 1e-5
    wanted = np.array([(exact(raw + h * e) - exact(raw - h * e)) / (2 * h) for e in np.eye(3)])
    rng, found = np.random.default_rng(4), []
    for _ in range(40):
        x = DATA[rng.choice(len(DATA), size=1000, p=p)]
        given = {"x": x, "t": np.full(len(x), t)}
        weights = {TABLE: table, "raw": raw}
        found.append(run(tools.graph(SPEC, "by_value"), "slope", given, weights, dtype="float64", rng=rng)[0] / len(x))
    mean, error = np.mean(found, axis=0), np.std(found, axis=0) / np.sqrt(len(found))
    assert (np.abs(mean - wanted) < 3 * error).all()
    without = by_value_without_the_masks(costs, spare, rates, t, p)
    assert (np.abs(without - wanted) > 10 * error).any()  # the masks' own part of the gradient is there


def by_value_without_the_masks(costs, spare, rates, t, p):
    """The slope in the rates of the costs alone, times that of softplus."""
    gone = (1 - 1e-4) * t ** rates[DATA]
    chance = np.where(MASKS[None], gone[:, None], 1 - gone[:, None]).prod(axis=-1)
    out = []
    for v in range(VALUES):
        own = (v == DATA)[:, None]
        part = np.where(MASKS[None], own * costs + spare[..., v] - own, 0).sum(axis=-1)
        out.append((chance * part).sum(axis=1) @ p / t)
    return np.array(out) * (1 - np.exp(-rates))


def right_at(p, rates, t):
    """The log of p(x_i | z, t) for every state: which places are masked tells of the values there, unless all rates are one."""
    gone, masked = (1 - 1e-4) * t ** rates[DATA], (STATES == VALUES).astype(float)  # (examples, places), (states, places)
    agrees = ((STATES[:, None] == VALUES) | (STATES[:, None] == DATA)).all(axis=2)
    seen = agrees * p * np.exp(masked @ np.log(gone).T + (1 - masked) @ np.log(1 - gone).T)  # (states, examples)
    out = np.stack([seen @ (v == DATA) for v in range(VALUES)], axis=-1) / seen.sum(axis=1)[:, None, None]
    return np.log(np.maximum(out, 1e-30)).reshape(len(STATES), -1)


def test_no_rates_change_the_bound_of_what_is_right_at_every_time():
    """So rates that are learnt change it only as far as a network is wrong. What is right for equal rates and knows nothing of
    others loses 1.5 nats by them."""
    p, rates, (nodes, shares) = random_law(), np.array([0.5, 1, 2]), np.polynomial.legendre.leggauss(8)
    u, still = (nodes + 1) / 2, apart(exact_conditionals(p))

    def total(rates, known_at):  # in u, the root of t, as t^(1/2) is not smooth
        return sum(s * v * by_value(*known_at(v * v), rates, v * v) @ p for v, s in zip(u, shares, strict=True))

    least = total(np.ones(VALUES), lambda t: still)
    assert abs(total(rates, lambda t: apart(right_at(p, rates, t))) - least) < 1e-3
    assert total(rates, lambda t: still) > least + 1


def test_the_loss_of_any_rates_is_unbiased():
    """At one time, with one mask for both, against the sum over all masks."""
    p, rates, t, rng = random_law(), np.array([0.5, 1, 2]), 0.3, np.random.default_rng(5)
    x, u = DATA[rng.choice(len(DATA), size=20_000, p=p)], rng.random((20_000, LENGTH))
    table = right_at(p, rates, t)

    def draws(op, place, shape, indices):
        return u if len(shape) == 2 else np.full(len(x), (t - 1e-3) / (1 - 1e-3))

    weights = {TABLE: table, "raw": raw_of(rates)}
    made = run(tools.graph(SPEC, "by_value"), "two_masks", {"x": x}, weights, dtype="float64", draws=draws)[0]
    costs, spare = apart(table)
    error = made.std() / np.sqrt(len(made))
    assert abs(made.mean() - by_value(costs, spare, rates, t) @ p) < 3 * error
    assert abs(made.mean() - by_value(costs, 0 * spare + 1 / VALUES, rates, t) @ p) > 10 * error  # what is spare counts


def letters(split):
    return READERS["text"].function(split, path="python:manual", level="letters", n=32)["x"]


def trained_bits():
    """Of the bound, a letter of held-out text."""
    given, rng = {"x": letters("test")[:256]}, np.random.default_rng(0)
    made = run(tools.graph(SPEC, "md4"), "elbo", given, tools.weights(tools.train(SPEC, "md4")), dtype="float32", rng=rng)[0]
    return made.mean() / (32 * np.log(2))


@pytest.mark.slow
def test_a_trained_model_beats_letters_alone(record_property):
    """Four thousand steps: 2.94 bits a letter, 4.09 by letters alone; pairs of samples 0.078 apart from the text's.

    Told the time, through gates that begin at zero, a network half as large again says 2.99. With learnt positions in place
    of rotary ones 1,500 steps say no more than letters alone (4.10).
    """
    x, train = letters("test"), letters("train")
    p = np.bincount(train.reshape(-1), minlength=27) / train.size
    alone, bits = -np.log2(p[x]).mean(), trained_bits()
    samples = tools.sample(tools.train(SPEC, "md4"), SPEC, "md4", "ancestral", 512)
    record_property("bits", f"{bits:.2f}")
    record_property("pairs", f"{bigram_tv(train, samples):.3f}")
    assert bits <= 0.85 * alone
    assert bigram_tv(train, samples) <= 0.15
    assert unigram_tv(train, samples) <= 0.1


IN_ORDER = """
model in_order {
  data x: tokens(32, 27) from text("python:manual", level = letters, stride = 8)
  backbone transformer(dim = 64, depth = 2, heads = 4, positions = rotary, causal = true)
  loss next_token
  query token_nll
  train { optimizer = adamw(lr = 2e-3); steps = 4000; batch = 64; warmup = 100; decay = cosine; ema = 0.995 }
}
"""


@pytest.mark.slow
@pytest.mark.xfail(strict=True, reason="after 4,000 steps 2.94 bits, and 1.74 in order: masks are all orders at once")
def test_the_bound_is_near_the_bits_of_the_same_network_in_order(tmp_path, record_property):
    """The same network, data and steps, each letter from those before it.

    Near is meant of large networks trained for long: on text8 the paper says 1.37 bits, and 1.23 in order; it says as well
    that a model in order is as good after 50,000 steps as a masked one after 200,000. Nie et al. 2024 (Scaling up Masked
    Diffusion Models on Text) need 16 times the work for an equal loss. Here the variance of the weight costs time too: with
    numbers of masks spread evenly in place of times, the same in the mean, 750 steps come to 3.25 bits and not 3.47.
    """
    spec, bits = tools.variant(tmp_path, SPEC, IN_ORDER), trained_bits()
    size, in_order_size = (sum(map(math.prod, tools.shapes(*m).values())) for m in ((SPEC, "md4"), (spec, "in_order")))
    assert size == in_order_size
    given, weights = {"x": letters("test")[:256]}, tools.weights(tools.train(spec, "in_order"))
    in_order = run(tools.graph(spec, "in_order"), "token_nll", given, weights, dtype="float32")[0].mean() / np.log(2)
    record_property("bits", f"{bits:.2f}")
    record_property("in order", f"{in_order:.2f}")
    assert bits <= 1.15 * in_order
