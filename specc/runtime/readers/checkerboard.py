"""The dark squares of a board in the plane: a uniform density with sharp edges.

After Will Grathwohl et al., "FFJORD: Free-Form Continuous Dynamics for Scalable Reversible Generative Models", 2019, where the
board has 4 by 4 squares on [-4, 4] by [-4, 4].
"""

import numpy as np


def draw(n: int, rng: np.random.Generator, cells: int = 4, extent: float = 4.0) -> dict[str, np.ndarray]:
    """x: (n, 2) float32 in [-extent, extent], y: (n,) int64, the dark square, counted by rows from the lower left.

    Square (column, row) is dark when column + row is even, so that the lower left corner is dark.
    """
    if cells < 1:
        raise ValueError(f"a checkerboard needs at least one cell a side, cells = {cells}")
    row, column = np.nonzero(np.add.outer(np.arange(cells), np.arange(cells)) % 2 == 0)
    y = rng.integers(len(row), size=n)
    corner = np.stack([column[y], row[y]], axis=-1)
    x = (corner + rng.random((n, 2))) * (2 * extent / cells) - extent
    return {"x": x.astype(np.float32), "y": y}
