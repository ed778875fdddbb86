"""The machine behind the oracle: applies functions to cells, one example after another.

What varies by example is held stacked, (B, *shape), and an op whose operands vary is applied to one example after another
(to all at once where the op works element by element, which is the same). Ops of the batch see all the examples. Which values
vary is found out while running, and held against what the types say: a value that its type calls shared must not vary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from specc.ir.ops import OPS, Lift, Op
from specc.ir.program import Block, Function, Node, Value
from specc.ir.splice import turns
from specc.ir.types import BATCH, EXAMPLE, GROWING, DType, Type
from specc.record import record
from specc.reference.externs import EXTERNS
from specc.reference.ops import REFERENCE, as_kind, bind
from specc.runtime import noise as keyed_noise

Array = np.ndarray
Draws = Callable[[Op, int, tuple[int, ...], tuple[int, ...]], Array]


class Cell(NamedTuple):
    """An array, stacked over the examples if it varies (only at example level)."""

    array: Array
    varies: bool = False


Env = dict[int, Cell]


@record(kw_only=True)
class Step:
    """One round of a `for` loop: what it was given, what it handed on, and the indices of all loops around, outermost first.

    `loop` is the number of the loop node's first result; arrays of values that vary by example are (B, *shape). `named` are
    those with a name of the author's: the times of the round among them.
    """

    loop: int
    indices: tuple[int, ...]
    names: tuple[str | None, ...]
    before: tuple[Array, ...]
    after: tuple[Array, ...]
    named: Mapping[str, float]

    @property
    def depth(self) -> int:
        return len(self.indices) - 1


@dataclass(slots=True, kw_only=True)
class Machine:
    """Applies functions to cells. `strict` holds every value against its type."""

    functions: Mapping[str, Function]
    level: str
    float_type: Any
    batch: int | None
    params: Mapping[str, Array] = field(default_factory=dict)
    rng: np.random.Generator | None = None
    draws: Draws | None = None
    noise: Mapping[int, Array] = field(default_factory=dict)
    trace: list[Step] | None = None
    named: dict[str, float] = field(default_factory=dict)  # for the trace
    strict: bool = True
    indices: list[int] = field(default_factory=list)

    # Cells

    @property
    def examples(self) -> int:
        return 1 if self.batch is None else self.batch

    def stacked(self, cell: Cell) -> Array:
        """(B, *shape), whether or not it varies."""
        return cell.array if cell.varies else np.broadcast_to(cell.array, (self.examples, *cell.array.shape))

    def whole(self, cell: Cell, type: Type) -> Array:
        """Stacked if its type varies, else as it is."""
        return self.stacked(cell) if EXAMPLE in type.axes else cell.array

    def argument(self, value: Value, a: Array) -> Cell:
        """An input of the entry as a cell; one value for every example is repeated."""
        type = value.type
        varies = EXAMPLE in type.axes and a.ndim > type.rank
        if EXAMPLE not in type.axes and type.shape[:1] == (BATCH,) and a.ndim == type.rank - 1:
            a = np.broadcast_to(a, (self.examples, *a.shape))
        return self.checked(value, Cell(a, varies))

    def checked(self, value: Value, cell: Cell) -> Cell:
        """The value at the width of its kind, having the shape of its type."""
        array = as_kind(cell.array, value.type.dtype, self.float_type)
        if not self.strict:
            return Cell(array, cell.varies)
        if cell.varies and EXAMPLE not in value.type.axes:
            raise ValueError(f"{value} is shared by its type {value.type}, but varies by example")
        sizes = zip(value.type.shape, array.shape[cell.varies :], strict=False)
        shape = tuple(self.examples if d == BATCH else n if d == GROWING else d for d, n in sizes)
        if array.shape[cell.varies :] != shape or len(shape) != value.type.rank:
            raise ValueError(f"{value} has shape {array.shape[cell.varies :]}, but its type is {value.type}")
        return Cell(array, cell.varies)

    # Functions and blocks

    def apply(self, function: Function, bundle: str, args: Sequence[Cell]) -> list[Cell]:
        return self.block(function, function.block, bundle, {}, args)

    def block(self, function: Function, block: Block, bundle: str, env: Env, args: Sequence[Cell]) -> list[Cell]:
        """Run a block inside an environment that it captures from; `env` is left as it was."""
        env = dict(env)
        for value, cell in zip(block.params, args, strict=True):
            env[value.id] = cell
        for node in block.nodes:
            try:
                cells = self.node(function, node, bundle, env)
                for value, cell in zip(node.outputs, cells, strict=True):
                    env[value.id] = self.checked(value, cell)
                    if self.trace is not None and value.name and not cell.varies and cell.array.ndim == 0:
                        self.named[value.name] = float(cell.array)
            except Exception as error:
                error.add_note(f"in {function.name}: {node.op.value} -> {', '.join(map(str, node.outputs))} {node.span or ''}")
                raise
        return [env[value.id] for value in block.results]

    def node(self, function: Function, node: Node, bundle: str, env: Env) -> Sequence[Cell]:
        control = CONTROL.get(node.op)
        if control is not None:
            return control(self, function, node, bundle, env)
        return (self.operation(node, [env[v.id] for v in node.inputs]),)

    # Plain ops

    def operation(self, node: Node, cells: list[Cell]) -> Cell:
        f, attrs = REFERENCE[node.op], bind(dict(node.attrs), self.batch, _grown(node, cells))
        if not any(c.varies for c in cells):
            return Cell(f(*(c.array for c in cells), **attrs))
        if OPS[node.op].lift is Lift.ALIGN:
            rank = max(c.array.ndim - c.varies for c in cells)
            return Cell(f(*(_aligned(c, rank) for c in cells), **attrs), True)
        rows = [f(*(c.array[b] if c.varies else c.array for c in cells), **attrs) for b in range(self.examples)]
        if not rows:
            shape = tuple(0 if d == BATCH else int(d) for d in node.out.type.shape)
            return Cell(np.zeros((0, *shape)), True)
        return Cell(np.stack(rows), True)

    def batch_operation(self, function: Function, node: Node, bundle: str, env: Env) -> Sequence[Cell]:
        """Ops that see all the examples."""
        cells, f, attrs = [env[v.id] for v in node.inputs], REFERENCE[node.op], bind(dict(node.attrs), self.batch)
        if self.level == "array":
            return (Cell(f(*(c.array for c in cells), **attrs)),)
        if node.op is Op.SPREAD:
            return (Cell(self.stacked(cells[0]), True),)
        rows = node.op is Op.BATCH_TAKE and cells[1].array.ndim == 1  # the index is one for each example, or a (B) array
        if node.op is not Op.BATCH_SCATTER:
            cells = [c if rows and i == 1 else Cell(self.stacked(c)) for i, c in enumerate(cells)]
        return (Cell(f(*(c.array for c in cells), **attrs), node.op in _PER_EXAMPLE),)

    def param(self, function: Function, node: Node, bundle: str, env: Env) -> Sequence[Cell]:
        path = _join(bundle, node["path"])
        if path not in self.params:
            raise ValueError(f"the parameter {path} is missing")
        return (Cell(self.params[path]),)

    def extern(self, function: Function, node: Node, bundle: str, env: Env) -> Sequence[Cell]:
        options = dict(node.get("options") or ())
        results = EXTERNS[node["name"]](*(self.whole(env[v.id], v.type) for v in node.inputs), **options)
        results = results if isinstance(results, tuple) else (results,)
        return [Cell(r, EXAMPLE in v.type.axes) for r, v in zip(results, node.outputs, strict=True)]

    def grad(self, function: Function, node: Node, bundle: str, env: Env) -> Sequence[Cell]:
        raise ValueError("a gradient must be written out first, by the pass expand_grad")

    # Draws

    def draw(self, function: Function, node: Node, bundle: str, env: Env) -> Sequence[Cell]:
        """Numbers for every example, or one set for the batch. Where loop indices vary by example, each takes its own."""
        by_axes = EXAMPLE in node["axes"]
        each, varies = by_axes or node["shape"][:1] == (BATCH,), by_axes and self.level == "example"
        own = node["shape"][1:] if each and not by_axes else node["shape"]
        shape = tuple(self.examples if d == BATCH else d for d in own)
        seed: Array | None = None
        places = node.inputs
        if node["keyed"]:
            cell, places = env[places[0].id], places[1:]
            seed = np.atleast_1d(self.stacked(cell) if varies else cell.array)
        elif places and (places[0].type.dtype is not DType.INT or places[0].type.batched):
            places = places[1:]  # only says how many examples there are
        cells = [env[v.id] for v in places]
        if all(c.array.ndim == 0 for c in cells):
            return (Cell(self.numbers(node, shape, each, seed, tuple(int(c.array) for c in cells)), varies),)
        rows = np.stack([np.broadcast_to(c.array, (self.examples,)) for c in cells], axis=1)
        out = np.zeros((self.examples, *shape))
        for row in np.unique(rows, axis=0):
            here = (rows == row).all(axis=1)
            out[here] = self.numbers(node, shape, each, seed, tuple(int(k) for k in row))[here]
        return (Cell(out, varies),)

    def numbers(self, node: Node, shape: tuple[int, ...], each: bool, seed: Array | None, indices: tuple[int, ...]) -> Array:
        """(B, *shape) if there is a set for `each` example, else shape: the caller's noise, the seeds', or random."""
        place, full = node["place"], (self.examples, *shape) if each else shape
        if place in self.noise:
            return as_kind(self.noise[place], DType.FLOAT, self.float_type)[indices]
        if self.draws is not None:
            return np.asarray(self.draws(node.op, place, full, indices))
        if seed is not None:
            make = keyed_noise.normal if node.op is Op.NORMAL else keyed_noise.uniform
            drawn = make(seed, place, shape, indices)
            return drawn if each else drawn[0]
        if self.rng is None:
            raise ValueError("a draw needs a source of random numbers")
        if node.op is Op.NORMAL:
            return self.rng.standard_normal(full)
        return np.maximum(self.rng.random(full), 2.0**-54)

    # Control

    def for_loop(self, function: Function, node: Node, bundle: str, env: Env) -> Sequence[Cell]:
        count, carried = env[node.inputs[0].id], [env[v.id] for v in node.inputs[1:]]
        if count.varies:
            raise ValueError("the count of a loop varies by example")
        (body,) = node.regions
        carried_values = body.params[1:]
        for k in range(int(count.array)):
            self.indices.append(k)
            before, around, self.named = carried, self.named, {}
            carried = self.block(function, body, bundle, env, [Cell(np.asarray(k, dtype=np.int64)), *carried])
            carried = [self.checked(v, c) for v, c in zip(carried_values, carried, strict=True)]
            if self.trace is not None:
                self.trace.append(
                    Step(
                        loop=node.outputs[0].id,
                        indices=tuple(self.indices),
                        names=tuple(v.name for v in carried_values),
                        before=tuple(self.whole(c, v.type) for c, v in zip(before, carried_values, strict=True)),
                        after=tuple(self.whole(c, v.type) for c, v in zip(carried, carried_values, strict=True)),
                        named=self.named,
                    )
                )
            self.named = around
            self.indices.pop()
        return carried

    def while_loop(self, function: Function, node: Node, bundle: str, env: Env) -> Sequence[Cell]:
        """Examples whose test has failed keep their values while the others go on."""
        carried = [env[v.id] for v in node.inputs]
        test, body = node.regions
        going = Cell(np.asarray(True))
        limit, rounds = node.get("limit"), 0
        while limit is None or rounds < limit:
            (again,) = self.block(function, test, bundle, env, carried)
            going = self.where(going, again, Cell(np.asarray(False)))
            if not going.array.any():
                break
            after = self.block(function, body, bundle, env, carried)
            carried = [self.where(going, new, old) for new, old in zip(after, carried, strict=True)]
            rounds += 1
        return carried

    def where(self, test: Cell, yes: Cell, no: Cell) -> Cell:
        """A choice for each example, or one for all."""
        if not test.varies:
            return yes if test.array else no
        a, b = self.stacked(yes), self.stacked(no)
        return Cell(np.where(test.array.reshape(-1, *(1,) * (a.ndim - 1)), a, b), True)

    def branch(self, function: Function, node: Node, bundle: str, env: Env) -> Sequence[Cell]:
        test, (yes, no) = env[node.inputs[0].id], node.regions
        if not test.varies:
            return self.block(function, yes if test.array else no, bundle, env, ())
        both = [self.block(function, region, bundle, env, ()) for region in (yes, no)]
        return [self.where(test, a, b) for a, b in zip(*both, strict=True)]

    def parts(self, function: Function, node: Node, bundle: str, env: Env) -> Sequence[Cell]:
        """Each region on its part of the batch, one part after another."""
        whole = [env[v.id] for v in node.inputs]
        arrays = [self.stacked(c) if self.level == "example" else c.array for c in whole]
        cut = first_part(node["share"], len(arrays[0]))
        ends = []
        for region, where in zip(node.regions, (slice(cut), slice(cut, None)), strict=True):
            mine = [a[where] for a in arrays]
            inside = replace(self, batch=len(mine[0]))
            cells = [Cell(a, self.level == "example") for a in mine]
            made = inside.block(function, region, bundle, env, cells)
            ends.append([inside.stacked(c) if self.level == "example" else c.array for c in made])
        return [Cell(np.concatenate(pair), self.level == "example") for pair in zip(*ends, strict=True)]

    def call(self, function: Function, node: Node, bundle: str, env: Env) -> Sequence[Cell]:
        callee, lanes = self.functions[node["function"]], node.get("lanes", 1)
        inside = _join(bundle, node["bundle"]) if node.get("bundle") else ""
        args = [env[v.id] for v in node.inputs]
        n = len(args) // lanes
        return [cell for i in range(lanes) for cell in self.apply(callee, inside, args[i * n : i * n + n])]

    def repeat(self, function: Function, node: Node, bundle: str, env: Env) -> Sequence[Cell]:
        callee, carried, cut = self.functions[node["function"]], node["carried"], node.get("cut", ())
        args = [env[v.id] for v in node.inputs]
        first = len(args) - len(cut)
        parts = [_cut(c, axis, node["count"]) for c, axis in zip(args[first:], cut, strict=True)]
        kept: list[list[Cell]] = []
        for k, i in enumerate(turns(node)):
            args[first:] = [p[k] for p in parts]
            results = self.apply(callee, _join(bundle, f"{node['bundle']}.{i}"), args)
            args[:carried] = results[:carried]
            kept.append(results[carried:])
        together = [_together(column, axis) for column, axis in zip(zip(*kept, strict=True), cut, strict=True)] if cut else []
        return [*args[:carried], *together]


def first_part(share: float, examples: int) -> int:
    """How many of the examples a share is: the nearest number, halves up."""
    return int(share * examples + 0.5)


def _cut(cell: Cell, axis: int, count: int) -> list[Cell]:
    return [Cell(part, cell.varies) for part in np.split(cell.array, count, axis=axis + cell.varies)]


def _together(cells: Sequence[Cell], axis: int) -> Cell:
    return Cell(np.concatenate([c.array for c in cells], axis=axis + cells[0].varies), cells[0].varies)


def _grown(node: Node, cells: list[Cell]) -> int:
    """How many places the operands have that grow; none where none does."""
    pairs = ((v.type.shape, c) for v, c in zip(node.inputs, cells, strict=True))
    return next((c.array.shape[shape.index(GROWING) + c.varies] for shape, c in pairs if GROWING in shape), 0)


def _join(bundle: str, path: str) -> str:
    return f"{bundle}.{path}" if bundle else path


def _aligned(cell: Cell, rank: int) -> Array:
    """(B, 1, ..., *shape), so that shapes of one example meet at their last dimension."""
    if not cell.varies:
        return cell.array
    shape = cell.array.shape
    return cell.array.reshape(shape[0], *(1,) * (rank - len(shape) + 1), *shape[1:])


_PER_EXAMPLE = {Op.BATCH_INDEX, Op.BATCH_TAKE, Op.BATCH_SCATTER}
_BATCH = {op for op in Op if op.value.startswith("batch_")} | {Op.SPREAD}

Handler = Callable[[Machine, Function, Node, str, Env], Sequence[Cell]]
CONTROL: dict[Op, Handler] = {
    Op.PARAM: Machine.param,
    Op.NORMAL: Machine.draw,
    Op.UNIFORM: Machine.draw,
    Op.FOR: Machine.for_loop,
    Op.WHILE: Machine.while_loop,
    Op.IF: Machine.branch,
    Op.PARTS: Machine.parts,
    Op.CALL: Machine.call,
    Op.REPEAT: Machine.repeat,
    Op.EXTERN: Machine.extern,
    Op.GRAD: Machine.grad,
} | dict.fromkeys(_BATCH, Machine.batch_operation)
