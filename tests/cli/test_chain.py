"""`specc train` of a file with stages: a chain of runs, one stage of it, and parents that are not its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

Specc = Callable[..., Result]
TEXT = """specc 1
model base {
  data x: vector(2) from moons
  process linear
  backbone mlp(width = 8, depth = 1)
  predict velocity
  sampler euler(steps = 4)
  train { steps = 2; batch = 8 }
}
stage half for n in [2, 1] from base {
  teacher = frozen(parent)
  loss imitation { minimize mean((velocity(x, 0.5) - n * teacher.velocity(x, 0.5))^2) }
  sampler euler(steps = n)
}
model alone from base { backbone mlp(width = 4, depth = 1) }
"""


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stages") / "s.spec"
    path.write_text(TEXT)
    return path


def digest(run: Path) -> str:
    return json.loads((run / "spec.lock.json").read_text())["digest"]


def test_a_chain_is_trained_in_order_and_goes_on_where_it_was(specc: Specc, spec: Path) -> None:
    runs = spec.parent / "runs"
    result = specc("train", spec, "-o", runs)
    assert result.exit_code == 0, result.stderr
    assert sorted(p.name for p in runs.iterdir()) == ["base", "half_1", "half_2"]  # and no model that no stage starts from
    before = (runs / "half_1" / "model.safetensors").read_bytes()
    assert specc("train", spec, "-o", runs, "--resume").exit_code == 0
    assert (runs / "half_1" / "model.safetensors").read_bytes() == before
    assert specc("export", runs / "half_1", "-o", spec.parent / "half.onnx").exit_code == 0


def test_one_stage_finds_its_parent_beside_it_or_where_it_is_told(specc: Specc, spec: Path, tmp_path: Path) -> None:
    assert specc("train", spec, "--model", "base", "-o", tmp_path / "base").exit_code == 0
    assert specc("train", spec, "--model", "half_2", "-o", tmp_path / "half_2").exit_code == 0
    away = tmp_path / "away" / "again"
    assert specc("train", spec, "--model", "half_2", "-o", away, "--parent", tmp_path / "base").exit_code == 0


def test_a_foreign_parent_is_refused_with_both_hashes(specc: Specc, spec: Path, tmp_path: Path) -> None:
    for name in ("base", "alone"):
        assert specc("train", spec, "--model", name, "-o", tmp_path / name).exit_code == 0
    result = specc("train", spec, "--model", "half_2", "-o", tmp_path / "x" / "half_2", "--parent", tmp_path / "alone")
    assert result.exit_code == 3
    assert digest(tmp_path / "base")[:12] in result.stderr and digest(tmp_path / "alone")[:12] in result.stderr
    missing = specc("train", spec, "--model", "half_1", "-o", tmp_path / "half_1")
    assert missing.exit_code == 3 and "half_2" in missing.stderr


def test_parents_where_there_are_none_are_wrong_usage(specc: Specc, spec: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    for arguments in (("--model", "alone"), ()):
        result = specc("train", spec, *arguments, "-o", tmp_path / "out", "--parent", tmp_path / "run")
        assert result.exit_code == 2, result.stderr


DRAWN = (
    TEXT.split("stage half")[0]
    + """stage drawn from base {
  teacher = frozen(base)
  dataset pairs = generate(teacher.euler, n = 16, keep = [noise, sample])
  data x: vector(2) from pairs
  field noise: vector(2)
  coupling stored { pair(x, e) = (x, noise) }
}
"""
)


def test_a_stage_draws_its_data_and_refuses_others_with_both_hashes(
    specc: Specc, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path, draws = tmp_path / "s.spec", tmp_path / "runs" / "drawn" / "pairs.npz"
    path.write_text(DRAWN)
    assert specc("train", path, "-o", tmp_path / "runs").exit_code == 0
    with np.load(draws) as archive:
        arrays = {name: archive[name] for name in archive.files}
    assert arrays["x"].shape == arrays["noise"].shape == (16, 2)
    own = str(arrays["sha256"])
    np.savez(draws, **(arrays | {"sha256": np.array("0" * 64)}))
    capfd.readouterr()
    assert specc("train", path, "--model", "drawn", "-o", tmp_path / "runs" / "drawn").exit_code == 3
    said = capfd.readouterr().err
    assert "0" * 64 in said
    assert own in said


def test_a_chain_that_is_asked_to_stop_begins_nothing_more(spec: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "specc.cli.main", "train", str(spec), "-o", str(tmp_path / "runs"), "--steps", "1000000"]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    log = tmp_path / "runs" / "base" / "log.csv"
    while running.poll() is None and (not log.exists() or len(log.read_text().splitlines()) < 2):
        time.sleep(0.1)
    running.send_signal(signal.SIGTERM)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 0 and "--resume goes on" in said
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == ["base"]
    assert (tmp_path / "runs" / "base" / "state.json").exists()
