"""What quantised layers compute, by format and target, against the same program on rounded weights and operands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from specc.backends.onnx.calibrate import Calibration
from specc.backends.onnx.export import export
from specc.backends.onnx.write import initial

from specc import driver
from specc.ir.coding import as_matrix, encode, from_matrix, rounded
from specc.ir.dataflow import layers
from specc.ir.formats import FORMATS
from specc.ir.ops import Op
from specc.ir.program import Program, Quantization, QuantizeRule, Setting
from specc.runtime.ort import load

# Every kind of layer, with sizes that fill neither bytes nor blocks: an embedding, convolutions up and down, attention
# with a mask.
EVERY = """specc 1
model m {
  data x: tokens(6, 11) from markov
  network f(z: tokens(n, vocab)) -> sequence(6, 11) {
    h = embedding(z, 44)
    h = conv_transpose(conv(h, 10, kernel = 3), 6, kernel = 3, stride = 1)
    h = h + attention(h, heads = 2, causal = true)
    return linear(h, 11)
  }
  query y { return f(x) }
}
"""


def compiled(text: str, folder: Path) -> tuple[Program, dict[str, np.ndarray]]:
    path = folder / "m.spec"
    path.write_text(text)
    checked = driver.check(path)
    assert not checked.failed, [d.message for d in checked.diagnostics]
    program = next(iter(checked.programs.values()))
    return driver.prepare(program), initial(program)


ROWS = """specc 1
model m {
  data x: sequence(9, 40) from npy("x.npy")
  network f(z: sequence(n, d)) -> sequence(9, 24) { return linear(z, 24, bias = false) }
  network g(z: sequence(n, d)) -> sequence(7, 40) { return conv(z, 7, kernel = 3, bias = false) }
  network a(z: sequence(n, d)) -> like(z) {
    q, k, v = split(z, 3, axis = 0)
    return concat(q @ transpose(k) @ v, k, v, axis = 0)
  }
  query by_rows { return f(x) }
  query by_places { return g(x) }
  query product { return a(x) }
}
"""
TOKENS = {"x": np.arange(12).reshape(2, 6) % 11}
NUMBERS = {"x": np.random.default_rng(1).standard_normal((2, 9, 40)).astype(np.float32)}
DYNAMIC = [name for name, row in FORMATS.items() if "dynamic" in row.activations]


def quantised(p: Program, w: dict, entry: str, path: Path, target: str, *rules: QuantizeRule, given=TOKENS):
    """The file's answer and the report."""
    known = Calibration(examples=2, conditions=given)
    made = Quantization(name="q", rules=rules)
    report = export(p, entry, w, path, quantization=made, calibration=known, target=target)
    onnx.checker.check_model(str(path), full_check=True)
    model = load(path)
    return next(iter(model.run(model.feeds(np.arange(2), given)).values())), report.quantization


def far(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(np.float64(a) - b) / np.linalg.norm(b))


