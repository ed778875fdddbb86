"""Recordings: the files of a folder ending in .wav, 16 bits a sample, cut into pieces of one length."""

import wave
from pathlib import Path

import numpy as np


class DataError(ValueError):
    """What is on disk is not what the reader can take; the message names the file."""


def _read(file: Path, rate: int) -> np.ndarray:
    """The samples of a file in [-1, 1], its channels averaged."""
    try:
        with wave.open(str(file), "rb") as opened:
            if opened.getsampwidth() != 2:
                raise DataError(f"{file}: {8 * opened.getsampwidth()} bits a sample; 16 are needed")
            if rate and opened.getframerate() != rate:
                raise DataError(f"{file}: {opened.getframerate()} samples a second, not {rate}")
            data, channels = opened.readframes(opened.getnframes()), opened.getnchannels()
    except (OSError, EOFError, wave.Error) as problem:
        raise DataError(f"{file}: not a recording ({problem})") from problem
    usable = len(data) - len(data) % (2 * channels)
    return np.frombuffer(data[:usable], "<i2").reshape(-1, channels).mean(axis=1) / 32768


def load(
    split: str = "train", path: str = "", size: int = 8192, rate: int = 0, test_share: float = 0.1
) -> dict[str, np.ndarray]:
    """x: (N, 1, size) float32 in [-1, 1]. rate: samples a second that every file must have; 0 for any.

    split is train, test (a fixed random share) or all.
    """
    if split not in ("train", "test", "all"):
        raise ValueError(f"wav has the splits train, test and all, not {split!r}")
    if not 0 <= test_share < 1:
        raise ValueError(f"test_share is a share of the examples, at least 0 and below 1, not {test_share}")
    files = sorted(Path(path).glob("*.wav")) if Path(path).is_dir() else []
    if not files:
        raise DataError(f"there are no .wav files in {path!r}")
    pieces = [s[: len(s) - len(s) % size].reshape(-1, 1, size) for s in (_read(f, rate) for f in files)]
    x = np.concatenate(pieces).astype(np.float32)
    if len(x) == 0:
        raise DataError(f"no file of {path!r} has {size} samples")
    order = np.random.default_rng(0).permutation(len(x))
    tests = round(test_share * len(x))
    return {"x": x[np.sort({"train": order[tests:], "test": order[:tests], "all": order}[split])]}
