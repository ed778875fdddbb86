"""Certificates find what is wrong with a file, and say so."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx_programs as made
from specc.backends.onnx.export import export

from specc.passes.batch import batch
from specc.runtime.certificate import certify, gap
from specc.runtime.ort import load


def test_a_good_file_passes(tmp_path) -> None:
    p = made.sampler(6, noise=0.2)
    w = made.weights(p)
    export(batch(p), "euler", w, tmp_path / "a.onnx")
    other = load(tmp_path / "a.onnx")
    found = certify(p, batch(p), "euler", w, tmp_path / "a.onnx", torch=lambda feeds: other.run(feeds)["x"])
    assert found.passes and found.batch_equal and found.checker == "passes"
    assert found.nfe == 6 and found.nfe_ran is None
    assert [c.names for c in found.comparisons] == [
        ("ONNX Runtime", "reference"),
        ("PyTorch", "reference"),
        ("ONNX Runtime", "PyTorch"),
    ]
    assert len(found.comparisons[0].steps) == 6
    assert all(s.relative < 1e-6 for s in found.comparisons[0].steps)
    assert found.comparisons[2].final.equal == 1
    found.save(tmp_path / "a.json")
    kept = json.loads((tmp_path / "a.json").read_text())
    assert kept["passes"] and kept["digest"] == p.digest
    assert "passes (tolerance 0.0001)" in found.text()


def test_other_weights_or_another_spec_fail(tmp_path) -> None:
    p = made.sampler(6)
    w = made.weights(p)
    export(batch(p), "euler", made.weights(p, seed=1), tmp_path / "a.onnx")
    found = certify(p, batch(p), "euler", w, tmp_path / "a.onnx")
    assert not found.passes and "FAILS" in found.text()
    assert found.comparisons[0].steps[0].relative < 1e-6  # steps are exported from the weights given, not read from the file
    export(batch(p), "euler", w, tmp_path / "a.onnx")
    changed = replace(p, digest="1" * 64)
    assert not certify(changed, batch(changed), "euler", w, tmp_path / "a.onnx").passes


def test_gap() -> None:
    a, b = np.array([[1.0, 2.0], [3.0, 4.5]]), np.array([[1.0, 2.0], [3.0, 4.0]])
    found = gap(a, b)
    assert (found.largest, found.equal) == (0.5, 0.75)
    np.testing.assert_allclose([found.relative, found.norm], [0.5 / np.sqrt(7.5), 0.5 / np.sqrt(30)])