def used(path: Path, folder: Path) -> set[str]:
    """The ops that the runtime really runs, after its own rewriting."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return {n.op_type for n in onnx.load(folder / "optimised.onnx").graph.node}


@pytest.mark.parametrize("target", ["cpu", "web"])
@pytest.mark.parametrize("name", FORMATS)
def test_a_file_computes_what_its_rounded_weights_would(name: str, target: str, tmp_path: Path) -> None:
    p, w = compiled(EVERY, tmp_path)
    weights = Setting(name)
    got, report = quantised(p, w, "y", tmp_path / "q.onnx", target, QuantizeRule(match="*", weights=weights))
    row = FORMATS[name]
    rounding = {}
    for layer in layers(p, "y"):
        if layer.shape:
            turned = layer.op is Op.CONV_TRANSPOSE
            values = encode(as_matrix(w[layer.path], turned), name, row.weights[0]).values()
            rounding[layer.path] = from_matrix(values, layer.shape, turned)
    export(p, "y", w | rounding, tmp_path / "f.onnx")
    model = load(tmp_path / "f.onnx")
    wanted = next(iter(model.run(model.feeds(np.arange(2), TOKENS)).values()))
    packed = any("packed blocks" in r.runs for r in report.layers)
    assert packed == (row.kernel(target) == "blocks")
    assert far(got, wanted) < (0.02 if packed else 1e-5)
    assert {r.format == "kept" for r in report.layers} == {False, True}  # products of activations stay as they are
    assert all(r.format != "kept" for r in report.layers if r.bytes_before)


@pytest.mark.parametrize("name", [n for n, row in FORMATS.items() if row.affine])
def test_affine_weights(name: str, tmp_path: Path) -> None:
    p, w = compiled(EVERY, tmp_path)
    w = {k: v + 0.1 if v.ndim > 1 else v for k, v in w.items()}
    rule = QuantizeRule(match="*", weights=Setting(name, (("block", 16), ("affine", True))))
    rounding = {}
    for layer in layers(p, "y"):
        if layer.shape:
            turned = layer.op is Op.CONV_TRANSPOSE
            values = encode(as_matrix(w[layer.path], turned), name, "block", 16, affine=True).values()
            rounding[layer.path] = from_matrix(values, layer.shape, turned)
    export(p, "y", w | rounding, tmp_path / "f.onnx")
    model = load(tmp_path / "f.onnx")
    wanted = next(iter(model.run(model.feeds(np.arange(2), TOKENS)).values()))
    for target, bound in (("cpu", 0.02), ("web", 1e-5)):
        got, _ = quantised(p, w, "y", tmp_path / "q.onnx", target, rule)
        assert far(got, wanted) < bound


@pytest.mark.parametrize("name", DYNAMIC)
def test_operands_are_rounded_by_their_own_values(name: str, tmp_path: Path) -> None:
    """The numbers of `specc.ir.coding.rounded`, along what the product sums over; blocks of 32 of 40 leave a rest."""
    p, w = compiled(ROWS, tmp_path)
    x = NUMBERS["x"]
    dynamic = Setting(name, (("dynamic", True),))
    rule = QuantizeRule(match="*", weights=Setting("int8"), activations=dynamic)

    def weight(path: str) -> np.ndarray:
        return from_matrix(encode(as_matrix(w[path]), "int8", "channel").values(), w[path].shape)

    got, report = quantised(p, w, "by_rows", tmp_path / "q.onnx", "cpu", rule, given=NUMBERS)
    assert far(got, rounded(x, name) @ weight("f.linear.weight").T) < 1e-5
    assert [r.runs for r in report.layers] == ["integer kernel" if name == "int8" else "float, operand rounded by standard ops"]
    assert ("no kernel" in str(report)) == (name != "int8")
    got, _ = quantised(p, w, "by_places", tmp_path / "q.onnx", "cpu", rule, given=NUMBERS)
    padded = np.pad(rounded(x, name, axis=1), ((0, 0), (0, 0), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, 3, axis=2)
    assert far(got, np.einsum("bcik,ock->boi", windows, weight("g.conv.weight"))) < 1e-5
    rule = QuantizeRule(match="matmul", activations=dynamic)
    got, _ = quantised(p, w, "product", tmp_path / "q.onnx", "cpu", rule, given=NUMBERS)
    q, k, v = np.split(x, 3, axis=1)
    scores = rounded(q, name) @ rounded(k.transpose(0, 2, 1), name, axis=-2)
    assert far(got[:, :3], rounded(scores, name) @ rounded(v, name, axis=-2)) < 1e-5


def test_attention_in_integers(tmp_path: Path) -> None:
    """Queries, keys, values and the weights between them on 8 bits, by the runtime's integer products."""
    p, w = compiled(EVERY, tmp_path)
    w = {k: v * 3 if "attention" in k else v for k, v in w.items()}
    export(p, "y", w, tmp_path / "f.onnx")
    model = load(tmp_path / "f.onnx")
    wanted = next(iter(model.run(model.feeds(np.arange(2), TOKENS)).values()))
    rule = QuantizeRule(match="attention", activations=Setting("int8"))
    got, report = quantised(p, w, "y", tmp_path / "q.onnx", "cpu", rule)
    assert 1e-4 < far(got, wanted) < 0.03
    (row,) = (r for r in report.layers if r.kind == "attention")
    assert (row.format, row.runs) == ("int8 activations", "integer kernel")
    ops = used(tmp_path / "q.onnx", tmp_path)
    assert ops & {"MatMulIntegerToFloat", "QLinearMatMul"} and "Attention" not in ops


