"""Arrays of a NumPy archive, the first axis of which counts the examples. Pickled objects are refused."""

import zipfile
import zlib
from pathlib import Path

import numpy as np


class DataError(ValueError):
    """What is on disk is not what the reader can take; the message names the file and the array."""


def load(
    split: str = "train", path: str = "", key: str = "x", label: str = "", test_share: float = 0.1
) -> dict[str, np.ndarray]:
    """x: (N, ...) from array `key`, float32, or int64 when it holds integers; y: (N,) int64 from array `label`, if named.

    split is train, test (a fixed random share) or all.
    """
    if split not in ("train", "test", "all"):
        raise ValueError(f"npz has the splits train, test and all, not {split!r}")
    if not 0 <= test_share < 1:
        raise ValueError(f"test_share is a share of the examples, at least 0 and below 1, not {test_share}")
    if not Path(path).is_file():
        raise DataError(f"there is no file {path!r}")
    names = {"x": key} | ({"y": label} if label else {})
    try:
        opened = np.load(path, allow_pickle=False)
        if isinstance(opened, np.ndarray):
            raise DataError(f"{path}: a single array; read it with npy")
        with opened as archive:
            missing = [name for name in names.values() if name not in archive]
            if missing:
                raise DataError(f"{path}: no array {missing[0]!r}; there are {', '.join(archive) or 'none'}")
            arrays = {field: archive[name] for field, name in names.items()}
    except DataError:
        raise
    except (OSError, ValueError, EOFError, SyntaxError, MemoryError, zipfile.BadZipFile, zlib.error) as problem:
        raise DataError(f"{path}: not a NumPy archive ({problem})") from problem
    for field, values in arrays.items():
        if values.dtype.kind not in "fiub" or values.ndim == 0 or len(values) == 0:
            raise DataError(f"{path}: {names[field]!r}, {values.dtype} of shape {values.shape}, is not a list of numbers")
        if not np.isfinite(values).all():
            first = np.argwhere(~np.isfinite(values))[0][0]
            raise DataError(f"{path}: example {first} of {names[field]!r} has a value that is not finite")
    x = arrays["x"].astype(np.float32 if arrays["x"].dtype.kind == "f" else np.int64)
    fields = {"x": x}
    if label:
        if arrays["y"].shape != (len(x),) or arrays["y"].dtype.kind == "f":
            raise DataError(f"{path}: {label!r} must hold one integer for each of the {len(x)} examples")
        fields["y"] = arrays["y"].astype(np.int64)
    order = np.random.default_rng(0).permutation(len(x))
    tests = round(test_share * len(x))
    chosen = np.sort({"train": order[tests:], "test": order[:tests], "all": order}[split])
    return {name: values[chosen] for name, values in fields.items()}
