"""What the tests of the PyTorch backend share: projects written and imported, and small programs built by hand."""

from __future__ import annotations

import contextlib
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from specc.backends.pytorch import write

from specc.ir.program import Program
from specc.reference.interpret import run

PYTHON = sys.executable


@contextlib.contextmanager
def imported(folder: Path) -> Iterator[SimpleNamespace]:
    """The modules of a project, which are forgotten afterwards: every project has a `model` and a `sample`."""
    names = [f.stem for f in folder.glob("*.py") if f.stem != "train"]
    before = {n: sys.modules.pop(n) for n in names if n in sys.modules}
    sys.path.insert(0, str(folder))
    try:
        importlib.invalidate_caches()
        yield SimpleNamespace(**{n: importlib.import_module(n) for n in names})
    finally:
        sys.path.remove(str(folder))
        for n in names:
            sys.modules.pop(n, None)
        sys.modules.update(before)


def random_weights(model: torch.nn.Module, seed: int = 0, scale: float = 0.3) -> dict[str, np.ndarray]:
    """Fill a model with random numbers; the same by path, in double precision."""
    rng = np.random.default_rng(seed)
    out = {}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            value = (scale * rng.standard_normal(tuple(parameter.shape))).astype(np.float32)
            parameter.copy_(torch.from_numpy(value))
            out[name] = value.astype(np.float64)
    return out


def agree(program: Program, folder: Path, entry: str, inputs: dict[str, np.ndarray], scale: float = 0.3) -> float:
    """The largest difference between a printed entry and the reference, in units of the reference's largest number."""
    write(program, folder)
    with imported(folder) as project:
        model = project.model.Model()
        params = random_weights(model, scale=scale)
        want = run(program, entry, inputs, params)
        role = program.entries[entry].role
        ways = project.sample.SAMPLERS if role == "sampler" else project.query.QUERIES
        args = [inputs[i.name] for i in program.entries[entry].inputs if i.name in inputs]
        have = ways[entry](model, *(torch.from_numpy(a) if isinstance(a, np.ndarray) else a for a in args))
    have = have if isinstance(have, tuple) else (have,)
    worst = 0.0
    for h, w in zip(have, want, strict=True):
        assert h.shape == w.shape
        worst = max(worst, float(np.abs(h.detach().double().numpy() - w).max() / max(1e-6, np.abs(w).max())))
    return worst


def command(folder: Path, *args: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run a script of a project in its folder."""
    return subprocess.run([PYTHON, *args], cwd=folder, capture_output=True, text=True, timeout=timeout)
