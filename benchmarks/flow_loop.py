"""Flow matching in the plane: the generated training program against torchcfm's own loop, batch 256, equal widths.

pip install --no-deps torchcfm pot
python -m benchmarks.flow_loop     bounds: 2 times the throughput with independent pairs, 1.3 with exact optimal transport
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from benchmarks.projects import compile_text
from benchmarks.tools import paired, show

SPEC = """specc 1
model plane {{
  data x: vector(2) from eight_gaussians
  process linear
  {coupling}
  backbone mlp(width = 64, depth = 3)
  predict velocity
  loss mse
  sampler euler(steps = 10)
  train {{ optimizer = adam(lr = 1e-3); batch = 256; picture_every = 0 }}
}}
"""
STEPS = 1500


def generated(coupling: str) -> float:
    """Seconds of the generated `train.py` for all steps, at the speed that its last line says."""
    _, project = compile_text(SPEC.format(coupling=coupling))
    command = [sys.executable, "train.py", "--steps", str(STEPS), "--out", str(Path(tempfile.mkdtemp()) / "run")]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)
    return STEPS * 256 / float(json.loads(done.stdout.strip().splitlines()[-1])["examples_per_second"])


class Peer(nn.Module):
    """torchcfm's MLP: four linear layers with SELU, the time beside the point."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(3, width),
            nn.SELU(),
            nn.Linear(width, width),
            nn.SELU(),
            nn.Linear(width, width),
            nn.SELU(),
            nn.Linear(width, 2),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


def peer(exact: bool, own_data: bool) -> float:
    """Seconds of the loop of torchcfm's examples, with its own sampler of the data or with one in two lines of torch."""
    for name in ("torchdyn", "torchdyn.datasets"):  # its utilities import this for another data set
        sys.modules.setdefault(name, ModuleType(name)).generate_moons = None
    from torchcfm.conditional_flow_matching import ConditionalFlowMatcher, ExactOptimalTransportConditionalFlowMatcher
    from torchcfm.utils import sample_8gaussians

    angle = torch.arange(8) * (math.pi / 4)
    centre = 5 * torch.stack([angle.cos(), angle.sin()], dim=1)

    def quick(n: int) -> torch.Tensor:
        return centre[torch.randint(8, (n,))] + math.sqrt(0.1) * torch.randn(n, 2)

    data = sample_8gaussians if own_data else quick

    model = Peer()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    matcher = ExactOptimalTransportConditionalFlowMatcher(sigma=0.0) if exact else ConditionalFlowMatcher(sigma=0.0)
    start = time.perf_counter()
    for _ in range(STEPS):
        optimizer.zero_grad()
        x1 = data(256)
        x0 = torch.randn(256, 2)
        t, xt, ut = matcher.sample_location_and_conditional_flow(x0, x1)
        loss = torch.mean((model(torch.cat([xt, t[:, None]], dim=-1)) - ut) ** 2)
        loss.backward()
        optimizer.step()
    return time.perf_counter() - start


def main() -> None:
    torch.set_num_threads(2)
    for coupling, exact, bound in (("coupling independent", False, 2.0), ("coupling minibatch_ot(solver = exact)", True, 1.3)):
        ours, theirs = zip(*((generated(coupling), peer(exact, True)) for _ in range(5)), strict=True)
        show(coupling, paired(ours, theirs), bound, STEPS)
        show("  against quicker data", paired(ours[-1:], [peer(exact, False)]), None, STEPS)


if __name__ == "__main__":
    main()
