"""`specc export` of a model that was trained with rounded numbers, and of one whose weights are rounded by a method."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import specc, trained

SPEC = """specc 1
model tokens {
  data x: tokens(8, 5) from markov
  backbone transformer(dim = 8, depth = 1, heads = 2, causal = true)
  loss next_token
  sampler ancestral
  query token_nll
  train { steps = 3; batch = 8; save_every = 3 }
  quantize made { weights = int4(axis = channel, method = gptq, outliers = 1); calibrate = token_nll; keep = [embedding] }
  quantize few {
    weights = ternary; activations = int8(dynamic = true); cache = int4; keep = [last, embedding]; train = qat
    rule attention { activations = int8(dynamic = true) }
  }
}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("rounded"), SPEC)


def test_the_formats_of_training_are_those_of_the_file(run: Path, tmp_path: Path) -> None:
    """Unless others are named; the certificate compares with the rounded model in PyTorch and in the reference."""
    out = tmp_path / "tokens.onnx"
    done = specc("export", run, "--query", "token_nll", "-o", out)
    assert done.returncode == 0, done.stderr
    report = json.loads(out.with_suffix(".quantization.json").read_text())
    assert report["name"] == "few" and report["sample_error"] < 1e-4
    assert any(r["format"].startswith("ternary by tensor") for r in report["layers"])
    assert [r["format"] for r in report["layers"] if r["kind"] == "attention"] == ["dynamic int8 activations"]


def test_a_sampler_of_the_rounded_model_keeps_its_caches_rounded(run: Path, tmp_path: Path) -> None:
    """PyTorch keeps floats of the same numbers; the certificate finds the same tokens."""
    out = tmp_path / "tokens.onnx"
    done = specc("export", run, "--sampler", "ancestral", "-o", out)
    assert done.returncode == 0, done.stderr
    caches = json.loads(out.with_suffix(".quantization.json").read_text())["caches"]
    assert [(c["format"], c["bytes_before"], c["bytes_after"]) for c in caches] == [("int4", 32, 2 * (2 + 4))] * 2


def test_a_method_looks_at_a_query_on_training_examples(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "tokens.onnx"
    done = specc("export", run, "--sampler", "ancestral", "--quantize", "made", "-o", out)
    assert done.returncode == 0, done.stderr
    rows = json.loads(out.with_suffix(".quantization.json").read_text())["layers"]
    assert any(r["format"] == "int4 by channel, gptq, 1 columns in float" for r in rows)
