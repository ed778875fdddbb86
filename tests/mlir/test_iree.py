"""Whole samplers by IREE: what specc sample draws from a compiled file is what it draws from the ONNX file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from specc.backends.mlir import sampler
from specc.backends.onnx.emit import UnsupportedError
from specc.backends.onnx.export import export
from specc.backends.onnx.write import initial

from specc import driver
from specc.cli.main import cli
from specc.ir.program import Program
from specc.runtime.ort import load

SPEC = """\
specc 1
model small {
  data x: vector(2) from eight_gaussians
  condition y: class(3) with { drop = 0.1 }
  process vp
  backbone mlp(width = 8, depth = 2)
  predict eps
  guidance cfg(scale = input(2.0))
  sampler stochastic = ddpm(steps = 6)
  sampler told = ddim(steps = input(5), eta = 1)
  sampler computed(n = input(4)) { z ~ normal(like = x); for k in 0..2 * n { e ~ normal(like = x); z = z + e }; return z }
}
"""
SPECS = Path(__file__).parents[2] / "specs"
PASSES = ["flow/ot_cfm.spec", "flow/flow_matching.spec", "diffusion/edm.spec"]  # the subset that goes through IREE in this lane


def specc(*args: object) -> Result:
    return CliRunner().invoke(cli, [str(a) for a in args], catch_exceptions=False)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    path = tmp_path_factory.mktemp("specs") / "small.spec"
    path.write_text(SPEC)
    return driver.prepare(driver.check(path).programs["small"])


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
    with pytest.raises(UnsupportedError, match="the draw 1 needs a key or a number of rounds that is computed"):
        sampler.draws(program, "computed")


def test_the_graph_takes_the_numbers_of_the_generator(program: Program, tmp_path: Path) -> None:
    """Without IREE: ONNX Runtime on the graph for MLIR, fed as specc.runtime.iree feeds, gives the samples of the file."""
    onnxruntime = pytest.importorskip("onnxruntime")
    from specc.runtime.iree import drawn

    weights = initial(program)
    for entry, told in (("stochastic", {}), ("told", {"steps": 7})):
        export(program, entry, weights, tmp_path / "x.onnx")
        model = load(tmp_path / "x.onnx")
        feeds = model.feeds(np.arange(3, dtype=np.int64), arguments=told)
        made, known = sampler.graph(program, entry, weights)
        given = {**feeds, "scale": np.array(2.0, np.float32)}
        given |= {d["name"]: drawn(d, given) for d in known["draws"]}
        session = onnxruntime.InferenceSession(made.SerializeToString())
        (x,) = session.run(["x"], {name: given[name] for name in known["arguments"]})
        np.testing.assert_allclose(x, model.run(feeds, ["x"])["x"], rtol=1e-5, atol=1e-4)


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


def test_what_iree_lacks_is_reported(program: Program, iree: Callable[..., tuple[Path, ...]], tmp_path: Path) -> None:
    from specc.backends.mlir import UnsupportedError as Lost

    with pytest.raises(Lost, match="computed: the draw 1 needs"):
        iree(program, "computed", initial(program), tmp_path / "computed.vmfb")
    assert not list(tmp_path.iterdir())


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
