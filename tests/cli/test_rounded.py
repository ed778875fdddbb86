"""`specc export` of a model that was trained with rounded numbers, and of one whose weights are rounded by a method."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SPEC = """specc 1
model tokens {
  data x: tokens(8, 5) from markov
  backbone transformer(dim = 8, depth = 1, heads = 2, causal = true)
  loss next_token
  sampler ancestral = ancestral_ar
  query token_nll
  train { steps = 3; batch = 8; save_every = 3 }
  quantize made { weights = int4(axis = channel, method = gptq, outliers = 1); calibrate = token_nll; keep = [embedding] }
  quantize few { weights = ternary; activations = int8(dynamic = true); cache = int4; keep = [last, embedding]; train = qat }
}
"""


def specc(*args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "specc.cli.main", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rounded")
    (folder / "tokens.spec").write_text(SPEC)
    done = specc("train", folder / "tokens.spec", "-o", folder / "run")
    assert done.returncode == 0, done.stderr
    return folder / "run"


def test_the_formats_of_training_are_those_of_the_file(run: Path, tmp_path: Path) -> None:
    """Unless others are named; the certificate compares with the rounded model in PyTorch and in the reference."""
    out = tmp_path / "tokens.onnx"
    done = specc("export", run, "--query", "token_nll", "-o", out)
    assert done.returncode == 0, done.stderr
    report = json.loads(out.with_suffix(".quantization.json").read_text())
    assert report["name"] == "few" and report["sample_error"] < 1e-4
    assert any(r["format"].startswith("ternary by tensor") for r in report["layers"])


def test_a_method_looks_at_a_query_on_training_examples(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "tokens.onnx"
    done = specc("export", run, "--sampler", "ancestral", "--quantize", "made", "-o", out)
    assert done.returncode == 0, done.stderr
    rows = json.loads(out.with_suffix(".quantization.json").read_text())["layers"]
    assert any(r["format"] == "int4 by channel, gptq, 1 columns in float" for r in rows)
