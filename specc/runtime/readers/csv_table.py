"""A table of numbers as comma-separated text with a header line; one column may name the class."""

import csv
from pathlib import Path

import numpy as np


class DataError(ValueError):
    """What is on disk is not what the reader can take; the message names the file, the line and the column."""


def load(
    split: str = "train", path: str = "", columns: str = "", label: str = "", test_share: float = 0.1
) -> dict[str, np.ndarray]:
    """x: (N, D) float32; y: (N,) int64 when `label` names a column, whose sorted distinct values are classes 0, 1, ...

    columns: names separated by commas, in the wanted order; all but the label when empty. split is train, test (a fixed random
    share) or all.
    """
    if split not in ("train", "test", "all"):
        raise ValueError(f"csv has the splits train, test and all, not {split!r}")
    if not 0 <= test_share < 1:
        raise ValueError(f"test_share is a share of the examples, at least 0 and below 1, not {test_share}")
    if not Path(path).is_file():
        raise DataError(f"there is no file {path!r}")
    numbers: list[list[float]] = []
    labels: list[str] = []
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file, strict=True)
            header = [name.strip() for name in next(rows, [])]
            wanted = [name.strip() for name in columns.split(",")] if columns else [name for name in header if name != label]
            for name in [*wanted, *([label] if label else [])]:
                if name not in header:
                    raise DataError(f"{path}: no column {name!r}; there are {', '.join(header) or 'none'}")
            places = [header.index(name) for name in wanted]
            for row in rows:
                if not row:
                    continue
                if len(row) != len(header):
                    raise DataError(f"{path}:{rows.line_num}: {len(row)} values for {len(header)} columns")
                numbers.append([_number(row[i], f"{path}:{rows.line_num}: column {header[i]!r}") for i in places])
                if label:
                    labels.append(row[header.index(label)].strip())
                    if not labels[-1]:
                        raise DataError(f"{path}:{rows.line_num}: column {label!r} is empty")
    except UnicodeDecodeError as problem:
        raise DataError(f"{path}: not text in UTF-8 ({problem})") from problem
    except csv.Error as problem:
        raise DataError(f"{path}:{rows.line_num}: {problem}") from problem
    if not numbers:
        raise DataError(f"{path}: no rows below the header")
    fields = {"x": np.array(numbers, dtype=np.float32)}
    if label:
        classes = sorted(set(labels), key=lambda name: (0, float(name), name) if _is_number(name) else (1, 0.0, name))
        number = {name: i for i, name in enumerate(classes)}
        fields["y"] = np.array([number[name] for name in labels], dtype=np.int64)
    order = np.random.default_rng(0).permutation(len(numbers))
    tests = round(test_share * len(numbers))
    chosen = np.sort({"train": order[tests:], "test": order[:tests], "all": order}[split])
    return {name: values[chosen] for name, values in fields.items()}


def _number(text: str, where: str) -> float:
    if not _is_number(text) or not abs(float(text)) < 3.4e38:  # the range of float32
        raise DataError(f"{where}: {text!r} is not a finite number")
    return float(text)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
