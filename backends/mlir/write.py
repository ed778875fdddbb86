"""`specc compile --target mlir`: the networks of a program, one step of its samplers each, as MLIR.

The generated modules go through torch.export and torch-mlir, which are imported only here. Beside each `<network>.mlir` lies
`<network>.coverage.json`: the operations of the exported graph, and those that the dialect has no form for. A network with such
an operation is reported whole, and nothing of it is written.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from specc.backends.pytorch.write import write as write_project

from specc.ir.program import Program
from specc.ir.types import BATCH, DType
from specc.passes import PYTORCH, run
from specc.record import record

DIALECTS = {"linalg": "linalg-on-tensors", "torch": "torch", "stablehlo": "stablehlo"}  # and torch-mlir's names for them
REFUSED = re.compile(r"(?:loc\(\"[^\"]*?([\w.]+)\":(\d+)[^\n]*?)?failed to legalize operation '([\w.]+)'")


class MissingExtraError(Exception):
    """A package of the extra `mlir` is not installed."""


class UnsupportedError(Exception):
    """The dialect has no form for some operations of a network; the message names them."""


@record(kw_only=True)
class Coverage:
    """What became of a network's operations. `refused`: those that torch-mlir names as without a form, with their lines."""

    network: str
    dialect: str
    batch: int
    operations: dict[str, int]
    lowered: bool
    refused: dict[str, list[str]] = field(default_factory=dict)


def write(program: Program, folder: Path, dialect: str = "linalg", batch: int = 1) -> tuple[Path, ...]:
    """Write every network with the weights that it starts from, for so many examples. Returns the paths of the files.

    Raises MissingExtraError without torch or torch-mlir, and UnsupportedError, after the report is written, for what the
    dialect lacks.
    """
    missing = [name for name, module in (("torch", "torch"), ("torch-mlir", "torch_mlir")) if find_spec(module) is None]
    if missing:
        raise MissingExtraError(f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed")
    array = run(program, PYTORCH) if program.level == "example" else program
    folder.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    problems: list[str] = []
    for root, (text, report) in _networks(array, dialect, batch).items():
        path = folder / f"{root}.coverage.json"
        path.write_text(json.dumps(asdict(report), indent=2) + "\n", encoding="utf-8")
        files.append(path)
        if report.lowered:
            files.append(folder / f"{root}.mlir")
            files[-1].write_text(text, encoding="utf-8")
        else:
            named = ", ".join(f"{op} ({', '.join(lines)})" if lines else op for op, lines in report.refused.items())
            problems.append(f"{dialect} has no form for {named or 'an operation'} of {root}: see {path}")
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
    with warnings.catch_warnings(), _overheard(said):
        warnings.simplefilter("ignore")
        exported = torch.export.export(network, tuple(inputs))
        used = Counter(str(n.target) for n in exported.graph.nodes if n.op == "call_function")
        operations = dict(sorted((k, n) for k, n in used.items() if k.startswith("aten.")))
        try:
            text = f"{fx.export_and_import(exported, output_type=DIALECTS[dialect], func_name=root).operation}\n"
        except TorchMlirCompilerError as problem:
            text = ""
            said.append(str(problem))
    refused = {} if text else _refused("\n".join(said))
    report = Coverage(network=root, dialect=dialect, batch=batch, operations=operations, lowered=bool(text), refused=refused)
    return text, report


@contextlib.contextmanager
def _overheard(said: list[str]) -> Iterator[None]:
    """What is written to the process's own stderr, where torch-mlir's passes put some of their diagnostics, goes to `said`."""
    sys.stderr.flush()
    before = os.dup(2)
    with tempfile.TemporaryFile() as heard:
        os.dup2(heard.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(before, 2)
            os.close(before)
            heard.seek(0)
            said.append(heard.read().decode(errors="replace"))


def _refused(problem: str) -> dict[str, list[str]]:
    """The operations that a diagnostic of torch-mlir names, with their places."""
    found: dict[str, list[str]] = {}
    for file, line, op in REFUSED.findall(problem):
        found.setdefault(op, []).extend([f"{file}:{line}"] if file else [])
    return found
