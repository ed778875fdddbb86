"""Batches of an endless distribution, drawn many at a time.

Batch k depends only on the seed and k, so that training goes on exactly where it stopped without any state of a loader.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

TOGETHER = 64  # batches drawn at once

Draw = Callable[[int, np.random.Generator], dict[str, np.ndarray]]


class Batches:
    """Endless batches of `size` examples over all processes, of which each takes its share."""

    def __init__(
        self, draw: Draw, size: int, seed: int, rank: int = 0, world: int = 1, device: torch.device | str = "cpu"
    ) -> None:
        self.draw, self.size, self.seed, self.device = draw, size, seed, device
        self.share, self.offset = size // world, rank * (size // world)
        self.chunks: dict[int, list[Tensor]] = {}

    def batch(self, k: int) -> tuple[Tensor, ...]:
        """The share of this process in batch k: one tensor a field."""
        number, place = divmod(k, TOGETHER)
        start = place * self.size + self.offset
        return tuple(field[start : start + self.share] for field in self.chunk(number))

    def chunk(self, number: int) -> list[Tensor]:
        chunk = self.chunks.get(number)
        if chunk is None:
            drawn = self.draw(TOGETHER * self.size, np.random.default_rng((self.seed, number)))
            chunk = [torch.from_numpy(np.ascontiguousarray(v)).to(self.device) for v in drawn.values()]
            self.chunks = {n: c for n, c in self.chunks.items() if n >= number - 1} | {number: chunk}
        return chunk

    def after(self, k: int) -> Iterator[tuple[Tensor, ...]]:
        """Batches k, k + 1, ..."""
        while True:
            yield self.batch(k)
            k += 1
