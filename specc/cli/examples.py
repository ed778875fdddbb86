"""Examples of a run's data, by the project's own data.py, so in the spec's space; and what is derived from them."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from specc.cli.common import Failure
from specc.cli.runs import Run

if TYPE_CHECKING:
    import numpy as np

    from specc.ir.program import Program


def examples(run: Run, split: str, count: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A split of finite data, or so many examples of a law that never ends."""
    if not (run.project / "data.py").exists():
        raise Failure(f"{run.project} has no data.py", "train again into another folder")
    try:
        with beside(run.project):
            read = importlib.import_module("data").examples
            finite = "split" in read.__code__.co_varnames[: read.__code__.co_argcount]
            found: dict[str, np.ndarray] = read(split) if finite else read(count, rng)
    except ImportError as error:
        raise Failure(f"the data need another package: {error}", "pip install 'specc[train]'") from None
    except (OSError, ValueError) as error:
        raise Failure(f"the data cannot be read: {error}") from None
    except Exception as error:  # of the spec's own reader, while it is imported
        last = traceback.extract_tb(error.__traceback__)[-1]
        raise Failure(f"the data cannot be read: {last.filename}:{last.lineno}: {type(error).__name__}: {error}") from None
    return found


@contextmanager
def beside(folder: Path) -> Iterator[None]:
    """Files of a folder are what is imported by their names, as by a script among them; afterwards they are forgotten.

    No bytecode is kept: Python tells it apart by its source's size and second alone, and files are written anew in less.
    """
    names = {file.stem for file in folder.glob("*.py")}
    others = {name: sys.modules.pop(name) for name in names & sys.modules.keys()}
    where, kept = str(folder.absolute()), sys.dont_write_bytecode
    sys.path.insert(0, where)
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.dont_write_bytecode = kept
        sys.path.remove(where)
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(others)


def conditions(
    run: Run, program: Program, entry: str, seeds: np.ndarray, weights: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The conditions of held-out examples, one for each seed, where an entry asks for derived ones; otherwise none."""
    import numpy as np

    from specc.reference import interpret

    wanted = [c.name for c in program.conditions if c.derived]
    if not wanted or not {i.name for i in program.entries[entry].inputs} & set(wanted):
        return {}
    (way,) = program.by_role("condition")
    held_out = examples(run, "test", len(seeds), np.random.default_rng(0))
    rows = np.arange(len(seeds)) % len(held_out[program.data[0].space.name])
    given = {i.name: seeds if i.role == "seed" else held_out[i.name][rows] for i in way.inputs}
    found = interpret.run(program, way.name, given, weights)
    known = {k: v[rows] for k, v in held_out.items()} | dict(zip(wanted, found, strict=True))
    kinds = {"float": np.float32, "int": np.int64, "bool": np.bool_}
    asked = [i for i in program.entries[entry].inputs if i.role == "condition" and i.name in known]
    return {i.name: np.asarray(known[i.name], kinds[i.type.dtype.value]) for i in asked}


def asked(run: Run, program: Program, entry: str, count: int, split: str = "test") -> dict[str, np.ndarray]:
    """What a query is tried on: examples and their conditions; numbers at random for inputs of its own."""
    import numpy as np

    rng = np.random.default_rng(0)
    known = examples(run, split, count, rng)
    rows = np.arange(count) % len(next(iter(known.values())))
    found: dict[str, np.ndarray] = {}
    for i in program.entries[entry].inputs:
        shape = (count, *map(int, i.type.shape))
        if i.role not in ("data", "condition"):
            continue
        if i.name in known:
            found[i.name] = known[i.name][rows]
        elif i.type.dtype.value == "int":
            found[i.name] = rng.integers(i.classes or 2, size=shape)
        else:
            found[i.name] = rng.normal(size=shape).astype(np.float32)
    return found
