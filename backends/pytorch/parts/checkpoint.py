"""Checkpoints: safetensors for what is numbers, JSON for the rest, replaced as a set so that a crash leaves one whole.

Files are written into a folder beside their destination, forced to disk, and the folder is renamed; only then do the files take
their places. A crash before the rename leaves the previous checkpoint, one after it is finished by `recover`.
"""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

Tensors = dict[str, Tensor]


class CheckpointError(Exception):
    """A checkpoint that cannot be read or does not belong here; the message says which file and why."""


def write(run: Path, tensors: dict[str, Tensors], state: dict[str, Any]) -> None:
    """Replace the checkpoint in a run's folder. tensors: by file, without the suffix. OSError leaves the previous one."""
    recover(run)
    new, ready = run / ".new", run / ".ready"
    shutil.rmtree(new, ignore_errors=True)
    try:
        new.mkdir(parents=True)
        for name, values in tensors.items():
            held = {k: v.detach().cpu().contiguous() for k, v in values.items()}
            _put(new / f"{name}.safetensors", save(held, metadata={"step": str(state["step"])}))
        _put(new / "state.json", json.dumps(state, indent=2).encode())
        _sync(new)
    except OSError as problem:
        shutil.rmtree(new, ignore_errors=True)
        kept = "the one before is whole" if (run / "state.json").exists() else "there is none before it"
        raise OSError(
            f"the checkpoint of step {state['step']} could not be written to {run}: {problem.strerror or problem}; {kept}"
        ) from problem
    os.replace(new, ready)
    _sync(run)
    recover(run)


def recover(run: Path) -> None:
    """Finish a replacement that a crash interrupted."""
    ready = run / ".ready"
    if ready.is_dir():
        for file in sorted(ready.iterdir()):
            os.replace(file, run / file.name)
        _sync(run)
        ready.rmdir()


def read(run: Path, names: Sequence[str], digest: str | None = None) -> tuple[dict[str, Tensors], dict[str, Any]]:
    """The tensors of these files, and the rest of the state; with a digest, of the spec with that one."""
    recover(run)
    file = run / "state.json"
    try:
        state = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(state, dict) or not isinstance(state.get("step"), int):
            raise CheckpointError(f"{file} does not say at which step it was written")
        tensors = {}
        for name in names:
            file = run / f"{name}.safetensors"
            tensors[name] = load_file(file)
    except FileNotFoundError as problem:
        raise CheckpointError(f"there is no checkpoint in {run}: {file.name} is missing") from problem
    except (SafetensorError, ValueError, OSError) as problem:
        raise CheckpointError(f"{file} cannot be read: {problem}") from problem
    if digest not in (None, state.get("digest")):
        raise CheckpointError(
            f"the checkpoint in {run} belongs to another spec: it was written for sha256 {state.get('digest')}, "
            f"and this project is sha256 {digest}"
        )
    return tensors, state


def load(module: torch.nn.Module, run: Path, name: str) -> None:
    """Fill networks from one file of a run of this project's spec, without the suffix."""
    lock = Path(__file__).parent / "spec.lock.json"
    try:
        digest = json.loads(lock.read_text(encoding="utf-8"))["digest"]
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise CheckpointError(f"{lock} does not say of which spec this project is: {problem}") from problem
    tensors, _ = read(run, [name], digest)
    fill(module, tensors[name], f"{name}.safetensors")


def fill(module: torch.nn.Module, tensors: Tensors, file: str) -> None:
    """Load parameters, or say which of them do not fit."""
    own = module.state_dict()
    for name in sorted(own.keys() ^ tensors.keys()):
        raise CheckpointError(f"{file}: {name} is {'missing' if name in own else 'not a parameter of this network'}")
    for name, value in tensors.items():
        if value.shape != own[name].shape:
            raise CheckpointError(f"{file}: {name} has shape {tuple(value.shape)}, not {tuple(own[name].shape)}")
    module.load_state_dict(tensors)


def optimizer_tensors(optimizer: torch.optim.Optimizer, names: list[str]) -> Tensors:
    """The state of an optimizer by parameter: `backbone.linear.weight.exp_avg`."""
    state = optimizer.state_dict()["state"]
    return {f"{names[i]}.{key}": torch.as_tensor(value) for i, values in state.items() for key, value in values.items()}


def fill_optimizer(optimizer: torch.optim.Optimizer, names: list[str], tensors: Tensors) -> None:
    """The inverse of `optimizer_tensors`. The optimizer gets tensors of its own, since its steps change them in place."""
    place = {name: i for i, name in enumerate(names)}
    state: dict[int, Tensors] = {}
    for path, value in tensors.items():
        name, _, key = path.rpartition(".")
        if name in place:
            state.setdefault(place[name], {})[key] = value.clone()
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file beside, which takes the place of `path` once all of it is written; otherwise nothing is left of it."""
    part = path.with_name(f".{path.name}.part")
    try:
        with open(part, "wb") as file:
            yield file
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _put(path: Path, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Force a folder's entries to disk, where the system can."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
