"""The oracle: runs a Program in NumPy, at either level, slowly and obviously.

At example level every example is computed by itself; at array level the arrays are what the program says. So a program before
and after the pass `batch` must give the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from specc.ir.ops import Op
from specc.ir.program import Entry, Function, Program, Value, walk
from specc.ir.types import EXAMPLE, Type
from specc.passes.expand_grad import expand_grad
from specc.reference.machine import Array, Cell, Draws, Machine, Step
from specc.reference.ops import as_kind

DTYPES = {"float32": np.float32, "float64": np.float64}


def run(
    program: Program,
    entry: str,
    inputs: Mapping[str, Any],
    params: Mapping[str, Array],
    *,
    dtype: str = "float64",
    batch: int | None = None,
    trace: list[Step] | None = None,
    rng: np.random.Generator | None = None,
    draws: Draws | None = None,
    noise: Mapping[int, Array] | None = None,
) -> tuple[Array, ...]:
    """The results of an entry; those that vary by example are stacked, (B, *shape).

    inputs: by name; an input that varies by example is (B, *shape), or *shape to give every example the same. Missing ones
    take their default, and seeds come from `rng`. params: by path, `backbone.block.0.qkv.weight`. batch: the number of
    examples, where no input tells. noise: numbers for the draw at a place, (B, *shape) outside of loops and one leading
    dimension for each loop around it. Other draws come from `draws(op, place, shape with B, loop indices)` where that is
    given, or else from the examples' seeds; those without a seed from `rng`.
    """
    if any(node.op is Op.GRAD for f in program.functions.values() for node in walk(f.block)):
        program = expand_grad(program)
    where = program.entries[entry]
    function = program.functions[where.function]
    kind = DTYPES[dtype]
    given = [inputs.get(i.name, i.default) for i in where.inputs]
    size = _batch_size(function.block.params, given, batch)
    rng = rng or np.random.default_rng(0)
    if size is not None:
        given = [
            rng.integers(2**62, size=size) if v is None and i.role == "seed" else v
            for i, v in zip(where.inputs, given, strict=True)
        ]
    args = [_input(where, i, given[i], value.type, kind) for i, value in enumerate(function.block.params)]
    machine = Machine(
        functions=program.functions,
        params=params,
        level=program.level,
        float_type=kind,
        batch=size,
        rng=rng,
        draws=draws,
        noise=noise or {},
        trace=trace,
    )
    cells = [machine.argument(value, a) for value, a in zip(function.block.params, args, strict=True)]
    with np.errstate(all="ignore"):
        results = machine.apply(function, "", cells)
    return tuple(machine.whole(cell, value.type) for cell, value in zip(results, function.block.results, strict=True))


def evaluate(
    function: Function, args: Sequence[Any], functions: Mapping[str, Function] | None = None, *, dtype: str = "float64"
) -> tuple[Array, ...]:
    """The results of a plain function without draws or gradients, at example level.

    args: in the order of the parameters; one with a dimension more than its type says is a grid of values, (n, *shape).
    With a grid among them every result is (n, *shape), whether it depends on the grid or not.
    """
    kind = DTYPES[dtype]
    params = function.block.params
    arrays = [as_kind(a, value.type.dtype, kind) for a, value in zip(args, params, strict=True)]
    grids = {len(a) for a, value in zip(arrays, params, strict=True) if a.ndim > value.type.rank}
    if len(grids) > 1:
        raise ValueError(f"grids of {', '.join(map(str, sorted(grids)))} values do not go together")
    machine = Machine(functions=functions or {}, level="example", float_type=kind, batch=next(iter(grids), None), strict=False)
    cells = [Cell(a, a.ndim > value.type.rank) for a, value in zip(arrays, params, strict=True)]
    with np.errstate(all="ignore"):
        results = machine.apply(function, "", cells)
    return tuple(machine.stacked(cell) if grids else cell.array for cell in results)


def _input(entry: Entry, i: int, given: Any, type: Type, kind: Any) -> Array:
    if given is None:
        raise ValueError(f"{entry.name} needs the input {entry.inputs[i].name}: {type}")
    return as_kind(given, type.dtype, kind)


def _batch_size(params: Sequence[Value], args: Sequence[Any], batch: int | None) -> int | None:
    """The number of examples that the inputs agree on."""
    sizes = {} if batch is None else {batch: "batch"}
    for value, a in zip(params, args, strict=True):
        if a is not None and value.type.batched and np.ndim(a) == value.type.rank + (EXAMPLE in value.type.axes):
            sizes[len(a)] = value.name or f"%{value.id}"
    if len(sizes) > 1:
        raise ValueError("inputs differ in the number of examples: " + ", ".join(f"{n} ({v})" for n, v in sizes.items()))
    return next(iter(sizes), None)
