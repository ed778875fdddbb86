"""The codes that a weight may be rounded to, column by column: how scales are fitted, and which columns share one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TINY = 1e-12  # the scale of columns that are all zero
NONE = np.zeros(0, np.int64)  # no columns


@dataclass(frozen=True, slots=True)
class Grid:
    """Codes low to high; a code q stands for (q - zero) scale.

    A scale belongs to a row and to `block` columns that follow each other (None: to the whole row, and `shared`: to all rows).
    symmetric: zero is 0 and the largest number is the code `high`; otherwise the codes cover the least number, the largest and 0.
    """

    low: int
    high: int
    block: int | None = None
    symmetric: bool = True
    shared: bool = False

    def groups(self, k: int) -> np.ndarray:
        """Which group each of k columns is in."""
        return np.arange(k) // (self.block or max(k, 1))

    def fit(self, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scales and zeros (n,) of the columns w (n, g) of a group."""
        axis = None if self.shared else 1
        if self.symmetric:
            scale = np.maximum(np.abs(w).max(axis=axis) / self.high, TINY)
            zero = np.zeros_like(scale)
        else:
            least, most = np.minimum(w.min(axis=axis), 0), np.maximum(w.max(axis=axis), 0)
            scale = np.maximum((most - least) / (self.high - self.low), TINY)
            zero = np.clip(self.low - np.rint(least / scale), self.low, self.high)
        return np.broadcast_to(scale, len(w)), np.broadcast_to(zero, len(w))

    def round(self, w: np.ndarray, scale: np.ndarray, zero: np.ndarray) -> np.ndarray:
        """The nearest codes; ties to even, and what is outside goes to the ends."""
        return np.clip(np.rint(w / scale) + zero, self.low, self.high)


@dataclass(frozen=True, slots=True)
class Rounded:
    """Codes (n, k) with scales and zeros (n, groups). Columns `kept` are not rounded: their codes stand for 0, their numbers are
    `columns` (n, kept)."""

    codes: np.ndarray
    scales: np.ndarray
    zeros: np.ndarray
    group: np.ndarray  # (k,), of each column
    kept: np.ndarray
    columns: np.ndarray

    def values(self) -> np.ndarray:
        """What the codes and the columns kept stand for, (n, k)."""
        out = (self.codes - self.zeros[:, self.group]) * self.scales[:, self.group]
        out[:, self.kept] = self.columns
        return out


class Rounding:
    """A weight while it is rounded column by column: the scales of a group are fitted when its first column comes."""

    def __init__(self, weight: np.ndarray, grid: Grid, kept: np.ndarray) -> None:
        n, k = weight.shape
        self.grid, self.kept, self.group = grid, kept, grid.groups(k)
        self.whole = np.ones(k, bool)
        self.whole[kept] = False
        groups = int(self.group[-1]) + 1 if k else 0
        self.codes = np.zeros((n, k))
        self.scales, self.zeros = np.ones((n, groups)), np.zeros((n, groups))
        self.fitted = np.zeros(groups, bool)

    def begins(self, column: int) -> bool:
        """Whether the column is the first of its group to come."""
        return bool(self.whole[column]) and not self.fitted[self.group[column]]

    def fit(self, weight: np.ndarray, column: int) -> None:
        """Fit the scales of the column's group to the weight as it is now."""
        g = self.group[column]
        self.scales[:, g], self.zeros[:, g] = self.grid.fit(weight[:, (self.group == g) & self.whole])
        self.fitted[g] = True

    def column(self, w: np.ndarray, column: int) -> np.ndarray:
        """Round one column; gives what its codes stand for."""
        g = self.group[column]
        scale, zero = self.scales[:, g], self.zeros[:, g]
        self.codes[:, column] = self.grid.round(w, scale, zero)
        return (self.codes[:, column] - zero) * scale

    def done(self, weight: np.ndarray) -> Rounded:
        self.codes[:, self.kept] = self.zeros[:, self.group[self.kept]]
        return Rounded(self.codes, self.scales, self.zeros, self.group, self.kept, weight[:, self.kept])
