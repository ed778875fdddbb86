"""`export`: a sampler or query of a program as one ONNX file, the loop inside, each weight once.

Inputs: `seed` (int64, one for each example), conditions, and arguments with their defaults; `noise_<place>` for each draw,
empty by default. Outputs: `x` (the sampler's sample, a query's answer; `x1`, ... where there are more), when the number of
network calls depends on the data `nfe`, and when it is asked for `trajectory`: the states before each round of the sampler's
loop, (rounds, B, *shape). Nothing here needs PyTorch.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper
from specc.backends.onnx.emit import Emitter, Layers, UnsupportedError, Watch
from specc.backends.onnx.scopes import NUMPY, info, tensor
from specc.backends.onnx.spelling import ONNX, UNSUPPORTED
from specc.backends.onnx.wire import LARGEST, write

from specc.ir.least import least
from specc.ir.ops import Op
from specc.ir.program import Entry, Input, Program, Space, Value
from specc.ir.types import BATCH, INT
from specc.passes.count import network_calls
from specc.record import record

OPSET, IR_VERSION = 23, 10
TRAJECTORY = "trajectory"
PREFIX = "specc."  # of keys in the file's metadata


@record(kw_only=True)
class ExportReport:
    """What was written. `nodes` counts every graph of the file; `unused` lists weights that the entry does not read."""

    files: tuple[Path, ...]
    entry: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: int
    weights: int
    weight_bytes: int
    float_bytes: int  # of the weights that the entry reads, before any quantisation
    file_bytes: int
    unused: tuple[str, ...] = ()
    quantization: Any = None


@dataclass(slots=True)
class Hooks:
    """Ways into an export for the quantiser: other layers, and outputs for what happens inside."""

    layers: Layers | None = None
    observe: Any = None
    trace: Any = None
    watch: Any = None
    plain: bool = False  # see Emitter.plain and Emitter.told
    told: frozenset[int] = frozenset()
    metadata: dict[str, Any] = field(default_factory=dict)


def export(
    program: Program,
    entry: str,
    weights: Mapping[str, np.ndarray],
    path: str | Path,
    *,
    quantization: Any = None,
    calibration: Any = None,
    target: str = "cpu",
    metadata: Mapping[str, Any] | None = None,
    trajectory: bool = False,
    largest: int = LARGEST,
) -> ExportReport:
    """Write `entry` of an array-level program to `path`.

    weights: arrays by path (`backbone.block.0.qkv.weight`), written as float32. quantization: a `Quantization` of the
    program; calibration: its `Calibration` (examples, seed, conditions), by default 64 examples with seeds 0, 1, ...
    target: where a quantised file will run (cpu, web, cuda). metadata: more keys for the file. Files above `largest` bytes
    put their weights into `<name>.data`. Raises `UnsupportedError` for what has no ONNX form, ValueError or KeyError for
    weights that do not fit.
    """
    hooks = Hooks(metadata=dict(metadata or {}), watch=watcher(program, entry) if trajectory else None)
    if quantization is None:
        return write_entry(program, entry, weights, Path(path), hooks, largest)
    from specc.backends.onnx import measure  # these export samplers of their own, to calibrate on and to compare with
    from specc.backends.onnx.quantize import plan as make_plan

    plan = make_plan(program, entry, weights, quantization, calibration, target)
    hooks.layers = writer = plan.writer()
    hooks.metadata |= {"quantization": quantization.name, "target": target}
    written = write_entry(plan.program, entry, weights, Path(path), hooks, largest)
    return replace(written, quantization=measure.report(plan, writer, written))


def write_entry(
    program: Program, entry: str, weights: Mapping[str, np.ndarray], path: Path, hooks: Hooks, largest: int = LARGEST
) -> ExportReport:
    """Emit one entry and write it."""
    e = emit(program, entry, weights, hooks)
    model = helper.make_model(
        onnx.GraphProto(), opset_imports=_opsets(e), ir_version=IR_VERSION, producer_name="specc", producer_version="1"
    )
    model.ClearField("graph")
    known = metadata_of(program, entry) | {"noise": sorted(e.noise)} | hooks.metadata
    helper.set_model_props(model, {PREFIX + k: _text(v) for k, v in known.items()})
    graph = e.root.graph
    files = write(path, model, graph, largest=largest)
    used = [p.tensor for p in e.placed.values() if p.kept]
    return ExportReport(
        files=files,
        entry=entry,
        inputs=tuple(i.name for i in graph.inputs),
        outputs=tuple(o.name for o in graph.outputs),
        nodes=_count(graph),
        weights=len(used),
        weight_bytes=sum(t.size for t in used),
        float_bytes=sum(4 * weights[p].size for p in e.paths if p in weights),
        file_bytes=sum(f.stat().st_size for f in files),
        unused=tuple(sorted(set(weights) - e.paths)),
    )


def emit(program: Program, entry: str, weights: Mapping[str, np.ndarray], hooks: Hooks) -> Emitter:
    """The graph of an entry, in memory, with promises of its weights."""
    if program.level != "array":
        raise ValueError(f"the program {program.name} is at {program.level} level; run the pass `batch` before")
    where = program.entries[entry]
    e = Emitter(program, weights, ONNX, UNSUPPORTED, entry)
    e.layers, e.observe, e.trace, e.watch = hooks.layers, hooks.observe, hooks.trace, hooks.watch
    e.plain, e.told = hooks.plain, hooks.told
    block = program.functions[where.function].block
    e.public = {"nfe", TRAJECTORY, *(i.name for i in where.inputs), *(_public(i) for i in range(len(block.results)))}
    e.reserve(*e.public, *weights)
    for value, wanted in zip(block.params, where.inputs, strict=True):
        _input(e, wanted)
        e.env[value.id] = wanted.name
    e.batch = _batch(e, where)
    if calls_of(program, entry) is None:
        e.calls = e.const(np.int64(0))
    e.function(block)
    _outputs(e, [e.name(v) for v in block.results], [v.type for v in block.results])
    e.settle()
    return e


def watcher(program: Program, entry: str) -> Watch:
    """Shows the first value like a sample that a loop of the entry carries. Raises UnsupportedError where none does."""
    block = program.functions[program.entries[entry].function].block
    wanted = block.results[0].type

    def sample(values: Sequence[Value]) -> Value | None:
        return next((v for v in values if v.type == wanted), None)

    loops = [n for n in block.nodes if n.op in (Op.FOR, Op.WHILE)]
    if not any(sample(n.outputs) for n in loops):
        raise UnsupportedError("no loop of it carries a sample, so there is no trajectory to show")

    numbers = itertools.count()

    def watch(e: Emitter, carried: Sequence[Value]) -> None:
        if (value := sample(carried)) is not None:
            e.tap(f"{TRAJECTORY}{next(numbers) or ''}", e.name(value), value.type)

    return watch


def calls_of(program: Program, entry: str) -> int | None:
    """Network calls of one run, lanes together; None when the number depends on the data or an input."""
    counted = network_calls(program, entry)
    return None if counted is None else counted.calls


def _input(e: Emitter, wanted: Input) -> None:
    e.root.graph.inputs.append(info(wanted.name, wanted.type))
    if wanted.default is not None:
        if wanted.type.batched:
            raise UnsupportedError(f"the input {wanted.name} varies by example and has a default")
        array = np.full([int(d) for d in wanted.type.shape], wanted.default, NUMPY[wanted.type.dtype])
        e.root.graph.tensors.append(tensor(wanted.name, array))


def _batch(e: Emitter, entry: Entry) -> str:
    """int64 (1,): the number of examples, from the first input that has one for each; 1 where none has."""
    first = next((i for i in entry.inputs if i.type.shape[:1] == (BATCH,)), None)
    if first is None:
        return e.ints(1)
    return e.op("Shape", first.name, start=0, end=1, hint="batch")


def _outputs(e: Emitter, names: list[str], types: list[Any]) -> None:
    wanted = [(_public(i), n, t) for i, (n, t) in enumerate(zip(names, types, strict=True))]
    if e.calls is not None:
        wanted.append(("nfe", e.calls, INT))
    wanted += [(tap.key, tap.name, tap.type) for tap in e.root.taps]
    inputs = {i.name for i in e.root.graph.inputs}
    for public, name, type in wanted:
        public = f"{public}_out" if public in inputs else public
        e.root.graph.nodes.append(helper.make_node("Identity", [name], [public], name=f"n.out.{public}"))
        e.root.graph.outputs.append(info(public, type))


def _public(i: int) -> str:
    return "x" if i == 0 else f"x{i}"


def _opsets(e: Emitter) -> list[onnx.OperatorSetIdProto]:
    return [helper.make_opsetid("", OPSET), *(helper.make_opsetid(d, 1) for d in sorted(e.domains))]


def metadata_of(program: Program, entry: str) -> dict[str, Any]:
    """What a reader of a file of an entry should know about it. Nothing here says where it was made."""
    where, calls = program.entries[entry], calls_of(program, entry)
    spaces = [d.space for d in program.data] + list(program.conditions)
    return {
        "spec": program.spec,
        "model": program.name,
        "digest": program.digest,
        "entry": where.name,
        "role": where.role,
        "doc": where.doc,
        "nfe": "output nfe" if calls is None else str(calls),
        "spaces": [space_of(s) for s in spaces],
        "inputs": inputs_of(program, where),
        "groups": str(where.groups),
    }


def inputs_of(program: Program, entry: Entry) -> list[dict[str, Any]]:
    """What an entry asks for; `least` is said only of inputs that have such a value."""
    counted = least(program, entry)
    return [_described(i) | ({"least": counted[i.name]} if i.name in counted else {}) for i in entry.inputs]


def _described(i: Input) -> dict[str, Any]:
    return {
        "name": i.name,
        "role": i.role,
        "dtype": i.type.dtype.value,
        "shape": list(i.type.shape),
        "default": i.default,
        "classes": i.classes,
    }


def space_of(s: Space) -> dict[str, Any]:
    keys = ("name", "kind", "shape", "dtype", "low", "high", "levels", "classes")
    return {k: getattr(s, k) for k in keys if getattr(s, k) is not None}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _count(graph: Any) -> int:
    return sum(1 + sum(_count(g) for g in getattr(n, "graphs", {}).values()) for n in graph.nodes)