@pytest.mark.parametrize("how", ["static", "dynamic"])
def test_int8_layers_run_on_integers(how: str, tmp_path: Path) -> None:
    p, w = compiled(EVERY, tmp_path)
    rule = QuantizeRule(match="*", weights=Setting("int8"), activations=Setting("int8", (("dynamic", how == "dynamic"),)))
    _, report = quantised(p, w, "y", tmp_path / "q.onnx", "cpu", rule)
    integer = {r.kind for r in report.layers if r.runs == "integer kernel"}
    assert integer == ({"linear", "conv"} if how == "static" else {"linear"})
    ops = used(tmp_path / "q.onnx", tmp_path)
    assert ops & {"MatMulIntegerToFloat", "MatMulInteger", "QLinearMatMul"}
    assert ("QLinearConv" in ops) == (how == "static")
    _, report = quantised(p, w, "y", tmp_path / "q.onnx", "cuda", rule)
    assert not any(r.runs == "integer kernel" for r in report.layers)
    assert "no kernel on cuda" in str(report)


@pytest.mark.parametrize(
    ("name", "share"), [("ternary", 0.1), ("mxfp4", 0.15), ("mxfp6_e2m3", 0.21), ("int3", 0.14), ("int8", 0.27)]
)
def test_files_are_as_small_as_their_codes(name: str, share: float, tmp_path: Path) -> None:
    p, w = compiled(EVERY.replace("44", "512").replace("linear(h, 11)", "linear(linear(h, 512), 11)"), tmp_path)
    whole = export(p, "y", w, tmp_path / "f.onnx").file_bytes
    _, report = quantised(p, w, "y", tmp_path / "q.onnx", "web", QuantizeRule(match="*", weights=Setting(name)))
    assert report.file_bytes < share * whole
    assert report.size_ratio < share
    assert report.bytes_before == sum(v.nbytes for v in w.values())
    assert sum(r.bytes_after for r in report.layers) + report.others == report.bytes_after


def test_blocks_are_no_wider_than_they_must_be(tmp_path: Path) -> None:
    """One scale a row of 44: a block of 64 codes, and not of 128."""
    p, w = compiled(EVERY, tmp_path)
    how = QuantizeRule(match="linear", weights=Setting("int8", (("axis", "channel"),)))
    _, report = quantised(p, w, "y", tmp_path / "q.onnx", "cpu", how)
    (packed,) = (r for r in report.layers if "packed blocks" in r.runs and r.bytes_before == 4 * 11 * 44)
    assert packed.bytes_after == 11 * (64 + 4)


def test_the_note_of_an_emulation_names_the_kind(tmp_path: Path) -> None:
    """Linear layers with operands rounded by rows have an integer kernel where convolutions have none."""
    p, w = compiled(EVERY, tmp_path)
    dynamic = Setting("int8", (("dynamic", True),))
    _, report = quantised(
        p, w, "y", tmp_path / "q.onnx", "cpu", QuantizeRule(match="*", weights=Setting("int8"), activations=dynamic)
    )
    assert {r.kind for r in report.layers if r.runs == "integer kernel"} == {"linear"}
    (note,) = (n for n in report.notes if "no kernel on cpu" in n)
    assert "conv in int8" in note and "linear in" not in note


def test_rules_of_kinds_and_what_is_kept(tmp_path: Path) -> None:
    text = EVERY.replace(
        "query y", "quantize q { weights = int4; keep = [last]; rule embedding { weights = mxfp6_e3m2 } }\n  query y"
    )
    p, w = compiled(text, tmp_path)
    report = export(
        p, "y", w, tmp_path / "q.onnx", quantization=p.quantize[0], calibration=Calibration(examples=2, conditions=TOKENS)
    )
    kinds = {r.path: (r.rule, r.format) for r in report.quantization.layers}
    assert kinds["f.embedding.weight"] == ("embedding", "mxfp6_e3m2 by block of 32")
    assert kinds["f.linear.weight"] == ("last", "kept")
    assert kinds["f.conv.weight"][0] == "*"
    assert "products of two activations are in float" in str(report.quantization)
    assert report.quantization.kinds() == {
        "embedding": (1, 1),
        "conv": (1, 1),
        "conv_transpose": (1, 1),
        "linear": (2, 3),
        "attention": (0, 1),
    }
