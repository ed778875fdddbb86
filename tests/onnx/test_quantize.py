"""The quantiser: formats, rules, what is written, and how far it is from the float sampler."""

from __future__ import annotations

import math

import numpy as np
import onnx
import onnx_programs as made
import pytest
from specc.backends.onnx.calibrate import Calibration
from specc.backends.onnx.export import export
from specc.backends.onnx.packed import EMULATED, EXPANDED

from specc.diagnostics import SpecError
from specc.ir.coding import activation_range, as_matrix, encode, from_matrix
from specc.ir.dataflow import layers
from specc.ir.formats import TARGETS
from specc.ir.program import Quantization, QuantizeRule, Setting
from specc.passes.batch import batch
from specc.runtime.certificate import certify
from specc.runtime.ort import load
from specc.runtime.quantization import Judged

INT8 = Setting(name="int8", options=(("axis", "channel"),))
INT4 = Setting(name="int4", options=(("block", 32),))
ROUNDED = Setting(name="int8", options=(("calibrate", 8),))
KEEP = tuple(QuantizeRule(match=word) for word in ("first", "last", "clock"))
FEW = Calibration(examples=8)


def rules(*more: QuantizeRule, keep: bool = True) -> Quantization:
    return Quantization(name="q", rules=(*(KEEP if keep else ()), *more))


W8A8 = rules(QuantizeRule(match="*", weights=INT8, activations=ROUNDED))


def dit():
    p = batch(made.dit_sampler(4, d=64, depth=2, heads=4, size=8))
    return p, made.weights(p)


def unet():
    p = batch(made.unet_sampler(4, width=16, size=8))
    return p, made.weights(p)


def test_a_range_holds_zero_exactly() -> None:
    for low, high in ((-1.0, 3.0), (0.5, 2.0), (-4.0, -1.0), (0.0, 0.0)):
        scale, zero = activation_range(low, high)
        ends = (np.array([0, 255]) - float(zero)) * scale
        assert ends[0] <= min(low, 0) + scale and ends[1] >= max(high, 0) - scale
        assert 0 <= zero <= 255


def test_layers_and_where_they_stand() -> None:
    p, _ = dit()
    found = {layer.path: layer for layer in layers(p, "euler")}
    by = {word: {path for path, layer in found.items() if layer.is_a(word)} for word in ("first", "last", "clock")}
    assert by["first"] == {"backbone.embed.weight"}
    assert by["last"] == {"backbone.out.weight"}
    assert by["clock"] == {"backbone.clock.0.weight", "backbone.clock.1.weight"}
    assert len(found) == 4 + 2 * 6  # attention among them


@pytest.mark.parametrize("make", [dit, unet])
def test_int8_runs_on_integers_and_stays_close(make, tmp_path) -> None:
    p, w = make()
    report = export(p, "euler", w, tmp_path / "q.onnx", quantization=W8A8)
    onnx.checker.check_model(str(tmp_path / "q.onnx"), full_check=True)
    q = report.quantization
    assert q.sample_error < 0.03
    assert len(q.calls) == 4 and max(c.norm for c in q.calls) < 0.06
    assert [c.time for c in q.calls] == [1, 0.75, 0.5, 0.25]
    assert q.coverage > 0.8
    assert {r.path for r in q.layers if r.format == "kept"} >= {f"backbone.{n}.weight" for n in ("clock.0", "clock.1")}
    assert report.file_bytes < 0.6 * sum(a.nbytes for a in w.values()) + 60_000
    model = load(tmp_path / "q.onnx")
    assert np.array_equal(model.sample(5), model.sample(5, batch=2))
    assert "kept" in str(q)


@pytest.mark.parametrize("weights", [INT4, INT8, Setting(name="int4"), Setting(name="int4", options=(("axis", "channel"),))])
@pytest.mark.parametrize("make", [dit, unet])
def test_weights_alone_are_exact(make, weights: Setting, tmp_path) -> None:
    """The file computes what a float network with the rounded weights would (adaLN and time layers: nearly)."""
    p, w = make()
    report = export(p, "euler", w, tmp_path / "q.onnx", quantization=rules(QuantizeRule(match="*", weights=weights)))
    onnx.checker.check_model(str(tmp_path / "q.onnx"), full_check=True)
    rounded = dict(w)
    for row in report.quantization.layers:
        if row.format != "kept":
            kind, granularity = row.format.split(" by ")
            values = encode(as_matrix(w[row.path]), kind, granularity.split()[0], 32).values()
            rounded[row.path] = from_matrix(values, w[row.path].shape)
    export(p, "euler", rounded, tmp_path / "f.onnx")
    got, wanted = load(tmp_path / "q.onnx").sample(4), load(tmp_path / "f.onnx").sample(4)
    assert np.linalg.norm(got - wanted) < 0.01 * np.linalg.norm(wanted)


