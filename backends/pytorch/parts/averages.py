"""Networks that follow others: averages of their weights over the steps of training."""

import torch
from model import Model

# << table
AVERAGES = []
# >>


def begin(model: Model) -> None:
    """Each average starts where its network does."""
    networks = dict(model.named_modules())
    for path, of, _ in AVERAGES:
        networks[path].load_state_dict(networks[of].state_dict())


@torch.no_grad()
def follow(model: Model, step: int, progress: float) -> None:
    """Move each average towards its network, after a step of training."""
    networks = dict(model.named_modules())
    for path, of, decay in AVERAGES:
        averages, weights = networks[path].parameters(), networks[of].parameters()
        # << functions
        kept = decay(step, progress) if callable(decay) else decay
        torch._foreach_lerp_(list(averages), list(weights), 1 - float(kept))
        # >>
        # << not functions
        torch._foreach_lerp_(list(averages), list(weights), 1 - decay)
        # >>
