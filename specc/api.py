"""The Python interface: the parts of the command line as functions."""

from __future__ import annotations

from pathlib import Path

from specc import driver
from specc.diagnostics import Diagnostic
from specc.ir.program import Program


class SpecErrors(Exception):
    """A spec has errors; `diagnostics` is all that was found."""

    def __init__(self, diagnostics: tuple[Diagnostic, ...]) -> None:
        errors = [d for d in diagnostics if d.severity == "error"]
        super().__init__("\n".join(f"{d.span}: error[{d.code}]: {d.message}" for d in errors))
        self.diagnostics = diagnostics


def check(path: Path | str, model: str | None = None) -> tuple[Diagnostic, ...]:
    """What is wrong with a spec, worth a warning or a note. Never raises for what stands in the file."""
    return driver.check(path, model).diagnostics


def load(path: Path | str, model: str | None = None) -> Program:
    """A spec's model at example level. Raises SpecErrors, and ValueError when the file has several models and none is named."""
    found = driver.check(path, model)
    if found.failed:
        raise SpecErrors(found.diagnostics)
    if len(found.programs) != 1:
        models = ", ".join(found.programs) or "none"
        raise ValueError(f"{path} has not one model; name one of: {models}")
    return next(iter(found.programs.values()))


def compile(spec: Program | Path | str, target: str, folder: Path | str, model: str | None = None) -> tuple[Path, ...]:
    """Write a spec, or a program that was loaded, for "pytorch", "onnx", "mlir" or "ir" into a folder; returns the files."""
    program = spec if isinstance(spec, Program) else load(spec, model)
    return driver.emit(program, target, Path(folder))
