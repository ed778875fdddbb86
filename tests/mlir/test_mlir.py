"""Networks as MLIR: what is written computes what PyTorch does, and what cannot be written is reported."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from projects import imported
from specc.backends.mlir import MissingExtraError, UnsupportedError, write

from specc import driver
from specc.cli.main import cli
from specc.ir.program import Program

SPEC = """specc 1
model small {{
  data x: image(1, 8, 8) in [-1, 1] from digits
  condition y: class(10) with {{ drop = 0.1 }}
  process linear
  backbone {backbone}
  predict velocity
  sampler euler(steps = 2)
}}
"""


def spec(folder: Path, backbone: str = "dit(dim = 16, depth = 1, heads = 2)") -> Path:
    path = folder / "small.spec"
    path.write_text(SPEC.format(backbone=backbone))
    return path


def program(folder: Path, backbone: str = "dit(dim = 16, depth = 1, heads = 2)") -> Program:
    return driver.check(spec(folder, backbone)).programs["small"]


def test_without_the_extra_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["specc.backends.mlir.write"], "find_spec", lambda name: None if name == "torch_mlir" else 1)
    with pytest.raises(MissingExtraError, match="torch-mlir is not installed"):
        write(program(tmp_path), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    made = CliRunner().invoke(cli, ["compile", "--target", "mlir", str(spec(tmp_path)), "-o", str(tmp_path / "out")])
    assert made.exit_code == 3
    assert "small.spec: small cannot be written for mlir" in made.stderr and "specc[mlir]" in made.stderr


def test_options_of_mlir_are_for_mlir(tmp_path: Path) -> None:
    made = CliRunner().invoke(cli, ["compile", "--dialect", "torch", str(spec(tmp_path)), "-o", str(tmp_path / "out")])
    assert made.exit_code == 2 and "--target mlir" in made.stderr
    made = CliRunner().invoke(cli, ["compile", "--quantize", "w8", str(spec(tmp_path)), "-o", str(tmp_path / "out")])
    assert made.exit_code == 2 and "--target mlir and iree" in made.stderr
    made = CliRunner().invoke(
        cli, ["compile", "--target", "iree", "--quantize", "w8", str(spec(tmp_path)), "-o", str(tmp_path / "out")]
    )
    assert made.exit_code == 2 and "no `quantize` section `w8`" in made.stderr


def test_the_table_of_what_lowers_is_that_of_what_was_tried() -> None:
    import survey

    assert survey.table(json.loads(survey.KEPT.read_text())) == survey.TABLE.read_text()


def test_iree_computes_what_pytorch_does(tmp_path: Path) -> None:
    pytest.importorskip("torch_mlir")
    compiler, runtime = pytest.importorskip("iree.compiler"), pytest.importorskip("iree.runtime")
    made = program(tmp_path)
    report, module, *whole = write(made, tmp_path / "mlir", batch=2)
    assert json.loads(report.read_text())["operations"]["aten.linear.default"] > 3
    assert [f.name for f in whole] == ["euler.coverage.json", "euler.mlir"] and "scf." in whole[1].read_text()
    binary = compiler.compile_str(module.read_text(), target_backends=["llvm-cpu"], input_type="auto")
    context = runtime.SystemContext(config=runtime.Config("local-sync"))
    context.add_vm_module(runtime.VmModule.copy_buffer(context.instance, binary))
    rng = np.random.default_rng(0)
    args = [rng.normal(size=(2, 1, 8, 8)).astype(np.float32), np.array([0.2, 0.7], np.float32), np.array([3, 10])]
    driver.emit(made, "pytorch", tmp_path / "project")
    with imported(tmp_path / "project") as project:
        torch.manual_seed(0)  # as the writer did
        network = project.model.Model().requires_grad_(False).eval().backbone
        expected = network(*map(torch.from_numpy, args)).numpy()
    np.testing.assert_allclose(context.modules.module["backbone"](*args).to_host(), expected, atol=1e-5)


def test_what_a_dialect_lacks_is_reported_and_nothing_is_written(tmp_path: Path) -> None:
    pytest.importorskip("torch_mlir")
    made = program(tmp_path, "unet(width = 8, levels = 2)")  # it resizes, which StableHLO cannot
    with pytest.raises(UnsupportedError, match=r"stablehlo has no form for .* of backbone"):
        write(made, tmp_path / "mlir", dialect="stablehlo")
    report = json.loads((tmp_path / "mlir" / "backbone.coverage.json").read_text())
    assert report["lowered"] is False and report["refused"]
    assert not list((tmp_path / "mlir").glob("*.mlir"))
