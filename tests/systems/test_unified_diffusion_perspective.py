"""Luo 2022: one trained network read as every head, the bound as differences of SNR, and the guidance weights' two ends."""

from itertools import pairwise

import numpy as np
import pytest
import tools

from specc.reference.interpret import run
from specc.runtime.ort import example_seeds

SPEC = "diffusion/unified_diffusion_perspective.spec"
PLANE = "diffusion/unified_diffusion_perspective_plane.spec"
HEADS = ("unified", "as_x0", "as_score", "as_v")
CENTRES = 0.9 * np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])
STD, ANY = 0.15, 4  # class 4 of four is no class
BITS = 2 * np.log(2)  # of a dimension of the plane


@pytest.fixture(scope="module")
def trained():
    return tools.train(SPEC, "unified")


def test_four_heads_say_the_same_of_one_network(trained):
    weights = tools.weights(trained)
    x = np.random.default_rng(0).standard_normal((50, 1, 8, 8))
    for t in (0.02, 0.3, 0.6, 0.99):
        told = {h: run(tools.graph(SPEC, h), "reading", {"x": x, "t": t}, weights) for h in HEADS}
        for h in HEADS[1:]:
            for name, got, wanted in zip(("x0", "eps", "score", "v", "velocity"), told[h], told["unified"], strict=True):
                assert (np.abs(got - wanted) / (1 + np.abs(wanted))).max() < 1e-5, (h, name, t)
    # The network's e itself is none of the other targets: read without conversion, they are far apart.
    assert all(np.abs(told["unified"][1] - told["unified"][i]).max() > 0.1 for i in (0, 2, 3, 4))


@pytest.mark.parametrize("entry, steps", [("ddim", 50), ("ancestral", 50)])
def test_four_heads_sample_the_same(entry, steps, trained, tmp_path):
    from specc.backends.onnx.export import export

    from specc.runtime import ort

    made = {}
    for h in HEADS:
        path = tmp_path / f"{h}.onnx"
        export(tools.graph(SPEC, h), entry, tools.weights(trained), path)
        made[h] = ort.load(path, threads=1).sample(200)
        assert tools.calls(SPEC, h, entry) == steps
    for h in HEADS[1:]:
        assert np.abs(made[h] - made["unified"]).max() < 1e-4, h
    assert made["unified"].std() > 0.1


SWAPPED = """
model swapped from base.unified { predict x0 }
"""


def test_without_the_conversion_the_samples_are_others(trained, tmp_path):
    """The same network taken for one of x0, which it is not."""
    swapped = tools.variant(tmp_path, SPEC, SWAPPED)
    params, seeds = tools.weights(trained), {"seed": example_seeds(0, 20)}
    wrong, right = (run(tools.graph(s, m), "ddim", seeds, params)[0] for s, m in ((swapped, "swapped"), (SPEC, "unified")))
    assert np.abs(wrong - right).max() > 0.1


def at(t):
    """alpha^2 and sigma^2 of the process, and their SNR: 1e4 at t = 0, 1e-4 at t = 1."""
    snr = np.exp(np.log(1e4) + t * (np.log(1e-4) - np.log(1e4)))
    return snr / (1 + snr), 1 / (1 + snr), snr


