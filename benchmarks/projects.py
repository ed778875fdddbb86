"""Generated projects for the benchmarks: a spec's text compiled into a folder, and its modules imported from there."""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path
from types import ModuleType

from specc import driver
from specc.ir.program import Program

DIGITS = """specc 1
model digits {{
  data x: image({channels}, {size}, {size}) in [-1, 1] from {reader}
  condition y: class(10) with {{ drop = 0.1 }}
  process vp
  backbone {backbone}
  predict eps
  loss mse
  sampler fast = ddim(steps = 20)
  train {{ optimizer = adamw(lr = 2e-4); batch = 128 }}
  quantize w8a8 {{ weights = int8(axis = channel); activations = int8(calibrate = 64); keep = [first, last, clock] }}
  quantize ternary {{ weights = ternary; keep = [first, last, clock] }}
}}
"""
COLOUR = {"channels": 3, "size": 32, "reader": 'image_folder("pictures", size = 32)'}


def check_text(text: str, name: str | None = None) -> tuple[Program, Path]:
    """The program of a spec's model (its only one, or the one of this name), and a folder with the spec."""
    folder = Path(tempfile.mkdtemp(prefix="specc-benchmark-"))
    spec = folder / "benchmark.spec"
    spec.write_text(text)
    checked = driver.check(spec)
    if checked.failed:
        raise SystemExit("\n".join(f"{d.code} {d.span}: {d.message}" for d in checked.diagnostics))
    (program,) = (p for p in checked.programs.values() if name in (None, p.name))
    return program, folder


def compile_text(text: str, name: str | None = None) -> tuple[Program, Path]:
    """The same, and the folder of its PyTorch project."""
    program, folder = check_text(text, name)
    driver.emit(program, "pytorch", folder / "project")
    return program, folder / "project"


def modules(project: Path, *names: str) -> list[ModuleType]:
    """Modules of a generated project, imported afresh."""
    for path in project.glob("*.py"):
        sys.modules.pop(path.stem, None)
    sys.path.insert(0, str(project))
    try:
        return [importlib.import_module(n) for n in names]
    finally:
        sys.path.remove(str(project))
