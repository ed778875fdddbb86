"""Certificates find what is wrong with a file, and say so."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx_programs as made
import pytest
from specc.backends.onnx.export import export

from specc import driver
from specc.passes.batch import batch
from specc.runtime.certificate import certify, gap
from specc.runtime.ort import InputError, load


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


def test_a_query_of_groups_is_run_and_judged_in_whole_groups(tmp_path) -> None:
    spec = tmp_path / "s.spec"
    query = "query spread { g = batch.groups(4); return sum(g.join(x)) - sum(x) }"
    spec.write_text(f"specc 1\nmodel m {{\n  data x: vector(2) from moons\n  {query}\n}}\n")
    (p,) = driver.check(spec).programs.values()
    export(batch(p), "spread", {}, tmp_path / "a.onnx")
    x = np.arange(16.0).reshape(8, 2)
    found = certify(p, batch(p), "spread", {}, tmp_path / "a.onnx", examples=7, conditions={"x": x})
    assert found.passes and found.examples == 8 and found.batch_equal
    model = load(tmp_path / "a.onnx")
    parts = [part["x_out"] for part in model.batches({"x": x.astype(np.float32)}, 8, 3, ["x_out"])]
    np.testing.assert_allclose(np.concatenate(parts), np.repeat([28, 92], 4) - x.sum(axis=1))
    with pytest.raises(InputError, match="groups of 4"):
        model.feeds(np.arange(6), {"x": x[:6]})
