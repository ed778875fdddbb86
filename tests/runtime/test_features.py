"""The pinned feature space on real digits: the probe is good, the space is reproducible, and it sees what is wrong."""

import numpy as np
import pytest

from specc.runtime.metrics import features, metric
from specc.runtime.metrics.features import digits_features, fit_features
from specc.runtime.readers.digits import load


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("spaces")


@pytest.fixture(scope="module")
def space(cache):
    return digits_features(cache=cache)


@pytest.fixture(scope="module")
def halves():
    digits = load("all")
    x = 2 * digits["x"] - 1
    order = np.random.default_rng(0).permutation(len(x))
    return x[order[:898]], x[order[898:1796]], digits["y"][order[898:1796]]


def test_the_probe_reads_digits(space):
    assert space.held_out_accuracy >= 0.97 and space.train_accuracy >= 0.99
    test = load("test")
    assert space.accuracy(2 * test["x"] - 1, test["y"]) == space.held_out_accuracy
    assert metric("probe_accuracy")(space, 2 * test["x"] - 1, (test["y"] + 1) % 10) < 0.02
    assert space.features(2 * test["x"] - 1).shape == (359, 64)
    assert space.features(np.zeros((0, 1, 8, 8))).shape == (0, 64)
    with pytest.raises(ValueError, match="takes 64"):
        space.features(np.zeros((3, 1, 16, 16)))


def test_frechet_sees_noise_and_missing_classes(space, halves):
    a, b, y = halves
    f, frechet = space.features, metric("frechet")
    same = frechet(f(a), f(b))
    blurred = np.clip(b + 0.4 * np.random.default_rng(1).standard_normal(b.shape), -1, 1)
    assert same < 5  # over twenty random splits: mean 2.1, from 1.3 to 3.3
    assert frechet(f(a), f(blurred)) > 5 * same
    assert frechet(f(a), f(b[y != 3])) > 3 * same
    found = metric("precision_recall")(f(a), f(b))
    lost = metric("precision_recall")(f(a), f(b[y != 3]))
    assert found.precision > 0.85 and found.recall > 0.85
    assert lost.precision > 0.85 and lost.recall < found.recall - 0.05


def test_the_space_is_kept(space, cache, monkeypatch):
    monkeypatch.setattr(features, "_train", None)
    again = digits_features(cache=cache)
    assert again.held_out_accuracy == space.held_out_accuracy and again.train_accuracy == space.train_accuracy
    x = np.random.default_rng(0).uniform(-1, 1, (5, 1, 8, 8))
    assert np.array_equal(again.features(x), space.features(x))


@pytest.fixture
def blobs():
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=300)
    return 4 * y[:, None] + rng.standard_normal((300, 2)), y * 5  # classes 0 and 5


def test_fit_is_a_function_of_its_arguments(blobs, tmp_path):
    x, y = blobs
    first, second, other = (fit_features(x[:200], y[:200], x[200:], y[200:], seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.features(x), second.features(x)) and not np.array_equal(first.features(x), other.features(x))
    assert first.held_out_accuracy > 0.95 and set(first.predict(x)) == {0, 5}


def test_a_broken_cache_is_made_anew(blobs, tmp_path):
    x, y = blobs
    first = fit_features(x[:200], y[:200], x[200:], y[200:], cache=tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(b"half a file")
    again = fit_features(x[:200], y[:200], x[200:], y[200:], cache=tmp_path)
    assert np.array_equal(first.features(x), again.features(x))
    assert [p.name for p in tmp_path.iterdir()] == [file.name] and file.stat().st_size > 1000


def test_fit_refuses(blobs):
    x, y = blobs
    with pytest.raises(ValueError, match=r"below 0\.99"):
        fit_features(x[:200], y[:200], x[200:], 5 - y[200:], least=0.99)
    with pytest.raises(ValueError, match="at least two classes"):
        fit_features(x, y * 0, x, y)
