"""A whole sampler as MLIR, its loop inside, by way of its ONNX graph.

The batch is symbolic, and arguments are inputs. Draws are inputs too, since compilers make the generator's doubles single:
`draws` says which of its numbers each of them takes. Those whose number is known only on the way, in loops that stop by
themselves, are made in the graph. Quantised weights are packed tensors, and standard ops unpack them and round what they
multiply: the importers know no kernels of a runtime's own.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from specc.backends.onnx.calibrate import Calibration
from specc.backends.onnx.export import Hooks, write_entry
from specc.backends.onnx.quantize import plan
from specc.backends.onnx.steps import without_defaults

from specc.ir.ops import Op
from specc.ir.program import Block, Node, Program, Quantization
from specc.ir.types import BATCH
from specc.passes.counted import counted
from specc.record import record

TARGET = "mlir"  # of a plan: none of the runtimes in the table of formats, which have kernels
ALWAYS = "always"  # the condition of a loop that only counts


@record(kw_only=True)
class Formats:
    """A `quantize` section, and what its ranges and methods look at."""

    section: Quantization
    calibration: Calibration | None = None


@record(kw_only=True)
class Draw:
    """An input of numbers from the counter generator, (*rounds, B, *shape). rounds: of each loop around the draw, the
    outermost first, how often it runs: a number, or the input that says it."""

    name: str
    place: int
    kind: str
    shape: tuple[int, ...]
    rounds: tuple[int | str, ...]


def draws(program: Program, entry: str) -> tuple[Draw, ...]:
    """The draws of an entry that its seeds and loops of known length key: the others are made in the graph."""
    where = program.entries[entry]
    block = program.functions[where.function].block
    inputs = {v.id: i for v, i in zip(block.params, where.inputs, strict=True)}
    known = {n.out.id: n["value"] for n in _nodes(block) if n.op is Op.CONST and not n.out.type.shape}
    counts: dict[int, int | str | None] = {}
    for node in _nodes(block):
        if node.op is Op.FOR:
            count = node.inputs[0].id
            told = inputs[count].name if count in inputs else None
            counts[node.regions[0].params[0].id] = int(known[count]) if count in known else told
    found: dict[int, Draw | None] = {}
    for node in _nodes(block):
        if node.op in (Op.NORMAL, Op.UNIFORM) and node["keyed"]:
            place, (seed, *indices) = node["place"], node.inputs
            rounds = tuple(r for v in indices if (r := counts.get(v.id)) is not None)
            by_seed = seed.id in inputs and inputs[seed.id].role == "seed" and BATCH not in node.out.type.shape[1:]
            shape = tuple(node.out.type.shape[1:])
            draw = Draw(name=f"noise_{place}", place=place, kind=node.op.value, shape=shape, rounds=rounds)
            found[place] = draw if by_seed and len(rounds) == len(indices) and found.get(place, draw) == draw else None
    return tuple(draw for draw in found.values() if draw is not None)


def graph(
    program: Program, entry: str, weights: Mapping[str, np.ndarray], formats: Formats | None = None
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """The ONNX graph of an entry of an array-level program as importers of MLIR want it, and what a reader should know."""
    program = counted(program)
    drawn = draws(program, entry)
    hooks, known = Hooks(plain=True, told=frozenset(d.place for d in drawn)), {}
    if formats is not None:
        planned = plan(program, entry, weights, formats.section, formats.calibration, TARGET)
        program, hooks.layers, known = planned.program, planned.writer(), {"quantization": planned.name}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sampler.onnx"
        write_entry(without_defaults(program, entry), entry, weights, file, hooks)
        model = onnx.load(file)
    _typed(model.graph)
    model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    _grown(model.graph)
    arguments = [i.name for i in model.graph.input]
    rows = [{k: getattr(d, k) for k in ("name", "place", "kind", "shape", "rounds")} for d in drawn if d.name in arguments]
    return model, known | {"arguments": arguments, "draws": rows, "results": [o.name for o in model.graph.output]}


def operations(graph: onnx.GraphProto) -> Counter[str]:
    """How often each op stands in a graph and in those inside it."""
    found: Counter[str] = Counter()
    for node in graph.node:
        found[node.op_type] += 1
        for inner in _inside(node):
            found += operations(inner)
    return found


def _typed(graph: onnx.GraphProto) -> None:
    """Say the types of what loops give, which shape inference would leave open, and give each loop a condition."""
    for node in graph.node:
        for inner in _inside(node):
            _typed(inner)
            if node.op_type == "Loop":
                for name, carried in zip(node.output, inner.output[1:], strict=False):
                    value = graph.value_info.add()
                    value.CopyFrom(carried)
                    value.name = name
        if node.op_type == "Loop" and not node.input[1]:
            node.input[1] = ALWAYS
            if ALWAYS not in {t.name for t in graph.initializer}:
                graph.initializer.append(numpy_helper.from_array(np.array(True), ALWAYS))


def _grown(graph: onnx.GraphProto) -> None:
    """Give what a loop carries one type, before it and inside: a cache starts empty, and importers take that for its length."""
    inferred = {v.name: v for v in graph.value_info}
    for node in graph.node:
        for inner in _inside(node):
            _grown(inner)
            if node.op_type == "Loop":
                for name, carried in zip(node.input[2:], inner.input[2:], strict=True):
                    if name in inferred:
                        inferred[name].type.CopyFrom(carried.type)


def _inside(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    return [a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]


def _nodes(block: Block) -> Iterator[Node]:
    for node in block.nodes:
        yield node
        for region in node.regions:
            yield from _nodes(region)
