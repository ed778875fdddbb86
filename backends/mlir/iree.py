"""`specc compile --target iree`: each sampler of a program as one compiled file, `<sampler>.vmfb`, for the processor at hand.

IREE has an importer of ONNX and a compiler of its own: neither torch nor torch-mlir is needed. Beside the file lies
`<sampler>.json`, what the runtime should know: inputs, draws, the space. specc.runtime.iree runs both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from specc.backends.mlir.coverage import Coverage, MissingExtraError, UnsupportedError, refused
from specc.backends.mlir.sampler import Formats, graph, operations
from specc.backends.onnx import emit
from specc.backends.onnx.export import metadata_of
from specc.backends.onnx.write import initial

from specc.ir.program import Program, Quantization

PACKAGES = {"iree-base-compiler": "iree.compiler", "onnx": "onnx"}
UNPACKED = ("--iree-opt-const-eval=false",)  # of packed weights: when the file is opened, not while it is compiled
FLAGS = ("--iree-llvmcpu-target-cpu=host", "--iree-opt-level=O2", "--iree-llvmcpu-stack-allocation-limit=65536")


def write(program: Program, folder: Path, quantize: Quantization | None = None) -> tuple[Path, ...]:
    """Every sampler of an array-level program, with weights drawn anew. Raises UnsupportedError once the others are written."""
    weights, formats = initial(program), None if quantize is None else Formats(section=quantize)
    files: list[Path] = []
    problems: list[str] = []
    for entry in program.by_role("sampler"):
        try:
            files += compile_sampler(program, entry.name, weights, folder / f"{entry.name}.vmfb", formats)
        except UnsupportedError as problem:
            problems.append(str(problem))
    if problems:
        raise UnsupportedError("; ".join(problems))
    return tuple(files)


def compile_sampler(
    program: Program, entry: str, weights: Mapping[str, np.ndarray], path: Path, formats: Formats | None = None
) -> tuple[Path, ...]:
    """Compile a sampler of an array-level program. Raises MissingExtraError, and UnsupportedError after a report is written."""
    if missing := [name for name, module in PACKAGES.items() if not _there(module)]:
        raise MissingExtraError(missing, "iree")
    if formats is not None and not _there("onnxruntime"):  # which runs the sampler that ranges are chosen on
        raise MissingExtraError(["onnxruntime"], "export")
    from iree import compiler

    try:
        model, known = graph(program, entry, weights, formats)
    except emit.UnsupportedError as problem:
        raise UnsupportedError(f"{entry}: {problem}") from None
    used = dict(sorted(operations(model.graph).items()))
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = [*FLAGS, *(UNPACKED if formats is not None else ())]
    try:
        binary = compiler.compile_str(imported(model), input_type="onnx", target_backends=["llvm-cpu"], extra_args=flags)
    except compiler.CompilerToolError as problem:
        lost = Coverage(name=entry, dialect="iree", batch=None, operations=used, lowered=False, refused=refused(str(problem)))
        raise UnsupportedError(f"{lost.complaint()}: see {lost.save(path.parent)}") from None
    done = Coverage(name=entry, dialect="iree", batch=None, operations=used, lowered=True)
    path.write_bytes(binary)
    beside = path.with_suffix(".json")
    beside.write_text(json.dumps(metadata_of(program, entry) | known, indent=1) + "\n", encoding="utf-8")
    return path, beside, done.save(path.parent)


def imported(model: object) -> str:
    """An ONNX model as MLIR, in the dialect of IREE's importer."""
    from iree.compiler import ir
    from iree.compiler.extras import onnx_importer

    with ir.Context() as context:
        info = onnx_importer.ModelInfo(model)
        module = info.create_module(context=context).operation
        onnx_importer.NodeImporter.define_function(info.main_graph, module).import_all()
        return str(module)


def _there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