def test_weights_that_several_graphs_use(tmp_path) -> None:
    """A network called in a loop and after it: blocks of 4 bits are stored once all the same."""
    from specc.ir.ops import Op
    from specc.ir.program import Builder, Entry, Function, Ids

    ids = Ids()
    net = made.mlp(ids, width=40)
    f = made.euler(net, ids, (2,), 3)
    b = Builder(ids, params=list(f.block.params), nodes=list(f.block.nodes))
    last = f.block.results[0]
    t = b.add(Op.SPREAD, made.number(b, 0.0), last)
    out = b.add(Op.CALL, last, t, function=net.name, bundle="backbone", types=(last.type,))
    g = Function(name="euler", kind="entry", block=b.block(out))
    inputs = made.sampler().entries["euler"].inputs
    p = batch(made.program((net, g), net, (Entry(name="euler", role="sampler", function="euler", inputs=inputs),), (2,)))
    w = made.weights(p)
    report = export(p, "euler", w, tmp_path / "q.onnx", quantization=rules(QuantizeRule(match="*.mid.*", weights=INT4)))
    assert report.quantization.sample_error < 0.2
    assert len(report.quantization.calls) == 4


def test_the_first_rule_wins(tmp_path) -> None:
    p, w = dit()
    q = rules(
        QuantizeRule(match="*.block.0.*"), QuantizeRule(match="*.qkv.*", weights=INT4), QuantizeRule(match="*", weights=INT8)
    )
    report = export(p, "euler", w, tmp_path / "q.onnx", quantization=q, calibration=FEW)
    formats = {r.path: r.format for r in report.quantization.layers}
    assert formats["backbone.block.0.qkv.weight"] == "kept"
    assert formats["backbone.block.1.qkv.weight"] == "int4 by block of 32"
    assert formats["backbone.block.1.up.weight"] == "int8 by channel"


@pytest.mark.parametrize(
    ("quantization", "message"),
    [
        (rules(QuantizeRule(match="*.nothing.*", weights=INT8)), r"the rule '\*.nothing.\*' of `q` matches no weight"),
        (rules(QuantizeRule(match="*.mid.*")), "`q` quantises nothing"),
        (rules(QuantizeRule(match="*", weights=Setting(name="int5"))), "int5 is no format of weights"),
        (
            rules(QuantizeRule(match="*", weights=INT8, activations=Setting(name="ternary"))),
            "ternary is no format of activations",
        ),
        (rules(QuantizeRule(match="*", weights=Setting(name="int4", options=(("method", "obq"),)))), "no method 'obq'"),
        (rules(QuantizeRule(match="*", weights=Setting(name="int8", options=(("axis", "row"),)))), "no scale by row"),
    ],
)
def test_rules_that_do_not_fit(quantization: Quantization, message: str, tmp_path) -> None:
    p = batch(made.sampler(2))
    with pytest.raises(SpecError, match=message):
        export(p, "euler", made.weights(p), tmp_path / "q.onnx", quantization=quantization)
    assert not (tmp_path / "q.onnx").exists()


def test_the_certificate_of_a_quantised_file_goes_by_norm(tmp_path) -> None:
    p = made.sampler(4)
    w = made.weights(p)
    export(batch(p), "euler", w, tmp_path / "q.onnx", quantization=W8A8)
    found = certify(p, batch(p), "euler", w, tmp_path / "q.onnx")
    assert found.quantization == "q" and found.passes
    assert found.comparisons[0].steps == ()
    assert 1e-5 < found.error(found.comparisons[0]) < 0.05


@pytest.mark.parametrize("target", TARGETS)
def test_the_report_names_each_emulation(target: str, tmp_path) -> None:
    """By the row of the layer, and by a note on the target: operands that standard ops round, weights that become floats."""
    p, w = dit()
    how = rules(
        QuantizeRule(match="attention", activations=Setting("fp8_e4m3")),
        QuantizeRule(match="clock", weights=INT8, activations=ROUNDED),
        QuantizeRule(match="last", weights=Setting("mxfp4"), activations=Setting("mxfp8_e4m3")),
        QuantizeRule(match="*", weights=Setting("int3")),
        keep=False,
    )
    report = export(p, "euler", w, tmp_path / "q.onnx", quantization=how, calibration=FEW, target=target).quantization
    emulated = {r.format for r in report.layers if r.runs == EMULATED}
    opened = {r.format for r in report.layers if r.runs == EXPANDED}
    assert "fp8_e4m3 activations" in emulated and opened
    assert any("int8 activations" in f for f in emulated) == (target == "cuda")
    for formats, said in ((emulated, f"no kernel on {target} for"), (opened, f"on {target} weights in")):
        (note,) = (n for n in report.notes if said in n)
        assert all(f in note for f in formats) and note in str(report)


def test_a_ratio_of_what_was_no_distance() -> None:
    """Unbiased distances may be below 0: the quotient of two of them would pass any bound from above."""
    assert [Judged(metric="mmd", before=b, after=a).ratio for b, a in ((2, 3), (-1, 5), (0, 0), (-1, -2))] == [
        1.5,
        math.inf,
        1,
        1,
    ]
