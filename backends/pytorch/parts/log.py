# ruff: noqa: SIM115
"""What a run says about itself: how fast it is, and log.csv."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor


class Clock:
    """Time spent on training: without the first step, and without checkpoints and pictures."""

    def __init__(self, device: torch.device, step: int) -> None:
        self.device, self.begun, self.first, self.lost = device, time.perf_counter(), step, 0.0
        self.created = self.begun

    def start(self, step: int) -> None:
        self.synchronize()
        self.begun, self.first, self.lost = time.perf_counter(), step, 0.0

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def speed(self, step: int) -> float:
        """Steps per second."""
        self.synchronize()
        spent = time.perf_counter() - self.begun - self.lost
        return (step - self.first) / spent if step > self.first and spent > 0 else 0.0

    def seconds(self) -> float:
        return time.perf_counter() - self.created

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.lost += time.perf_counter() - start


class Log:
    """log.csv, and the same numbers for TensorBoard where it is installed."""

    def __init__(self, out: Path, columns: Sequence[str], step: int, rank: int) -> None:
        self.file, self.columns = None, columns
        if rank:
            return
        out.mkdir(parents=True, exist_ok=True)
        path = out / "log.csv"
        kept = []
        if step and path.exists():  # what a later step wrote is written again
            kept = [r for r in path.read_text().splitlines()[1:] if r.split(",")[0].isdigit() and int(r.split(",")[0]) <= step]
        self.file = open(path, "w", buffering=1)  # a line at a time
        self.file.write("\n".join(["step," + ",".join(columns) + ",examples_per_second,learning_rate", *kept]) + "\n")
        self.board = None
        with contextlib.suppress(ImportError):
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(out), purge_step=step + 1 if step else None)

    def row(self, step: int, losses: dict[str, float], speed: float, rate: float) -> None:
        if self.file is None:
            return
        shown = [f"{losses[name]:.8g}" if name in losses else "" for name in self.columns]
        self.file.write(",".join([str(step), *shown, f"{speed:.1f}", f"{rate:.6g}"]) + "\n")
        if self.board is not None:
            for name, value in losses.items():
                self.board.add_scalar(name, value, step)
            self.board.add_scalar("examples_per_second", speed, step)
            self.board.add_scalar("learning_rate", rate, step)

    def close(self) -> None:
        if self.file is not None:
            self.file.close()
            if self.board is not None:
                self.board.close()


def mean_losses(losses: dict[str, list[Tensor]], world: int) -> dict[str, float]:
    """The mean of each loss over the steps since the last time and all processes; of those that were computed."""
    found = {name: torch.stack(values).double().mean() for name, values in losses.items() if values}
    for values in losses.values():
        values.clear()
    if not found:
        return {}
    mean = torch.stack(list(found.values()))
    if world > 1:
        dist.all_reduce(mean)
        mean /= world
    return dict(zip(found, mean.tolist(), strict=True))