@pytest.mark.parametrize("s, t", [(0.0, 0.01), (0.2, 0.5), (0.5, 0.501), (0.7, 1.0)])
def test_kl_of_two_posteriors_is_half_the_fall_of_the_snr(s, t):
    """The posteriors of z_s given z_t and x, or a guess of it, from the bridge of the compiled sampler."""
    rng = np.random.default_rng(0)
    x, guess, z, w = rng.standard_normal((4, 100, 2))
    bar, var, snr = at(np.array([s, t]))

    def step(given, w):
        inputs = {"x": z, "y": ANY, "guess": given, "t": t, "s": s}
        return run(tools.graph(PLANE, "mixture"), "step", inputs, {}, noise={0: w})[0]

    means = [step(given, 0 * w) for given in (x, guess)]
    variance = ((step(x, w) - means[0]) / w) ** 2
    kl = ((means[0] - means[1]) ** 2 / (2 * variance)).sum(axis=1)
    wanted = (snr[0] - snr[1]) / 2 * ((x - guess) ** 2).sum(axis=1)
    np.testing.assert_allclose(kl, wanted, rtol=1e-6)
    # By hand, with the variance of q(z_s | z_t): the same number.
    added = var[1] - bar[1] / bar[0] * var[0]
    np.testing.assert_allclose(variance, added * var[0] / var[1], rtol=1e-6)
    np.testing.assert_allclose(bar[0] * added / (2 * var[0] * var[1]), (snr[0] - snr[1]) / 2, rtol=1e-6)


def posterior(z, t):
    """The mean of x given z under the mixture."""
    bar, var, _ = at(t)
    a = np.sqrt(bar)
    total = STD**2 * bar + var
    logits = -((z[:, None] - a * CENTRES) ** 2).sum(axis=-1) / (2 * total)
    w = np.exp(logits - logits.max(axis=1, keepdims=True))
    w /= w.sum(axis=1, keepdims=True)
    return (w[..., None] * (CENTRES + STD**2 * a / total * (z[:, None] - a * CENTRES))).sum(axis=1)


def test_tweedie_is_the_posterior_mean():
    z = np.random.default_rng(0).standard_normal((500, 2))
    for t in (0.05, 0.3, 0.5, 0.8):
        for query in ("tweedie", "mean"):
            told = tools.apply(PLANE, "mixture", query, x=z, t=t, y=ANY)
            np.testing.assert_allclose(told, posterior(z, t), atol=1e-5)
    assert np.abs(z / np.sqrt(at(0.5)[0]) - posterior(z, 0.5)).max() > 0.1  # without the score's term


def drawn(n):
    """Points of the mixture, and their entropy in bits per dimension."""
    rng = np.random.default_rng(0)
    x = CENTRES[rng.integers(4, size=n)] + STD * rng.standard_normal((n, 2))
    density = np.exp(-((x[:, None] - CENTRES) ** 2).sum(axis=-1) / (2 * STD**2)).mean(axis=1) / (2 * np.pi * STD**2)
    return x, -np.log(density).mean() / BITS


def nelbo(x, steps, path=PLANE, name="mixture"):
    inputs = {"x": x, "y": ANY, "steps": steps}
    return run(tools.graph(path, name), "nelbo", inputs, {}, rng=np.random.default_rng(1))[0].mean() / BITS


WRONG = """
model {name} from base.mixture {{ query nelbo(steps = input(1000), share = {share}) }}
"""


def falls(n, tmp_path):
    x, entropy = drawn(n)
    bound = {steps: nelbo(x, steps) for steps in (1, 2, 5, 10, 50, 200, 1000)}
    values = list(bound.values())
    assert all(a > b for a, b in pairwise(values)), bound
    assert 0 <= bound[1000] - entropy <= 0.1
    assert bound[1] == pytest.approx(6006, rel=0.01)
    whole = tools.variant(tmp_path, PLANE, WRONG.format(name="whole", share=1))
    still = tools.variant(tmp_path, PLANE, WRONG.format(name="still", share=0))
    some, _ = drawn(min(n, 1000))
    assert nelbo(some, 1000, whole, "whole") == pytest.approx(5.31, abs=0.1)
    assert nelbo(some, 1000, still, "still") == pytest.approx(-4.60, abs=0.01)  # below the entropy


def test_the_bound_falls_to_the_entropy_with_the_steps(tmp_path):
    falls(2000, tmp_path)


@pytest.mark.slow
def test_the_bound_falls_to_the_entropy_on_many_points(tmp_path):
    falls(20_000, tmp_path)


