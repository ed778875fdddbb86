"""Runs an exported file with nothing but numpy and onnxruntime.

    model = load("fast.onnx")
    images = model.sample(64, seed=1, conditions={"y": 3}, arguments={"scale": 2.0})

Each example of a call has a seed of its own, so a sample is the same whichever batch it is made in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from specc.record import record

if TYPE_CHECKING:
    import onnxruntime

PREFIX = "specc."
STRIDE = 1_000_003  # between the seeds of two persons' seeds, in generated projects as well
KINDS = {"float": np.float32, "int": np.int64, "bool": np.bool_}


@record(kw_only=True)
class Model:
    """An exported sampler or query. `metadata` has the spec's name and digest, inputs with their defaults, and spaces."""

    session: onnxruntime.InferenceSession
    metadata: dict[str, Any]

    @property
    def inputs(self) -> list[dict[str, Any]]:
        return self.metadata["inputs"]

    @property
    def outputs(self) -> list[str]:
        return [o.name for o in self.session.get_outputs()]

    def run(self, feeds: Mapping[str, Any], outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """One run of the graph on arrays by input name."""
        names = list(outputs) if outputs is not None else self.outputs
        return dict(zip(names, self.session.run(names, dict(feeds)), strict=True))

    def feeds(
        self,
        seeds: np.ndarray,
        conditions: Mapping[str, Any] | None = None,
        arguments: Mapping[str, Any] | None = None,
        noise: Mapping[int, np.ndarray] | None = None,
    ) -> dict[str, np.ndarray]:
        """Arrays by input name for these seeds, one for each example.

        conditions: an array with a row for each example, or one value for all; a class condition that is left out takes the
        classes in turn. arguments: values for inputs with a default. noise: numbers for draws, by place.
        """
        n, given = len(seeds), {**(conditions or {}), **(arguments or {})}
        known = {i["name"] for i in self.inputs}
        if unknown := sorted(set(given) - known):
            raise ValueError(f"no input {', '.join(unknown)}; there are {', '.join(sorted(known))}")
        out: dict[str, np.ndarray] = {}
        for i in self.inputs:
            name, shape = i["name"], i["shape"]
            if i["role"] == "seed":
                out[name] = np.asarray(seeds, np.int64)
            elif i["role"] == "index":
                out[name] = np.arange(n, dtype=np.int64)
            elif name in given:
                value = np.asarray(given[name], KINDS[i["dtype"]])
                whole = [n if d == "B" else d for d in shape]
                out[name] = np.broadcast_to(value, whole).copy()
            elif i["role"] == "condition" and i["classes"]:
                each = np.arange(n, dtype=np.int64).reshape(n, *(1 for _ in shape[1:])) % i["classes"]
                out[name] = np.broadcast_to(each, (n, *shape[1:])).copy()
            elif i["default"] is None:
                raise ValueError(f"the input {name} is needed: {i['dtype']} {shape}")
        return out | {f"noise_{place}": np.asarray(z, np.float32) for place, z in (noise or {}).items()}

    def sample(
        self,
        n: int,
        seed: int = 0,
        conditions: Mapping[str, Any] | None = None,
        arguments: Mapping[str, Any] | None = None,
        batch: int | None = None,
    ) -> np.ndarray:
        """n samples (n, *shape) in data space, `batch` at a time; it does not matter for the result."""
        whole = self.feeds(example_seeds(seed, n), conditions, arguments)
        varying = {i["name"] for i in self.inputs if i["shape"][:1] == ["B"]}
        parts = []
        for start in range(0, n, batch or max(n, 1)):
            rows = slice(start, start + (batch or n))
            parts.append(self.run({k: v[rows] if k in varying else v for k, v in whole.items()}, ["x"])["x"])
        return np.concatenate(parts)


def example_seeds(seed: int, n: int) -> np.ndarray:
    """One seed for each of n examples, from a person's one seed; generated projects count the same way."""
    return np.arange(n, dtype=np.int64) + seed * STRIDE


def load(path: str | Path, threads: int | None = None) -> Model:
    """Open a file that `specc.backends.onnx.export` wrote. Raises ValueError for any other."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    pairs = session.get_modelmeta().custom_metadata_map
    metadata = {k.removeprefix(PREFIX): _value(v) for k, v in pairs.items() if k.startswith(PREFIX)}
    if "inputs" not in metadata:
        raise ValueError(f"{path} was not exported by specc")
    return Model(session=session, metadata=metadata)


def _value(text: str) -> Any:
    """Lists and objects are JSON, the rest is text."""
    return json.loads(text) if text[:1] in ("[", "{") else text
