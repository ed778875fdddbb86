"""Rectified flow on a teacher's pairs: what annealing means, straight paths, one step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tools
import torch
from projects import imported

from specc import driver

SPEC = "fewstep/slimflow.spec"
LIMITS = """stage pairs_alone from base.annealed {
  dataset pairs = generate(teacher.euler, n = 1000, keep = [noise, sample])
  teacher = frozen(base.annealed)
  coupling stored { pair(x, e) = (x, noise) }
}
stage noise_alone from base.annealed {
  dataset pairs = generate(teacher.euler, n = 1000, keep = [noise, sample])
  teacher = frozen(base.annealed)
  coupling independent
}
"""
BEND = """  sampler bend {
    z ~ prior()
    one = 0 * z
    two = 0 * z
    for k in 0..49 {
      v = velocity(z, 1 - k / 50)
      z = z - v / 50
      one = one + v / 50
      two = two + v^2 / 50
    }
    return two - one^2
  }
"""


def losses(spec: str, name: str, folder: Path, progress: float | None) -> float:
    """The loss of a printed project, at the same weights, examples and random numbers."""
    driver.emit(tools.model(spec, name), "pytorch", folder / name)
    clock = {} if progress is None else {"progress": progress}
    with imported(folder / name) as project:
        model = project.model.Model().requires_grad_(False)
        torch.manual_seed(0)
        for parameter in model.backbone.parameters():
            parameter.normal_(0, 0.3)
        x, noise = torch.randn(64, 2), torch.randn(64, 2)
        return float(project.objective.loss(model, x, noise, **clock))


def test_annealing_goes_from_noise_of_its_own_to_the_pairs(tmp_path: Path) -> None:
    """At first the loss is that of independent noise, after `until` that of the stored pairs: of the same random numbers."""
    limits = tools.variant(tmp_path, SPEC, LIMITS)
    annealed = [losses(SPEC, "annealed", tmp_path, progress) for progress in (0.0, 0.2, 0.4, 1.0)]
    assert abs(annealed[0] - losses(limits, "noise_alone", tmp_path, None)) < 1e-6
    assert abs(annealed[2] - losses(limits, "pairs_alone", tmp_path, None)) < 1e-6
    assert annealed[3] == annealed[2]
    assert abs(annealed[1] - annealed[0]) > 1e-3
    assert abs(annealed[1] - annealed[2]) > 1e-3


def bend(folder: Path, width: int) -> float:
    """The mean square by which velocities leave the straight line, over 50 steps."""
    text = f"model bent from base.flow {{\n  backbone mlp(width = {width}, depth = 3)\n{BEND}}}\n"
    return float(tools.sample(folder, tools.variant(tools.RUNS, SPEC, text), "bent", "bend", 1000).sum(axis=1).mean())


@pytest.mark.slow
def test_the_small_flow_is_straight() -> None:
    """At most a tenth of the teacher's bend, which is that of independent noise. Measured: 0.018 against 1.36."""
    teacher, small = tools.train(SPEC, "flow"), tools.train(SPEC, "annealed")
    assert bend(small, 24) <= 0.1 * bend(teacher, 96)


@pytest.mark.slow
def test_one_step_is_near_to_the_teacher() -> None:
    """The squared error to the teacher's map, from the same noise: a third of that of one step of the small flow, or less.
    Measured: 0.022 against 0.081."""
    teacher, small, once = (tools.train(SPEC, name) for name in ("flow", "annealed", "one_step"))
    text = "model one_jump from base.flow { backbone mlp(width = 24, depth = 3); sampler jump = euler(steps = 1) }\n"
    wanted = tools.sample(teacher, SPEC, "flow", "euler", 2000, seed=9)
    jump = tools.sample(small, tools.variant(tools.RUNS, SPEC, text), "one_jump", "jump", 2000, seed=9)
    distilled = tools.sample(once, SPEC, "one_step", "once", 2000, seed=9)
    error = [float(np.mean(np.sum((v - wanted) ** 2, axis=1))) for v in (jump, distilled)]
    assert error[1] <= error[0] / 3
    assert tools.calls(SPEC, "one_step", "once") == 1
