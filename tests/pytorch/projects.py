"""What the tests of the PyTorch backend share: printed definitions run in place, and whole projects imported."""

from __future__ import annotations

import contextlib
import importlib
import math
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from specc.backends.pytorch.library import Library
from specc.backends.pytorch.networks import Networks
from specc.backends.pytorch.parts import noise, rounding
from specc.backends.pytorch.samplers import ways
from torch.nn import functional as F

from specc.ir.program import Program
from specc.passes import PYTORCH, run
from specc.reference import interpret


def definitions(program: Program) -> tuple[str, str]:
    """The printed definitions of a program with one query, and the name of the query."""
    library = Library(program)
    networks = Networks(program, library).build()
    (query,) = ways(program, "query", library, networks)
    blocks = [*library.definitions(), *library.definitions(networks=True), *networks.classes(), networks.model(), query.lines]
    return "\n\n\n".join("\n".join(lines) for lines in blocks), query.name


def printed(program: Program) -> dict[str, Any]:
    """What these definitions define; the query is `query`."""
    text, name = definitions(program)
    scope: dict[str, Any] = {"torch": torch, "math": math, "nn": torch.nn, "F": F, "Tensor": torch.Tensor}
    scope |= {"noise": noise, "rounding": rounding}
    exec(text, scope)
    return scope | {"query": scope[name]}


def agree(program: Program, inputs: dict[str, np.ndarray], weights: dict[str, np.ndarray], tolerance: float = 2e-5) -> str:
    """The text of a program with one query, once its results are those of the reference."""
    array = run(program, PYTORCH)
    text, _ = definitions(array)
    scope = printed(array)
    model = scope["Model"]()
    assert model.state_dict().keys() == weights.keys()
    model.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()})
    model.requires_grad_(False)
    want = interpret.run(program, "main", inputs, weights)
    args = [given(inputs[i.name], i.type.shape) for i in array.entries["main"].inputs]
    have = scope["query"](model, *args)
    for w, h in zip(want, have if isinstance(have, tuple) else (have,), strict=True):
        got = h.detach().numpy() if isinstance(h, torch.Tensor) else np.asarray(h)
        assert got.shape == w.shape
        np.testing.assert_allclose(got, w, rtol=tolerance, atol=tolerance * float(np.abs(w).max(initial=1.0)))
    return text


def given(array: np.ndarray, shape: tuple[int | str, ...]) -> Any:
    """An operand as a caller gives it: shared numbers as numbers."""
    if not shape:
        return array.item()
    return torch.from_numpy(np.ascontiguousarray(array.astype(np.float32) if array.dtype.kind == "f" else array))


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


@contextlib.contextmanager
def handlers() -> Iterator[None]:
    """What a training run does to signals is undone."""
    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def two_steps(out: Path, monkeypatch: pytest.MonkeyPatch, *more: str, quick: bool, batch: int = 16) -> None:
    """Train an imported project for two steps, as `python train.py` with `more` would."""
    options = ["--steps", "2", "--batch", str(batch), "--device", "cpu", "--seed", "0", "--out", str(out), *more]
    sys.modules.pop("train", None)
    train = importlib.import_module("train")
    if "--picture-every" in Path(train.__file__ or "").read_text():
        options += ["--picture-every", "2" if quick else "0"]
    monkeypatch.setattr(sys, "argv", ["train.py", *options])
    with handlers():
        assert train.main() == 0
    sys.modules.pop("train", None)
