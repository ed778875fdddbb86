"""Runs an exported file with nothing but numpy and onnxruntime.

    model = load("fast.onnx")
    images = model.sample(64, seed=1, conditions={"y": 3}, arguments={"scale": 2.0})

Each example of a call has a seed of its own, so a sample is the same whichever batch it is made in.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from specc.record import record
from specc.runtime.refused import FileError, InputError, described, explained

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
    def groups(self) -> int:
        """A batch has a whole multiple of so many examples."""
        return int(self.metadata.get("groups", 1))

    @property
    def outputs(self) -> list[str]:
        return [o.name for o in self.session.get_outputs()]

    def run(self, feeds: Mapping[str, Any], outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """One run of the graph on arrays by input name. Raises FileError, which names the op."""
        names = list(outputs) if outputs is not None else self.outputs
        try:
            return dict(zip(names, self.session.run(names, dict(feeds)), strict=True))
        except Exception as error:  # ONNX Runtime's own have no common class
            raise explained(error) from None

    def feeds(
        self,
        seeds: np.ndarray,
        conditions: Mapping[str, Any] | None = None,
        arguments: Mapping[str, Any] | None = None,
        noise: Mapping[int, np.ndarray] | None = None,
    ) -> dict[str, np.ndarray]:
        """Arrays by input name for these seeds, one for each example.

        conditions: an array with a row for each example, or one value for all; a class condition that is left out takes the
        classes in turn. arguments: values for inputs with a default. noise: numbers for draws, by place. Raises InputError.
        """
        n, given = len(seeds), {**(conditions or {}), **(arguments or {})}
        if n % self.groups:
            raise InputError(f"{n} examples do not consist of groups of {self.groups}: give a multiple of {self.groups}")
        known = {i["name"] for i in self.inputs}
        if unknown := sorted(set(given) - known):
            raise InputError(f"no input {', '.join(unknown)}; there are {', '.join(sorted(known))}")
        out: dict[str, np.ndarray] = {}
        for i in self.inputs:
            name, shape = i["name"], i["shape"]
            if i["role"] == "seed":
                out[name] = np.asarray(seeds, np.int64)
            elif i["role"] == "index":
                out[name] = np.arange(n, dtype=np.int64)
            elif name in given:
                out[name] = _given(i, given[name], [n if d == "B" else d for d in shape])
            elif i["role"] == "condition" and i["classes"]:
                each = np.arange(n, dtype=np.int64).reshape(n, *(1 for _ in shape[1:])) % i["classes"]
                out[name] = np.broadcast_to(each, (n, *shape[1:])).copy()
            elif i["default"] is None:
                raise InputError(f"the input {name} is needed: {i['dtype']} {shape}")
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
        return np.concatenate([part["x"] for part in self.batches(whole, n, batch or max(n, 1))])

    def batches(
        self, whole: Mapping[str, np.ndarray], n: int, size: int, outputs: Sequence[str] = ("x",)
    ) -> Iterator[dict[str, np.ndarray]]:
        """The outputs for n examples, so many at a time, in whole groups."""
        size = max(size - size % self.groups, self.groups)
        varying = {i["name"] for i in self.inputs if i["shape"][:1] == ["B"]}
        for start in range(0, n, size):
            rows = slice(start, start + size)
            made = self.run({k: v[rows] if k in varying else v for k, v in whole.items()}, outputs)
            if whole_batch := [k for k, v in made.items() if not np.ndim(v)]:
                raise FileError(f"its output {whole_batch[0]} is one number, and not a sample for each seed")
            yield made


def _given(i: Mapping[str, Any], value: Any, shape: list[int]) -> np.ndarray:
    """A value for an input as an array of its shape. Raises InputError, which names the input."""
    name, kind = i["name"], i["dtype"]
    if not all(isinstance(d, int) for d in shape):
        raise InputError(f"the input {name} grows while a sampler runs, and is not given from outside")
    try:
        array = np.asarray(value)
        exact = array.astype(KINDS[kind])
    except (TypeError, ValueError):
        raise InputError(f"the input {name} takes numbers, not {value!r}") from None
    if kind != "float" and not np.array_equal(exact, array):
        raise InputError(f"the input {name} takes whole numbers, and was given {array.ravel()[0]}")
    if not np.isfinite(array).all():
        raise InputError(f"the input {name} was given a number that is not finite")
    if i["classes"] and not ((exact >= 0) & (exact <= i["classes"])).all():
        raise InputError(f"the input {name} takes classes from 0 to {i['classes'] - 1}, or {i['classes']} for none")
    if "least" in i and (exact < i["least"]).any():
        raise InputError(f"the input {name} is {i['least']} or more, and was given {exact.min()}")
    try:
        return np.broadcast_to(exact, shape).copy()
    except ValueError:
        wanted = "one number" if not shape else f"an array of shape {tuple(shape)}"
        raise InputError(f"the input {name} takes {wanted}, and was given one of shape {array.shape}") from None


def example_seeds(seed: int, n: int) -> np.ndarray:
    """One seed for each of n examples, from a person's one seed; generated projects count the same way."""
    return np.arange(n, dtype=np.int64) + seed * STRIDE


def load(path: str | Path, threads: int | None = None) -> Model:
    """Open a file that `specc.backends.onnx.export` wrote. Raises FileError for any other."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is said once, by `refused`
    options.add_session_config_entry("session.force_spinning_stop", "1")  # threads wait for work in a call, not after it
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own have no common class
        raise explained(error) from None
    try:
        pairs = session.get_modelmeta().custom_metadata_map
        metadata = {k.removeprefix(PREFIX): _value(v) for k, v in pairs.items() if k.startswith(PREFIX)}
    except UnicodeDecodeError as error:
        raise explained(error) from None
    except (ValueError, RecursionError):
        raise FileError(f"{path} describes itself in JSON that cannot be read") from None
    inputs = (*session.get_inputs(), *session.get_overridable_initializers())
    described(metadata, inputs, session.get_outputs(), path)
    return Model(session=session, metadata=metadata)


def _value(text: str) -> Any:
    """Lists and objects are JSON, the rest is text."""
    return json.loads(text) if text[:1] in ("[", "{") else text
