"""A run from its spec to samples, a file, a certificate and a report, as a person would go; two steps are enough."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import specc

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

SPEC = """\
specc 1
model points {
  data x: vector(2) from eight_gaussians
  process linear
  backbone mlp(width = 8, depth = 2)
  predict velocity
  sampler fast = euler(steps = 3)
  sampler slow = euler(steps = 5)
  train { optimizer = adam(lr = 1e-3); steps = 4; batch = 16; ema = 0.9; picture_every = 0 }
  evaluate { nfe <= 3; energy_distance <= 1e6; sliced_wasserstein; straightness >= 0; path_length_ratio(slow) >= 0.999 }
}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    spec = folder / "points.spec"
    spec.write_text(SPEC)
    result = specc("train", spec, "-o", folder / "run", "--steps", 2, "--seed", 5)
    assert result.returncode == 0, result.stderr
    last = json.loads(result.stdout.strip().split("\n")[-1])
    assert last["steps"] == 2 and "examples_per_second" in last
    spec.unlink()  # a run knows its spec
    return folder / "run"


def test_a_run_keeps_its_spec_and_its_project(run: Path) -> None:
    assert (run / "spec.spec").read_text() == SPEC
    assert json.loads((run / "spec.lock.json").read_text())["name"] == "points"
    assert (run / "project" / "train.py").exists()


def test_resuming_goes_on(run: Path) -> None:
    result = specc("train", run / "spec.spec", "-o", run, "--steps", 3, "--resume")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout.strip().split("\n")[-1])["steps"] == 3


def test_resuming_with_another_spec_is_refused_with_both_hashes(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.spec"
    other.write_text(SPEC.replace("width = 8", "width = 9"))
    before = (run / "spec.spec").read_text()
    result = specc("train", other, "-o", run, "--resume")
    assert result.returncode == 3
    assert json.loads((run / "spec.lock.json").read_text())["digest"][:12] in result.stderr
    assert "hash" in result.stderr and str(other) in result.stderr
    assert (run / "spec.spec").read_text() == before


def test_the_file_gives_the_samples_of_the_run(run: Path, tmp_path: Path) -> None:
    result = specc("export", run, "--sampler", "fast", "-o", tmp_path / "fast.onnx")
    assert result.returncode == 0, result.stderr
    assert "passes (tolerance" in result.stdout
    certificate = json.loads((tmp_path / "fast.certificate.json").read_text())
    assert certificate["passes"] and len(certificate["comparisons"]) >= 3
    for source, args in (("run", (run, "--sampler", "fast")), ("file", (tmp_path / "fast.onnx",))):
        drawn = specc("sample", *args, "-n", 5, "--seed", 2, "-o", tmp_path / f"{source}.npz")
        assert drawn.returncode == 0, drawn.stderr
    a, b = (np.load(tmp_path / f"{source}.npz")["x"] for source in ("run", "file"))
    assert a.shape == (5, 2)
    np.testing.assert_allclose(a, b, atol=1e-5)
    picture = specc("sample", tmp_path / "fast.onnx", "-n", 5, "-o", tmp_path / "x.png")
    assert picture.returncode == 0, picture.stderr
    assert (tmp_path / "x.png").read_bytes()[:4] == b"\x89PNG"


def test_exporting_imports_no_torch(run: Path, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom specc.cli.main import run\n"
        f"code = run(['export', {str(run)!r}, '--sampler', 'slow', '-o', {str(tmp_path / 'slow.onnx')!r}])\n"
        "assert 'torch' not in sys.modules\nsys.exit(code)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_evaluating_reports_and_holds_bounds(run: Path) -> None:
    result = specc("evaluate", run, "--sampler", "fast", "-n", 50, "--json")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["samples"] == 50
    assert report["metrics"]["nfe"] == 3 and report["metrics"]["sliced_wasserstein"] > 0
    assert report["metrics"]["straightness"] > 0 and report["metrics"]["path_length_ratio(slow)"] > 1
    result = specc("evaluate", run, "--sampler", "slow", "-n", 50)
    assert result.returncode == 3
    assert "nfe" in result.stderr and "DOES NOT HOLD" in result.stdout


def test_wrong_names_are_wrong_usage(run: Path, tmp_path: Path) -> None:
    assert specc("sample", run, "--sampler", "quick", "-o", tmp_path / "x.npz").returncode == 2
    several = specc("export", run, "-o", tmp_path / "x.onnx")
    assert several.returncode == 2 and "fast, slow" in several.stderr
    unknown = specc("export", run, "--sampler", "fast", "--quantize", "w4", "-o", tmp_path / "x.onnx")
    assert unknown.returncode == 2 and "no `quantize` section `w4`" in unknown.stderr


def test_a_changed_program_or_a_broken_checkpoint_is_refused(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("program.json", "spec.lock.json", "state.json", "ema.safetensors"):
        (copy / name).write_bytes((run / name).read_bytes())
    (copy / "ema.safetensors").write_bytes(b"not safetensors")
    broken = specc("export", copy, "--sampler", "fast", "-o", tmp_path / "x.onnx")
    assert broken.returncode == 3 and "cannot be read" in broken.stderr
    lock = json.loads((run / "spec.lock.json").read_text())
    (copy / "spec.lock.json").write_text(json.dumps(lock | {"digest": "0" * 64}))
    changed = specc("export", copy, "--sampler", "fast", "-o", tmp_path / "x.onnx")
    assert changed.returncode == 3 and lock["digest"][:12] in changed.stderr and "0" * 12 in changed.stderr
    (copy / "program.json").write_text("{}")
    assert specc("export", copy, "--sampler", "fast", "-o", tmp_path / "x.onnx").returncode == 3
    (copy / "spec.lock.json").write_text("{")
    assert specc("sample", copy, "-o", tmp_path / "x.npz").returncode == 3
