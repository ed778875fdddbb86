"""The files of a project, from a Program at array level."""

from __future__ import annotations

import json
import re
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from specc.backends.pytorch.artefact import generate_file
from specc.backends.pytorch.choose import choose, part
from specc.backends.pytorch.data import Data, data_file, numbers_file
from specc.backends.pytorch.library import Library
from specc.backends.pytorch.networks import Networks
from specc.backends.pytorch.objective import Objective, objectives
from specc.backends.pytorch.own_reader import module_of
from specc.backends.pytorch.related import averages_file, lenders, parents_file
from specc.backends.pytorch.routine import Turn, in_routine, names_of
from specc.backends.pytorch.samplers import ways
from specc.backends.pytorch.scripts import drawn, preview_script, previewed, query_script, sample_script, train_script
from specc.backends.pytorch.source import grouped, module

from specc.ir.program import Program

SAVED = "Yours to edit: nothing here needs specc."


def project(program: Program) -> dict[str, str]:
    """Every file of the project by name."""
    library = Library(program)
    networks = Networks(program, library).build()
    losses = objectives(program, library, networks)
    turn = Turn(program, library, names_of(program, library, losses)).written() if in_routine(program) else None
    samplers, queries, derived = (ways(program, role, library, networks) for role in ("sampler", "query", "condition"))
    local = _local(library)
    files = {"model.py": _model(program, networks, local)}
    definitions = library.definitions()
    if definitions:
        files["process.py"] = module(f"Functions of {program.name}.", definitions, local, _written(program))
    data: Data | None = None
    if losses:
        files["objective.py"] = _objective(program, losses, local)
        data = data_file(program, program.data[0]) if program.data else numbers_file(program)
        files["data.py"] = data.text
    if samplers:
        files["sample.py"] = sample_script(program, samplers, derived, local)
    if queries:
        files["query.py"] = query_script(program, queries, local)
    if losses and data is not None:
        files["train.py"] = train_script(program, losses, samplers, data, turn)
        files["loader.py"] = choose(part("loader_finite" if data.finite else "loader_endless"), ())
        files["log.py"] = choose(part("log"), ())
        files["parallel.py"] = choose(part("parallel"), {"learns"} if program.by_role("objective") else ())
        if pictured := previewed(program, samplers):
            files["preview.py"] = preview_script(program, pictured)
        if program.starts:
            files["first.py"] = choose(part("first"), ())
        if lenders(program):
            files["parents.py"] = parents_file(program)
        if generate := ways(program, "generate", library, networks):
            files["generate.py"] = generate_file(program, generate[0], local)
        if program.averages:
            files["averages.py"] = averages_file(program, library, local)
        if losses[0].prepared:
            files["ahead.py"] = choose(part("ahead"), ())
        files |= {f"{module_of(d.code)}.py": d.code.text for d in program.data if d.code is not None}
    files["checkpoint.py"] = choose(part("checkpoint"), ())
    if kinds := drawn(program, samplers):
        files["pictures.py"] = choose(part("pictures"), kinds)
    if draws := _called(files, "noise"):
        files["noise.py"] = choose(part("noise"), draws)
    if kinds := _called(files, "rounding"):
        files["rounding.py"] = grouped(choose(part("rounding"), _with_helpers(kinds)))
    for name in sorted(library.externs):
        files[f"{name}.py"] = choose(part(name), ())
    files["spec.lock.json"] = json.dumps(_lock(program, networks), indent=2, ensure_ascii=False) + "\n"
    return files


def _called(files: dict[str, str], name: str) -> set[str]:
    """The functions of a part that files call as `part.function`."""
    return {called for text in files.values() for called in re.findall(rf"\b{name}\.(\w+)\(", text)}


def _with_helpers(kinds: set[str]) -> set[str]:
    """Functions of the part `rounding` that a project calls, with those that they call."""
    scaled = {k for k in kinds if k.startswith("mx")}
    found = kinds | {"floats" for k in scaled if k.startswith("mxfp")} | {"fixed" for k in scaled if k.startswith("mxint")}
    return found | {"powers" for _ in found & {"floats", "fixed"}}


def _local(library: Library) -> dict[str, str]:
    """Where the names that files share come from."""
    local = {"Model": "model", "noise": "noise", "rounding": "rounding", "checkpoint": "checkpoint", "picture": "pictures"}
    local |= {p.name: "model" if name in library.bare else "process" for name, p in library.plain.items()}
    local |= {name: name for name in library.externs}
    return local


def _written(program: Program) -> str:
    return f"Written by specc {_specc()} from {program.spec} (sha256 {program.digest[:8]}). {SAVED}"


def _specc() -> str:
    try:
        return ".".join(version("specc").split(".")[:2])
    except PackageNotFoundError:
        return "0.1"


def _model(program: Program, networks: Networks, local: dict[str, str]) -> str:
    what = "The network" if len(program.networks) == 1 else "The networks"
    doc = f"{what} of {program.name}."
    more = f"{_written(program)}\nShapes: B examples."
    return module(
        doc,
        [*networks.library.definitions(networks=True), *networks.classes(), networks.model()],
        {k: v for k, v in local.items() if v != "model"},
        more,
    )


def _objective(program: Program, losses: list[Objective], local: dict[str, str]) -> str:
    definitions = [lines for o in losses for lines in o.definitions]
    timed = any(re.search(r"\bt\b", line) for lines in definitions for line in lines)
    shapes = f"{'t runs from data (smallest) to noise (largest). ' if timed else ''}Shapes: B examples."
    more = "\n".join([*([program.doc, ""] if program.doc else []), shapes])
    does = "minimises" if program.by_role("objective") else "updates"
    return module(f"What {program.name} {does}.", definitions, local, more)


def _lock(program: Program, networks: Networks) -> dict[str, Any]:
    """What the project was written from."""
    readers = {d.code.file: d.code.sha256 for d in program.data if d.code is not None}
    return {
        "name": program.name,
        "spec": program.spec,
        "digest": program.digest,
        "versions": {"specc": _specc(), "torch": "2.13"},
        "networks": {root: {"parameters": networks.parameters(f)} for root, f in program.networks.items()},
        "samplers": {e.name: {"calls": e.calls} for e in program.by_role("sampler")},
        "train": {key: _plain(value) for key, value in program.train},
        **({"readers": readers} if readers else {}),
    }


def _plain(value: Any) -> Any:
    """A setting as JSON."""
    if hasattr(value, "options"):
        return {"name": value.name, **{k: _plain(v) for k, v in value.options}}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value if isinstance(value, (int, float, str, bool, type(None))) else str(value)
