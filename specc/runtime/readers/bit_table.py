"""A table of numbers and words as rows of bits: each number a place between its column's ends, each word its number.

The code of a column is fitted to the whole table. Decoding gives back every word, and every number to one part in 2^bits.
"""

import csv
import math
from pathlib import Path

import numpy as np


class DataError(ValueError):
    """What is on disk is not what the reader can take; the message names the file."""


def load(
    split: str = "train", path: str = "", label: str = "", bits: int = 32, test_share: float = 0.2
) -> dict[str, np.ndarray]:
    """x: (N, D) int64, 0 or 1; y: (N,) int64, the sorted distinct values of the column `label` as classes.

    path: a CSV file with a header, or "mixed:N", a made table of N rows with a rule for its label. bits: of a number. split is
    train, test (a fixed random share) or all.
    """
    if split not in ("train", "test", "all"):
        raise ValueError(f"bit_table has the splits train, test and all, not {split!r}")
    columns = columns_of(path)
    if label not in columns:
        raise DataError(f"{path}: no column {label!r}; there are {', '.join(columns)}")
    classes = {value: i for i, value in enumerate(sorted(set(columns[label])))}
    fields = {"x": encode(columns, code_of(columns, label, bits)), "y": np.array([classes[v] for v in columns[label]])}
    order = np.random.default_rng(0).permutation(len(fields["x"]))
    tests = round(test_share * len(order))
    chosen = np.sort({"train": order[tests:], "test": order[:tests], "all": order}[split])
    return {name: values[chosen].astype(np.int64) for name, values in fields.items()}


def columns_of(path: str) -> dict[str, list[str]]:
    """The columns of a table by name, as they are written."""
    if path.startswith("mixed:"):
        return mixed(int(path.removeprefix("mixed:")))
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file, strict=True) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise DataError(f"{path!r} cannot be read as a table ({problem})") from problem
    if len(rows) < 2 or any(len(row) != len(rows[0]) for row in rows):
        raise DataError(f"{path}: a header and rows of its length are needed")
    return {name.strip(): [row[i].strip() for row in rows[1:]] for i, name in enumerate(rows[0])}


def mixed(rows: int) -> dict[str, list[str]]:
    """Three words, each chained to the one before, two numbers that follow them, and a label by a threshold."""
    rng = np.random.default_rng(7)
    a = rng.choice(4, rows, p=[0.4, 0.3, 0.2, 0.1])
    b = np.where(rng.random(rows) < 0.75, a, rng.integers(0, 4, rows))
    c = np.where(rng.random(rows) < 0.8, b % 3, rng.integers(0, 3, rows))
    size = rng.normal(a - 1.5, 0.7)
    rate = rng.normal(0.8 * c + 0.3 * size, 0.4)
    label = (size + 0.8 * (c == 1) + 0.5 * rate > 0.2) ^ (rng.random(rows) < 0.05)
    words = {"a": a, "b": b, "c": c}
    columns = {name: [f"{name}{v}" for v in values] for name, values in words.items()}
    numbers = {"size": size, "rate": rate}
    return (
        columns | {n: [f"{v:.9g}" for v in values] for n, values in numbers.items()} | {"label": [str(int(v)) for v in label]}
    )


Code = dict[str, tuple[float, float, int] | tuple[str, ...]]  # of a column: its ends and bits, or its words


def code_of(columns: dict[str, list[str]], label: str, bits: int) -> Code:
    """How each column but the label is written: numbers where all of it are, words otherwise."""
    code: Code = {}
    for name, values in columns.items():
        if name == label:
            continue
        try:
            numbers = [float(v) for v in values]
            code[name] = (min(numbers), max(numbers), bits)
        except ValueError:
            code[name] = tuple(sorted(set(values)))
    return code


def width(own: tuple) -> int:
    """The bits of one column."""
    return own[2] if isinstance(own[0], float) else max(1, math.ceil(math.log2(len(own))))


def encode(columns: dict[str, list[str]], code: Code) -> np.ndarray:
    """(N, D) int64, the highest bit of each column first."""
    parts = []
    for name, own in code.items():
        if isinstance(own[0], float):
            low, high, bits = own
            share = (np.array([float(v) for v in columns[name]]) - low) / max(high - low, 1e-300)
            whole = np.floor(share * (2**bits - 1)).astype(np.int64)
        else:
            whole = np.array([own.index(v) for v in columns[name]])
        parts.append(whole[:, None] >> np.arange(width(own))[::-1] & 1)
    return np.concatenate(parts, axis=1)


def decode(x: np.ndarray, code: Code) -> dict[str, list]:
    """The columns of rows of bits; a number of no word stands for the last one."""
    columns: dict[str, list] = {}
    start = 0
    for name, own in code.items():
        n = width(own)
        whole = x[:, start : start + n].astype(np.int64) @ (1 << np.arange(n)[::-1])
        start += n
        if isinstance(own[0], float):
            low, high, bits = own
            columns[name] = list(low + whole / (2**bits - 1) * (high - low))
        else:
            columns[name] = [own[min(v, len(own) - 1)] for v in whole]
    return columns
