"""Starts that the first batch decides."""

from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor, nn


@torch.no_grad()
def start_from(model: nn.Module, objective: Callable[..., Tensor], batch: tuple[Tensor, ...]) -> None:
    """Give parameters the values that the first batch decides: each module its own, just before it first runs."""
    waiting = [module for module in model.modules() if hasattr(module, "start")]

    def fill(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if module in waiting:
            waiting.remove(module)
            for name, value in zip(module.starts, module.start(*inputs), strict=True):
                module.get_parameter(name).copy_(value)

    hooks = [module.register_forward_pre_hook(fill) for module in waiting]
    objective(model, *batch)
    for hook in hooks:
        hook.remove()
    if waiting:
        raise ValueError(f"the objective does not run {type(waiting[0]).__name__}, which starts from the first batch")
    if dist.is_initialized():  # the shares of the batch differ
        for parameter in model.parameters():
            dist.broadcast(parameter, 0)
