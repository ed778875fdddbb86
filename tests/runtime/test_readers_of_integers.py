"""Readers of integers: text in windows, chains and bits of known laws."""

import numpy as np
import pytest

from specc.runtime.metrics.symbols import bigram_tv, unigram_tv
from specc.runtime.readers import READERS, text
from specc.runtime.readers.markov import law


def read(path, split="all", **options):
    return READERS["text"].function(split, path=str(path), **options)["x"]


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("Ah, the SEA!\n" * 40, encoding="utf-8")
    return path


def test_letters_fold_everything_else_into_one_space(corpus):
    x = read(corpus, level="letters", n=11)
    assert "".join(text.LETTERS[i] for i in x[0]) == "ah the sea "


def test_characters_read_back_by_their_symbols(corpus):
    symbols = text.symbols(str(corpus), "char", 27)
    assert len(symbols) == 10 and symbols == "".join(sorted(symbols))
    x = read(corpus, level="char", n=13)
    assert x.dtype == np.int64 and "".join(symbols[i] for i in x[1]) == "Ah, the SEA!\n"


def test_rare_characters_are_left_out(corpus):
    symbols = text.symbols(str(corpus), "char", 3)  # of the commonest
    assert symbols == " Ah"
    assert read(corpus, level="char", n=5, vocab=3).max() == 2


def test_bytes_and_windows(corpus):
    x = read(corpus, level="byte", n=13, vocab=256, stride=1)
    assert bytes(x[2].astype(np.uint8)) == b", the SEA!\nAh"
    assert len(x) == 13 * 40 - 12


def test_splits_share_no_symbol(corpus):
    train, held_out = (read(corpus, split, level="byte", n=1, vocab=256) for split in ("train", "test"))
    assert len(train) + len(held_out) == 520 and len(held_out) == 52


@pytest.mark.parametrize(
    "options, message",
    [
        ({"level": "letters", "vocab": 26}, "needs a vocabulary of 27"),
        ({"level": "words"}, "letters, char or byte"),
        ({"n": 600}, "fewer than"),
    ],
)
def test_text_that_cannot_be_read(corpus, options, message):
    with pytest.raises(ValueError, match=message):
        read(corpus, **options)


def test_a_chain_has_its_law():
    start, rows = law(4, 0.5, 3)
    x = READERS["markov"].function(20_000, np.random.default_rng(0), length=5, chain=3)["x"]
    np.testing.assert_allclose(start @ rows, start, atol=1e-12)
    for i in (0, 4):
        np.testing.assert_allclose(np.bincount(x[:, i], minlength=4) / len(x), start, atol=0.015)
    pairs = np.histogram2d(x[:, 2], x[:, 3], bins=[np.arange(5)] * 2)[0]
    np.testing.assert_allclose(pairs / pairs.sum(axis=1, keepdims=True), rows, atol=0.03)


def test_parity_is_even_and_the_rest_is_free():
    x = READERS["parity"].function(4000, np.random.default_rng(0), length=4)["x"]
    assert (x.sum(axis=1) % 2 == 0).all()
    counts = np.bincount(x[:, :3] @ [4, 2, 1], minlength=8)
    assert np.abs(counts - 500).max() < 100


def test_frequencies_of_symbols_and_pairs():
    real, other = np.array([[0, 1, 0, 1]]), np.array([[0, 0, 1, 1]])
    assert unigram_tv(real, other) == 0
    assert bigram_tv(real, other) == pytest.approx(2 / 3)  # 01 10 01 against 00 01 11
    assert bigram_tv(real, real + 5) == 1
