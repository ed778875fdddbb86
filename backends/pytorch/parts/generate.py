# ruff: noqa: F401, F821, I001
import hashlib
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import checkpoint
import noise
from model import Model

# << table
FILE = "draws.npz"
# >>
BATCH = 256  # draws at once


def make(model: Model, path: Path, device: torch.device) -> None:
    """Draw the data of this training, unless they are there. Raises CheckpointError for draws of anything else."""
    wanted = recipe(model)
    if path.exists():
        found = kept(path)
        if found != wanted:
            raise checkpoint.CheckpointError(
                f"{path} was drawn from something else: its sha256 is {found}, and this training needs {wanted}; move it away"
            )
        return
    parts = []
    for start in range(0, COUNT, BATCH):
        seeds = torch.arange(start, min(start + BATCH, COUNT))
        # << classes
        classes = [c.to(device) for c in conditions(seeds).values()]
        drawn = draw(model, seeds.to(device), *classes)
        # >>
        # << not classes
        drawn = draw(model, seeds.to(device))
        # >>
        parts.append(drawn if isinstance(drawn, tuple) else (drawn,))
    arrays = {name: torch.cat(v).cpu().numpy() for name, v in zip(FIELDS, zip(*parts, strict=True), strict=True)}
    # << classes
    arrays |= {name: v.numpy() for name, v in conditions(torch.arange(COUNT)).items()}
    # >>
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_suffix(".part"), "wb") as file:
        np.savez(file, **arrays, sha256=np.array(wanted))
    os.replace(path.with_suffix(".part"), path)


# << classes
def conditions(seeds: Tensor) -> dict[str, Tensor]:
    """A class for each draw, all of them in turn."""
    return {name: seeds % count for name, count in CLASSES.items()}


# >>
def recipe(model: Model) -> str:
    """sha256 of what the draws depend on: the sampler, and the weights that it runs on."""
    found = hashlib.sha256(RECIPE.encode())
    for path, tensor in sorted(model.state_dict().items()):
        if f"{path}.".startswith(WEIGHTS):
            found.update(path.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def kept(path: Path) -> str:
    """The sha256 of the draws in a file."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return str(archive["sha256"])
    except (OSError, ValueError, KeyError, EOFError) as problem:
        raise checkpoint.CheckpointError(f"{path} is no file of draws: {problem}") from None
