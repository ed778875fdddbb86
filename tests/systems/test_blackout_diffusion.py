"""Santos et al. 2023: counts die one by one, the way back is a binomial bridge, and the empty image is where it begins."""

import numpy as np
import pytest
import tools
from scipy import stats

from specc.reference.interpret import run
from specc.runtime.metrics.features import digits_features
from specc.runtime.metrics.frechet import frechet
from specc.runtime.readers import READERS

SPEC = "discrete/blackout_diffusion.spec"
LEVELS, SHARES = np.array([0, 3, 8, 9, 16]), np.array([0.35, 0.2, 0.15, 0.1, 0.2])
LAW = np.zeros(17)
LAW[LEVELS] = SHARES
SLOW = pytest.param(1000, marks=pytest.mark.slow)


def pixels(n, seed=0):
    return np.random.default_rng(seed).choice(LEVELS, size=(n, 1), p=SHARES)


def forward(x, t):
    given = {"x": x, "t": np.full(len(x), t), "seed": np.arange(len(x))}
    return (v[:, 0] for v in run(tools.graph(SPEC, "pixel"), "means", given, {}))


def test_deaths_are_binomial():
    z, _ = forward(np.full((20_000, 1), 16), 0.7)
    wanted = stats.binom(16, np.exp(-0.7)).pmf(np.arange(17)) * len(z)
    seen = np.bincount(z, minlength=17)
    often = wanted > 5
    pooled = [np.append(v[often], v[~often].sum()) for v in (seen, wanted)]
    assert stats.chisquare(*pooled).pvalue > 0.01
    assert stats.chisquare(seen[often], wanted[often][::-1] * seen[often].sum() / wanted[often].sum()).pvalue < 1e-10


def test_the_bridge_leads_where_the_process_was(tmp_path):
    """Counts at t, and from them counts at s: together as if s had come first; without the bridge's share they are not."""
    query = "query two(t: scalar, s: scalar) {{ z ~ draw(x, t); y ~ bridge(z, x, t, s); return z, y }}"
    text = f"model {{}} from base.pixel {{{{ {{}}; {query} }}}}"
    wrong, n, t, s = "process pure_death with { returns(t, s) = keep(s) - keep(t) }", 40_000, 1.2, 0.4
    spec = tools.variant(tmp_path, SPEC, text.format("right", "process pure_death") + "\n" + text.format("wrong", wrong))
    counts = np.arange(17)
    first = stats.binom(16, np.exp(-s)).pmf(counts)  # at s, and then what is left of each at t
    wanted = (first[:, None] * stats.binom(counts[:, None], np.exp(s - t)).pmf(counts)).T
    found = {}
    for name in ("right", "wrong"):
        given = {"x": np.full((n, 1), 16), "t": np.full(n, t), "s": np.full(n, s), "seed": np.arange(n)}
        z, y = run(tools.graph(spec, name), "two", given, {})
        seen, often = np.zeros((17, 17)), wanted * n > 5
        np.add.at(seen, (z[:, 0], y[:, 0]), 1)
        pooled = [np.append(v[often], v[~often].sum()) for v in (seen, wanted * n)]
        found[name] = ((pooled[0] - pooled[1]) ** 2 / pooled[1]).sum(), often.sum()
    assert stats.chi2(found["right"][1]).sf(found["right"][0]) > 0.01
    assert found["wrong"][0] > 100 * found["wrong"][1]


def test_the_network_says_what_is_missing():
    """The exact mean of x - z given z, against the mean over draws."""
    x = pixels(60_000)
    z, y = forward(x, 1.0)
    for value in (0, 1, 3, 5):
        missing = x[z == value, 0] - value
        error = missing.std() / np.sqrt(len(missing)) + 1e-6
        assert abs(y[z == value][0] - missing.mean()) < 3.5 * error


