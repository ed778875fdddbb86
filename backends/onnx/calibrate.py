"""What happens inside a float sampler: ranges of activations, and the network's calls, along its own trajectory.

A copy of the sampler is exported whose layers give a sample of their values, and whose network calls give their arguments
and results, as further outputs; inside a loop ONNX stacks them, one row a round.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from specc.backends.onnx.emit import Emitter
from specc.backends.onnx.export import Hooks, write_entry

from specc.ir.ops import Op
from specc.ir.program import Builder, Entry, Function, Ids, Input, Node, Program
from specc.ir.types import FLOAT
from specc.record import record
from specc.runtime.ort import Model, load

KEPT = 1024  # values that a layer shows of one tensor; its ends are shown beside them


@record(kw_only=True)
class Calibration:
    """What to calibrate on: seeds `seed`, `seed + 1`, ... and the inputs of the sampler.

    data: inputs of the query that `quantize` names, a row for each example; methods look at its calls.
    """

    examples: int = 64
    seed: int = 0
    conditions: Mapping[str, Any] | None = None
    arguments: Mapping[str, Any] | None = None
    batch: int = 16
    data: Mapping[str, np.ndarray] | None = None


@record(kw_only=True)
class Site:
    """A place that calls a network, with the arguments and results of its calls, one row a call."""

    bundle: str
    arguments: tuple[np.ndarray, ...]
    results: tuple[np.ndarray, ...]


@dataclass(slots=True, kw_only=True)
class Observed:
    """`values[path, which]` are values of a layer's operand ("x") and result ("y"), or of a product's operands ("0", "1",
    ...); `ends` their least and largest."""

    values: dict[tuple[str, str], list[np.ndarray]] = field(default_factory=dict)
    ends: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)
    sites: list[Site] = field(default_factory=list)
    feeds: dict[str, np.ndarray] = field(default_factory=dict)
    samples: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))

    def interval(self, path: str, which: str, percentile: float | None) -> tuple[float, float]:
        """The range of a tensor's values: its ends, or without the tails beyond a percentile."""
        low, high = self.ends[path, which]
        if percentile is None:
            return low, high
        values = np.concatenate(self.values[path, which])
        tail = (100 - percentile) / 2
        return float(np.percentile(values, tail)), float(np.percentile(values, 100 - tail))


@dataclass(slots=True)
class Taps:
    """Hooks of the export: what to show, and under which output names it comes back."""

    paths: set[str]
    layers: dict[str, tuple[str, str]] = field(default_factory=dict)
    calls: list[tuple[str, list[str], list[str]]] = field(default_factory=list)

    def observe(self, e: Emitter, node: Node, path: str, values: dict[str, str]) -> None:
        if path in self.paths:
            for which, name in values.items():
                self.show(e, path, which, name)

    def show(self, e: Emitter, path: str, which: str, name: str) -> None:
        """The least and largest value, and KEPT values at even distances."""
        flat = e.op("Reshape", name, e.ints(-1))
        count = e.op("Size", flat)
        places = e.op("Div", e.op("Mul", e.const(np.arange(KEPT, dtype=np.int64)), count), e.const(np.int64(KEPT)))
        ends = (e.op(kind, flat, keepdims=1) for kind in ("ReduceMin", "ReduceMax"))
        shown = e.op("Concat", *ends, e.op("Gather", flat, places), axis=0)
        key = f"tap.layer.{len(self.layers)}"
        self.layers[key] = (path, which)
        e.tap(key, shown, FLOAT.shaped((KEPT + 2,)))

    def trace(self, e: Emitter, node: Node, args: list[str], results: tuple[str, ...]) -> None:
        """Calls of a network's step are left out: they mean something only together with their caches."""
        if node["function"] != e.program.networks.get(node["bundle"]):
            return
        block = e.program.functions[node["function"]].block
        at, names = len(self.calls), ([], [])
        for kind, values, wanted, found in (("arg", block.params, args, names[0]), ("out", block.results, results, names[1])):
            for i, (value, name) in enumerate(zip(values, wanted, strict=True)):
                key = f"tap.call.{at}.{kind}{i}"
                found.append(key)
                e.tap(key, name, value.type)
        self.calls.append((node["bundle"], *names))


def run(program: Program, entry: str, weights: Mapping[str, np.ndarray], paths: set[str], wanted: Calibration) -> Observed:
    """Sample with the float network and look inside; network calls are kept of the first batch."""
    taps = Taps(paths)
    seen = Observed()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "calibrate.onnx"
        write_entry(program, entry, weights, file, Hooks(observe=taps.observe, trace=taps.trace))
        model = load(file)
        for feeds in batches(model, wanted):
            out = model.run(feeds)
            _collect(seen, taps, out)
            if not seen.feeds:
                seen.feeds, seen.samples = feeds, out[model.outputs[0]]
                seen.sites = [site(program, call, out) for call in taps.calls]
    return seen


def batches(model: Model, wanted: Calibration) -> Iterator[dict[str, np.ndarray]]:
    """Inputs of a file, a batch of what is calibrated on at a time."""
    for start in range(0, wanted.examples, wanted.batch):
        stop = min(start + wanted.batch, wanted.examples)
        seeds = np.arange(wanted.seed + start, wanted.seed + stop, dtype=np.int64)
        given = (wanted.conditions or {}).items()
        here = {k: v[start:stop] if np.shape(v)[:1] == (wanted.examples,) else v for k, v in given}
        yield model.feeds(seeds, here, wanted.arguments)


def _collect(seen: Observed, taps: Taps, out: Mapping[str, np.ndarray]) -> None:
    for key, place in taps.layers.items():
        rows = out[key].reshape(-1, KEPT + 2)
        rows = rows[~np.isnan(rows[:, 0])]  # branches that were not taken
        if len(rows):
            low, high = seen.ends.get(place, (np.inf, -np.inf))
            seen.ends[place] = (min(low, float(rows[:, 0].min())), max(high, float(rows[:, 1].max())))
            seen.values.setdefault(place, []).append(rows[:, 2:].ravel())


def site(program: Program, call: tuple[str, list[str], list[str]], out: Mapping[str, np.ndarray]) -> Site:
    bundle, args, results = call
    block = program.functions[program.networks[bundle]].block

    def rows(keys: list[str], values: Any) -> tuple[np.ndarray, ...]:
        arrays = (out[k] for k in keys)
        return tuple(a.reshape(-1, *a.shape[a.ndim - v.type.rank :]) for a, v in zip(arrays, values, strict=True))

    return Site(bundle=bundle, arguments=rows(args, block.params), results=rows(results, block.results))


def network_entry(program: Program, bundle: str) -> tuple[Program, str]:
    """The program with an entry that is one call of a network, `arg0`, `arg1`, ... to `x`."""
    network = program.functions[program.networks[bundle]]
    name = f"{bundle}.call"
    b = Builder(Ids())
    args = [b.param(v.type, f"arg{i}") for i, v in enumerate(network.block.params)]
    types = tuple(v.type for v in network.block.results)
    results = b.add_many(Op.CALL, *args, function=network.name, bundle=bundle, types=types)
    function = Function(name=name, kind="entry", block=b.block(*results))
    inputs = tuple(Input(name=f"arg{i}", role="data", type=v.type) for i, v in enumerate(args))
    entry = Entry(name=name, role="query", function=name, inputs=inputs, calls=1)
    functions = {**program.functions, name: function}
    return replace(program, functions=functions, entries={**program.entries, name: entry}), name
