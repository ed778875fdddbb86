"""Distances, manifolds and paths against closed forms."""

import inspect
import math
import subprocess
import sys

import numpy as np
import pytest

from specc.runtime.metrics import METRICS, metric
from specc.runtime.metrics.distances import energy_distance, exact_wasserstein2, mmd, sliced_wasserstein
from specc.runtime.metrics.frechet import frechet, frechet_of_normals, pca_frechet
from specc.runtime.metrics.manifold import precision_recall
from specc.runtime.metrics.paths import path_length_ratio, straightness, straightness_of_velocities


def normals(n, d, seed=0, shift=0.0, scale=1.0):
    return shift + scale * np.random.default_rng(seed).standard_normal((n, d))


@pytest.mark.parametrize("name", METRICS)
def test_table(name):
    row = METRICS[name]
    assert row.doc and row.source
    if row.module is not None:
        assert metric(name).__doc__
        options = inspect.signature(metric(name)).parameters
        assert {k: options[k].default for k in row.knobs} == row.knobs


def test_importing_the_tables_needs_nothing_heavy():
    code = (
        "import sys, specc.runtime.metrics as m, specc.runtime.readers, specc.runtime.pictures, specc.runtime.noise\n"
        "[m.metric(name) for name, row in m.METRICS.items() if row.module]\n"
        "print({'torch', 'scipy', 'sklearn', 'matplotlib', 'PIL', 'pyarrow'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


# ---- transport


def test_wasserstein_of_a_shift_is_exact():
    a, shift = normals(200, 3), np.array([1.0, -2.0, 2.0])
    assert exact_wasserstein2(a, a + shift) == pytest.approx(3, rel=1e-9)
    # Every projection moves by <shift, direction>, whose mean square is |shift|^2 / D.
    assert sliced_wasserstein(a, a + shift, projections=20_000) == pytest.approx(3 / math.sqrt(3), rel=0.01)
    assert sliced_wasserstein(a, a[::-1]) == 0 == exact_wasserstein2(a, a[::-1])


def test_wasserstein_of_normals():
    # W2 of two normals on the line is the root of (difference of means)^2 + (difference of deviations)^2, here of those drawn:
    # around the sqrt(2) of the laws it scatters by 0.65 percent (standard error). On the line, slicing changes nothing.
    a, b = normals(40_000, 1), normals(40_000, 1, seed=1, shift=1, scale=2)
    expected = math.hypot(b.mean() - a.mean(), b.std() - a.std())
    assert sliced_wasserstein(a, b, projections=2) == pytest.approx(expected, rel=1e-3)
    assert expected == pytest.approx(math.sqrt(2), rel=0.03)
    small = exact_wasserstein2(a[:500], b[:500])
    assert small == pytest.approx(sliced_wasserstein(a[:500], b[:500], projections=1), rel=1e-9)


def test_sliced_wasserstein_of_unequal_sizes():
    a, b = normals(60, 2), normals(90, 2, seed=1)
    # Repeating each point leaves the empirical law as it is: 60 x 3 = 90 x 2.
    expected = sliced_wasserstein(a.repeat(3, axis=0), b.repeat(2, axis=0))
    assert sliced_wasserstein(a, b) == pytest.approx(expected, rel=1e-12)
    assert sliced_wasserstein(b, a) == pytest.approx(expected, rel=1e-12)
    assert sliced_wasserstein([[0.0]], [[0.0], [2.0]]) == pytest.approx(math.sqrt(2))


def test_exact_wasserstein_tells_what_it_needs():
    with pytest.raises(ValueError, match="not 3 and 4"):
        exact_wasserstein2(normals(3, 2), normals(4, 2))


# ---- energy distance and MMD


def test_energy_distance_of_normals():
    # E|X - Y| for X - Y normal with mean m and variance v, on the line.
    def mean_abs(m, v):
        s = math.sqrt(v)
        return s * math.sqrt(2 / math.pi) * math.exp(-(m**2) / (2 * v)) + m * math.erf(m / (s * math.sqrt(2)))

    a, b = normals(3000, 1), normals(2500, 1, seed=1, shift=1)
    expected = 2 * mean_abs(1, 2) - 2 * mean_abs(0, 2)
    assert energy_distance(a, b) == pytest.approx(expected, abs=0.03)
    assert energy_distance(a, b, unbiased=False) == pytest.approx(expected, abs=0.03)


def test_energy_distance_by_the_double_sum():
    a, b = normals(30, 2), normals(20, 2, seed=1)
    gap = lambda u, v: np.linalg.norm(u[:, None] - v[None], axis=-1).sum()
    plain = 2 * gap(a, b) / 600 - gap(a, a) / 900 - gap(b, b) / 400
    unbiased = 2 * gap(a, b) / 600 - gap(a, a) / (30 * 29) - gap(b, b) / (20 * 19)
    assert energy_distance(a, b, unbiased=False) == pytest.approx(plain, rel=1e-10)
    assert energy_distance(a, b) == pytest.approx(unbiased, rel=1e-10)
    assert energy_distance(a, a, unbiased=False) == pytest.approx(0, abs=1e-6)


def test_unbiased_estimates_scatter_around_zero():
    draws = [(normals(60, 2, seed=2 * i), normals(60, 2, seed=2 * i + 1)) for i in range(200)]
    for measure in (energy_distance, lambda a, b: mmd(a, b, [1.0])):
        values = np.array([measure(a, b) for a, b in draws])
        assert abs(values.mean()) < 4 * values.std() / math.sqrt(len(values))
        assert values.min() < 0 < values.max()


def test_mmd_of_normals():
    # E k(X, Y) for X - Y normal (m, v) in one dimension is w / sqrt(w^2 + v) exp(-m^2 / (2 (w^2 + v))).
    # One pair of sets of 3000 has a standard error of 0.01; the estimate is unbiased, so many small sets say more.
    rng, w = np.random.default_rng(0), 0.7
    kernel = lambda m: w / math.sqrt(w**2 + 2) * math.exp(-(m**2) / (2 * (w**2 + 2)))
    values = np.array([mmd(rng.standard_normal((40, 1)), 1 + rng.standard_normal((25, 1)), [w]) for _ in range(4000)])
    error = values.std() / math.sqrt(len(values))
    assert error < 0.002 and abs(values.mean() - (2 * kernel(0) - 2 * kernel(1))) < 4 * error


def test_mmd_by_the_double_sum():
    a, b, w = normals(30, 2), normals(20, 2, seed=1, shift=1), 0.7
    k = lambda u, v: np.exp(-((u[:, None] - v[None]) ** 2).sum(axis=-1) / (2 * w**2)).sum()
    expected = (k(a, a) - 30) / (30 * 29) + (k(b, b) - 20) / (20 * 19) - 2 * k(a, b) / 600
    assert mmd(a, b, [w]) == pytest.approx(expected, rel=1e-10)


def test_mmd_bandwidths():
    a, b, w = normals(3000, 1), normals(3000, 1, seed=1, shift=1), 0.7
    assert mmd(a, b, [w, 2.0]) == pytest.approx((mmd(a, b, [w]) + mmd(a, b, [2.0])) / 2)
    pooled = np.concatenate([a, b])[::20, 0]
    median = float(np.median(np.abs(np.subtract.outer(pooled, pooled))[np.triu_indices(len(pooled), k=1)]))
    assert mmd(a, b) == pytest.approx(mmd(a, b, [median]), rel=0.05)


def test_mmd_refuses():
    with pytest.raises(ValueError, match="positive"):
        mmd(normals(4, 2), normals(4, 2), [0.0])
    with pytest.raises(ValueError, match="equal: give bandwidths"):
        mmd(np.zeros((5, 2)), np.zeros((5, 2)))


# ---- Frechet distance


def test_frechet_of_normals_in_closed_form():
    # Commuting covariances: |m|^2 + sum (sqrt(a_i) - sqrt(b_i))^2, in any rotated frame.
    turn, _ = np.linalg.qr(normals(3, 3))
    a, b, m = np.array([1.0, 4.0, 9.0]), np.array([4.0, 1.0, 0.0]), np.array([1.0, 2.0, 2.0])
    expected = 9 + 1 + 1 + 9
    cov = [turn @ np.diag(v) @ turn.T for v in (a, b)]
    assert frechet_of_normals(np.zeros(3), cov[0], m, cov[1]) == pytest.approx(expected, rel=1e-9)
    assert frechet_of_normals(m, cov[0], m, cov[0]) == pytest.approx(0, abs=1e-9)


def test_frechet_of_normals_that_do_not_commute():
    from scipy.linalg import sqrtm

    a, b = (v @ v.T for v in (normals(4, 4), normals(4, 4, seed=1)))
    expected = np.trace(a + b - 2 * np.real(sqrtm(a @ b)))
    assert frechet_of_normals(np.zeros(4), a, np.zeros(4), b) == pytest.approx(expected, rel=1e-7)
    assert frechet_of_normals(np.zeros(4), b, np.zeros(4), a) == pytest.approx(expected, rel=1e-7)


def test_frechet_of_samples():
    a, b = normals(50_000, 2), normals(50_000, 2, seed=1, shift=[1, 0], scale=2)
    assert frechet(a, b) == pytest.approx(1 + 2, rel=0.02)
    assert frechet(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet(normals(9, 1), normals(9, 1)) == pytest.approx(0, abs=1e-9)


def test_pca_frechet_looks_along_the_main_axes_only():
    real = normals(4000, 5) * [5, 3, 0.1, 0.1, 0.1]
    changed, aside = real * [1, 2, 1, 1, 1], np.array([0, 0, 0, 0, 7])
    assert pca_frechet(real, changed, axes=2) == pytest.approx(9, rel=0.05)
    assert pca_frechet(real, real + aside, axes=2) < 0.1
    assert pca_frechet(real, real + aside, axes=99) == pytest.approx(49, rel=0.01)
    assert pca_frechet(real.reshape(-1, 1, 5), changed.reshape(-1, 5, 1), axes=2) == pytest.approx(9, rel=0.05)


# ---- precision and recall


def test_precision_recall_of_equal_laws():
    both = precision_recall(normals(1000, 2), normals(1000, 2, seed=1))
    assert both.precision > 0.9 and both.recall > 0.9


def test_precision_recall_of_lost_modes_and_of_stray_samples():
    rng = np.random.default_rng(0)
    mode = rng.integers(2, size=1200)
    real = 10 * mode[:, None] + rng.standard_normal((1200, 2))
    lost = precision_recall(real, normals(1000, 2, seed=3))  # only the mode at 0
    assert lost.precision > 0.9 and lost.recall == pytest.approx((mode == 0).mean(), abs=0.05)
    stray = np.concatenate([real + 1e-6, normals(400, 2, seed=4, shift=100)])
    found = precision_recall(real, stray)
    assert found.precision == pytest.approx(0.75) and found.recall > 0.99


def test_precision_recall_by_hand():
    real, other = np.array([[0.0], [1.0], [3.0]]), np.array([[-1.0], [4.9], [5.1], [1.5]])
    # Radii with k = 1: 1, 1 and 2 for the real points; 2.5, 0.2, 0.2 and 2.5 for the others.
    both = precision_recall(real, other, k=1)
    assert both.precision == pytest.approx(3 / 4) and both.recall == 1
    with pytest.raises(ValueError, match="at least 4 needed"):
        precision_recall(real, other, k=3)


# ---- paths


def test_straight_paths():
    start, end = normals(20, 2), normals(20, 2, seed=1)
    s = np.linspace(0, 1, 11)[:, None, None]
    assert straightness((1 - s) * start + s * end) == pytest.approx(0, abs=1e-20)
    assert path_length_ratio((1 - s) * start + s * end) == pytest.approx(1)
    uneven = np.linspace(0, 1, 11) ** 2
    bowed = (1 - uneven[:, None, None]) * start + uneven[:, None, None] * end
    assert straightness(bowed, times=uneven) == pytest.approx(0, abs=1e-20)
    assert straightness(bowed, times=1 - uneven) == pytest.approx(0, abs=1e-20)
    assert straightness(bowed) > 0.1  # straight, but not at constant speed
    assert path_length_ratio(bowed) == pytest.approx(1)


def test_half_circle():
    # Unit speed pi along the arc, chord of length 2: pi^2 - 4, and pi / 2 for the lengths.
    angle = np.linspace(0, np.pi, 2001)
    arc = np.stack([np.cos(angle), np.sin(angle)], axis=-1)[:, None]
    assert straightness(arc) == pytest.approx(math.pi**2 - 4, rel=1e-5)
    assert straightness(arc, times=2 * np.linspace(0, 1, 2001)) == pytest.approx((math.pi**2 - 4) / 4, rel=1e-5)
    assert path_length_ratio(arc) == pytest.approx(math.pi / 2, rel=1e-5)
    velocity = np.diff(arc, axis=0) * 2000
    assert straightness_of_velocities(velocity) == pytest.approx(straightness(arc))


def test_paths_refuse():
    with pytest.raises(ValueError, match="two times or more"):
        straightness(np.ones((1, 3, 2)))
    with pytest.raises(ValueError, match="strictly rising or falling"):
        straightness(np.ones((3, 3, 2)), times=[0, 1, 1])
    with pytest.raises(ValueError, match="state 1 of"):
        straightness(np.array([[0.0], [np.nan]]))
    with pytest.raises(ValueError, match="no path moves"):
        path_length_ratio(np.ones((3, 3, 2)))


# ---- what no measure accepts


@pytest.mark.parametrize("measure", [sliced_wasserstein, exact_wasserstein2, energy_distance, mmd, frechet, pca_frechet])
def test_bad_samples(measure):
    good, holed = normals(5, 2), normals(5, 2)
    holed[3, 1] = np.inf
    with pytest.raises(ValueError, match="second set: row 3 is not finite"):
        measure(good, holed)
    with pytest.raises(ValueError, match="2 and 3 numbers an example"):
        measure(good, normals(5, 3))
    with pytest.raises(ValueError, match="first set: 0 given"):
        measure(np.zeros((0, 2)), good)