def test_the_loss_is_least_at_the_exact_mean(tmp_path):
    def loss(factor, weight):
        predict = f"births with {{ feed(z, t) = z; link(out) = {factor} * max(out, 1e-6) }}"
        text = f"model scaled from base.pixel {{ predict {predict}; loss bregman(steps = 50, weight = {weight}) }}"
        spec = tools.variant(tmp_path, SPEC, text)
        rng = np.random.default_rng(5)  # the same draws for every factor
        return run(tools.graph(spec, "scaled"), "bregman", {"x": pixels(40_000)}, {}, dtype="float64", rng=rng)[0].mean()

    for weight in ("finite", "instant"):
        assert loss(1.0, weight) < min(loss(0.97, weight), loss(1.03, weight))  # convex in the factor: the least is between


def distance(name, entry, steps, n=40_000):
    x = run(tools.graph(SPEC, name), entry, {"seed": np.arange(n), "steps": steps}, {}, dtype="float32")[0]
    assert x.min() >= 0 and x.max() <= 16 and x.dtype == np.int64
    return float(np.abs(np.bincount(x[:, 0], minlength=17) / n - LAW).sum() / 2)


def test_few_steps_are_worse():
    """In the catalogue 0.20, 0.19 and 0.28 at 20 steps."""
    assert 0.15 < distance("pixel", "ancestral", 20, n=10_000) < 0.25
    assert 0.15 < distance("pixel", "tau_leap", 20, n=10_000) < 0.25
    assert distance("rounded", "ancestral", 20, n=10_000) > 0.2


@pytest.mark.parametrize("steps", [20, pytest.param(100, marks=pytest.mark.slow), SLOW])
def test_a_draw_from_the_posterior_needs_no_small_steps(steps):
    assert distance("posterior", "ancestral", steps) < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("steps, bound", [(100, 0.06), (1000, 0.03)])
def test_samples_have_the_law(steps, bound, record_property):
    """From nothing; rounding to the nearest number is biased, and so it stays with any number of steps."""
    samplers = {"ancestral": "pixel", "tau_leap": "pixel", "rounded": "rounded"}
    found = {k: distance(name, "ancestral" if k == "rounded" else k, steps) for k, name in samplers.items()}
    record_property("distances", {k: round(v, 4) for k, v in found.items()})
    assert max(found["ancestral"], found["tau_leap"]) < bound
    assert found["rounded"] > 0.08


def test_without_the_share_of_what_is_lost(tmp_path):
    text = "model wrong from base.pixel {{ process pure_death with {{ returns(t, s) = {} }} }}"
    for rule, least in (("keep(s) - keep(t)", 0.3), ("1", 0.7)):
        spec = tools.variant(tmp_path, SPEC, text.format(rule))
        x = run(tools.graph(spec, "wrong"), "ancestral", {"seed": np.arange(4000), "steps": 50}, {}, dtype="float32")[0]
        assert np.abs(np.bincount(x[:, 0], minlength=17) / len(x) - LAW).sum() / 2 > least  # measured 0.46 and 0.80


def test_counts_never_fall_on_the_way_back():
    trace = []
    run(tools.graph(SPEC, "pixel"), "ancestral", {"seed": np.arange(200), "steps": 20}, {}, dtype="float32", trace=trace)
    steps = [s for s in trace if "z" in s.names]
    assert len(steps) == 20
    for step in steps:
        place = step.names.index("z")
        assert (step.after[place] >= step.before[place]).all()


def test_the_prior_is_a_point():
    """Nothing is drawn before the first step."""
    function = tools.graph(SPEC, "blackout").entries["tau_leap"].function
    block = tools.graph(SPEC, "blackout").functions[function].block
    assert not [n for n in block.nodes if n.op.value in ("normal", "uniform")]


