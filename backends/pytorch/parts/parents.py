"""Weights from the runs of parents: networks that stay as they were there, and networks that start from them."""

from pathlib import Path

import checkpoint
from model import Model

# << table
PARENTS = []
# >>


def inherit(model: Model, runs: list[Path]) -> None:
    """Fill what comes from parents. runs: one folder for each, in any order. Raises CheckpointError for any other run."""
    digests = {run: str(checkpoint.read(run, [])[1].get("digest")) for run in runs}
    own = model.state_dict()
    for name, digest, file, taken in PARENTS:
        run = next((r for r, found in digests.items() if found == digest), None)
        if run is None:
            given = ", ".join(f"{r} has sha256 {found}" for r, found in digests.items()) or "none was given with --parent"
            raise checkpoint.CheckpointError(f"a run of {name}, sha256 {digest}, is needed to start from: {given}")
        weights = checkpoint.read(run, [file])[0][file]
        for here, there in taken:
            filled = {path: there + path.removeprefix(here) for path in own if f"{path}.".startswith(f"{here}.")}
            for path, source in filled.items():
                if source not in weights or weights[source].shape != own[path].shape:
                    raise checkpoint.CheckpointError(f"{run / file}.safetensors: {source} does not fit {path}")
                own[path] = weights[source]
    model.load_state_dict(own)
