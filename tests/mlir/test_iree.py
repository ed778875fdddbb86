"""Whole samplers by IREE: what specc sample draws from a compiled file is what it draws from the ONNX file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from small import small
from specc.backends.mlir import sampler
from specc.backends.onnx.calibrate import Calibration
from specc.backends.onnx.export import export
from specc.backends.onnx.write import initial

from specc import driver
from specc.cli.main import cli
from specc.ir.program import Program
from specc.runtime.certificate import certify
from specc.runtime.ort import load

SAMPLERS = (
    "sampler stochastic = ddpm(steps = 6)",
    "sampler told = ddim(steps = input(5), eta = 1)",
    "sampler computed(n = input(4)) { z ~ normal(like = x); for k in 0..2 * n { e ~ normal(like = x); z = z + e }; return z }",
    """sampler stopped(least = input(3)) {
    z ~ normal(like = x)
    n = 0
    while n < least limit 5 { for k in 0..2 { u ~ uniform(like = x); z = 0.9 * z - log(u) }; n = n + 1 }
    return z
  }""",
    """sampler matched {
    z ~ normal(like = x)
    e ~ normal(like = x)
    return batch.take(e, batch.assign(batch.cost(z, e, sqdist)))
  }""",
)
ROUNDED = {
    "int4": "weights = int4(block = 32)",
    "ternary": "weights = ternary",
    "int8": "weights = int8(axis = channel); activations = int8(calibrate = 16)",
    "mixed": "weights = mxfp4; activations = int8(dynamic = true); rule embedding { weights = int8 }",
}
SPECS = Path(__file__).parents[2] / "specs"
PASSES = [  # the subset that goes through IREE in this lane
    *("flow/ot_cfm.spec", "flow/flow_matching.spec", "diffusion/edm.spec", "adversarial/cgan.spec", "adversarial/wgan_gp.spec"),
    *("adversarial/conditional_transport.spec", "energy/ebm_hitchhiker.spec", "likelihood/sparse_pc.spec"),
    "quantization/gptq.spec",  # with caches that grow
]


def specc(*args: object) -> Result:
    return CliRunner().invoke(cli, [str(a) for a in args], catch_exceptions=False)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    return driver.prepare(small(tmp_path_factory.mktemp("specs"), *SAMPLERS))


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """With more weights than other things in its files, and sections that round them."""
    sections = (f"quantize {name} {{ {rules} }}" for name, rules in ROUNDED.items())
    return driver.prepare(small(tmp_path_factory.mktemp("specs"), SAMPLERS[1], *sections, width=512))


@pytest.fixture
def iree() -> Callable[..., tuple[Path, ...]]:
    """Compiles a sampler; skips where the extra is not installed."""
    pytest.importorskip("iree.compiler", reason="pip install 'specc[iree]'")
    pytest.importorskip("iree.runtime", reason="pip install 'specc[iree]'")
    from specc.backends.mlir.iree import compile_sampler

    return compile_sampler


def test_draws_say_their_place_and_their_rounds(program: Program) -> None:
    first, second = sampler.draws(program, "stochastic")
    assert (first.kind, first.shape, first.rounds) == ("normal", (2,), ()) and second.rounds == (6,)
    assert [d.rounds for d in sampler.draws(program, "told")] == [(), ("steps",)]
    assert [len(sampler.draws(program, made)) for made in ("computed", "stopped")] == [1, 1]  # the others are of the graph


def test_the_graph_takes_the_numbers_of_the_generator(program: Program, tmp_path: Path) -> None:
    """Without IREE: ONNX Runtime on the graph for MLIR, fed as specc.runtime.iree feeds, gives the samples of the file.

    Some draws are made in it, in signed words, and a loop stops by its test or at its limit."""
    onnxruntime = pytest.importorskip("onnxruntime")
    from specc.runtime.iree import drawn

    weights = initial(program)
    every = (
        ("stochastic", {}),
        ("told", {"steps": 7}),
        ("computed", {"n": 3}),
        ("stopped", {"least": 2}),
        ("stopped", {"least": 9}),
    )
    for entry, told in every:
        export(program, entry, weights, tmp_path / "x.onnx")
        model = load(tmp_path / "x.onnx")
        feeds = model.feeds(np.arange(3, dtype=np.int64), arguments=told)
        made, known = sampler.graph(program, entry, weights)
        given = {**feeds, "scale": np.array(2.0, np.float32)}
        given |= {d["name"]: drawn(d, given) for d in known["draws"]}
        session = onnxruntime.InferenceSession(made.SerializeToString())
        (x,) = session.run(["x"], {name: given[name] for name in known["arguments"]})
        np.testing.assert_allclose(x, model.run(feeds, ["x"])["x"], rtol=1e-5, atol=1e-4)


def test_a_certificate_holds_another_way_to_run_against_the_reference(program: Program, tmp_path: Path) -> None:
    weights, file = initial(program), tmp_path / "told.onnx"
    export(program, "told", weights, file)
    example = small(tmp_path, *SAMPLERS)
    for off in (0.0, 1e3):
        others = {"IREE": lambda feeds, off=off: load(file).run(feeds, ["x"])["x"] + off}
        certificate = certify(example, program, "told", weights, file, others=others, examples=2)
        assert [c.names for c in certificate.comparisons if c.names[0] == "IREE"] == [("IREE", "reference")]
        assert certificate.passes == (off == 0)


def test_a_compiled_sampler_draws_as_the_onnx_file_does(
    program: Program, iree: Callable[..., tuple[Path, ...]], tmp_path: Path
) -> None:
    weights = initial(program)
    export(program, "told", weights, tmp_path / "told.onnx")
    file, beside, report = iree(program, "told", weights, tmp_path / "told.vmfb")
    assert json.loads(report.read_text())["lowered"] and json.loads(beside.read_text())["entry"] == "told"
    drawn = {}
    for name in ("told.onnx", "told.vmfb"):
        for batch in (2, 5):
            more = ("--seed", 4, "--set", "steps=7", "--set", "scale=3", "--batch", batch)
            done = specc("sample", tmp_path / name, "-n", 5, *more, "-o", tmp_path / "x.npz")
            assert done.exit_code == 0, done.stderr
            drawn[name, batch] = np.load(tmp_path / "x.npz")["x"]
    expected = drawn["told.onnx", 5]
    for x in drawn.values():
        np.testing.assert_allclose(x, expected, atol=1e-4 * np.abs(expected).max())
    beside.rename(tmp_path / "elsewhere.json")
    lost = specc("sample", file, "-o", tmp_path / "x.npz")
    assert lost.exit_code == 3 and "told.json" in lost.stderr and "keep both files" in lost.stderr
    file.write_bytes(b"no module")
    (tmp_path / "elsewhere.json").rename(beside)
    broken = specc("sample", file, "-o", tmp_path / "x.npz")
    assert broken.exit_code == 3 and "no compiled sampler" in broken.stderr


def test_what_lies_beside_a_compiled_file_is_not_taken_on_trust(tmp_path: Path) -> None:
    """It is checked before the file is opened."""
    pytest.importorskip("iree.runtime", reason="pip install 'specc[iree]'")
    row = {"role": "argument", "dtype": "int", "shape": [], "default": 3, "classes": None}
    seed = {"name": "seed", "role": "seed", "dtype": "int", "shape": ["B"], "default": None, "classes": None}
    draw = {"name": "noise_0", "place": 0, "kind": "normal", "shape": [2], "rounds": ["steps"]}
    good = {"entry": "s", "inputs": [seed, row | {"name": "steps"}], "draws": [draw], "results": ["x"]}
    good["arguments"] = ["seed", "steps", "noise_0"]
    for change, said in (
        ({}, "no compiled sampler"),  # which is what is wrong with the file itself
        ({"inputs": "seed"}, "describes its inputs"),
        ({"inputs": [{"name": "seed"}]}, "describes its inputs"),
        ({"draws": 3}, "has a `draws`"),
        ({"draws": [draw | {"kind": "cauchy"}]}, "has a `draws`"),
        ({"draws": [draw | {"shape": "x"}]}, "has a `draws`"),
        ({"draws": [draw | {"rounds": ["other"]}]}, "does not say what other is"),
        ({"draws": [draw | {"rounds": ["seed"]}]}, "does not say what seed is"),
        ({"arguments": ["w"]}, "does not say what w is"),
        ({"results": []}, "has a `results`"),
        ({"groups": 0}, "has a `groups`"),
    ):
        (tmp_path / "x.vmfb").write_bytes(b"no module")
        (tmp_path / "x.json").write_text(json.dumps(good | change))
        result = specc("sample", tmp_path / "x.vmfb", "-o", tmp_path / "x.npz")
        assert result.exit_code == 3 and said in result.stderr and "compile the sampler again" in result.stderr, result.stderr


def test_loops_that_stop_by_themselves_go_through_iree(
    program: Program, iree: Callable[..., tuple[Path, ...]], tmp_path: Path
) -> None:
    """A loop in a loop, with draws that the file makes by itself."""
    from specc.runtime.iree import load as opened

    weights = initial(program)
    iree(program, "stopped", weights, tmp_path / "x.vmfb")
    export(program, "stopped", weights, tmp_path / "x.onnx")
    for least in (2, 9):
        x, expected = (
            m.sample(50, arguments={"least": least}) for m in (opened(tmp_path / "x.vmfb"), load(tmp_path / "x.onnx"))
        )
        np.testing.assert_allclose(x, expected, atol=1e-5 * np.abs(expected).max())


def test_what_has_no_graph_is_reported(program: Program, iree: Callable[..., tuple[Path, ...]], tmp_path: Path) -> None:
    from specc.backends.mlir import UnsupportedError as Lost

    with pytest.raises(Lost, match="matched: extern assign has no ONNX form"):
        iree(program, "matched", initial(program), tmp_path / "matched.vmfb")
    assert not list(tmp_path.iterdir())


FEW = Calibration(examples=16)


@pytest.mark.parametrize("name", ROUNDED)
def test_the_graph_holds_packed_weights_and_only_standard_ops(name: str, wide: Program, tmp_path: Path) -> None:
    """Without IREE: it gives what a quantised file gives on a runtime without kernels for it."""
    onnxruntime = pytest.importorskip("onnxruntime")
    from specc.runtime.iree import drawn

    weights, formats = initial(wide), section(wide, name)
    made, known = sampler.graph(wide, "told", weights, formats)
    assert known["quantization"] == name and {o.domain for o in made.opset_import} == {""}
    assert not {"QuantizeLinear", "DequantizeLinear", "MatMulInteger"} & set(sampler.operations(made.graph))
    assert made.ByteSize() < (0.45 if name == "int8" else 0.3) * sum(w.nbytes for w in weights.values())
    export(wide, "told", weights, tmp_path / "x.onnx", quantization=formats.section, calibration=FEW, target="cuda")
    model = load(tmp_path / "x.onnx")
    feeds = model.feeds(np.arange(3, dtype=np.int64))
    given = {**feeds, "scale": np.array(2.0, np.float32), "steps": np.array(5)}
    given |= {d["name"]: drawn(d, given) for d in known["draws"]}
    session = onnxruntime.InferenceSession(made.SerializeToString())
    (x,) = session.run(["x"], {n: given[n] for n in known["arguments"]})
    expected = model.run(feeds, ["x"])["x"]
    assert np.linalg.norm(x - expected) <= 0.01 * np.linalg.norm(expected)


def section(program: Program, name: str) -> sampler.Formats:
    (found,) = (q for q in program.quantize if q.name == name)
    return sampler.Formats(section=found, calibration=FEW)


@pytest.mark.slow  # seconds of the compiler for each
@pytest.mark.parametrize("name", ROUNDED)
def test_quantised_samplers_go_through_iree(
    name: str, wide: Program, iree: Callable[..., tuple[Path, ...]], tmp_path: Path
) -> None:
    """Packed in the compiled file too, and unpacked when it is opened."""
    from specc.runtime.iree import load as opened

    weights, formats = initial(wide), section(wide, name)
    file, beside, _ = iree(wide, "told", weights, tmp_path / "x.vmfb", formats)
    assert json.loads(beside.read_text())["quantization"] == name
    assert file.stat().st_size < 0.45 * sum(w.nbytes for w in weights.values())
    export(wide, "told", weights, tmp_path / "x.onnx", quantization=formats.section, calibration=FEW, target="cuda")
    x, expected = opened(file).sample(3, seed=1), load(tmp_path / "x.onnx").sample(3, seed=1)
    assert np.linalg.norm(x - expected) <= 0.01 * np.linalg.norm(expected)


@pytest.mark.slow  # seconds of the compiler for each; the largest error is 4e-7 of the largest sample
@pytest.mark.parametrize("spec", PASSES)
def test_specs_go_through_iree(spec: str, iree: Callable[..., tuple[Path, ...]], tmp_path: Path) -> None:
    from specc.runtime.iree import load as opened

    array = driver.prepare(next(iter(driver.check(SPECS / spec).programs.values())))
    entry, weights = array.by_role("sampler")[0].name, initial(array)
    iree(array, entry, weights, tmp_path / "x.vmfb")
    export(array, entry, weights, tmp_path / "x.onnx")
    x, expected = opened(tmp_path / "x.vmfb").sample(3, seed=1), load(tmp_path / "x.onnx").sample(3, seed=1)
    np.testing.assert_allclose(x, expected, atol=1e-4 * np.abs(expected).max())
