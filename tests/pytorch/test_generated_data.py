"""Data that an earlier stage's sampler draws: made once, known by the hash of what they depend on, and refused otherwise."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import tools
from projects import handlers, imported
from safetensors.numpy import load_file, save_file
from specc.backends.onnx.write import initial

from specc import driver
from specc.cli.examples import examples
from specc.cli.runs import Run
from specc.reference.interpret import run

TEXT = """specc 1
model flow {
  data x: vector(2) from moons
  condition y: class(2) with { drop = 0.1 }
  process linear
  backbone mlp(width = 8, depth = 1)
  predict velocity
  guidance cfg(scale = 1.5)
  sampler fast = euler(steps = 4)
}
stage straight from flow {
  teacher = frozen(flow)
  dataset pairs = generate(teacher.fast(steps = 3), n = 40, keep = [noise, sample])
  data x: vector(2) from pairs
  field noise: vector(2)
  coupling stored { pair(x, e) = (x, noise) }
  train { optimizer = adam(lr = 1e-3); steps = 2; batch = 8 }
}
"""


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("generated") / "s.spec"
    path.write_text(TEXT)
    return str(path)


@pytest.fixture
def parent(spec: str, tmp_path: Path) -> Path:
    """A run of the parent before its first step."""
    return a_run(spec, tmp_path / "flow", seed=0)


def a_run(spec: str, folder: Path, seed: int) -> Path:
    folder.mkdir()
    program = tools.model(spec, "flow")
    save_file(initial(program, seed), folder / "model.safetensors")
    (folder / "state.json").write_text(json.dumps({"step": 0, "digest": program.digest}))
    return folder


def trained(spec: str, out: Path, parent: Path, monkeypatch: pytest.MonkeyPatch, *more: str) -> int:
    """Two steps of the stage in `out`, whose project is in it as `specc train` has it; the exit code."""
    driver.emit(tools.model(spec, "straight"), "pytorch", out / "project")
    options = ["--out", str(out), "--device", "cpu", "--picture-every", "0", *(more or ("--parent", str(parent)))]
    with imported(out / "project"), handlers():
        sys.modules.pop("train", None)
        monkeypatch.setattr(sys, "argv", ["train.py", *options])
        code: int = importlib.import_module("train").main()
        sys.modules.pop("train", None)
    return code


def test_draws_are_the_parents(spec: str, parent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "straight"
    assert trained(spec, out, parent, monkeypatch) == 0
    with np.load(out / "pairs.npz") as archive:
        drawn = {name: archive[name] for name in archive.files}
    assert drawn.keys() == {"x", "noise", "y", "sha256"}
    assert (drawn["y"] == np.arange(40) % 2).all()
    given = {"seed": np.arange(40), "y": drawn["y"]}
    three = tools.variant(tmp_path, spec, "model three from base.flow { sampler fast = euler(steps = 3) }\n")
    wanted = run(tools.graph(three, "three"), "fast", given, load_file(parent / "model.safetensors"))[0]
    np.testing.assert_allclose(drawn["x"], wanted, atol=1e-4)
    assert abs(np.mean(drawn["noise"] ** 2) - 1) < 0.5
    found = [examples(Run(out), split, 0, np.random.default_rng(0)) for split in ("train", "test")]
    assert [len(f["x"]) for f in found] == [36, 4]
    np.testing.assert_array_equal(np.concatenate([f["noise"] for f in found]), drawn["noise"])


def test_draws_are_made_once(spec: str, parent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "straight"
    assert trained(spec, out, parent, monkeypatch) == 0
    before = (out / "pairs.npz").stat().st_mtime_ns
    assert trained(spec, out, parent, monkeypatch) == 0
    assert trained(spec, out, parent, monkeypatch, "--resume", "--steps", "3") == 0
    assert (out / "pairs.npz").stat().st_mtime_ns == before


def test_other_draws_are_refused(
    spec: str, parent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a parent with other weights, and a file of something else: with both hashes, and nothing is overwritten."""
    out = tmp_path / "straight"
    assert trained(spec, out, parent, monkeypatch) == 0
    with np.load(out / "pairs.npz") as archive:
        before = str(archive["sha256"])
    capsys.readouterr()
    assert trained(spec, out, a_run(spec, tmp_path / "again", seed=1), monkeypatch) == 3
    said = capsys.readouterr().err
    with np.load(out / "pairs.npz") as archive:
        assert str(archive["sha256"]) == before
    assert f"its sha256 is {before}, and this training needs " in said
    needed = said.split("this training needs ")[1].split(";")[0]
    assert len(needed) == 64
    assert needed != before
    (out / "pairs.npz").write_bytes(b"nothing")
    assert trained(spec, out, parent, monkeypatch) == 3
    assert "is no file of draws" in capsys.readouterr().err
