"""A generated stage as its user runs it: it starts from its parent's run, leaves the teacher alone, and resumes by itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from warm import python

from specc import driver

TEXT = """specc 1
model base {
  data x: vector(2) from moons
  process linear
  backbone mlp(width = 8, depth = 1)
  predict velocity
  sampler euler(steps = 4)
  train { optimizer = adam(lr = 1e-2); steps = 5; batch = 8; ema = 0.5 }
}
stage student from base {
  teacher = frozen(base)
  loss imitation {
    target = ema(backbone, 0.5 + 0.1 * step)
    t ~ times()
    e ~ source()
    z = draw(x, e, t)
    minimize mean((velocity(z, t) - teacher.velocity(z, t) - 0.01 * target.velocity(z, t))^2)
  }
  sampler one { z ~ prior(); return z - velocity(z, t_max) }
  train { optimizer = sgd(lr = 1e-2); steps = 4; batch = 8 }
}
model other from base { backbone mlp(width = 8, depth = 2) }
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The projects of the three models, and the runs of the two that are no stages."""
    out = tmp_path_factory.mktemp("stages")
    (out / "s.spec").write_text(TEXT)
    checked = driver.check(out / "s.spec")
    assert not checked.failed, checked.diagnostics
    for name, program in checked.programs.items():
        driver.emit(program, "pytorch", out / f"project_{name}")
    for name in ("base", "other"):
        assert train(out, name, out / name).returncode == 0
    return out


def train(folder: Path, name: str, out: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return python("train.py", "--out", out, *arguments, cwd=folder / f"project_{name}")


def below(tensors: dict[str, np.ndarray], root: str) -> dict[str, np.ndarray]:
    return {k.removeprefix(f"{root}."): v for k, v in tensors.items() if k.startswith(f"{root}.")}


def equal(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def test_the_teacher_stays_and_the_student_leaves(folder: Path) -> None:
    done = train(folder, "student", folder / "student", "--parent", folder / "base")
    assert done.returncode == 0, done.stderr
    averaged = below(load_file(folder / "base" / "ema.safetensors"), "backbone")
    assert not equal(averaged, below(load_file(folder / "base" / "model.safetensors"), "backbone"))
    student = load_file(folder / "student" / "model.safetensors")
    assert equal(below(student, "teacher.backbone"), averaged)  # bit by bit, and the run has all that it needs
    assert below(student, "backbone").keys() == averaged.keys() and not equal(below(student, "backbone"), averaged)
    optimizer = load_file(folder / "student" / "optimizer.safetensors")
    assert not any(k.startswith(("teacher", "target")) for k in optimizer)


def test_the_average_follows_step_by_step(folder: Path) -> None:
    """target <- d target + (1 - d) backbone with d = 0.5 + 0.1 step, from target = backbone."""
    states = []
    for steps in (1, 2, 3):
        out = folder / f"student_{steps}"
        done = train(folder, "student", out, "--parent", folder / "base", "--stop-after", steps)
        assert done.returncode == 0, done.stderr
        states.append(load_file(out / "model.safetensors"))
    start = below(load_file(folder / "base" / "ema.safetensors"), "backbone")
    expected = start
    for step, state in enumerate(states):
        decay = 0.5 + 0.1 * step
        expected = {k: decay * v + (1 - decay) * below(state, "backbone")[k] for k, v in expected.items()}
        for k, v in below(state, "target").items():
            np.testing.assert_allclose(v, expected[k], rtol=1e-5, atol=1e-7)
    assert not equal(below(states[2], "target"), below(states[2], "backbone"))


@pytest.mark.parametrize("given", [(), ("other",)], ids=["none", "foreign"])
def test_only_its_parent_is_a_parent(folder: Path, tmp_path: Path, given: tuple[str, ...]) -> None:
    arguments = ["--parent", *(folder / name for name in given)] if given else []
    done = train(folder, "student", tmp_path / "out", *arguments)
    assert done.returncode == 3
    wanted, foreign = (
        json.loads((folder / f"project_{n}" / "spec.lock.json").read_text())["digest"] for n in ("base", "other")
    )
    assert wanted in done.stderr and "Traceback" not in done.stderr
    assert (foreign in done.stderr) == bool(given)
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_it_resumes_without_its_parent(folder: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(folder, "student", whole, "--parent", folder / "base")
    train(folder, "student", parts, "--parent", folder / "base", "--stop-after", 2)
    done = train(folder, "student", parts, "--resume")
    assert done.returncode == 0, done.stderr
    assert equal(load_file(whole / "model.safetensors"), load_file(parts / "model.safetensors"))


def test_the_code_reads_as_written_by_hand(folder: Path) -> None:
    project = folder / "project_student"
    assert 'self.teacher = nn.ModuleDict({"backbone": Mlp()}).requires_grad_(False)' in (project / "model.py").read_text()
    assert "self.target = Mlp().requires_grad_(False)" in (project / "model.py").read_text()
    objective = (project / "objective.py").read_text()
    assert "model.teacher.backbone(z, t)" in objective and "model.target(z, t)" in objective
    command = [sys.executable, "-m", "ruff", "format", "--check", "--line-length", "128", str(project)]
    formatted = subprocess.run(command, capture_output=True, text=True)
    assert formatted.returncode == 0, formatted.stdout
