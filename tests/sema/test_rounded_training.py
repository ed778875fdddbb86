"""`quantize ... { train = qat }`: what the program of a model that is trained with rounded numbers computes."""

from __future__ import annotations

import numpy as np
import pytest
from specc.backends.onnx.calibrate import Calibration
from specc.backends.onnx.export import export

from specc import driver
from specc.ir.ops import Op
from specc.ir.paths import parameters
from specc.ir.program import Program, walk
from specc.ir.rounded import unrounded
from specc.ir.verify import verify
from specc.reference.interpret import run
from specc.reference.rounding import round_to
from specc.runtime import ort
from specc.sema import elaborate
from specc.source import Source
from specc.syntax.parser import parse

BASE = """specc 1
# Tokens.
model base {
  data x: tokens(8, 5) from markov
  backbone transformer(dim = 8, depth = 2, heads = 2, causal = true)
  loss next_token
  sampler ancestral
  query token_nll
}
"""
STAGE = """stage small from base {
  teacher = frozen(base)
  loss distil { minimize mean((logits(x) - stop(teacher.logits(x)))^2) }
  sampler ancestral
  query token_nll
  query both { return stack([teacher.logits(x), logits(x)]) }
  quantize q { RULES; train = qat }
}
"""


def made(rules: str) -> tuple[Program, Program]:
    """The float model, and the one that is trained with these rules."""
    source = Source("base.spec", BASE + STAGE.replace("RULES", rules))
    file, mistakes = parse(source)
    found = elaborate(file, source)
    assert not mistakes and not found.diagnostics, found.diagnostics
    return found.programs["base"], verify(found.programs["small"])


def numbers(program: Program, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = parameters(program.functions, program.networks)
    return {path: (0.5 * rng.normal(size=shape)).astype(np.float32) for path, shape in shapes.items()}


def tokens(n: int = 3) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 5, size=(n, 8))


def test_weights_are_rounded_and_those_of_the_teacher_are_not():
    """The model with rounded weights is the float model with weights that were rounded before."""
    base, small = made("weights = int3(axis = channel); keep = [last, embedding]")
    weights = numbers(small)
    before = {k: v for k, v in weights.items() if k.startswith("backbone.")}
    after = {
        k: round_to(v, format="int3", axes=(1,)) if ".transformer_block." in k and v.ndim == 2 else v for k, v in before.items()
    }
    teacher = {k.removeprefix("teacher."): v for k, v in weights.items() if k.startswith("teacher.")}

    def logits(weights):
        entry = next(name for name, e in base.entries.items() if e.role == "query")
        return run(base, entry, {"x": tokens()}, weights)[0]

    (got,) = run(small, "token_nll", {"x": tokens()}, weights)
    np.testing.assert_allclose(got, logits(after), rtol=1e-6)
    assert np.abs(logits(before) - logits(after)).max() > 1e-3
    theirs, ours = np.moveaxis(run(small, "both", {"x": tokens()}, weights)[0], 1, 0)
    same = run(small, "both", {"x": tokens()}, weights | {f"backbone.{k.partition('.')[2]}": v for k, v in teacher.items()})[0]
    np.testing.assert_array_equal(np.moveaxis(same, 1, 0)[0], theirs)
    assert np.abs(np.moveaxis(same, 1, 0)[1] - theirs).max() > 1e-3
    assert ours.shape == theirs.shape


def test_blocks_that_are_rounded_differently():
    """Turns of a `repeat` with rules of their own are written out; the paths of parameters stay."""
    base, small = made('rule "*.transformer_block.1.*" { weights = int4(axis = channel) }')
    rounding = {f.name for f in small.functions.values() if any(n.op is Op.ROUND_TO for n in walk(f.block))}
    assert rounding and parameters(small.functions, {"backbone": small.networks["backbone"]}) == parameters(
        base.functions, base.networks
    )
    (repeats,) = ([n for n in walk(small.functions[small.networks["teacher.backbone"]].block) if n.op is Op.REPEAT],)
    assert len(repeats) == 1
    assert not [n for n in walk(small.functions[small.networks["backbone"]].block) if n.op is Op.REPEAT]


