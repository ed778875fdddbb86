"""The counter generator: its law, its independence of the batch, and its PyTorch twin."""

import numpy as np
import pytest
from scipy import stats

from specc.runtime import noise

SEEDS = np.array([0, 1, -1, 42, 2**63 - 1, -(2**63), 1_000_003, -7], dtype=np.int64)


def by_hand(seed: int, place: int, indices: tuple[int, ...], element: int) -> int:
    """One word from the definition, in Python's own integers."""

    def mix(v: int) -> int:
        v = ((v ^ v >> 30) * 0xBF58476D1CE4E5B9) % 2**64
        v = ((v ^ v >> 27) * 0x94D049BB133111EB) % 2**64
        return v ^ v >> 31

    stream = seed
    for k in (place, *indices, element):
        stream = mix((stream + 0x9E3779B97F4A7C15 * (k + 1)) % 2**64)
    return stream


@pytest.mark.parametrize("indices", [(), (0,), (3,), (3, 1), (1, 3), (10**6, 0, 2)])
def test_words_follow_the_definition(indices):
    word = noise.words(SEEDS, 5, 6, indices)
    assert word.tolist() == [[by_hand(int(s), 5, indices, j) for j in range(6)] for s in SEEDS]


def test_splitmix64_reference_vector():
    # The published generator seeded with 1234567 gives this sequence; our elements are its successive outputs.
    state = np.array([1234567], dtype=np.uint64)
    element = np.arange(1, 4, dtype=np.uint64) * np.uint64(noise.GOLDEN)
    assert noise._hash(state + element).tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_normal_is_normal():
    z = noise.normal(np.arange(1000), 0, (200,)).ravel()
    assert stats.kstest(z, "norm").pvalue > 0.01
    assert abs(z.mean()) < 0.008 and abs(z.std() - 1) < 0.006
    assert abs(stats.kurtosis(z)) < 0.05


def test_uniform_is_uniform():
    u = noise.uniform(np.arange(1000), 0, (200,)).ravel()
    assert stats.kstest(u, "uniform").pvalue > 0.01
    assert u.dtype == np.float32


def test_no_correlation_between_seeds_places_indices_and_elements():
    base = noise.normal(np.arange(2000), 0, (50,))
    others = {
        "next seed": noise.normal(np.arange(2000) + 1, 0, (50,)),
        "next place": noise.normal(np.arange(2000), 1, (50,)),
        "first index": noise.normal(np.arange(2000), 0, (50,), (0,)),
        "next element": np.roll(base, 1, axis=1),
    }
    for name, other in others.items():
        assert abs(np.corrcoef(base.ravel(), other.ravel())[0, 1]) < 0.012, name
    pairs = noise.normal(np.arange(2000), 0, (50,), (0, 1)), noise.normal(np.arange(2000), 0, (50,), (1, 0))
    assert abs(np.corrcoef(pairs[0].ravel(), pairs[1].ravel())[0, 1]) < 0.012


def test_an_example_does_not_know_its_batch():
    whole = noise.normal(SEEDS, 2, (3, 4), (1,))
    alone = np.concatenate([noise.normal(SEEDS[i : i + 1], 2, (3, 4), (1,)) for i in range(len(SEEDS))])
    assert np.array_equal(whole, alone)
    assert whole.shape == (len(SEEDS), 3, 4)
    flat = noise.normal(SEEDS, 2, (12,), (1,))
    assert np.array_equal(flat.reshape(-1, 3, 4), whole)


def test_uniform_stays_inside_the_open_interval():
    extreme = np.array([0, 2**64 - 1], dtype=np.uint64)
    u, v = noise._pair(extreme)
    assert np.float32(u[1]) == 1  # why the minimum is there
    inside = np.minimum(u, noise.BELOW_ONE).astype(np.float32)
    assert inside[0] > 0 and inside[1] < 1
    assert np.isfinite(np.sqrt(-2 * np.log(u))).all() and (v > 0).all() and (v < 1).all()


def test_uniform_of_the_last_value_in_both_forms(monkeypatch):
    torch = pytest.importorskip("torch")
    from specc.backends.pytorch.parts import noise as twin

    monkeypatch.setattr(noise, "_hash", lambda v: np.full_like(v, 2**64 - 1))
    monkeypatch.setattr(twin, "_hash", lambda v: torch.full_like(v, -1))
    a, b = noise.uniform(np.arange(2), 0, (1,)), twin.uniform(torch.arange(2), 0, (1,)).numpy()
    assert np.array_equal(a, b) and (a < 1).all()


def test_shapes():
    assert noise.normal(SEEDS, 0, ()).shape == (len(SEEDS),)
    assert noise.normal(SEEDS[:0], 0, (2, 3)).shape == (0, 2, 3)
    assert noise.uniform(SEEDS, 0, (0, 3)).shape == (len(SEEDS), 0, 3)
    with pytest.raises(ValueError, match="one for each example"):
        noise.normal(np.float32([1.0]), 0, (2,))
    with pytest.raises(ValueError, match="one for each example"):
        noise.normal(np.int64(3), 0, (2,))


@pytest.mark.parametrize("shape", [(), (1,), (7,), (2, 3, 5)])
@pytest.mark.parametrize("indices", [(), (0,), (19,), (4, 123456789)])
def test_torch_gives_the_same_numbers(shape, indices):
    torch = pytest.importorskip("torch")
    from specc.backends.pytorch.parts import noise as twin

    seed = torch.from_numpy(SEEDS)
    as_tensors = tuple(torch.tensor(k) for k in indices)
    for place in (0, 1, 999):
        for name in ("normal", "uniform"):
            expected = getattr(noise, name)(SEEDS, place, shape, indices)
            ours = getattr(twin, name)(seed, place, shape, indices)
            assert ours.dtype == torch.float32
            assert np.array_equal(expected, ours.numpy())
            assert torch.equal(ours, getattr(twin, name)(seed, place, shape, as_tensors))


def test_torch_gives_the_same_million_numbers():
    torch = pytest.importorskip("torch")
    from specc.backends.pytorch.parts import noise as twin

    seed = np.arange(1000) * 1_000_003
    words = noise.words(seed, 3, 1000, (7,)).view(np.int64)
    assert np.array_equal(words, twin._words(torch.from_numpy(seed), 3, 1000, (7,)).numpy())
    assert np.array_equal(noise.uniform(seed, 3, (1000,), (7,)), twin.uniform(torch.from_numpy(seed), 3, (1000,), (7,)).numpy())
    a = noise.normal(seed, 3, (1000,), (7,))
    b = twin.normal(torch.from_numpy(seed), 3, (1000,), (7,)).numpy()
    # The logarithms and cosines of two libraries may differ in the last bit of a double, which can tip a rounding to float32.
    assert (a != b).sum() <= 2
    np.testing.assert_allclose(a, b, rtol=2.5e-7, atol=1e-11)
