"""Two thousand models put together at random: what is accepted trains and samples as printed, what is not says why."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from combinations import combination
from projects import imported, two_steps
from test_combinations import checked

from specc import driver

SAMPLES = 3


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, 2000, 20))
def test_combinations_train(start: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property) -> None:
    accepted = 0
    for seed in range(10_000 + start, 10_020 + start):
        text = combination(random.Random(seed))
        program = checked(text)
        if program is None:
            continue
        accepted += 1
        folder = tmp_path / str(seed)
        driver.emit(program, "pytorch", folder / "project")
        with imported(folder / "project") as project:
            two_steps(folder / "run", monkeypatch, quick=True)
            network = project.sample.load(folder / "run", "model")
            for name in project.sample.SAMPLERS:
                samples = project.sample.sample(network, SAMPLES, "cpu", name)
                assert samples.shape == (SAMPLES, *program.data[0].space.shape), f"{name}\n{text}"
                assert np.isfinite(samples).all(), f"{name}\n{text}"
        torch.manual_seed(0)
    record_property("accepted", accepted)
