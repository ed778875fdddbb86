"""Batches of a finite data set, shuffled anew in every pass.

Batch k depends only on the seed and k, so that training goes on exactly where it stopped without any state of a loader.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor


class Batches:
    """Endless batches of `size` examples over all processes, of which each takes its share. Data stay on the device."""

    def __init__(
        self,
        data: dict[str, np.ndarray],
        size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        device: torch.device | str = "cpu",
    ) -> None:
        self.fields = [torch.from_numpy(np.ascontiguousarray(v)).to(device) for v in data.values()]
        self.count, self.size, self.seed = len(self.fields[0]), size, seed
        self.share, self.offset, self.device = size // world, rank * (size // world), device
        self.orders: dict[int, Tensor] = {}

    def batch(self, k: int) -> tuple[Tensor, ...]:
        """The share of this process in batch k: one tensor a field."""
        start = k * self.size + self.offset
        index = self.places(start, start + self.share)
        return tuple(field[index] for field in self.fields)

    def places(self, start: int, stop: int) -> Tensor:
        """Which examples stand at these places of the endless shuffled sequence."""
        first, last = start // self.count, (stop - 1) // self.count
        if first == last:
            return self.order(first)[start - first * self.count : stop - first * self.count]
        parts = [self.order(e)[max(start - e * self.count, 0) : stop - e * self.count] for e in range(first, last + 1)]
        return torch.cat(parts)

    def order(self, epoch: int) -> Tensor:
        """The order of one pass over the data."""
        order = self.orders.get(epoch)
        if order is None:
            order = torch.from_numpy(np.random.default_rng((self.seed, epoch)).permutation(self.count)).to(self.device)
            self.orders = {e: o for e, o in self.orders.items() if e >= epoch - 1} | {epoch: order}
        return order

    def after(self, k: int) -> Iterator[tuple[Tensor, ...]]:
        """Batches k, k + 1, ..."""
        while True:
            yield self.batch(k)
            k += 1
