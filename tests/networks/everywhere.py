"""One query of a spec's text, run with random parameters in the reference, as printed PyTorch and in ONNX Runtime."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import programs
import projects
from specc.backends.onnx.export import export

from specc import driver
from specc.ir.program import Program
from specc.reference.interpret import run
from specc.runtime.ort import load


def query(folder: Path, text: str) -> Program:
    """The program of a model whose query is called `main`, at example level, with that entry alone."""
    path = folder / "m.spec"
    path.write_text(f"specc 1\n{text}")
    checked = driver.check(path)
    assert not checked.failed, [f"{d.code} {d.span}: {d.message}" for d in checked.diagnostics]
    (made,) = checked.programs.values()
    return replace(made, entries={"main": made.entries["main"]})


def parameters(program: Program, seed: int = 1) -> dict[str, np.ndarray]:
    """Random ones, small enough that single precision keeps five digits through a few layers."""
    return {k: (v / 2).astype(np.float32) for k, v in programs.weights(program, seed).items()}


def everywhere(folder: Path, text: str, tolerance: float = 1e-4, **inputs: Any) -> np.ndarray:
    """What the query gives for its inputs (n, *shape), once all three ways agree."""
    program = query(folder, text)
    weights = parameters(program)
    projects.agree(program, inputs, weights, tolerance)
    want = run(program, "main", inputs, weights)[0]
    path = folder / "main.onnx"
    export(driver.prepare(program), "main", weights, path)
    graph = load(path, threads=1)
    seeds = inputs.pop("seed", np.arange(len(want)))
    have = next(iter(graph.run(graph.feeds(seeds, arguments=inputs)).values()))
    assert have.shape == want.shape
    np.testing.assert_allclose(have, want, rtol=tolerance, atol=tolerance * np.abs(want).max(initial=1.0))
    return want
