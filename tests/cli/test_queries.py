"""A run that answers questions: queries exported with certificates of their own, and bits per dimension."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import specc, trained

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

SPEC = """\
specc 1
model grey {
  data x: image(1, 8, 8) levels 17 in [-1, 1] from digits |> dequantize(uniform)
  bijection f = chain(squeeze(2), actnorm)
  loss nll
  sampler inverse
  query nll
  query between(x, other: image(1, 8, 8)) { return sum((f(x)[0] - f(other)[0])^2) }
  train { steps = 1; batch = 64; picture_every = 0 }
  evaluate { bits_per_dim(nll) >= 0 }
}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("queries"), SPEC)


@pytest.mark.parametrize("query", ["nll", "between"])
def test_a_query_is_certified_on_held_out_examples(run: Path, tmp_path: Path, query: str) -> None:
    result = specc("export", run, "--query", query, "-o", tmp_path / "query.onnx", "--json")
    assert result.returncode == 0, result.stderr
    said = json.loads(result.stdout)
    assert [c["names"] for c in said["comparisons"]][1] == ["PyTorch", "reference"]


def test_a_query_that_is_not_there(run: Path, tmp_path: Path) -> None:
    result = specc("export", run, "--query", "inverse", "-o", tmp_path / "query.onnx")
    assert result.returncode == 2
    assert "no query `inverse`; there are nll, between" in result.stderr


def test_bits_per_dimension_count_the_levels(run: Path) -> None:
    """Of a flow that shifts and scales each quarter of the places: those of a normal with their mean and variance."""
    from specc.runtime.readers.digits import load

    result = specc("evaluate", run, "--json", "-n", 16)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)["metrics"]["bits_per_dim"]
    fields = [load(split)["x"] * 16 + np.random.default_rng(0).random(load(split)["x"].shape) for split in ("train", "test")]
    parts = [x[:, 0, i::2, j::2] for x in fields for i in (0, 1) for j in (0, 1)]
    bits = [
        np.log2(t.std()) + ((s - t.mean()) ** 2).mean() / t.var() / 2 / np.log(2)
        for t, s in zip(parts[:4], parts[4:], strict=True)
    ]
    assert found == pytest.approx(np.mean(bits) + np.log2(2 * np.pi) / 2, abs=0.1)  # from one batch, moved once
