"""A whole sampler as MLIR, its loop inside, by way of its ONNX graph.

The batch is symbolic, and arguments are inputs. Draws are inputs too, since the counter generator works on unsigned words of
64 bits, which torch-mlir does not lower: `draws` says which numbers of the generator each of them takes. Quantised weights are
packed tensors, and standard ops unpack them and round what they multiply: the importers know no kernels of a runtime's own.
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
from specc.backends.onnx.emit import UnsupportedError
from specc.backends.onnx.export import Hooks, write_entry
from specc.backends.onnx.quantize import plan
from specc.backends.onnx.steps import without_defaults

from specc.ir.ops import Op
from specc.ir.program import Block, Node, Program, Quantization
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
    """What an entry draws. Raises UnsupportedError for draws that are not keyed by the seeds and by loops of known length."""
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
    found: dict[str, Draw] = {}
    for node in _nodes(block):
        if node.op in (Op.NORMAL, Op.UNIFORM):
            seed, *indices = node.inputs if node["keyed"] else (None,)
            rounds = tuple(counts.get(v.id) for v in indices)
            if seed is None or seed.id not in inputs or inputs[seed.id].role != "seed" or None in rounds:
                raise UnsupportedError(
                    f"the draw {node['place']} needs a key or a number of rounds that is computed on the way"
                )
            name, shape = f"noise_{node['place']}", tuple(int(d) for d in node.out.type.shape[1:])
            kind = node.op.value
            found[name] = Draw(
                name=name, place=node["place"], kind=kind, shape=shape, rounds=tuple(r for r in rounds if r is not None)
            )
    return tuple(found.values())


def graph(
    program: Program, entry: str, weights: Mapping[str, np.ndarray], formats: Formats | None = None
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """The ONNX graph of an entry of an array-level program as importers of MLIR want it, and what a reader should know."""
    drawn = draws(program, entry)
    hooks, known = Hooks(plain=True), {}
    if formats is not None:
        planned = plan(program, entry, weights, formats.section, formats.calibration, TARGET)
        program, hooks.layers, known = planned.program, planned.writer(), {"quantization": planned.name}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sampler.onnx"
        write_entry(without_defaults(program, entry), entry, weights, file, hooks)
        model = onnx.load(file)
    _typed(model.graph)
    model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    arguments = [i.name for i in model.graph.input]
    missing = [name for name in arguments if name.startswith("noise_") and name not in {d.name for d in drawn}]
    assert not missing, "each draw of the graph is one of the program's"
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


def _inside(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    return [a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]


def _nodes(block: Block) -> Iterator[Node]:
    for node in block.nodes:
        yield node
        for region in node.regions:
            yield from _nodes(region)
