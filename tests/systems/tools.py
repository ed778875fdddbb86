"""What the claims of the systems share: programs, exact runs in double precision, and trained models kept between tests."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from warm import python

from specc import driver
from specc.ir.paths import parameters
from specc.ir.program import Parent, Program
from specc.passes.count import network_calls
from specc.reference.interpret import evaluate, run
from specc.runtime.ort import example_seeds

SPECS = Path(__file__).parents[2] / "specs"
RUNS = Path(__file__).parents[2] / ".pytest_cache" / "runs"


@cache
def model(spec: str, name: str | None = None) -> Program:
    """A model of a spec below `specs/` (its first one unless named), at example level; the spec must be without errors."""
    checked = driver.check(SPECS / spec, name)
    assert not checked.failed, [f"{d.code} {d.span}: {d.message}" for d in checked.diagnostics]
    return checked.programs[name] if name else next(iter(checked.programs.values()))


def variant(folder: Path, base: str, text: str) -> str:
    """A spec of a test's own beside a catalogue's one, for ablations: `text` says `model NAME from base.MODEL { ... }`."""
    path = folder / f"variant_{hashlib.sha256(text.encode()).hexdigest()[:8]}.spec"
    path.write_text(f'specc 1\nimport "{SPECS / base}" as base\n{text}')
    return str(path)


@cache
def graph(spec: str, name: str | None = None) -> Program:
    """The same at array level, as the graph backends take it."""
    return driver.prepare(model(spec, name))


def shapes(spec: str, name: str | None = None) -> dict[str, tuple[int, ...]]:
    """The shapes of a model's parameters by path."""
    program = model(spec, name)
    return {k: tuple(map(int, s)) for k, s in parameters(program.functions, program.networks).items()}


@cache
def whole(spec: str, name: str | None = None) -> Program:
    """As `graph`, with samplers that ask for the whole sequence in each round."""
    return driver.prepare(replace(model(spec, name), cache=False))


def exact(spec: str, name: str | None, entry: str, n: int, seed: int = 0, **inputs: Any) -> np.ndarray:
    """Run a model without parameters in double precision: n samples, one seed each, (n, *shape)."""
    given = {"seed": example_seeds(seed, n), **inputs}
    return run(graph(spec, name), entry, given, {}, dtype="float64")[0]


def apply(spec: str, name: str | None, entry: str, **inputs: Any) -> np.ndarray:
    """What a query of a model without parameters says of its inputs (n, *shape), in double precision."""
    return run(graph(spec, name), entry, inputs, {}, dtype="float64")[0]


def calls(spec: str, name: str | None, entry: str) -> int | None:
    """The network calls of an entry, as the compiler counts them; None when they depend on the data."""
    found = network_calls(graph(spec, name), entry)
    return None if found is None else found.calls


def curve(spec: str, name: str | None, function: str, *args: np.ndarray) -> np.ndarray:
    """An equation of the model (`alpha`, `denoise_of`, ...) at example level on stacked arguments, in double precision."""
    program = model(spec, name)
    found = next(f for f in program.functions.values() if f.name.split(".")[0] == function and len(f.block.params) == len(args))
    return np.asarray(evaluate(found, [np.asarray(a, dtype=float) for a in args], program.functions)[0])


def train(spec: str, name: str | None = None, *, steps: int | None = None, seed: int = 0) -> Path:
    """The folder of a trained model: trained once for a project, a number of steps and a seed, then kept. A stage's parents
    are trained first, as long as their spec says."""
    program = model(spec, name)
    parents = [train(where(spec, parent), parent.name, seed=seed) for parent in program.parents if parent.shares]
    project = RUNS / "projects" / f"{program.name}-{os.getpid()}"
    files = driver.emit(program, "pytorch", project)
    text = "".join(p.read_text() for p in sorted(files))
    key = hashlib.sha256(f"{text}{steps}{seed}{parents}".encode()).hexdigest()[:16]
    out = RUNS / f"{program.name}-{key}"
    if not (out / "done.json").exists():
        command = ["train.py", "--out", str(out), "--seed", str(seed)]
        command += ["--steps", str(steps)] if steps else []
        command += ["--parent", *map(str, parents)] if parents else []
        done = python(*command, cwd=project, timeout=None)
        assert done.returncode == 0, done.stderr[-3000:]
        summary = done.stdout.strip().splitlines()[-1]
        assert json.loads(summary)["steps"] == (steps or program.setting("steps")), "the training was stopped"
        (out / "done.json").write_text(summary)
    return out


def where(spec: str, parent: Parent) -> str:
    """The spec that a parent of one of its stages stands in: this one, or one that it imports."""
    path = SPECS / spec
    imported = re.findall(r'^import "([^"]+)"', path.read_text(), re.MULTILINE)
    for one in (spec, *(str(path.parent / other) for other in imported)):
        checked = driver.check(SPECS / one, parent.name)
        if parent.name in checked.programs and checked.programs[parent.name].digest == parent.digest:
            return one
    raise LookupError(f"{spec} and what it imports have no model {parent.name} of sha256 {parent.digest[:12]}")


def report(folder: Path) -> dict[str, Any]:
    """The last line that training printed."""
    return json.loads((folder / "done.json").read_text())


def weights(folder: Path) -> dict[str, np.ndarray]:
    """The weights of a run by path, averaged ones where there are any."""
    from safetensors.numpy import load_file

    found = folder / "ema.safetensors"
    return load_file(found if found.exists() else folder / "model.safetensors")


def sample(folder: Path, spec: str, name: str | None, entry: str, n: int, seed: int = 0, **inputs: Any) -> np.ndarray:
    """Samples of a trained model by ONNX Runtime, (n, *shape); the file is exported once and kept beside the run."""
    from specc.backends.onnx.export import export

    from specc.runtime import ort

    path = folder / f"{entry}-{hashlib.sha256(f'{spec}{name}'.encode()).hexdigest()[:8]}.onnx"
    if not path.exists():
        export(graph(spec, name), entry, weights(folder), path)
    loaded = ort.load(path, threads=1)
    return loaded.sample(n, seed, arguments=inputs)


def answers(folder: Path, spec: str, name: str | None, entry: str, **inputs: Any) -> list[np.ndarray]:
    """What a query says of its inputs (n, *shape) with the weights of a run, by ONNX Runtime. The query may be of another
    model with the same network."""
    from specc.backends.onnx.export import export

    from specc.runtime import ort

    path = folder / f"{entry}-{hashlib.sha256(f'{spec}{name}'.encode()).hexdigest()[:8]}.onnx"
    if not path.exists():
        export(graph(spec, name), entry, weights(folder), path)
    loaded = ort.load(path, threads=1)
    count = len(next(iter(inputs.values())))
    return list(loaded.run(loaded.feeds(np.arange(count), arguments=inputs)).values())


def ask(folder: Path, spec: str, name: str | None, entry: str, **inputs: Any) -> np.ndarray:
    """The first of these."""
    return answers(folder, spec, name, entry, **inputs)[0]
