"""Every model that ships trains two steps as printed, and says the same in PyTorch, ONNX Runtime and the reference."""

from __future__ import annotations

import importlib
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tools
import torch
from projects import given, imported
from specc.backends.onnx.export import export
from specc.backends.onnx.write import initial

from specc import driver
from specc.ir.program import Entry, Program
from specc.passes.count import network_calls
from specc.runtime.certificate import certify

FILES = sorted(p for p in tools.SPECS.glob("*/*.spec") if p.parent.name != "std")
NAMES = {p: re.findall(r"^(?:model|stage) (\w+)", p.read_text(), re.MULTILINE) for p in FILES}
EXAMPLES = 2
QUICK = 50  # network calls of a sampler that also draws the picture


def models() -> list[Any]:
    """The first model of each spec; the others belong to the slow lane."""
    return [
        pytest.param(str(p.relative_to(tools.SPECS)), name, id=f"{p.stem}-{name}", marks=[pytest.mark.slow] if place else [])
        for p, names in NAMES.items()
        for place, name in enumerate(names)
    ]


@contextmanager
def handlers() -> Iterator[None]:
    """What a training run does to signals is undone."""
    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def two_steps(out: Path, monkeypatch: pytest.MonkeyPatch, *, quick: bool) -> None:
    options = ["--steps", "2", "--batch", "16", "--device", "cpu", "--seed", "0", "--out", str(out)]
    sys.modules.pop("train", None)
    train = importlib.import_module("train")
    if "--picture-every" in Path(train.__file__ or "").read_text():
        options += ["--picture-every", "2" if quick else "0"]
    monkeypatch.setattr(sys, "argv", ["train.py", *options])
    with handlers():
        assert train.main() == 0
    sys.modules.pop("train", None)


def cheapest(array: Program) -> Entry:
    """The sampler with the fewest network calls, or a query of a model without samplers."""
    return min(array.by_role("sampler") or array.by_role("query"), key=lambda e: calls(array, e))


def calls(array: Program, entry: Entry) -> float:
    counted = network_calls(array, entry.name)
    return np.inf if counted is None else counted.calls


def inputs(entry: Entry, examples: dict[str, np.ndarray]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Values for the inputs that need one: real examples for data, and a few steps where steps are an input."""
    rng = np.random.default_rng(0)
    conditions: dict[str, Any] = {}
    for i in entry.inputs:
        shape = (EXAMPLES, *i.type.shape[1:])
        if i.name in examples:
            conditions[i.name] = examples[i.name][:EXAMPLES]
        elif i.role in ("data", "condition") and not i.classes:
            conditions[i.name] = rng.uniform(size=shape) if i.type.dtype.value == "float" else rng.integers(2, size=shape)
    return conditions, {i.name: 6 for i in entry.inputs if i.role == "argument" and i.name == "steps"}


def drawn(project: Any) -> dict[str, np.ndarray]:
    if not hasattr(project, "data"):
        return {}
    try:
        return project.data.examples("test")
    except TypeError:
        return project.data.examples(EXAMPLES, np.random.default_rng(0))


@pytest.mark.parametrize(("spec", "name"), models())
def test_it_trains_and_the_three_agree(spec: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, array = tools.model(spec, name), tools.graph(spec, name)
    folder, out = tmp_path / "project", tmp_path / "run"
    driver.emit(program, "pytorch", folder)
    with imported(folder) as project:
        weights = initial(program)
        if (folder / "train.py").exists():
            pictured = array.by_role("sampler")[:1]
            two_steps(out, monkeypatch, quick=all(calls(array, e) <= QUICK for e in pictured))
            weights = tools.weights(out)
        if not array.by_role("sampler") and not array.by_role("query"):
            return
        entry = cheapest(array)
        file = tmp_path / "entry.onnx"
        export(array, entry.name, weights, file)
        conditions, arguments = inputs(entry, drawn(project))
        ways = project.sample.SAMPLERS if entry.role == "sampler" else project.query.QUERIES
        network = project.model.Model().requires_grad_(False).eval()
        network.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()})

        def eager(feeds: dict[str, Any]) -> np.ndarray:
            rest = {i.name: given(np.asarray(feeds.get(i.name, i.default)), i.type.shape) for i in entry.inputs}
            made = ways[entry.name](network, *rest.values())
            return np.asarray((made[0] if isinstance(made, tuple) else made).detach())

        given_too = {"conditions": conditions, "arguments": arguments}
        certificate = certify(program, array, entry.name, weights, file, torch=eager, examples=EXAMPLES, **given_too)
    assert certificate.passes, certificate.text()
