"""Draws that a training made before its first step, with what was kept of each and the sha256 of what they depend on."""

import zipfile
import zlib
from pathlib import Path

import numpy as np


class DataError(ValueError):
    """What is on disk is not what the reader can take; the message names the file."""


def load(split: str = "train", path: str = "", test_share: float = 0.1) -> dict[str, np.ndarray]:
    """x: (N, ...), and whatever else was kept. split is train, test (the last draws) or all."""
    if split not in ("train", "test", "all"):
        raise ValueError(f"generated data have the splits train, test and all, not {split!r}")
    if not Path(path).is_file():
        raise DataError(f"there are no draws in {path!r}: training makes them before its first step")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files if name != "sha256"}
    except (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as problem:
        raise DataError(f"{path}: no draws of a sampler ({problem})") from problem
    n = len(arrays["x"]) if "x" in arrays else 0
    if not n or any(len(v) != n for v in arrays.values()):
        raise DataError(f"{path}: no draws of a sampler")
    cut = n - int(n * test_share)
    part = {"train": slice(None, cut), "test": slice(cut, None), "all": slice(None)}[split]
    return {name: v[part] for name, v in arrays.items()}