DIGITS = """
model counted from base.blackout {{ {backbone} predict {births}; train {train} }}
model long from counted {{ process pure_death }}
model normal {{
  data x: image(1, 8, 8) in [-1, 1] from digits
  process vp(beta_min = 0.1, beta_max = 20)
  {backbone}
  predict {eps}
  sampler ddpm(steps = 100)
  train {train}
}}
"""
# An image beside its rows and columns; a clock that is even in the logit of what is kept, as the authors' number of a step.
PLACED = """
function placed(z) {
  u = reshape(iota(8) / 4 - 0.875, 8)
  return concat([z, expand(u, like = z, axis = [0, 1]), expand(u, like = z, axis = [0, 2])], axis = 0)
}
"""
CLOCK = "clock(t) = (1 + log(expm1(t)) / log(expm1(t_max))) / 2"
TRAIN = "{{ optimizer = adamw(lr = {}); steps = {}; batch = {}; warmup = 50; decay = cosine; ema = 0.99 }}"


def digits(folder, record_property, backbone, names, *train, births="births", eps="eps"):
    """The Frechet distance of each model's samples to the digits: one network and as many steps, in training and sampling."""
    text = PLACED + DIGITS.format(backbone=f"backbone {backbone};", train=TRAIN.format(*train), births=births, eps=eps)
    spec, probe, found = tools.variant(folder, SPEC, text), digits_features(), {}
    real = probe.features(2 * READERS["digits"].function("all")["x"] - 1)
    for name in names:
        for sampler in ("ddpm",) if name == "normal" else ("ancestral", "tau_leap"):
            x = tools.sample(tools.train(spec, name), spec, name, sampler, 1800)
            found[name, sampler] = frechet(probe.features(x if name == "normal" else x / 8 - 1), real)
    record_property("distances", {" ".join(k): round(v, 2) for k, v in found.items()})
    return found


@pytest.mark.slow
def test_digits_are_as_good_as_by_normal_noise(tmp_path, record_property):
    """5.3 by counts, 10.2 with the paper's own times, to 15, and 11.5 by normal noise. For three fifths of a grid to 15, e^-t
    is below 0.003 or above 0.997 and the weight next to nothing: nothing is learnt there, where each chain begins and ends.
    The network's mean of an empty image was worse than one fixed image, and it missed 0.1 counts a pixel in whole ones."""
    found = digits(tmp_path, record_property, "mlp(width = 256, depth = 4)", ("counted", "long", "normal"), 1e-3, 2000, 128)
    samplers = ("ancestral", "tau_leap")
    assert all(found["counted", s] <= 1.2 * found["normal", "ddpm"] for s in samplers)
    assert all(found["counted", s] < found["long", s] for s in samplers)


@pytest.mark.slow
@pytest.mark.xfail(strict=True, reason="1,000 steps of a convolutional network: 8.1 by counts, 4.4 by normal noise")
def test_digits_are_as_good_with_convolutions(tmp_path, record_property):
    """As in the authors' network there is attention, and a clock that is even in the grid; coordinates tell the places of an
    image apart where it is nearly empty. It is not for want of these: without them it was 8.1 by counts and 3.4 by normal
    noise, with the clock alone 7.3. Times to 15 made it 9.6. The sampler is not why: with the exact mean, of digits blurred by
    one count, 100 steps have 3.1, those digits themselves 3.7. Nor is the small end: begun with true counts of which 0.5 are
    kept it was at 1.3, of which 0.18 at 2.6, but 0.05 at 7.4 and 0.008 at 9.0. There the network's mean was 0.3 counts a pixel
    off what is missing."""
    births = f"births with {{ {CLOCK}; feed(z, t) = placed(z - (vocab - 1) / 2 * keep(t)) }}"
    eps = "eps with { feed(z, t) = placed(z) }"
    unet, names = "unet(width = 16, levels = 2, attend = [2])", ("counted", "normal")
    found = digits(tmp_path, record_property, unet, names, 2e-3, 1000, 64, births=births, eps=eps)
    assert max(found["counted", s] for s in ("ancestral", "tau_leap")) <= 1.2 * found["normal", "ddpm"]
