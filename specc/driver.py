"""From a spec's text to files. Read from top to bottom, this is how a spec travels.

    text --read--> Source --parse--> syntax tree --elaborate--> Program, example level
         --prepare--> Program, array level --emit--> files

A stage takes the former's value and returns a new one, and says what is wrong as diagnostics.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from specc.diagnostics import Diagnostic
from specc.ir.program import Program
from specc.passes import GRAPH, PYTORCH, Pass, run
from specc.record import record
from specc.sema import Default, elaborate
from specc.source import Source
from specc.syntax import parser, tree
from specc.syntax.format import format_text

TARGETS = {  # name: the module whose `write(program, folder)` gives the paths of its files, and the passes before
    "pytorch": ("specc.backends.pytorch", PYTORCH),
    "onnx": ("specc.backends.onnx.write", GRAPH),
    "mlir": ("specc.backends.mlir", []),
    "iree": ("specc.backends.mlir.iree", GRAPH),
    "ir": ("specc.ir.document", []),
}


@record(kw_only=True)
class Checked:
    """All that is known of a spec before any code is written. A stage that could not begin leaves its field empty."""

    source: Source | None = None
    file: tree.File | None = None
    programs: dict[str, Program]
    diagnostics: tuple[Diagnostic, ...]
    defaults: tuple[Default, ...] = ()
    outline: str = ""

    @property
    def failed(self) -> bool:
        return any(d.severity == "error" for d in self.diagnostics)


def check(path: Path | str, model: str | None = None) -> Checked:
    """Read, parse and elaborate a spec; `model` names one of its models, by default all of them."""
    source, unreadable = parser.read(path)
    if source is None:
        return Checked(programs={}, diagnostics=unreadable)
    file, mistakes = parser.parse(source)
    made = elaborate(file, source, model, torn=any(d.severity == "error" for d in mistakes))
    every = {(d.code, str(d.span), d.message): d for d in (*mistakes, *made.diagnostics)}
    return Checked(
        source=source,
        file=file,
        programs=made.programs,
        diagnostics=tuple(every.values()),
        defaults=made.defaults,
        outline=made.outline,
    )


def formatted(path: Path | str) -> tuple[Source | None, str | None, tuple[Diagnostic, ...]]:
    """A spec and its text as it should be; no text when it does not parse, and then why."""
    source, unreadable = parser.read(path)
    if source is None:
        return None, None, unreadable
    made = format_text(source)
    return (source, made, ()) if isinstance(made, str) else (source, None, made)


def prepare(program: Program, pipeline: Sequence[Pass] = GRAPH) -> Program:
    """The program after a pipeline of passes: by default at array level, as a graph wants it."""
    return run(program, pipeline)


def emit(program: Program, target: str, folder: Path, **options: Any) -> tuple[Path, ...]:
    """Write a program for one of TARGETS into a folder, and say which files. Backends are imported here and nowhere else."""
    module, pipeline = TARGETS[target]
    return tuple(importlib.import_module(module).write(prepare(program, pipeline), folder, **options))
