"""Samplers in the dialects of torch-mlir, by its importer of ONNX.

torch-mlir runs in a process of its own, `python -m specc.backends.mlir.lower GRAPH.onnx DIALECT OUT`: on some graphs it ends
the process that it runs in.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from specc.backends.mlir.coverage import Coverage, refused
from specc.backends.mlir.sampler import Formats, graph, operations
from specc.backends.onnx.emit import UnsupportedError
from specc.backends.onnx.write import initial

from specc.ir.program import Program


def samplers(program: Program, dialect: str, formats: Formats | None = None) -> dict[str, tuple[str, Coverage]]:
    """By name, of each sampler of an array-level program: its text, empty where it does not go, and the report."""
    weights = initial(program)
    found: dict[str, tuple[str, Coverage]] = {}
    for entry in program.by_role("sampler"):
        text, used, lost = "", {}, {}
        try:
            model, _ = graph(program, entry.name, weights, formats)
            used = dict(sorted(operations(model.graph).items()))
            text, lost = _lowered(model, dialect)
        except UnsupportedError as problem:
            lost = {str(problem): []}
        report = Coverage(name=entry.name, dialect=dialect, batch=None, operations=used, lowered=bool(text), refused=lost)
        found[entry.name] = text, report
    return found


def _lowered(model: Any, dialect: str) -> tuple[str, dict[str, list[str]]]:
    """The text of a graph in a dialect, or nothing and what was refused."""
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "graph.onnx", Path(folder) / "out.mlir"
        source.write_bytes(model.SerializeToString())
        command = [sys.executable, "-m", "specc.backends.mlir.lower", str(source), dialect, str(out)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode == 0:
            return out.read_text(encoding="utf-8"), {}
    return "", refused(done.stderr) or {f"torch-mlir, which ended with code {done.returncode}": []}


def main(source: str, dialect: str, out: str) -> None:
    import onnx
    from torch_mlir import ir
    from torch_mlir.compiler_utils import OutputType, lower_mlir_module, run_pipeline_with_repro_report
    from torch_mlir.dialects import torch
    from torch_mlir.extras import onnx_importer

    with ir.Context() as context:
        torch.register_dialect(context)
        info = onnx_importer.ModelInfo(onnx.load(source))
        module = info.create_module(context=context)
        onnx_importer.NodeImporter.define_function(info.main_graph, module.operation).import_all()
        run_pipeline_with_repro_report(module, "builtin.module(torch-onnx-to-torch-backend-pipeline)", "from ONNX to torch")
        if dialect != "torch":
            kind = {"linalg": OutputType.LINALG_ON_TENSORS, "stablehlo": OutputType.STABLEHLO}[dialect]
            module = lower_mlir_module(False, kind, module)
        Path(out).write_text(f"{module.operation}\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
