# ruff: noqa: I001
import traceback

import numpy as np

# << module
import my_data as source
# >>
# << table

FILE = "my_data.py"
READER = f"the reader mine of {FILE}"
FIELDS = {"x": ((2,), np.float32)}
# >>


class DataError(ValueError):
    """The reader failed, or gives something else than the spec says; the message names its file and the line or example."""


def given(*wanted: object, **settings: object) -> dict[str, np.ndarray]:
    """What the reader gives, once it is what the spec says."""
    try:
        # << call
        found = source.load(*wanted, **settings)
        # >>
    except Exception as problem:
        lines = [f for f in traceback.extract_tb(problem.__traceback__) if f.filename == source.__file__]
        where, text = (f"{FILE}:{lines[-1].lineno}", f" at `{lines[-1].line}`") if lines else (FILE, "")
        raise DataError(f"{where}: {type(problem).__name__}: {problem}{text}") from problem
    if not isinstance(found, dict):
        raise DataError(f"{READER} gives a {type(found).__name__}, not arrays by name")
    arrays = {name: field(found, name, *row) for name, row in FIELDS.items()}
    for name, values in arrays.items():
        if len(values) != len(arrays["x"]):
            raise DataError(f"{READER} gives {len(arrays['x'])} examples of `x` and {len(values)} of `{name}`")
    # << endless
    if len(arrays["x"]) != wanted[0]:
        raise DataError(f"{READER} gives {len(arrays['x'])} examples where {wanted[0]} are wanted")
    # >>
    return arrays


def field(
    found: dict[str, np.ndarray], name: str, shape: tuple[int, ...], dtype: type, low: float = -np.inf, high: float = np.inf
) -> np.ndarray:
    """An array, once each of its examples has this shape and finite numbers of this range."""
    if name not in found:
        raise DataError(f"{READER} gives no `{name}`, but {', '.join(map(str, found)) or 'nothing'}")
    values = np.asarray(found[name])
    if values.dtype.kind not in ("iub" if dtype is np.int64 else "fiub"):
        raise DataError(f"{READER} gives `{name}` as {values.dtype}, not {np.dtype(dtype)}")
    if not values.size or values.shape[1:] != shape or values.ndim != 1 + len(shape):
        raise DataError(f"{READER} gives `{name}` of shape {values.shape}, not examples of shape {shape}")
    with np.errstate(over="ignore"):
        values = values.astype(dtype)
    slack = 1e-6 * (high - low)  # of float32
    wrong = np.argwhere(~(np.isfinite(values) & (values >= low - slack) & (values <= high + slack)))
    if len(wrong):
        value = values[tuple(wrong[0])]
        what = f"not from {low:g} to {high:g}" if np.isfinite(value) else "not finite"
        raise DataError(f"{READER} gives {value} in `{name}` of example {wrong[0][0]}, which is {what}")
    return values
