"""A sampler as a folder of static files that draws in the browser, with nothing from the network.

index.html, app.js, ...   the page, the same for every model
manifest.json             what this model is: its inputs, its space, its files, a sample to compare with
float/, NAME/             the sampler in float, and as the quantisation NAME: `sampler.onnx` is all of it; `start.onnx`,
                          `step.onnx` and `finish.onnx` are for a loop in JavaScript, where the sampler is one loop
ort/                      the runtime
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from specc.backends.onnx.calibrate import Calibration
from specc.backends.onnx.emit import Layers, UnsupportedError
from specc.backends.onnx.export import Hooks, inputs_of, space_of, watcher, write_entry
from specc.backends.onnx.quantize import plan as make_plan
from specc.backends.onnx.steps import with_parts, without_defaults
from specc.backends.web import ort_web

from specc.ir.program import Entry, Program, Quantization
from specc.record import record
from specc.runtime.ort import example_seeds, load

PAGE = ("index.html", "style.css", "app.js", "controls.js", "files.js", "draw.js", "worker.js")
FLOAT = "float"
LARGEST = 2**16  # numbers of a condition that a page asks for
CHECKED = 4  # samples that a page compares with those of Python


@record(kw_only=True)
class Asked:
    """What goes into a page beside the program and its weights."""

    entry: str
    quantization: Quantization | None = None
    calibration: Calibration | None = None
    symbols: str | None = None


def write(
    program: Program, weights: Mapping[str, np.ndarray], asked: Asked, folder: Path, runtime: Path | None = None
) -> tuple[Path, ...]:
    """Write the page of a sampler of an array-level program. runtime: where onnxruntime-web is, if not fetched.

    Raises UnsupportedError for a sampler that asks for what a page cannot, RuntimeMissingError without the runtime.
    """
    entry = program.entries[asked.entry]
    _can_ask(entry)
    ort_web.place(folder / "ort", runtime)
    variants = {FLOAT: _variant(program, weights, asked.entry, folder / FLOAT, lambda: None)}
    if asked.quantization is not None:
        plan = make_plan(program, asked.entry, weights, asked.quantization, asked.calibration, "web")
        name = asked.quantization.name
        variants[name] = _variant(plan.program, weights, asked.entry, folder / name, plan.writer)
    made = with_parts(program, asked.entry)
    manifest = {
        "model": program.name,
        "spec": program.spec,
        "digest": program.digest,
        "entry": entry.name,
        "doc": entry.doc,
        "space": space_of(program.data[0].space) if program.data else {},
        "symbols": list(asked.symbols) if asked.symbols is not None else None,
        "spaces": {s.name: space_of(s) for s in program.conditions},
        "inputs": inputs_of(program, entry),
        "calls": entry.calls,
        "loop": None if made is None else {"carried": made[1].carried, "shown": made[1].shown},
        "variants": variants,
        "check": _check(folder / FLOAT / "sampler.onnx", entry),
        "runtime": ort_web.PACKAGE,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest) + "\n", encoding="utf-8")
    for name in PAGE:
        with files("specc.backends.web").joinpath("page", name).open("rb") as source, (folder / name).open("wb") as out:
            shutil.copyfileobj(source, out)
    return tuple(sorted(p for p in folder.rglob("*") if p.is_file()))


def _can_ask(entry: Entry) -> None:
    for i in entry.inputs:
        size = math.prod(int(d) for d in i.type.shape if isinstance(d, int))
        if i.role == "data" or size > LARGEST:
            raise UnsupportedError(
                f"a page cannot ask for the input {i.name}, which has {size} numbers, more than {LARGEST}: "
                f"specc sample FILE.onnx --set {i.name}=FILE.npy takes it from a file"
            )


def _variant(
    program: Program, weights: Mapping[str, np.ndarray], entry: str, folder: Path, layers: Callable[[], Layers | None]
) -> dict[str, Any]:
    """Write the sampler whole, and in parts where it has them; their sizes in bytes by name. layers: a writer for each file."""
    folder.mkdir(parents=True, exist_ok=True)
    told = without_defaults(program, entry)  # onnxruntime-web does not take values for inputs that have one
    try:
        watch = watcher(told, entry)
    except UnsupportedError:
        watch = None  # a sampler without a loop: the page shows what comes out
    inputs = [i | {"default": None} for i in inputs_of(program, program.entries[entry])]
    whole = Hooks(layers=layers(), watch=watch, metadata={"inputs": inputs})
    written = {"sampler": write_entry(told, entry, weights, folder / "sampler.onnx", whole)}
    if (made := with_parts(told, entry)) is not None:
        stepped, parts = made
        for name in ("start", "step", "finish"):
            part = Hooks(layers=layers())
            written[name] = write_entry(stepped, getattr(parts, name), weights, folder / f"{name}.onnx", part)
    return {name: report.file_bytes for name, report in written.items()}


def _check(file: Path, entry: Entry) -> dict[str, Any]:
    """Samples of this machine, for the page to compare its own with."""
    model = load(file)
    defaults = {i.name: i.default for i in entry.inputs if i.default is not None}
    feeds = model.feeds(example_seeds(0, CHECKED), arguments=defaults | _zeros(entry))
    x = model.run(feeds, ["x"])["x"]
    return {"seed": 0, "count": CHECKED, "x": [float(v) if np.isfinite(v) else None for v in np.ravel(x)]}


def _zeros(entry: Entry) -> dict[str, float]:
    """Conditions in numbers start at 0, in the page as here."""
    return {i.name: 0.0 for i in entry.inputs if i.role == "condition" and not i.classes}
