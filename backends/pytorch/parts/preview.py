# ruff: noqa: F811, I001
"""Pictures of samples while a network is trained."""

from pathlib import Path

# << points
import numpy as np
import torch
from torch import Tensor

# >>
# << not points
import torch

# >>
from model import Model
from pictures import picture
from sample import sample

# << knobs
LOW, HIGH = -1.0, 1.0
SHAPE = (1, 8, 8)
# >>


def preview(network: Model, device: torch.device, file: Path) -> None:
    """Samples as they are now, from the same seeds every time."""
    # << images
    samples = sample(network, 64, device)
    # << folded
    samples = samples.reshape(-1, *SHAPE)
    # >>
    picture(samples, file, LOW, HIGH)
    # >>
    # << points
    paths: list[Tensor] = []
    watched = [m.register_forward_pre_hook(lambda _, a: paths.append(a[0][:1024].detach())) for m in network.children()]
    samples = sample(network, 1024, device)
    for hook in watched:
        hook.remove()
    seen = [p.cpu().numpy() for p in paths if p.shape == samples.shape]
    picture(samples, file, paths=np.stack([*seen, samples]))
    # >>
