"""Work on batches in processes beside the training, some batches ahead: what takes long and no parameter touches."""

import atexit
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from multiprocessing.process import BaseProcess
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

WORKERS = min(8, os.cpu_count() or 1)  # training itself waits for them, or they for it
AHEAD = 16  # batches, for each worker

Batch = tuple[Tensor, ...]


class Prepared(Dataset[Batch]):
    """Batch k through `prepare`, with random numbers of its own, so that it depends on k alone."""

    def __init__(self, batch: Callable[[int], Batch], prepare: Callable[..., Batch], seed: int, rank: int = 0) -> None:
        self.batch, self.prepare, self.seed, self.rank = batch, prepare, seed, rank

    def __getitem__(self, k: int) -> Batch:
        mixed = (self.seed * 0x9E3779B97F4A7C15 + k * 0xBF58476D1CE4E5B9 + self.rank * 0x94D049BB133111EB) % 2**63
        return self.prepare(*self.batch(k), torch.Generator().manual_seed(mixed))


def _stay(over: Any, _: int) -> None:
    """What ends a job asks every process of it: the training saves itself first, and then ends its workers."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0) if over.value else None)


def _end(over: Any, workers: Iterable[BaseProcess]) -> None:
    over.value = 1
    for worker in workers:
        worker.terminate()


def ahead(batches: Prepared, first: int, stop: int) -> Iterator[Batch]:
    """Batches first to stop - 1, in order. The loader's own generator leaves the random numbers of training alone."""
    others, over = multiprocessing.active_children(), multiprocessing.RawValue("b", 0)
    made = iter(
        DataLoader(
            batches,
            batch_size=None,
            sampler=range(first, stop),
            num_workers=WORKERS,
            prefetch_factor=AHEAD,
            generator=torch.Generator(),
            worker_init_fn=partial(_stay, over),
        )
    )
    atexit.register(_end, over, [w for w in multiprocessing.active_children() if w not in others])  # also after an error
    return made
