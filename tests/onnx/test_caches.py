"""Caches in the format that they are rounded to: loops carry codes and scales, and samples are those of rounded numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from specc.backends.onnx import caches
from specc.backends.onnx.export import export
from specc.backends.onnx.quantize import plan
from test_attention import round_of, some

from specc import driver
from specc.ir.program import Program, Quantization, QuantizeRule, Setting
from specc.ir.rounded import rounded
from specc.reference import interpret
from specc.runtime import ort

SPEC = """specc 1
# Rows of digits, each a step from the one before.
model rows {
  data x: image(1, 8, 8) from digits
  represent c: sequence(8, 8) { encode(x) = reshape(x, 8, 8); decode(c) = reshape(c, 1, 8, 8) }
  backbone transformer(dim = 24, depth = 2, heads = 2, causal = true, out = 8)
  loss next { minimize mean((backbone(x) - x)^2) }
  sampler walk {
    z = zeros(like = x)
    for i in 0..7 {
      e ~ normal(like = vector(8))
      z = put(z, i, backbone(z)[i] + 0.3 * e)
    }
    return z
  }
}
"""
FORMATS = {
    "int8": (),
    "int4": (("block", 5), ("affine", True)),
    "int3": (("block", 8),),
    "fp8_e5m2": (),
    "mxfp6_e3m2": (),
    "mxint8": (),
}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    spec = tmp_path_factory.mktemp("rows") / "rows.spec"
    spec.write_text(SPEC)
    checked = driver.check(spec)
    assert not checked.diagnostics, checked.diagnostics
    return checked.programs["rows"]


def keeps(name: str, options: tuple[tuple[str, object], ...] = ()) -> Quantization:
    rules = (
        QuantizeRule(match="attention", cache=Setting(name, options)),
        QuantizeRule(match="linear", weights=Setting("int8")),
    )
    return Quantization(name="q", rules=rules)


def sampled(file: Path, n: int = 4) -> np.ndarray:
    model = ort.load(file, threads=1)
    return model.run(model.feeds(ort.example_seeds(0, n)), ["x"])["x"]


@pytest.mark.parametrize("name", FORMATS)
def test_a_loop_carries_codes(name: str, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit the samples of a file that carries rounded floats; and those of the program, which asks for sequences."""
    weights, how = some(program), keeps(name, FORMATS[name])
    array = plan(driver.prepare(program), "walk", weights, how).program
    export(array, "walk", weights, tmp_path / "codes.onnx")
    onnx.checker.check_model(str(tmp_path / "codes.onnx"), full_check=True)
    carried = [v.type.tensor_type for v in round_of(tmp_path / "codes.onnx").input]
    grow = [t for t in carried if any(not d.HasField("dim_value") and not d.dim_param for d in t.shape.dim)]
    row_bytes = sum((4 if t.elem_type == TensorProto.FLOAT else 1) * t.shape.dim[-1].dim_value for t in grow)
    assert row_bytes == 4 * next(iter(caches.caches(array, _loop(array)).values())).row_bytes < 4 * 4 * 12
    with monkeypatch.context() as patch:
        patch.setattr(caches, "caches", lambda program, block: {})
        export(array, "walk", weights, tmp_path / "floats.onnx")
    np.testing.assert_array_equal(sampled(tmp_path / "codes.onnx"), sampled(tmp_path / "floats.onnx"))
    whole = rounded(program, Quantization(name="q", rules=how.rules[:1]))
    (want,) = interpret.run(whole, "walk", {"seed": ort.example_seeds(0, 4)}, weights)
    np.testing.assert_allclose(sampled(tmp_path / "codes.onnx"), want, rtol=0, atol=1e-4 * np.abs(want).max())


def _loop(array: Program):
    (loop,) = (n for n in array.functions[array.entries["walk"].function].block.nodes if n.regions)
    return loop.regions[0]


def test_the_report_counts_their_bytes(program: Program, tmp_path: Path) -> None:
    """Keys and values of two blocks, two heads of 12 numbers each: 8 bits and a scale, or 4 bits."""
    array, weights = driver.prepare(program), some(program)
    found = {}
    for name in ("int8", "int4"):
        report = export(array, "walk", weights, tmp_path / "q.onnx", quantization=keeps(name)).quantization
        assert {(c.format, c.bytes_before) for c in report.caches} == {(name, 96)} and len(report.caches) == 4
        assert not any("caches hold floats" in note for note in report.notes)
        found[name] = report
    assert [sum(c.bytes_after for c in r.caches) for r in found.values()] == [4 * 2 * (12 + 4), 4 * 2 * (6 + 4)]
    assert f"caches in int8: {4 * 2 * 16} bytes a place of an example, {4 * 96} in float" in str(found["int8"])
    assert 0 < found["int8"].sample_error < found["int4"].sample_error


@pytest.mark.parametrize("name, options", [("int8", {"dynamic": True}), ("int4", {"block": 3}), ("mxfp8_e4m3", {})])
def test_products_over_caches_are_rounded(name: str, options: dict[str, object], program: Program, tmp_path: Path) -> None:
    """A sampler that keeps caches rounds queries, keys, values and weights as the whole sequence would, in blocks too."""
    weights, setting = some(program), Setting(name, tuple(options.items()))
    how = Quantization(name="q", rules=(QuantizeRule(match="attention", activations=setting),))
    export(driver.prepare(program), "walk", weights, tmp_path / "q.onnx", quantization=how)
    (want,) = interpret.run(rounded(program, how), "walk", {"seed": ort.example_seeds(0, 4)}, weights)
    np.testing.assert_allclose(sampled(tmp_path / "q.onnx"), want, rtol=0, atol=1e-4 * np.abs(want).max())
    (plain,) = interpret.run(program, "walk", {"seed": ort.example_seeds(0, 4)}, weights)
    assert np.abs(plain - want).max() > 1e-3 * np.abs(want).max()
