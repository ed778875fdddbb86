"""A step of training of four generated projects against the same models written by hand (`families_by_hand`), eager.

python -m benchmarks.families          bound: 0.97 of the throughput of each
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks import families_by_hand as peers
from benchmarks.projects import compile_text, modules
from benchmarks.tools import show, side_by_side

SPECS = Path(__file__).parents[1] / "specs"


def stepper(losses: peers.Losses, x: Tensor, steps: int) -> Callable[[], None]:
    """`steps` steps: each objective in turn, with an optimizer of its own."""
    players = [(loss, own, torch.optim.Adam(own, lr=2e-4, fused=True)) for loss, own in losses]

    def run() -> None:
        for _ in range(steps):
            for loss, own, optimizer in players:
                value = loss(x)
                optimizer.zero_grad(set_to_none=True)
                value.backward(inputs=own)
                optimizer.step()

    return run


def generated(spec: str, name: str, players: dict[str, str]) -> peers.Losses:
    """The objectives of a project, with their parameters. players: the network that each trains."""
    _, project = compile_text((SPECS / spec).read_text(encoding="utf-8"), name)
    model, objective = modules(project, "model", "objective")
    made = model.Model()
    clock = {"relativistic_D": {"progress": 0.5}}
    return [
        (partial(getattr(objective, f), made, **clock.get(f, {})), list(getattr(made, root).parameters()))
        for f, root in players.items()
    ]


CASES = {  # spec, the network that each objective trains, the peer, a batch, steps in a round
    "r3gan": ("adversarial", {"relativistic_D": "D", "relativistic_G": "G"}, peers.Gan, lambda: torch.rand(64, 1, 8, 8), 3),
    "md4": ("discrete", {"loss": "backbone"}, peers.Masked, lambda: torch.randint(27, (64, 32)), 5),
    "glow": ("likelihood", {"loss": "f"}, peers.Flow, lambda: torch.randint(17, (96, 1, 8, 8)) / 8 - 1, 5),
    "consistency_models": ("fewstep", {"loss": "backbone"}, peers.Consistency, lambda: torch.randn(256, 2), 40),
}
MODELS = {"consistency_models": "distilled"}  # of the specs whose first model is another one


def main() -> None:
    torch.set_num_threads(2)
    for spec, (family, players, peer, draw, steps) in CASES.items():
        torch.manual_seed(0)
        ours, theirs = generated(f"{family}/{spec}.spec", MODELS.get(spec, spec), players), peer().losses()
        counts = [[sum(p.numel() for p in own) for _, own in side] for side in (ours, theirs)]
        assert counts[0] == counts[1], counts
        x = draw()
        pair = side_by_side(stepper(ours, x, steps), stepper(theirs, x, steps), rounds=41)
        show(f"{spec} ({sum(counts[0]) / 1e3:.0f} K)", pair, 0.97, steps)


if __name__ == "__main__":
    main()