def test_one_step_is_an_autoencoder(trained):
    """The objective of T = 1: a code from the encoder, one decoding, the squared error under the decoder's variance."""
    program, params = tools.graph(SPEC, "vae"), tools.weights(trained)
    rng = np.random.default_rng(0)
    x, e = rng.standard_normal((2, 30, 1, 8, 8))
    noise = {0: rng.random(30), 1: e}
    told = run(program, "elbo", {"x": x}, params, noise=noise)[0]
    bar, var, low = at(1.0)
    code = np.sqrt(bar) * x + np.sqrt(var) * e
    decoded = run(program, "mean", {"x": code, "t": 1.0}, params)[0]
    wanted = ((decoded - x) ** 2).sum(axis=(1, 2, 3)) / (2 / (at(0.0)[2] - low))
    np.testing.assert_allclose(told, wanted, rtol=1e-6)
    assert tools.calls(SPEC, "vae", "elbo") == tools.calls(SPEC, "bound", "elbo") == 1
    many = run(tools.graph(SPEC, "bound"), "elbo", {"x": x}, params, noise=noise)[0]
    assert np.abs(many / wanted - 1).min() > 0.1  # of a thousand steps the objective draws one


def hierarchy(x, params, path=PLANE, name="hierarchy", query="nelbo", **inputs):
    """Bits a dimension of each point under the bound of two codes."""
    return run(tools.graph(path, name), query, {"x": x, **inputs}, params, rng=np.random.default_rng(1))[0] / BITS


def test_the_process_is_the_encoder_of_a_hierarchy():
    """The bound of two codes, a = z at t = 0 and b = z at t = 1, each with its density: that of one step, 6006 bits."""
    x, _ = drawn(20_000)
    codes = hierarchy(x, {}, name="mixture", query="two_codes", y=ANY)
    steps = (
        run(tools.graph(PLANE, "mixture"), "nelbo", {"x": x, "y": ANY, "steps": 1}, {}, rng=np.random.default_rng(2))[0] / BITS
    )
    assert abs(codes.mean() - steps.mean()) <= 3 * np.hypot(codes.std(), steps.std()) / np.sqrt(len(x))
    assert codes.std() / np.sqrt(len(x)) < 0.01 * steps.mean()  # so that a half or a double would be seen


def test_learnt_encoders_do_with_two_codes(tmp_path, record_property):
    """What takes the fixed process more than fifty levels; and it is the encoders: decoders alone stay far away."""
    x, entropy = drawn(5000)
    alone = tools.variant(
        tmp_path, PLANE, "model alone from base.hierarchy { loss elbo { minimize bound() over down1, down2 } }"
    )
    learnt = hierarchy(x, tools.weights(tools.train(PLANE, "hierarchy", steps=1000))).mean()
    fixed = hierarchy(x, tools.weights(tools.train(alone, "alone", steps=1000)), alone, "alone").mean()
    record_property("bits a dimension, learnt and with untrained encoders", f"{learnt:.3f}, {fixed:.2f}")
    assert entropy < learnt <= nelbo(x[:1000], 50)
    assert fixed >= 2 * learnt


def test_guidance_ends_at_the_two_models():
    seeds = {"seed": example_seeds(0, 400)}
    y = np.arange(400) % 4

    def samples(name, y, **inputs):
        return run(tools.graph(PLANE, name), "ddim", {**seeds, "y": y, **inputs}, {})[0]

    given, free = samples("mixture", y), samples("mixture", ANY)
    np.testing.assert_allclose(samples("guided", y, scale=1.0), given, atol=1e-9)
    np.testing.assert_allclose(samples("guided", y, scale=0.0), free, atol=1e-9)
    half = samples("guided", y, scale=0.5)
    assert min(np.abs(half - given).max(), np.abs(half - free).max(), np.abs(given - free).max()) > 0.5
    assert np.abs(given - CENTRES[y]).max() < 5 * STD


