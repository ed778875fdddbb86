"""The processes that share a training run, each with its part of every batch."""

import os

import torch
import torch.distributed as dist
from torch import Tensor


def join(device: str) -> tuple[int, int, torch.device]:
    """The number of this process, of how many, and where it computes. ValueError where there is no such device."""
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    try:
        found = torch.device(device)
        if world > 1 and found.type == "cuda":
            found = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
            torch.cuda.set_device(found)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as problem:  # the second where PyTorch was built without it
        raise ValueError(f"--device {device}: {problem}") from None
    if world > 1:
        dist.init_process_group("nccl" if found.type == "cuda" else "gloo")
    return rank, world, found


def random_states(device: torch.device) -> dict[str, Tensor]:
    """The states of the random numbers of every process, by name."""
    states = {f"random.{r}": v for r, v in enumerate(_gathered(torch.get_rng_state(), device))}
    if device.type == "cuda":
        states |= {f"random.cuda.{r}": v for r, v in enumerate(_gathered(torch.cuda.get_rng_state(), device))}
    return states


def restore_random(states: dict[str, Tensor], rank: int, device: torch.device) -> None:
    """The inverse of `random_states`, for what a checkpoint of as many processes has."""
    if f"random.{rank}" in states:
        torch.set_rng_state(states[f"random.{rank}"])
    if device.type == "cuda" and f"random.cuda.{rank}" in states:
        torch.cuda.set_rng_state(states[f"random.cuda.{rank}"])


def _gathered(state: Tensor, device: torch.device) -> list[Tensor]:
    if not dist.is_initialized():
        return [state]
    mine = state.to(device)
    every = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
    dist.all_gather(every, mine)
    return [s.cpu() for s in every]


# << learns
def average_gradients(parameters: list[torch.nn.Parameter], asked: bool) -> bool:
    """Gradients averaged over the processes, which agree at the same time whether one of them was asked to stop."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([*(g.flatten() for g in gradients), gradients[0].new_tensor([float(asked)])])
    dist.all_reduce(flat)
    parts = (flat[:-1] / dist.get_world_size()).split([g.numel() for g in gradients])
    torch._foreach_copy_(gradients, [part.view_as(g) for part, g in zip(parts, gradients, strict=True)])
    return bool(flat[-1] > 0)


# >>
