# ruff: noqa: F401, F821, I001
import argparse
import contextlib
import copy
import json
import math
import os
import signal
import sys
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from tqdm import tqdm

import checkpoint
import generate
from ahead import Prepared, ahead
from averages import begin, follow
from data import alphabet, examples
from first import start_from
from loader import Batches
from log import Clock, Log, mean_losses
from model import Model

# << objective
from objective import loss, prepare

# >>
from parallel import average_gradients, join, random_states, restore_random
from parents import inherit
from preview import preview

# << process
# >>

# << knobs
STEPS = 1000
BATCH = 64
GROUP = 1
# >>
LOG_EVERY = 50  # steps
# << pictures
# << picture_every
PICTURE_EVERY = 500  # steps; 0 for none
# >>
# >>
HERE = Path(__file__).parent
# << routine
Objective = Callable[..., Tensor]
# >>


# << learns
# << optimizer
def make_optimizer(parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=LEARNING_RATE)


# >>
# >>


class Run:
    """One process of a training run: the networks, what updates them, and where they are written."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.out = args, args.out
        self.lock = json.loads((HERE / "spec.lock.json").read_text(encoding="utf-8"))
        # << not learns
        if int(os.environ.get("WORLD_SIZE", 1)) > 1:
            raise checkpoint.CheckpointError("updates alone see one process's share of a batch: train in one process")
        # >>
        self.rank, self.world, self.device = join(args.device)
        self.step = 0
        self.asked = False  # by a signal, to stop
        self.stop = False  # as all processes agreed
        # << learns
        self.losses: dict[str, list[Tensor]] = {name: [] for name in LOSSES}  # since the last row of the log
        # >>
        self.state: dict[str, object] = {}
        tensors: dict[str, checkpoint.Tensors] = {}
        if args.resume:
            tensors, self.state = checkpoint.read(self.out, FILES, self.lock["digest"])
        self.seed = int(self.state.get("seed", 0) if args.seed is None else args.seed)
        self.size = int(self.state.get("batch", BATCH) if args.batch is None else args.batch)
        # << groups
        if self.size % (GROUP * self.world):
            shared = f" over {self.world} processes" if self.world > 1 else ""
            raise ValueError(
                f"a batch of {self.size}{shared} does not consist of groups of {GROUP}: give a multiple of {GROUP * self.world}"
            )
        # >>
        # << not groups
        if self.size % self.world:
            raise ValueError(f"a batch of {self.size} cannot be shared by {self.world} processes")
        # >>

        torch.manual_seed(self.seed)
        self.model = Model().to(self.device)
        # << parents
        if not args.resume:
            inherit(self.model, args.parent)
        # >>
        # << averages
        begin(self.model)
        # >>
        # << one
        # << over
        self.model.requires_grad_(False)
        # << trained
        self.parameters = list(self.model.parameters())
        # >>
        for parameter in self.parameters:
            parameter.requires_grad_()
        # >>
        # << not over
        # << frozen
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        # >>
        # << not frozen
        self.parameters = list(self.model.parameters())
        # >>
        # >>
        self.optimizer = make_optimizer(self.parameters)
        # >>
        # << players
        self.optimizers = make_optimizers(self.model)
        # << schedule
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["initial_lr"] = group["lr"]
        # >>
        # >>
        # << ema
        self.ema = copy.deepcopy(self.model).requires_grad_(False)
        self.averages, self.weights = list(self.ema.parameters()), list(self.model.parameters())
        # >>
        torch.manual_seed(self.seed + 1 + self.rank)  # the draws of the loss differ between processes
        if args.resume:
            self.restore(tensors)
        # << generated
        if not self.rank:
            generate.make(self.model, self.out / generate.FILE, self.device)
        if self.world > 1:
            dist.barrier()
        # >>
        if args.compile:
            for network in self.model.children():
                network.compile()

    # Checkpoints

    def restore(self, tensors: dict[str, checkpoint.Tensors]) -> None:
        self.step = int(self.state["step"])
        checkpoint.fill(self.model, tensors["model"], "model.safetensors")
        # << ema
        checkpoint.fill(self.ema, tensors["ema"], "ema.safetensors")
        # >>
        # << learns
        names = self.names()
        # >>
        # << one
        checkpoint.fill_optimizer(self.optimizer, [names[p] for p in self.parameters], tensors["optimizer"])
        # >>
        # << players
        for name, optimizer in self.optimizers.items():
            own = {k[len(name) + 1 :]: v for k, v in tensors["optimizer"].items() if k.startswith(f"{name}:")}
            checkpoint.fill_optimizer(optimizer, [names[p] for p in trained(optimizer)], own)
        # >>
        restore_random(tensors["optimizer"], self.rank, self.device)

    # << learns
    def names(self) -> dict[Tensor, str]:
        return {p: n for n, p in self.model.named_parameters()}

    # >>
    def save(self) -> None:
        """A checkpoint of everything that the rest of the run depends on."""
        # << learns
        names = self.names()
        # >>
        # << one
        state = checkpoint.optimizer_tensors(self.optimizer, [names[p] for p in self.parameters])
        # >>
        # << players
        state = {
            f"{name}:{key}": value
            for name, optimizer in self.optimizers.items()
            for key, value in checkpoint.optimizer_tensors(optimizer, [names[p] for p in trained(optimizer)]).items()
        }
        # >>
        # << not learns
        state: checkpoint.Tensors = {}
        # >>
        state |= random_states(self.device)
        if self.rank:
            return
        # << ema
        tensors = {"model": self.model.state_dict(), "optimizer": state, "ema": self.ema.state_dict()}
        # >>
        # << not ema
        tensors = {"model": self.model.state_dict(), "optimizer": state}
        # >>
        lock = {key: self.lock[key] for key in ("spec", "name", "digest")}
        checkpoint.write(self.out, tensors, lock | {"step": self.step, "seed": self.seed, "batch": self.size})

    # Training

    def batches(self, last: int) -> Iterator[tuple[Tensor, ...]]:
        """What each step is given, from this one on."""
        # << finite
        # << generated
        source = examples(path=self.out / generate.FILE)
        # >>
        # << not generated
        source = examples()
        # >>
        # >>
        # << endless
        source = examples
        # >>
        # << prepared
        stream = Batches(source, self.size, self.seed, self.rank, self.world)
        prepared = ahead(Prepared(stream.batch, prepare, self.seed, self.rank), self.step, last)
        if self.device.type == "cpu":
            return prepared
        return (tuple(field.to(self.device, non_blocking=True) for field in batch) for batch in prepared)
        # >>
        # << not prepared
        stream = Batches(source, self.size, self.seed, self.rank, self.world, self.device)
        # << rounds
        return stream.after(self.step * BATCHES)
        # >>
        # << not rounds
        return stream.after(self.step)
        # >>
        # >>

    # << starts
    def start(self, batch: tuple[Tensor, ...]) -> None:
        """What the first batch decides."""
        # << modules
        # << one
        start_from(self.model, loss, batch)
        # >>
        # << routine
        # << start_modules
        # >>
        # >>
        # >>
        # << computed
        # << start_tensors
        # >>
        if self.world > 1:
            for path in STARTS:  # the shares of the batch and the draws differ
                dist.broadcast(self.model.state_dict()[path], 0)
        # >>
        # << averages
        begin(self.model)
        # >>
        # << ema
        torch._foreach_copy_(self.averages, self.weights)
        # >>

    # >>
    def train(self) -> dict[str, object]:
        """Steps up to the last one, or until a signal; the last line of the log."""
        args, first, mean = self.args, self.step, math.nan
        last = args.steps if args.stop_after is None else min(args.steps, self.step + args.stop_after)
        batches = self.batches(last)
        self.log, self.clock = Log(self.out, LOSSES, self.step, self.rank), Clock(self.device, self.step)
        self.bar = tqdm(desc=self.lock["name"], initial=self.step, total=args.steps, unit="step", disable=self.rank > 0)
        # << text
        if not self.rank:
            (self.out / "symbols.txt").write_text(alphabet(), encoding="utf-8", newline="")
        # >>
        # << starts
        if not self.step:
            self.start(next(self.batches(last)))
        # >>
        while self.step < last and not self.stop:
            self.advance(batches)
            self.step += 1
            self.stop = self.stop or (self.asked and self.world == 1)
            self.bar.update()
            if self.step == first + 1:
                self.clock.start(self.step)
            if self.step % LOG_EVERY == 0 or self.step == last or self.stop:
                mean = self.report()
            with self.clock.paused():
                if self.step % SAVE_EVERY == 0 and self.step < last:
                    self.save()
                # << pictures
                if args.picture_every and self.step % args.picture_every == 0 and not self.rank:
                    # << shown
                    preview(self.model, self.device, self.out / f"samples-{self.step}.png")
                    # >>
                # >>
        with self.clock.paused():
            self.save()
            self.log.close()
        self.bar.close()
        return {
            "steps": self.step,
            "examples_per_second": round(self.clock.speed(self.step) * self.size, 1),
            "loss": mean if math.isfinite(mean) else None,
            "seconds": round(self.clock.seconds(), 3),
            "out": str(self.out),
        }

    def advance(self, batches: Iterator[tuple[Tensor, ...]]) -> None:
        """One step of training."""
        # << one
        batch = next(batches)
        # << schedule
        for group in self.optimizer.param_groups:
            group["lr"] = LEARNING_RATE * schedule(self.step, self.args.steps)
        # >>
        with self.precision():
            # << value
            value = loss(self.model, *batch)
            # >>
        self.optimizer.zero_grad(set_to_none=True)
        value.backward()
        if self.world > 1:
            self.stop = average_gradients(self.parameters, self.asked)
        # << clip
        torch.nn.utils.clip_grad_norm_(self.parameters, CLIP)
        # >>
        self.optimizer.step()
        self.losses["loss"].append(value.detach())
        # >>
        # << routine
        # << schedule
        # << players
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * schedule(self.step, self.args.steps)
        # >>
        # >>
        self.turn(batches)
        # >>
        # << averages
        follow(self.model, self.step, self.step / self.args.steps)
        # >>
        # << ema
        with torch.no_grad():
            torch._foreach_lerp_(self.averages, self.weights, 1 - EMA)
            # << states
            for average, state in zip(self.ema.buffers(), self.model.buffers(), strict=True):
                average.copy_(state)
            # >>
        # >>

    def report(self) -> float:
        """A row of the log; the loss since the last one."""
        speed = self.clock.speed(self.step) * self.size
        # << learns
        means = mean_losses(self.losses, self.world)
        mean = sum(means.values())
        self.bar.set_postfix({"loss": f"{mean:.4g}", "examples/s": f"{speed:,.0f}"}, refresh=False)
        # << not watched
        self.log.row(self.step, means, speed, self.learning_rate())
        # >>
        # << watched
        self.log.row(self.step, means | self.watched(), speed, self.learning_rate())
        # >>
        if not math.isfinite(mean):
            raise FloatingPointError(f"the loss is {mean} at step {self.step}; the last checkpoint is in {self.out}")
        return mean
        # >>
        # << not learns
        # << watched
        means = self.watched()
        self.bar.set_postfix({name: f"{value:.4g}" for name, value in means.items()}, refresh=False)
        self.log.row(self.step, means, speed, 0.0)
        if not all(map(math.isfinite, means.values())):
            raise FloatingPointError(f"{means} at step {self.step}; the last checkpoint is in {self.out}")
        # >>
        # << not watched
        self.log.row(self.step, {}, speed, 0.0)
        # >>
        return math.nan
        # >>

    # << routine
    def turn(self, batches: Iterator[tuple[Tensor, ...]]) -> None:
        """What a step does, in order: each objective with the parameters of its moment and draws of its own."""
        # << turn
        # >>

    # << players
    def minimize(self, player: str, objective: Objective, batch: tuple[Tensor, ...], **given: Any) -> None:
        """A step of a player's optimizer along the gradient of an objective."""
        self.gradient(player, objective, batch, **given)
        self.descend(player)

    def gradient(
        self,
        player: str,
        objective: Objective,
        batch: tuple[Tensor, ...],
        # << states
        writes: tuple[str, ...] = (),
        # >>
        **clock: float,
    ) -> None:
        """The gradient of an objective in a player's parameters."""
        with self.precision():
            value = objective(self.model, *batch, **clock)
        # << states
        if writes:
            value, *states = value
            self.write(writes, tuple(states))
        # >>
        optimizer = self.optimizers[player]
        optimizer.zero_grad(set_to_none=True)
        value.backward(inputs=trained(optimizer))
        self.losses[objective.__name__].append(value.detach())

    def descend(self, player: str) -> None:
        """A step of a player's optimizer."""
        optimizer = self.optimizers[player]
        if self.world > 1:
            self.stop = average_gradients(trained(optimizer), self.asked)
        # << clip
        torch.nn.utils.clip_grad_norm_(trained(optimizer), CLIP)
        # >>
        optimizer.step()

    # >>
    # << updates
    def update(self, entry: Objective, batch: tuple[Tensor, ...], writes: tuple[str, ...], **clock: float) -> None:
        """New values of states, with the parameters of this moment."""
        with self.precision():
            states = entry(self.model, *batch, **clock)
        self.write(writes, states if isinstance(states, tuple) else (states,))

    # >>
    # << states
    def write(self, paths: tuple[str, ...], states: tuple[Tensor, ...]) -> None:
        with torch.no_grad():
            tensors = self.model.state_dict()
            for path, state in zip(paths, states, strict=True):
                tensors[path].copy_(state)

    # >>
    # >>
    def precision(self) -> contextlib.AbstractContextManager[object]:
        bf16 = self.args.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16) if bf16 else contextlib.nullcontext()

    # << learns
    def learning_rate(self) -> float:
        # << one
        return self.optimizer.param_groups[0]["lr"]
        # >>
        # << players
        return next(iter(self.optimizers.values())).param_groups[0]["lr"]
        # >>

    # >>
    # << watched
    def watched(self) -> dict[str, float]:
        """States that are one number."""
        states = dict(self.model.named_buffers())
        return {path: float(states[path]) for path in WATCHED}

    # >>


# << players
def trained(optimizer: torch.optim.Optimizer) -> list[torch.nn.Parameter]:
    return [p for group in optimizer.param_groups for p in group["params"]]


# >>
# << schedule
def schedule(step: int, steps: int) -> float:
    """The share of the learning rate at a step of the optimizer, from 0."""
    # << warmup
    if step < WARMUP:
        return (step + 1) / WARMUP
    # >>
    # << falls
    # << warmup
    done = (step - WARMUP) / max(1, steps - WARMUP)
    # >>
    # << not warmup
    done = step / steps
    # >>
    # << cosine
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    # >>
    # << linear
    return max(0.0, 1 - done)
    # >>
    # >>
    # << constant
    return 1.0
    # >>


# >>
