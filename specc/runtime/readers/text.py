"""Text as windows of symbols: letters, characters or bytes of a file, or of the manual that comes with Python."""

from collections import Counter
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np

LETTERS = " abcdefghijklmnopqrstuvwxyz"


class DataError(ValueError):
    """What is on disk is not what the reader can take; the message names the file."""


def load(
    split: str = "train",
    path: str = "",
    level: str = "char",
    n: int = 64,
    vocab: int = 27,
    stride: int = 0,
    test_share: float = 0.1,
) -> dict[str, np.ndarray]:
    """x: (N, n) int64 below `vocab`: windows that begin every `stride` symbols (every n of them when 0).

    level: letters (a space and the 26 letters, everything else a space), char (the commonest characters, others are left
    out) or byte. path: a file in UTF-8; "python:manual" is what `help` knows. split is train, test (the last share) or all.
    """
    if split not in ("train", "test", "all"):
        raise ValueError(f"text has the splits train, test and all, not {split!r}")
    written = text_of(path)
    known = {symbol: i for i, symbol in enumerate(symbols(path, level, vocab))}
    if level == "byte":
        codes = np.frombuffer(written.encode(), dtype=np.uint8).astype(np.int64)
    else:
        read = " ".join("".join(c if c in known else " " for c in written.lower()).split()) if level == "letters" else written
        codes = np.array([known[c] for c in read if c in known], dtype=np.int64)
    tests = round(test_share * len(codes))
    part = {"train": codes[: len(codes) - tests], "test": codes[len(codes) - tests :], "all": codes}[split]
    starts = np.arange(0, len(part) - n + 1, stride or n)
    if not len(starts):
        raise DataError(f"{path}: fewer than {n} symbols for {split}")
    return {"x": part[starts[:, None] + np.arange(n)]}


def symbols(path: str, level: str, vocab: int) -> str:
    """The symbol of each code, in order. Of bytes, the characters of Latin-1."""
    sizes = {"letters": len(LETTERS), "byte": 256}
    if level not in ("letters", "char", "byte"):
        raise ValueError(f"text is read as letters, char or byte, not {level!r}")
    if level in sizes and vocab < sizes[level]:
        raise ValueError(f"{level} needs a vocabulary of {sizes[level]}, not {vocab}")
    if level == "letters":
        return LETTERS
    if level == "byte":
        return "".join(map(chr, range(256)))
    counts = Counter(text_of(path))
    return "".join(sorted(sorted(counts, key=lambda c: (-counts[c], c))[:vocab]))


def text_of(path: str) -> str:
    """The whole text."""
    if path == "python:manual":
        return "\n".join(topics[name] for name in sorted(topics))
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        raise DataError(f"{path!r} cannot be read as text in UTF-8 ({problem})") from problem