@pytest.mark.parametrize(
    "rules",
    [
        "weights = int4(axis = channel)",
        "weights = ternary; keep = [last, embedding]",
        "weights = int4(block = 4, affine = true); activations = int8(dynamic = true)",
        "weights = int3; activations = int4(dynamic = true, affine = true); cache = int4; keep = [last, embedding]",
        "weights = mxfp4; activations = mxfp6_e3m2",
        "weights = fp8_e4m3(axis = tensor); cache = int8(affine = true)",
        "weights = mxfp6_e3m2; activations = mxfp6_e3m2; gradients = mxfp6_e3m2",
        "weights = int4; rule attention { activations = int8(dynamic = true) }",
        "weights = mxfp4; rule attention { activations = int8(dynamic = true, block = 3, affine = true) }; cache = int4",
    ],
)
def test_every_form_of_the_model_is_one(rules, tmp_path):
    """Reference, its graph, the graph as a file, and the file with packed weights."""
    _, small = made(rules)
    weights, x, graph = numbers(small), tokens(), driver.prepare(small)
    (wanted,) = run(small, "token_nll", {"x": x}, weights)
    on = Calibration(examples=3, conditions={"x": x})
    export(graph, "token_nll", weights, tmp_path / "open.onnx")
    report = export(graph, "token_nll", weights, tmp_path / "packed.onnx", quantization=small.quantize[0], calibration=on)
    for name in ("open", "packed"):
        loaded = ort.load(tmp_path / f"{name}.onnx", threads=1)
        np.testing.assert_allclose(loaded.run({"x": x})[loaded.outputs[0]], wanted, rtol=1e-4, err_msg=name)
    (loose,) = run(unrounded(small), "token_nll", {"x": x}, weights)
    assert np.abs(loose - wanted).max() > 1e-4
    assert report.quantization.sample_error < 1e-4
    assert report.quantization.coverage > 0.7


def test_the_identity_of_a_model_knows_its_rounding():
    digests = {made(f"weights = int{bits}(axis = channel)")[1].digest for bits in (3, 4)}
    assert len(digests) == 2


def test_products_of_attention():
    """Queries and keys by rows, values by places, so that no place knows of a later one, and what softmax gives; of the model
    that is trained alone. A sampler keeps what is rounded."""
    _, small = made("weights = int8; rule attention { activations = int4(dynamic = true) }; cache = int8")
    asked = [(f, n) for f in small.functions.values() for n in walk(f.block) if n.op is Op.ATTENTION]
    assert {n.get("format") for _, n in asked} == {None, "int4"}
    ((f, node),) = ((f, n) for f, n in asked if n.get("format"))
    rounds = {n.out.id: n for n in walk(f.block) if n.op is Op.ROUND_TO}
    q, k, v = (rounds[x.id] for x in node.inputs)
    assert [tuple(n["axes"]) for n in (q, k, v)] == [(-1,)] * 3
    assert [rounds[n.inputs[0].id]["format"] for n in (k, v)] == ["int8"] * 2 and q.inputs[0].id not in rounds
    weights, x = numbers(small), tokens()
    later = x.copy()
    later[:, -1] = (later[:, -1] + 1) % 5
    first, second = (run(small, "both", {"x": v}, weights)[0] for v in (x, later))
    np.testing.assert_array_equal(first[:, :, :-1], second[:, :, :-1])
    graph = driver.prepare(small)
    assert "transformer.step" in " ".join(graph.functions)


def test_products_of_matrices(tmp_path):
    """`@` of two activations, along what it sums over, in the program and in its file."""
    text = """specc 1
network mixed(v: tokens(8, 5)) -> tensor { w = embedding(v, 8); return linear(w @ transpose(w) @ w, 5) }
model pairs {
  data x: tokens(8, 5) from markov
  network net = mixed
  loss next { minimize mean(net(x)^2) }
  query all { return net(x) }
  quantize q { rule matmul { activations = int8(dynamic = true) }; train = qat }
}
"""
    source = Source("pairs.spec", text)
    found = elaborate(parse(source)[0], source)
    assert not found.diagnostics, found.diagnostics
    (program,) = found.programs.values()
    weights, x, graph = numbers(program), tokens(), driver.prepare(program)
    (wanted,) = run(program, "all", {"x": x}, weights)
    w = weights["net.embedding.weight"][x]

    def both(a, b):
        return round_to(a, format="int8", axes=(-1,)) @ round_to(b, format="int8", axes=(-2,))

    rows = both(both(w, np.swapaxes(w, 1, 2)), w)
    np.testing.assert_allclose(wanted, rows @ weights["net.linear.weight"].T + weights["net.linear.bias"], rtol=1e-4)
    on = Calibration(examples=3, conditions={"x": x})
    report = export(graph, "all", weights, tmp_path / "q.onnx", quantization=program.quantize[0], calibration=on).quantization
    loaded = ort.load(tmp_path / "q.onnx", threads=1)
    np.testing.assert_allclose(loaded.run({"x": x})[loaded.outputs[0]], wanted, rtol=1e-4, atol=1e-5)
    assert {r.format for r in report.layers if r.kind == "matmul"} == {"dynamic int8 activations"}
