"""Runs a compiled sampler with nothing but numpy and iree-base-runtime.

    model = load("fast.vmfb")
    images = model.sample(64, seed=1, conditions={"y": 3})

The loop is in the file; its draws are inputs, which the counter generator fills here. A compiled file holds code of the
processor: run only those that you trust.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from specc.record import record
from specc.runtime import noise
from specc.runtime.ort import KINDS, Model
from specc.runtime.refused import FileError, well_formed

AGAIN = "compile the sampler again: specc export RUN --iree -o FILE.onnx, or specc compile SPEC --target iree"
GENERATORS = {"normal": noise.normal, "uniform": noise.uniform}


@record(kw_only=True)
class Compiled(Model):
    """A sampler compiled by IREE. `session` is its function; `metadata` also has its arguments, results and draws."""

    @property
    def outputs(self) -> list[str]:
        return list(self.metadata["results"])

    def run(self, feeds: Mapping[str, Any], outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        known = {i["name"]: np.asarray(i["default"], KINDS[i["dtype"]]) for i in self.inputs if i["default"] is not None}
        known |= dict(feeds)
        known |= {d["name"]: drawn(d, known) for d in self.metadata["draws"] if d["name"] not in known}
        try:
            found = self.session(*(np.asarray(known[name], order="C") for name in self.metadata["arguments"]))
        except Exception as error:  # IREE's own have no common class
            raise FileError(str(error).splitlines()[0], AGAIN) from None
        arrays = [a.to_host() for a in (found if isinstance(found, list | tuple) else (found,))]
        if len(arrays) != len(self.outputs):
            raise FileError(f"it gives {len(arrays)} results, and is said to give {', '.join(self.outputs)}", AGAIN)
        named = dict(zip(self.outputs, arrays, strict=True))
        return named if outputs is None else {name: named[name] for name in outputs}


def drawn(draw: Mapping[str, Any], feeds: Mapping[str, np.ndarray]) -> np.ndarray:
    """The numbers of a draw, (*rounds, B, *shape)."""
    rounds = [r if isinstance(r, int) else int(feeds[r]) for r in draw["rounds"]]
    seeds, shape = np.asarray(feeds["seed"]), tuple(draw["shape"])
    out = np.empty((*rounds, len(seeds), *shape), np.float32)
    for indices in itertools.product(*map(range, rounds)):
        out[indices] = GENERATORS[draw["kind"]](seeds, draw["place"], shape, indices)
    return out


def load(path: str | Path, threads: int | None = None) -> Compiled:
    """Open a file that `specc.backends.mlir.iree` wrote; threads: 1, or all there are. Raises FileError for any other."""
    from iree import runtime

    path = Path(path)
    beside = path.with_suffix(".json")
    try:
        metadata = json.loads(beside.read_text(encoding="utf-8"))
        complete = isinstance(metadata, dict) and metadata.keys() >= {"entry", "inputs", "arguments", "results", "draws"}
    except FileNotFoundError:
        raise FileError(f"what is known of it is not beside it: {beside}", "keep both files in one folder") from None
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise FileError(f"{beside} cannot be read: {error}", AGAIN) from None
    if not complete:
        raise FileError(f"{beside} was not written by specc", AGAIN)
    _named(metadata, beside)
    try:
        context = runtime.SystemContext(config=runtime.Config("local-sync" if threads == 1 else "local-task"))
        context.add_vm_module(runtime.VmModule.copy_buffer(context.instance, path.read_bytes()))
        function = context.modules["module"][metadata["entry"]]
    except Exception as error:  # IREE's own have no common class
        raise FileError(f"it is no compiled sampler of this processor: {str(error).splitlines()[0]}", AGAIN) from None
    return Compiled(session=function, metadata=metadata)


def _named(metadata: dict[str, Any], beside: Path) -> None:
    """Check that what lies beside a file says where each of its arguments comes from. Raises FileError."""
    well_formed(metadata, beside, AGAIN)
    inputs = {i["name"]: i for i in metadata["inputs"]}
    known = inputs.keys() | {d["name"] for d in metadata["draws"]}
    counted = {r for d in metadata["draws"] for r in d["rounds"] if isinstance(r, str)}
    strange = [name for name in metadata["arguments"] if name not in known]
    strange += [name for name in counted if name not in inputs or inputs[name]["shape"] or inputs[name]["dtype"] != "int"]
    if strange:
        raise FileError(f"{beside} does not say what {strange[0]} is", AGAIN)