def test_a_learnt_schedule_tightens_the_bound_of_few_steps():
    """The ends of the log-SNR stay, its pace is trained on the bound of ten steps: 7.72 bits a dimension become 3.51."""
    x, entropy = drawn(2000)
    learnt = tools.weights(tools.train(PLANE, "paced"))

    def bound(params, steps):
        inputs = {"x": x, "steps": steps}
        return run(tools.graph(PLANE, "paced"), "nelbo", inputs, params, rng=np.random.default_rng(1))[0].mean() / BITS

    even = {"pace": np.zeros(16)}
    assert bound(even, 10) == pytest.approx(nelbo(x, 10), abs=1e-6)  # before training it is the line
    assert entropy < bound(learnt, 10) <= 0.6 * bound(even, 10)
    assert entropy < bound(learnt, 50) <= 0.8 * bound(even, 50)  # and, less so, that of others: 1.20 and 0.81
    t = np.linspace(0, 1, 101)
    log_snr = np.array([schedule(learnt, u)[0] for u in t])
    assert (np.diff(log_snr) < 0).all()
    np.testing.assert_allclose(log_snr[[0, -1]], [np.log(1e4), -np.log(1e4)], atol=1e-6)


def schedule(params, t):
    """What `paced` says of its schedule and of the velocity at one point."""
    told = run(tools.graph(PLANE, "paced"), "schedule", {"x": np.array([[0.4, -1.1]]), "t": t}, params)
    return [np.asarray(v).reshape(-1)[0] if np.size(v) == 1 else v for v in told]


def test_the_slope_of_a_learnt_schedule_is_exact():
    """alpha' by a gradient through the parameters' function, against differences; and the velocity that follows from it."""
    params, h = {"pace": np.random.default_rng(0).standard_normal(16)}, 1e-6
    for t in (0.11, 0.3, 0.52, 0.9):
        log_snr, alpha, slope, velocity = schedule(params, t)
        up, down = schedule(params, t + h), schedule(params, t - h)
        assert alpha == pytest.approx(np.sqrt(1 / (1 + np.exp(-log_snr))), abs=1e-9)
        assert slope == pytest.approx((up[1] - down[1]) / (2 * h), rel=1e-5)
        assert abs(slope - schedule({"pace": np.zeros(16)}, t)[2]) > 1e-4  # of another schedule
        sigma, z = np.sqrt(1 - alpha**2), np.array([0.4, -1.1])
        gap = (z - 0.9 * alpha * np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])) / ((STD * alpha) ** 2 + sigma**2)
        share = np.exp(-(gap**2).sum(axis=1) * ((STD * alpha) ** 2 + sigma**2) / 2)
        score = -(share[:, None] * gap).sum(axis=0) / share.sum()
        x0, e = (z + sigma**2 * score) / alpha, -sigma * score
        np.testing.assert_allclose(np.reshape(velocity, 2), slope * x0 - alpha * slope / sigma * e, rtol=1e-6)


def test_a_learnt_schedule_is_exported(tmp_path):
    """A sampler whose schedule has parameters, in ONNX Runtime and in the reference."""
    from specc.backends.onnx.export import export

    from specc.runtime import ort

    params = {"pace": np.random.default_rng(0).standard_normal(16).astype(np.float32)}
    export(tools.graph(PLANE, "paced"), "ddim", params, tmp_path / "ddim.onnx")
    made = ort.load(tmp_path / "ddim.onnx", threads=1).sample(100)
    told = run(tools.graph(PLANE, "paced"), "ddim", {"seed": example_seeds(0, 100)}, params)[0]
    np.testing.assert_allclose(made, told, atol=1e-4)
    even = run(tools.graph(PLANE, "paced"), "ddim", {"seed": example_seeds(0, 100)}, {"pace": np.zeros(16)})[0]
    assert np.abs(told - even).max() > 1e-3
