"""A table of numbers in Apache Parquet; one column may name the class."""

from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet


class DataError(ValueError):
    """What is on disk is not what the reader can take; the message names the file, the row and the column."""


def load(
    split: str = "train", path: str = "", columns: str = "", label: str = "", test_share: float = 0.1
) -> dict[str, np.ndarray]:
    """x: (N, D) float32; y: (N,) int64 when `label` names a column, whose sorted distinct values are classes 0, 1, ...

    columns: names separated by commas, in the wanted order; all but the label when empty. split is train, test (a fixed random
    share) or all.
    """
    if split not in ("train", "test", "all"):
        raise ValueError(f"parquet has the splits train, test and all, not {split!r}")
    if not 0 <= test_share < 1:
        raise ValueError(f"test_share is a share of the examples, at least 0 and below 1, not {test_share}")
    if not Path(path).is_file():
        raise DataError(f"there is no file {path!r}")
    try:
        names = pyarrow.parquet.read_schema(path).names
        wanted = [name.strip() for name in columns.split(",")] if columns else [name for name in names if name != label]
        for name in [*wanted, *([label] if label else [])]:
            if name not in names:
                raise DataError(f"{path}: no column {name!r}; there are {', '.join(names) or 'none'}")
        table = pyarrow.parquet.read_table(path, columns=[*wanted, *([label] if label else [])])
    except (pyarrow.ArrowException, OSError) as problem:
        raise DataError(f"{path}: not a Parquet table ({problem})") from problem
    if table.num_rows == 0:
        raise DataError(f"{path}: no rows")
    fields = {"x": np.stack([_numbers(table.column(name), f"{path}: column {name!r}") for name in wanted], axis=1)}
    if label:
        values = table.column(label).to_pylist()
        if None in values:
            raise DataError(f"{path}: row {values.index(None)}, column {label!r}, is empty")
        classes = {value: i for i, value in enumerate(sorted(set(values)))}
        fields["y"] = np.array([classes[value] for value in values], dtype=np.int64)
    order = np.random.default_rng(0).permutation(table.num_rows)
    tests = round(test_share * table.num_rows)
    chosen = np.sort({"train": order[tests:], "test": order[:tests], "all": order}[split])
    return {name: values[chosen] for name, values in fields.items()}


def _numbers(column: pyarrow.ChunkedArray, where: str) -> np.ndarray:
    """One column as (N,) float32."""
    kind = column.type
    if not (pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind) or pyarrow.types.is_boolean(kind)):
        raise DataError(f"{where} holds {kind}, not numbers")
    values = np.array([np.nan if v is None else v for v in column.to_pylist()], dtype=np.float32)
    if not np.isfinite(values).all():
        raise DataError(f"{where}, row {np.flatnonzero(~np.isfinite(values))[0]}, is not a finite number")
    return values
