"""Chen 2023: the input scale shifts the log-SNR, and images of repeated pixels want a smaller one."""

import numpy as np
import pytest
import tools

from specc.reference.interpret import run
from specc.runtime.metrics.frechet import frechet
from specc.runtime.ort import example_seeds
from specc.runtime.readers import READERS

SPEC = "diffusion/noise_scheduling.spec"
SCALES = (1, 0.7, 0.5, 0.35, 0.25, 0.12)
STD = 0.15


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """A model of the spec with some of its sections or numbers replaced."""
    folder = tmp_path_factory.mktemp("specs")
    return lambda base, text: tools.variant(folder, SPEC, f"model m from base.{base} {{ {text} }}")


def schedule(path, t):
    alpha, sigma = (tools.curve(path, "m", name, t) for name in ("alpha", "sigma"))
    return alpha, sigma


FAMILIES = {
    "simple_linear": "",
    "cosine": "start = 0.2, end = 1, tau = 1",
    "cosine of power 2": "start = 0, end = 1, tau = 2",
    "sigmoid": "start = -3, end = 3, tau = 1",
    "sigmoid of temperature 0.7": "start = 0, end = 3, tau = 0.7",
}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_input_scale_shifts_the_log_snr(family, make):
    def process(b):
        knobs = f"b = {b}, {FAMILIES[family]}".rstrip(", ")
        return make("replicated", f"process {family.split()[0]}({knobs})")

    t = np.linspace(0, 1, 401)
    alpha, sigma = schedule(process(1), t)
    g = alpha**2
    assert g[0] == pytest.approx(1, abs=1e-12) and g[-1] == pytest.approx(0, abs=2e-9)
    assert (np.diff(g) < 0)[g[1:] > 1.1e-9].all() and (np.diff(g) <= 0).all()  # strictly, down to where it is clipped
    np.testing.assert_allclose(g + sigma**2, 1, atol=1e-12)
    inside = t[1:]  # at t = 0 there is no noise
    log_snr = {b: 2 * np.log(np.divide(*schedule(process(b), inside))) for b in (1, 0.5, 0.12)}
    for b in (0.5, 0.12):
        np.testing.assert_allclose(log_snr[b] - log_snr[1], 2 * np.log(b), atol=1e-9)


@pytest.mark.parametrize("b", [1, 0.25])
def test_the_network_sees_unit_variance(b, make):
    x = READERS["digits"].function("all")["x"].astype(float)
    x = (x - x.mean()) / x.std()
    text = f"data x: image(1, 8, 8) in [-0.812, 1.848] from digits; process simple_linear(b = {b}); backbone mlp(width = 8); "
    path, raw = (make("noise_scheduling", text + predict) for predict in ("predict normalized", "predict v"))
    for t in (0.05, 0.3, 0.7, 1.0):
        asked = {"x": x, "seed": example_seeds(0, len(x)), "t": t}
        fed, given = (run(tools.graph(p, "m"), "fed", asked, {})[0].var() for p in (path, raw))
        assert fed == pytest.approx(1, abs=0.02)
        assert given == pytest.approx((b**2 - 1) * (1 - t) + 1, rel=0.02)  # what an input that is not divided has


def repeated(x, k):
    return x.repeat(k, axis=2).repeat(k, axis=3)


def denoised(make, k, b, z, centres, t):
    path = make("replicated", f"k = {k}; b = {b}; count = {len(centres)}")
    return run(tools.graph(path, "m"), "denoise", {"x": z, "t": t}, {"backbone.centre": centres})[0]


def standardised(n):
    x = READERS["digits"].function("all")["x"].astype(float).reshape(-1, 64)
    chosen = np.random.default_rng(0).permutation(len(x))[:n]
    return ((x - x.mean()) / x.std())[chosen]


@pytest.mark.parametrize("count", [1, 200])
@pytest.mark.parametrize("t", [0.2, 0.6, 0.95])
def test_replicated_pixels_at_b_over_k_are_the_original(count, t, make):
    """One centre is normal data, whose error is known; with 200 any law is as good."""
    rng = np.random.default_rng(0)
    centres = standardised(count)
    x = (centres[rng.integers(count, size=2000)] + STD * rng.standard_normal((2000, 64))).reshape(-1, 1, 8, 8)
    shared = rng.standard_normal(x.shape)  # k times the mean of each block of noise: standard normal too
    error = {}
    for k, b in ((1, 1), (2, 1 / 2), (4, 1 / 4), (4, 1)):
        noise = rng.standard_normal((2000, 1, 8, k, 8, k))
        noise += (shared / k)[:, :, :, None, :, None] - noise.mean(axis=(3, 5), keepdims=True)
        large = repeated(x, k)
        z = b * np.sqrt(1 - t) * large + np.sqrt(t) * noise.reshape(large.shape)
        error[k, b] = ((denoised(make, k, b, z, centres, t) - large) ** 2).mean()
        if count == 1:
            level = t / (b * k) ** 2 / (1 - t)  # variance of a block's mean around x
            assert error[k, b] == pytest.approx(STD**2 * level / (STD**2 + level), rel=0.02)
    assert error[2, 1 / 2] == pytest.approx(error[1, 1], rel=1e-9)
    assert error[4, 1 / 4] == pytest.approx(error[1, 1], rel=1e-9)
    assert error[4, 1] < 0.99 * error[1, 1]  # at b = 1 the large image is the easier task


@pytest.mark.parametrize("k", [2, 4])
def test_the_mean_of_a_block_is_sufficient(k, make):
    """From the same mean, the same answer, to the last digits."""
    rng = np.random.default_rng(1)
    centres, t = standardised(200), 0.6
    z = rng.standard_normal((50, 1, 8 * k, 8 * k))
    mean = z.reshape(50, 1, 8, k, 8, k).mean(axis=(3, 5))
    large, small = denoised(make, k, 1 / k, z, centres, t), denoised(make, 1, 1, k * mean, centres, t)
    np.testing.assert_allclose(large, repeated(small, k), atol=1e-9)


def distances(make, k, centres, truth):
    """Frechet distance of ten DDIM steps by input scale, on the 20 first principal axes."""
    axes = np.linalg.eigh(np.cov(truth.T))[1][:, -20:]
    found = {}
    for b in SCALES:
        path = make("replicated", f"k = {k}; b = {b}")
        (s,) = run(tools.graph(path, "m"), "ddim", {"seed": example_seeds(0, 500)}, {"backbone.centre": centres})
        means = s.reshape(500, 8, k, 8, k).mean(axis=(2, 4)).reshape(500, 64)
        found[b] = frechet(truth @ axes, means @ axes)
    return found


def test_the_best_scale_falls_with_the_size(make):
    rng = np.random.default_rng(2)
    centres = standardised(200)
    truth = centres[rng.integers(200, size=4000)] + STD * rng.standard_normal((4000, 64))
    by_size = {k: distances(make, k, centres, truth) for k in (1, 2, 4)}
    best = [min(d, key=d.get) for d in by_size.values()]  # 0.5, 0.25 and 0.12
    assert best[0] > best[1] > best[2]
    assert by_size[4][0.12] / by_size[4][1] <= 0.15
    assert max(by_size[1], key=by_size[1].get) == 0.12
    # Without b in the process (alpha = sqrt(g)) the six distances of a size are one and nothing can move.
