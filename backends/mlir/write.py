"""`specc compile --target mlir`: the networks of a program, one step of its samplers each, and its samplers, as MLIR.

The generated modules go through torch.export and torch-mlir, samplers through their ONNX graphs; both are imported only here.
Beside each `<name>.mlir` lies `<name>.coverage.json`: the operations of the exported graph, and those that the dialect has no
form for. What has such an operation is reported whole, and nothing of it is written.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from specc.backends.mlir.coverage import Coverage, MissingExtraError, UnsupportedError, overheard, refused
from specc.backends.pytorch.write import write as write_project

from specc.ir.program import Program, Quantization
from specc.ir.types import BATCH, DType
from specc.passes import GRAPH, PYTORCH, run

DIALECTS = {"linalg": "linalg-on-tensors", "torch": "torch", "stablehlo": "stablehlo"}  # and torch-mlir's names for them
PACKAGES = {"torch": "torch", "torch-mlir": "torch_mlir", "onnx": "onnx"}


def write(
    program: Program, folder: Path, dialect: str = "linalg", batch: int = 1, quantize: Quantization | None = None
) -> tuple[Path, ...]:
    """Write every network, for so many examples, and every sampler whole, for any number, with the weights they start from.

    Returns the paths of the files. Raises MissingExtraError without torch or torch-mlir, and UnsupportedError, after the
    reports are written, for what the dialect lacks of a network; a sampler is left out where it lacks something of it.
    quantize: write samplers alone, with weights in the formats of that section; what is lacking of one is an error then.
    """
    if missing := [name for name, module in PACKAGES.items() if find_spec(module) is None]:
        raise MissingExtraError(missing, "mlir")
    from specc.backends.mlir.lower import samplers
    from specc.backends.mlir.sampler import Formats

    folder.mkdir(parents=True, exist_ok=True)
    found = {} if quantize is not None else _networks(run(program, PYTORCH), dialect, batch)
    whole = samplers(run(program, GRAPH), dialect, None if quantize is None else Formats(section=quantize))
    files: list[Path] = []
    problems: list[str] = []
    for name, (text, report) in (found | whole).items():
        files.append(report.save(folder))
        if report.lowered:
            files.append(folder / f"{name}.mlir")
            files[-1].write_text(text, encoding="utf-8")
        elif name in found or quantize is not None:
            problems.append(f"{report.complaint()}: see {files[-1]}")
    if problems:
        raise UnsupportedError("; ".join(problems))
    return tuple(files)


def _networks(program: Program, dialect: str, batch: int) -> dict[str, tuple[str, Coverage]]:
    """By root: the text of the module, empty where an operation is refused, and the report."""
    import torch

    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as project:
        write_project(program, project)
        with _imported(Path(project)) as module:
            model = module.Model().eval().requires_grad_(False)
            found = {}
            for root, name in program.networks.items():
                inputs = [_example(v.type, batch) for v in program.functions[name].block.params]
                found[root] = _lowered(model.get_submodule(root), root, inputs, dialect, batch)
            return found


@contextlib.contextmanager
def _imported(project: Path) -> Iterator[Any]:
    """The project's model.py, whose neighbours it may import."""
    names = [f.stem for f in project.glob("*.py")]
    before = {n: sys.modules.pop(n) for n in names if n in sys.modules}
    sys.path.insert(0, str(project))
    try:
        importlib.invalidate_caches()
        yield importlib.import_module("model")
    finally:
        sys.path.remove(str(project))
        for n in names:
            sys.modules.pop(n, None)
        sys.modules.update(before)


def _example(type: Any, batch: int) -> Any:
    import torch

    shape = [batch if d == BATCH else int(d) for d in type.shape]
    return torch.zeros(shape, dtype={DType.FLOAT: torch.float32, DType.INT: torch.int64, DType.BOOL: torch.bool}[type.dtype])


def _lowered(network: Any, root: str, inputs: list[Any], dialect: str, batch: int) -> tuple[str, Coverage]:
    import torch
    from torch_mlir import fx
    from torch_mlir.compiler_utils import TorchMlirCompilerError

    said: list[str] = []
    with warnings.catch_warnings(), overheard(said):
        warnings.simplefilter("ignore")
        exported = torch.export.export(network, tuple(inputs))
        used = Counter(str(n.target) for n in exported.graph.nodes if n.op == "call_function")
        operations = dict(sorted((k, n) for k, n in used.items() if k.startswith("aten.")))
        try:
            text = f"{fx.export_and_import(exported, output_type=DIALECTS[dialect], func_name=root).operation}\n"
        except TorchMlirCompilerError as problem:
            text = ""
            said.append(str(problem))
    lost = {} if text else refused("\n".join(said))
    return text, Coverage(name=root, dialect=dialect, batch=batch, operations=operations, lowered=bool(text), refused=lost)
