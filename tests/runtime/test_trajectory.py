"""Paths of samples against closed forms: the exact velocity of a point mass makes straight ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from specc import driver
from specc.ir.program import Program
from specc.reference.interpret import run
from specc.runtime.metrics.paths import path_length_ratio, straightness
from specc.runtime.ort import example_seeds
from specc.runtime.trajectory import trajectory

SPEC = """specc 1
model point {{
  data x: vector(2) from moons
  process {process}
  backbone exact(z: vector(2), t: scalar) -> like(z) {{ return {out} }}
  predict {predict}
  sampler one = {sampler}
}}
"""


def program(folder: Path, process: str, sampler: str, predict: str = "x0", out: str = "0 * z + 2") -> Program:
    path = folder / "point.spec"
    path.write_text(SPEC.format(process=process, sampler=sampler, predict=predict, out=out))
    checked = driver.check(path)
    assert not checked.failed, checked.diagnostics
    return checked.programs["point"]


def test_paths_to_a_point_are_straight_in_the_time_of_the_process(tmp_path: Path) -> None:
    """On a grid that is not even, only the right times make the speed constant."""
    made = program(tmp_path, "linear", "euler(steps = 9, spacing = quadratic)")
    feeds = {"seed": example_seeds(0, 5)}
    states, times = trajectory(made, "one", feeds, {})
    assert states.shape == (10, 5, 2)
    np.testing.assert_allclose(times, (1 - np.arange(10) / 9) ** 2, atol=1e-6)
    np.testing.assert_allclose(states[-1], run(made, "one", feeds, {})[0], atol=1e-5)
    assert straightness(states, times) < 1e-8 < 0.1 < straightness(states)
    assert path_length_ratio(states) == pytest.approx(1, abs=1e-5)


def test_paths_of_another_process_are_bent(tmp_path: Path) -> None:
    states, times = trajectory(
        program(tmp_path, "trigonometric", "euler(steps = 40)"), "one", {"seed": example_seeds(0, 5)}, {}
    )
    assert straightness(states, times) > 0.1


def test_a_sampler_without_a_fixed_grid_has_no_path(tmp_path: Path) -> None:
    made = program(tmp_path, "linear", "dopri5(rtol = 0.1, atol = 0.1)", "velocity", "-z")
    with pytest.raises(ValueError, match="fixed length"):
        trajectory(made, "one", {"seed": example_seeds(0, 2)}, {})
