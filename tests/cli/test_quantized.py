"""`specc export --quantize` as a person uses it: the report beside the file, targets, and bounds that fail the export."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import specc, trained

from specc.cli.export import TARGETS
from specc.ir import formats

SPEC = """specc 1
model small {
  data x: image(1, 8, 8) in [-1, 1] from digits
  condition y: class(10)
  process linear
  backbone unet(width = 8, levels = 2)
  predict velocity
  loss mse
  sampler fast = euler(steps = 4)
  train { steps = 3; batch = 16; save_every = 3 }
  quantize w8a8 {
    weights = int8(axis = channel); activations = int8(calibrate = 16); keep = [first, last, clock]
    require pca_frechet_ratio <= 3
  }
  quantize nothing { weights = int8; rule attention { activations = int8 } }
  quantize coarse { weights = int2(axis = tensor); require sample_error <= 0.001; require size_ratio < 1 }
}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("quantized"), SPEC)


def test_targets_are_those_of_the_table() -> None:
    assert TARGETS == formats.TARGETS


def test_the_report_lies_beside_the_file(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.onnx"
    done = specc("export", run, "-o", out, "--quantize", "w8a8", "--for", "web", "--samples", 64, "--examples", 2)
    assert done.returncode == 0, done.stderr
    report = json.loads(out.with_suffix(".quantization.json").read_text())
    assert report["name"] == "w8a8" and report["target"] == "web"
    assert 0 < report["sample_error"] < 0.2 and len(report["calls"]) == 4
    assert report["size_ratio"] < 1 and report["speed"]["after"] > 0
    (judged,) = (m for m in report["metrics"] if m["metric"] == "pca_frechet")
    assert judged["ratio"] == judged["after"] / judged["before"] and judged["before"] > 0
    assert {r["runs"] for r in report["layers"]} >= {"integer kernel", "float"}
    page = out.with_suffix(".quantization.html").read_text()
    assert page.count("data:image/png;base64,") == 2  # float and quantised, side by side
    assert "http" not in page.replace("http-equiv", "") and "pca_frechet" in page
    assert all(r["path"] in page for r in report["layers"])
    assert f"pca_frechet: {judged['before']:.4g} before" in done.stderr


def test_a_rule_that_meets_no_layer_is_shown_at_its_place(run: Path, tmp_path: Path) -> None:
    """That a network has no attention shows when its file is made."""
    done = specc("export", run, "-o", tmp_path / "x.onnx", "--quantize", "nothing")
    assert done.returncode == 1, done.stderr
    assert "error[E0602]: the rule 'attention' of `nothing` matches no weight" in done.stderr
    assert "quantize nothing {" in done.stderr and "help: the layers of this entry have paths such as" in done.stderr


def test_a_bound_that_does_not_hold_fails_the_export_at_its_place(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.onnx"
    done = specc("export", run, "-o", out, "--quantize", "coarse", "--samples", 0, "--examples", 2)
    assert done.returncode == 3
    assert "error[E0606]: `sample_error` is" in done.stderr and "requires <= 0.001" in done.stderr
    line = next(i for i, text in enumerate(SPEC.splitlines(), 1) if "quantize coarse" in text)
    assert f"spec.spec:{line}:" in done.stderr and "require sample_error <= 0.001" in done.stderr
    assert done.stderr.count("error[E0606]") == 1  # the other bound holds
    assert not out.exists() and out.with_suffix(".quantization.html").exists()


def test_a_bound_that_was_not_measured_does_not_hold(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.onnx"
    done = specc("export", run, "-o", out, "--quantize", "w8a8", "--samples", 0, "--examples", 2)
    assert done.returncode == 3 and not out.exists()
    assert "error[E0606]: `pca_frechet_ratio` was not measured" in done.stderr and "help: it is judged" in done.stderr
    assert "--samples 256" in done.stderr
