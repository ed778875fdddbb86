"""Where the numbers of a weight may go, and a weight while it is rounded column by column."""

from __future__ import annotations

import numpy as np

from specc.ir.coding import BLOCK, Codes, Scales, encode_by, scales_of
from specc.ir.formats import FORMATS
from specc.record import record

NONE = np.zeros(0, np.int64)  # no columns


@record
class Grid:
    """A row of FORMATS, and which numbers share a scale: all (`tensor`), a row (`channel`) or `block` columns of it."""

    format: str
    granularity: str = "channel"
    block: int | None = None
    affine: bool = False

    def width(self, k: int) -> int | None:
        """How many of k columns share scales; None for all of them."""
        return min(self.block or FORMATS[self.format].block or BLOCK, k) if self.granularity == "block" else None


@record
class Rounded:
    """A weight (n, k) as codes. Columns `kept` are not rounded: their codes stand for 0, their numbers are `columns`
    (n, kept)."""

    codes: Codes
    kept: np.ndarray
    columns: np.ndarray

    def values(self) -> np.ndarray:
        """The weight that they stand for, float32."""
        out = self.codes.values()
        out[:, self.kept] = self.columns
        return out


class Rounding:
    """A weight (n, k) while it is rounded: the scales of a group are fitted when its first column comes."""

    def __init__(self, shape: tuple[int, int], grid: Grid, kept: np.ndarray) -> None:
        n, k = shape
        self.grid, self.kept = grid, kept
        self.width = grid.width(k)
        self.group = np.arange(k) // (self.width or k)  # of each column
        self.whole = np.ones(k, bool)
        self.whole[kept] = False
        groups, rows = int(self.group[-1]) + 1, 1 if grid.granularity == "tensor" else n
        self.codes = np.zeros((n, k), np.uint8)
        self.scales = np.ones((rows, groups), np.float32)
        self.zeros = np.zeros((rows, groups), np.uint8) if grid.affine else None
        self.fitted = np.zeros(groups, bool)

    def begins(self, column: int) -> bool:
        """Whether the column is the first of its group to come."""
        return bool(self.whole[column] and not self.fitted[self.group[column]])

    def fit(self, weight: np.ndarray, column: int) -> None:
        """Fit the scales of the column's group to the weight as it is now."""
        g = self.group[column]
        granularity = "tensor" if self.grid.granularity == "tensor" else "channel"
        found = scales_of(weight[:, (self.group == g) & self.whole], self.grid.format, granularity, affine=self.grid.affine)
        self.scales[:, [g]] = found.values
        if self.zeros is not None and found.zeros is not None:
            self.zeros[:, [g]] = found.zeros
        self.fitted[g] = True

    def column(self, w: np.ndarray, column: int) -> np.ndarray:
        """Round one column (n,); gives what its codes stand for."""
        at = [self.group[column]]
        scales = Scales(self.scales[:, at], None if self.zeros is None else self.zeros[:, at])
        made = encode_by(w[:, None], self.grid.format, scales)
        self.codes[:, column] = made.codes[:, 0]
        return made.values()[:, 0]

    def done(self, weight: np.ndarray) -> Rounded:
        """The codes, with the columns that stay as they are in `weight`."""
        if self.zeros is not None:
            self.codes[:, self.kept] = self.zeros[:, self.group[self.kept]]
        scales = Scales(self.scales, self.zeros, self.width)
        return Rounded(Codes(self.grid.format, self.codes, scales), self.kept, np.asarray(weight[:, self.kept], np.float32))
