"""One NumPy array on disk, the first axis of which counts the examples. Pickled objects are refused."""

import zipfile
from pathlib import Path

import numpy as np


class DataError(ValueError):
    """What is on disk is not what the reader can take; the message names the file."""


def load(split: str = "train", path: str = "", test_share: float = 0.1) -> dict[str, np.ndarray]:
    """x: (N, ...) float32, or int64 when the file holds integers. split is train, test (a fixed random share) or all."""
    if split not in ("train", "test", "all"):
        raise ValueError(f"npy has the splits train, test and all, not {split!r}")
    if not 0 <= test_share < 1:
        raise ValueError(f"test_share is a share of the examples, at least 0 and below 1, not {test_share}")
    if not Path(path).is_file():
        raise DataError(f"there is no file {path!r}")
    try:
        x = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, MemoryError, zipfile.BadZipFile) as problem:
        raise DataError(f"{path}: not a NumPy array ({problem})") from problem
    if not isinstance(x, np.ndarray):
        raise DataError(f"{path}: an archive of several arrays; read it with npz")
    if x.dtype.kind not in "fiub" or x.ndim == 0 or len(x) == 0:
        raise DataError(f"{path}: {x.dtype} of shape {x.shape} is not a list of numeric examples")
    x = x.astype(np.float32 if x.dtype.kind == "f" else np.int64)
    if not np.isfinite(x).all():
        raise DataError(f"{path}: example {np.argwhere(~np.isfinite(x))[0][0]} has a value that is not finite")
    order = np.random.default_rng(0).permutation(len(x))
    tests = round(test_share * len(x))
    chosen = np.sort({"train": order[tests:], "test": order[:tests], "all": order}[split])
    return {"x": x[chosen]}
