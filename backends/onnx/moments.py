"""What layers multiply: second moments and largest values of their operands, over the calls of a network.

A copy of the network is exported in which a layer gives the products of its operand with itself, one matrix for a call. What a
convolution multiplies are windows, which a convolution with an identity for its kernel lays side by side.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from specc.backends.onnx import calibrate
from specc.backends.onnx.emit import Emitter
from specc.backends.onnx.export import Hooks, write_entry
from specc.backends.onnx.layers import window

from specc.ir.methods.table import Seen
from specc.ir.ops import Op
from specc.ir.program import Node, Program
from specc.ir.types import FLOAT
from specc.runtime.ort import load


@dataclass(slots=True)
class _Products:
    """Hooks of the export: the layers to look at, and the outputs that come back."""

    paths: set[str]
    keys: dict[str, str] = field(default_factory=dict)

    def observe(self, e: Emitter, node: Node, path: str, values: dict[str, str]) -> None:
        if path not in self.paths or path in self.keys or node.get("groups", 1) != 1:
            return
        columns = _columns(e, node, values["x"])
        products = e.op("MatMul", columns, e.op("Transpose", columns, perm=[1, 0]))
        largest = e.op("ReduceMax", e.op("Abs", columns), e.ints(1), keepdims=1)
        shown = e.op("Concat", products, largest, axis=1)
        self.keys[path] = f"tap.moments.{len(self.keys)}"
        k = operands(node)
        e.tap(self.keys[path], shown, FLOAT.shaped((k, k + 1)))


def operands(node: Node) -> int:
    """How many numbers each result of a layer is a sum over."""
    o, c, *kernel = (int(d) for d in node.inputs[1].type.shape)
    return (o if node.op is Op.CONV_TRANSPOSE else c) * int(np.prod(kernel, dtype=int))


def _columns(e: Emitter, node: Node, x: str) -> str:
    """The operand as (k, places)."""
    if node.op is Op.LINEAR:
        k = int(node.inputs[1].type.shape[1])
        return e.op("Transpose", e.op("Reshape", x, e.ints(-1, k)), perm=[1, 0])
    kernel = [int(d) for d in node.inputs[1].type.shape[2:]]
    k = operands(node)
    eye = np.eye(k, dtype=np.float32).reshape(k, -1, *kernel)
    if node.op is Op.CONV_TRANSPOSE:
        eye = np.moveaxis(eye, 0, 1)
    windows = e.op("Conv" if node.op is Op.CONV else "ConvTranspose", x, e.const(np.ascontiguousarray(eye)), **window(node))
    return e.op("Reshape", e.op("Transpose", windows, perm=[1, 0, *range(2, 2 + len(kernel))]), e.ints(k, -1))


def moments(
    program: Program, bundle: str, weights: Mapping[str, np.ndarray], calls: Iterable[tuple[np.ndarray, ...]], paths: set[str]
) -> dict[str, Seen]:
    """What these layers of a network multiply, over calls with the given arguments. Left out are convolutions in groups, whose
    channels multiply operands of their own."""
    products = _Products(paths)
    sums: dict[str, np.ndarray] = {}
    largest: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as folder:
        called, name = calibrate.network_entry(program, bundle)
        file = Path(folder) / "network.onnx"
        write_entry(called, name, weights, file, Hooks(observe=products.observe))
        model = load(file)
        known = {i.name for i in model.session.get_inputs()}
        for arguments in calls if products.keys else ():
            feeds = {f"arg{i}": a for i, a in enumerate(arguments) if f"arg{i}" in known}
            out = model.run(feeds, list(products.keys.values()))
            for path, key in products.keys.items():
                k = out[key].shape[-2]
                rows = np.asarray(out[key], np.float64).reshape(-1, k, k + 1)  # one for each round of a loop
                sums[path] = sums.get(path, 0) + rows[:, :, :k].sum(axis=0)
                largest[path] = np.maximum(largest.get(path, 0), rows[:, :, k].max(axis=0))
    return {path: Seen(second=sums[path], largest=largest[path]) for path in sums}


def calls(
    program: Program, entry: str, weights: Mapping[str, np.ndarray], wanted: calibrate.Calibration
) -> dict[str, list[tuple[np.ndarray, ...]]]:
    """The arguments of every call of each network while an entry runs on what is calibrated on."""
    taps = calibrate.Taps(set())
    found: dict[str, list[tuple[np.ndarray, ...]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "calls.onnx"
        write_entry(program, entry, weights, file, Hooks(trace=taps.trace))
        model = load(file)
        for feeds in calibrate.batches(model, wanted):
            out = model.run(feeds)
            for call in taps.calls:
                site = calibrate.site(program, call, out)
                found.setdefault(site.bundle, []).extend(zip(*site.arguments, strict=True))
    return found
