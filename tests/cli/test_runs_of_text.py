"""A run on a text: its symbols stay with it, samples are lines, and a query of the spec is measured."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import command_line
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

SPEC = """\
specc 1
model letters {
  data x: tokens(8, 6) from text("corpus.txt")
  process masking
  backbone mlp(width = 8, depth = 2)
  predict logits
  loss masked_elbo
  sampler ancestral(steps = 3)
  query elbo(steps = 4)
  train { steps = 2; batch = 16 }
  evaluate { elbo <= 1e6; bigram_tv; nfe == 3 }
}
"""


def specc(folder: Path, *args: object) -> subprocess.CompletedProcess[str]:
    done = command_line.specc(*args, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("text")
    (made / "letters.spec").write_text(SPEC)
    (made / "corpus.txt").write_text("a rose is a rose is a rose\n" * 40)
    specc(made, "train", "letters.spec", "-o", "run")
    return made


def test_the_symbols_stay_with_the_run(folder: Path) -> None:
    assert (folder / "run" / "symbols.txt").read_text() == " aeors"  # the six commonest


def test_samples_are_lines_in_both_backends(folder: Path) -> None:
    specc(folder, "sample", "run", "-n", 3, "--seed", 2, "-o", "torch.txt")
    specc(folder, "export", "run", "-o", "letters.onnx")
    specc(folder, "sample", "letters.onnx", "-n", 3, "--seed", 2, "-o", "onnx.txt")
    specc(folder, "sample", "letters.onnx", "-n", 3, "--seed", 2, "-o", "onnx.npz")
    lines = (folder / "torch.txt").read_text().splitlines()
    assert [len(line) for line in lines] == [8, 8, 8] and set("".join(lines)) <= set(" aeors")
    assert (folder / "onnx.txt").read_text().splitlines() == lines
    x = np.load(folder / "onnx.npz")["x"]
    assert x.dtype == np.int64 and ["".join(" aeors"[i] for i in row) for row in x] == lines


def test_a_query_is_measured_on_held_out_text(folder: Path) -> None:
    report = json.loads(specc(folder, "evaluate", "run", "-n", 20, "--json").stdout)
    assert 0 < report["metrics"]["elbo"] < 100 and report["metrics"]["nfe"] == 3
    rows = {row["metric"]: row for row in report["rows"]}
    assert rows["elbo"]["holds"] is True and 0 <= report["metrics"]["bigram_tv"] <= 1
