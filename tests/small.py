"""A small conditional sampler of points, for tests of what becomes of samplers outside of Python."""

from __future__ import annotations

from pathlib import Path

from specc import driver
from specc.ir.program import Program

MODEL = """\
specc 1
model small {{
  data x: vector(2) from eight_gaussians
  condition y: class(8) with {{ drop = 0.1 }}
  process vp
  backbone mlp(width = {width}, depth = 2)
  predict eps
  guidance cfg(scale = input(2.0))
  {lines}
}}
"""


def small(folder: Path, *lines: str, width: int = 8) -> Program:
    """The model with these samplers and sections, at example level; its spec lies in the folder, as `small.spec`."""
    path = folder / "small.spec"
    path.write_text(MODEL.format(width=width, lines="\n  ".join(lines)))
    return driver.check(path).programs["small"]
