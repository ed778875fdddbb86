"""Every model that ships trains two steps as printed, and says the same in PyTorch, ONNX Runtime and the reference."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tools
import torch
from projects import given, imported, two_steps
from safetensors.numpy import save_file
from specc.backends.onnx.export import export
from specc.backends.onnx.write import initial

from specc import driver
from specc.ir.program import Entry, Program
from specc.passes.count import network_calls
from specc.runtime.certificate import SINGLE, Certificate, certify

FILES = sorted(p for p in tools.SPECS.glob("*/*.spec") if p.parent.name != "std")
EXAMPLES = {"sampler": 2, "query": 8}  # some queries are of groups of examples
QUICK = 50  # network calls of a sampler that also draws the picture


def names(path: Path) -> list[str]:
    """The models of a spec; it is asked of the compiler only where a repeated stage has several."""
    text = path.read_text()
    if re.search(r"^stage \w+ for ", text, re.MULTILINE):
        return list(driver.check(path).programs)
    return re.findall(r"^(?:model|stage) (\w+)", text, re.MULTILINE)


def models() -> list[Any]:
    """The first model of each spec; the others belong to the slow lane."""
    return [
        pytest.param(str(p.relative_to(tools.SPECS)), name, id=f"{p.stem}-{name}", marks=[pytest.mark.slow] if place else [])
        for p in FILES
        for place, name in enumerate(names(p))
    ]


def lent(spec: str, program: Program, folder: Path) -> list[str]:
    """Runs of the parents, as they would be before their first step."""
    parents = [p for p in program.parents if p.shares]
    for parent in parents:
        run = folder / parent.name
        run.mkdir()
        weights = initial(tools.model(tools.where(spec, parent), parent.name))
        save_file(weights, run / f"{'ema' if parent.averaged else 'model'}.safetensors")
        (run / "state.json").write_text(json.dumps({"step": 0, "digest": parent.digest}))
    return ["--parent", *(str(folder / p.name) for p in parents)] if parents else []


def cheapest(array: Program) -> Entry:
    """The sampler with the fewest network calls, or a query of a model without samplers."""
    return min(array.by_role("sampler") or array.by_role("query"), key=lambda e: calls(array, e))


def calls(array: Program, entry: Entry) -> float:
    counted = network_calls(array, entry.name)
    return np.inf if counted is None else counted.calls


def inputs(entry: Entry, examples: dict[str, np.ndarray]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Values for the inputs that need one: real examples for data, and a few steps where steps are an input."""
    rng, many = np.random.default_rng(0), EXAMPLES[entry.role]
    conditions: dict[str, Any] = {}
    for i in entry.inputs:
        shape = (many, *i.type.shape[1:])
        if i.name in examples:
            conditions[i.name] = examples[i.name][:many]
        elif i.role in ("data", "condition") and not i.classes:
            conditions[i.name] = rng.uniform(size=shape) if i.type.dtype.value == "float" else rng.integers(2, size=shape)
    return conditions, {i.name: 6 for i in entry.inputs if i.role == "argument" and i.name == "steps"}


def drawn(project: Any, many: int) -> dict[str, np.ndarray]:
    if not hasattr(project, "data"):
        return {}
    try:
        return project.data.examples("test")
    except TypeError:
        return project.data.examples(many, np.random.default_rng(0))


@pytest.mark.parametrize(("spec", "name"), models())
def test_it_trains_and_the_three_agree(spec: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, array = tools.model(spec, name), tools.graph(spec, name)
    folder, out = tmp_path / "run" / "project", tmp_path / "run"  # as `specc train` has them
    driver.emit(program, "pytorch", folder)
    with imported(folder) as project:
        weights = initial(program)
        if (folder / "train.py").exists():
            pictured = array.by_role("sampler")[:1]
            quick = all(calls(array, e) <= QUICK for e in pictured)
            batch = max(min(64, int(program.setting("batch"))), program.groups)
            two_steps(out, monkeypatch, *lent(spec, program, tmp_path), quick=quick, batch=batch)
            weights = tools.weights(out)
        if not array.by_role("sampler") and not array.by_role("query"):
            return
        entry = cheapest(array)
        file = tmp_path / "entry.onnx"
        export(array, entry.name, weights, file)
        conditions, arguments = inputs(entry, drawn(project, EXAMPLES[entry.role]))
        ways = project.sample.SAMPLERS if entry.role == "sampler" else project.query.QUERIES
        network = project.model.Model().requires_grad_(False).eval()
        network.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()})

        def eager(feeds: dict[str, Any]) -> np.ndarray:
            rest = {i.name: given(np.asarray(feeds.get(i.name, i.default)), i.type.shape) for i in entry.inputs}
            made = ways[entry.name](network, *rest.values())
            return np.asarray((made[0] if isinstance(made, tuple) else made).detach())

        given_too = {"conditions": conditions, "arguments": arguments, "examples": EXAMPLES[entry.role]}
        certificate = certify(program, array, entry.name, weights, file, torch=eager, **given_too)
    assert certificate.passes or as_single(certificate), certificate.text()


def as_single(certificate: Certificate) -> bool:
    """Whether a file that magnifies rounding is as close to the reference as single precision is."""
    allowed = [3 * c.final.relative for c in certificate.comparisons if c.names[0] == SINGLE]
    return bool(allowed) and all(certificate.error(c) <= allowed[0] for c in certificate.comparisons)
