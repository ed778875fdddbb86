"""A run whose data come from a Python file beside the spec: it is trained, measured, exported and resumed like any other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from command_line import specc

from specc.cli.main import cli

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

SPEC = """\
specc 1
reader mine(shift = 0.5) -> vector(2) = extern("my_data.py:load") { field y: class(2) }
model points {
  data x: vector(2) from mine(shift = 0.25)
  condition y: class(2)
  condition low = 2 * x
  process linear
  backbone mlp(width = 8, depth = 1)
  predict velocity
  sampler fast { z ~ prior(); return low + velocity(z, t_max) }
  train { steps = 2; batch = 8; picture_every = 0 }
  quantize w8a8 { weights = int8; activations = int8(calibrate = 8) }
  evaluate { energy_distance }
}
"""
PYTHON = """\
import numpy as np


def load(split, shift):
    open("reads.txt", "a").write(f"{split}\\n")
    rng = np.random.default_rng(split == "test")
    y = rng.integers(2, size=40)
    return {"x": rng.normal(size=(40, 2)) + shift * y[:, None], "y": y}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    (folder / "points.spec").write_text(SPEC)
    (folder / "my_data.py").write_text(PYTHON)
    done = specc("train", "points.spec", "-o", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.strip().split("\n")[-1])["steps"] == 2
    return folder / "run"


def reads(folder: Path) -> list[str]:
    """The splits that the reader was asked for."""
    file = folder / "reads.txt"
    return file.read_text().split() if file.exists() else []


def test_training_reads_and_keeps_the_file(run: Path) -> None:
    assert reads(run.parent)[0] == "train"
    assert (run / "my_data.py").read_text() == PYTHON == (run / "project" / "my_data.py").read_text()


def test_only_what_needs_data_runs_the_file(run: Path, tmp_path: Path) -> None:
    for command in (
        ("check", run / "spec.spec"),
        ("compile", run / "spec.spec", "-o", tmp_path / "project"),
        ("dump", run / "spec.spec"),
        ("fmt", "--check", run / "spec.spec"),
    ):
        done = specc(*command, cwd=tmp_path)
        assert done.returncode == 0, (command, done.stderr)
    assert reads(tmp_path) == []
    drawn = specc("sample", run, "-n", 3, "--seed", 1, "-o", "x.npz", cwd=tmp_path)  # from conditions of held-out examples
    assert drawn.returncode == 0, drawn.stderr
    assert reads(tmp_path) == ["test"]
    assert np.load(tmp_path / "x.npz")["x"].shape == (3, 2)


def test_metrics_are_of_the_readers_examples(run: Path, tmp_path: Path) -> None:
    done = specc("evaluate", run, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["samples"] == 40
    assert {"train", "test"} <= set(reads(tmp_path))


def test_a_file_is_calibrated_and_certified(run: Path, tmp_path: Path) -> None:
    done = specc("export", run, "--quantize", "w8a8", "-o", tmp_path / "fast.onnx", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "fast.certificate.json").read_text())["passes"]
    assert reads(tmp_path)


def test_what_goes_wrong_in_the_file_is_said_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "points.spec").write_text(SPEC)
    (tmp_path / "my_data.py").write_text(PYTHON.replace("size=40)", "size={}[split])"))
    done = specc("train", "points.spec", "-o", "run", cwd=tmp_path)
    assert done.returncode == 3
    assert "error: my_data.py:7: KeyError: 'train' at `y = rng.integers(2, size={}[split])`" in done.stderr


def test_resuming_says_that_the_file_has_changed(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    again = ("train", "points.spec", "-o", "run", "--resume", "--steps")
    with monkeypatch.context() as here:
        here.chdir(run.parent)
        here.setattr("specc.cli.train.python", lambda *_, **__: False)  # all but the training itself
        same = CliRunner().invoke(cli, [*again, "3"], catch_exceptions=False)
    assert same.exit_code == 0 and "warning" not in same.stderr, same.stderr
    (run.parent / "my_data.py").write_text(PYTHON.replace("40", "50"))
    other = specc(*again, 3, cwd=run.parent)
    assert other.returncode == 0 and "warning: my_data.py is not as run was trained with it" in other.stderr, other.stderr
    assert (run / "project" / "my_data.py").read_text() == PYTHON.replace("40", "50")
    (run.parent / "my_data.py").unlink()
    gone = specc(*again, 4, cwd=run.parent)
    assert gone.returncode == 1 and "E0313" in gone.stderr
