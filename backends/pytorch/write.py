"""A Program as the folder of a project."""

from __future__ import annotations

from pathlib import Path

from specc.backends.pytorch.project import project

from specc.ir.program import Program
from specc.passes import PYTORCH, run


def emit(program: Program) -> dict[str, str]:
    """The files of the project, by name. A program at example level goes through the passes for printed code first."""
    return project(run(program, PYTORCH) if program.level == "example" else program)


def write(program: Program, folder: str | Path) -> tuple[Path, ...]:
    """Write the project into a folder. Returns the paths of its files."""
    where = Path(folder)
    where.mkdir(parents=True, exist_ok=True)
    out = []
    for name, text in emit(program).items():
        path = where / name
        path.write_text(text, encoding="utf-8")
        out.append(path)
    return tuple(out)
