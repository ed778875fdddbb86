"""A sampler's numbers before there is a network: it runs on one example, a stand-in answers for the network, and the first
value that is not a number is traced to the expression and the time where it arose.

Conversions between predictions divide by schedules, and a sampler decides at which times. So nothing is assumed about either:
the steps are carried out, in float32 as they will be. Long loops are visited at their ends and at a few places between.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from specc.ir.ops import Op
from specc.ir.program import Block, Function, Node, Program, Value
from specc.ir.splice import join
from specc.ir.types import EXAMPLE, DType
from specc.record import record
from specc.reference.machine import Cell, Env, Machine

ROUNDS = 8  # a loop with no more is carried out whole
WHILE_ROUNDS = 12
NODES = 30_000  # after as many operations nothing more is looked at
LARGE = 2**16  # elements of an example from which only the ends of loops are visited
TOO_LARGE = 2**22  # elements of an example that is not tried out
NUDGE = 1.0  # of the network's answers: large enough that a choice which it flips counts as no more than it moves the state

MISSING = "asks for an item that does not exist here"
Weights = Mapping[str, np.ndarray]
Known = dict[Any, Sequence[Cell]]  # results of functions of shared values


class Enough(Exception):
    """The rehearsal stops here, with nothing to say."""


@dataclass(slots=True)
class NotFinite(Exception):
    """A value that matters is not a number: where it arose, in which turn of the loops around, at which times."""

    node: Node
    why: str
    turns: tuple[tuple[int, int], ...]
    times: dict[str, float]


@record
class Gain:
    """By how much an error of the network, of the size of its answers, moves the state or the sample in one round."""

    factor: float
    turns: tuple[tuple[int, int], ...]
    times: dict[str, float]


@dataclass
class Rehearsal(Machine):
    """The reference interpreter with a stand-in for networks, fewer rounds, and an eye on every value."""

    sign: int = 0  # of the stand-in's numbers; 0 for a tenth of its first argument
    nudge: float = 0.0  # added to them
    worst: Gain | None = None
    looped: dict[int, Sequence[Cell]] = field(default_factory=dict)  # what outermost loops came to
    few: bool = False
    worked: int = 0
    origins: dict[int, tuple[Node, str]] = field(default_factory=dict)
    turns: list[tuple[int, int]] = field(default_factory=list)
    times: dict[str, float] = field(default_factory=dict)
    known: Known = field(default_factory=dict)

    def node(self, function: Function, node: Node, bundle: str, env: Env) -> Sequence[Cell]:
        self.worked += 1
        if self.worked > NODES or node.op is Op.EXTERN:
            raise Enough
        match node.op:
            case Op.FOR:
                cells: Sequence[Cell] = self.some_rounds(function, node, bundle, env)
            case Op.WHILE:
                cells = self.first_rounds(function, node, bundle, env)
            case Op.PARTS:
                given = [env[v.id] for v in node.inputs]
                ends = [self.block(function, region, bundle, env, given) for region in node.regions]
                cells = ends[0]
            case Op.GRAD:
                cells = [self.tenth(env[v.id], g) for v, g in zip(node.inputs[1:], node.outputs, strict=True)]
            case Op.PARAM | Op.CALL | Op.REPEAT if self.tried_out(node, bundle):
                cells = Machine.node(self, function, node, bundle, env)
            case Op.PARAM:  # a bare one: numbers that any training may lead to
                cells = [Cell(np.full(node["shape"], 0.3))]
            case Op.REPEAT | Op.CALL if node.op is Op.REPEAT or node.get("bundle") is not None:
                self.matter(node.inputs, [env[v.id] for v in node.inputs])
                cells = [self.tenth(env[node.inputs[0].id], v) for v in node.outputs]
            case Op.CALL:
                cells = self.plain_call(function, node, bundle, env)
            case _:
                try:
                    cells = Machine.node(self, function, node, bundle, env)
                except IndexError:
                    raise NotFinite(node, MISSING, tuple(self.turns), dict(self.times)) from None
        for value, cell in zip(node.outputs, cells, strict=True):
            self.look(node, value, cell, env)
        return cells

    def tried_out(self, node: Node, bundle: str) -> bool:
        """Whether a node reads parameters of the process itself, for which there are numbers."""
        inside = node["path"] if node.op is Op.PARAM else node.get("bundle")
        return inside is not None and join(bundle, inside).split(".")[0] in {path.split(".")[0] for path in self.params}

    def numbers(
        self, node: Node, shape: tuple[int, ...], each: bool, seed: np.ndarray | None, indices: tuple[int, ...]
    ) -> np.ndarray:
        """Numbers without luck, which differ from element to element and from place to place."""
        whole = (self.examples, *shape) if each else shape
        steps = np.arange(1, math.prod(whole) + 1) * 0.618 + node["place"] * 0.377 + sum(indices) * 0.13
        spread = 0.05 + 0.9 * (steps % 1.0).reshape(whole)
        return np.asarray(spread if node.op is Op.UNIFORM else 3 * (spread - 0.5))

    def plain_call(self, function: Function, node: Node, bundle: str, env: Env) -> Sequence[Cell]:
        """A call without parameters; one of shared values, such as a schedule at a time, is worked out once."""
        given = [env[v.id] for v in node.inputs]
        key = (node["function"], *(c.array.tobytes() for c in given)) if not any(c.varies for c in given) else None
        if key in self.known:
            return self.known[key]
        inside = self.functions[node["function"]].block
        self.hand_over(node.inputs, inside.params)
        cells = Machine.node(self, function, node, bundle, env)
        self.hand_over(inside.results, node.outputs)
        if key is not None and not any(map(bad, cells)):
            self.known[key] = cells
        return cells

    def look(self, node: Node, value: Value, cell: Cell, env: Env) -> None:
        if value.name and cell.array.size == 1 and value.type.dtype is DType.FLOAT:
            self.times[value.name] = float(cell.array.reshape(-1)[0])
        if node.op is Op.CALL or not bad(cell):
            return
        before = next((v for v in node.inputs if v.id in self.origins and bad(env[v.id])), None)
        self.origins[value.id] = self.origins[before.id] if before is not None else (node, reason(node, env))

    def hand_over(self, given: Sequence[Value], taken: Sequence[Value]) -> None:
        for a, b in zip(given, taken, strict=False):
            if a.id in self.origins:
                self.origins[b.id] = self.origins[a.id]

    def matter(self, values: Sequence[Value], cells: Sequence[Cell]) -> None:
        """Values on which the sample depends: none may be infinite or no number."""
        for value, cell in zip(values, cells, strict=True):
            if bad(cell) and value.id in self.origins:
                node, why = self.origins[value.id]
                raise NotFinite(node, why, tuple(self.turns), dict(self.times))

    def tenth(self, like: Cell, out: Value) -> Cell:
        """What the stand-in answers, in the shape of `out`."""
        shape = tuple(d for d in out.type.shape if isinstance(d, int))
        array = like.array[0] if like.varies else like.array
        made = 0.1 * array if array.shape == shape else np.full(shape, 0.1 * math.tanh(float(array.mean())))
        if self.sign:
            made = self.sign * (np.abs(made) + 5)
        made = made + self.nudge
        if EXAMPLE not in out.type.axes:  # a network may ignore its inputs
            return Cell(made.astype(self.float_type))
        return Cell(np.broadcast_to(made, (self.examples, *made.shape)).astype(self.float_type), True)

    def some_rounds(self, function: Function, node: Node, bundle: str, env: Env) -> Sequence[Cell]:
        count, carried = int(env[node.inputs[0].id].array), [env[v.id] for v in node.inputs[1:]]
        (body,) = node.regions
        if self.nudge and not self.turns and carried:
            return self.looped[node.outputs[0].id]
        for k in visited(count, self.few):
            self.indices.append(k)
            self.turns.append((k + 1, count))
            given = [Cell(np.asarray(k, dtype=np.int64)), *carried]
            carried = list(self.turn(function, body, bundle, env, given))
            carried = [self.checked(v, c) for v, c in zip(body.params[1:], carried, strict=True)]
            if len(self.turns) == 1 and not self.sign and carried:
                self.weigh(given[1], carried[:1], partial(self.turn, function, body, bundle, env, given))
            self.turns.pop()
            self.indices.pop()
        if not self.turns and carried:
            self.looped[node.outputs[0].id] = carried
        return carried

    def weigh(self, state: Cell, now: Sequence[Cell], again: Callable[[], Sequence[Cell]]) -> None:
        """Do a round again with other answers of the network, and compare what it comes to, at the scale of the state before.

        What is carried beside the first value, such as a former prediction, acts in later rounds only.
        """
        self.nudge, times, worked = NUDGE, dict(self.times), self.worked
        try:
            nudged = again()
        except NotFinite:
            return
        finally:
            self.nudge, self.worked = 0.0, worked
        scale = max(1.0, float(np.abs(state.array).max(initial=0.0)))
        for before, after in zip(now, nudged, strict=False):
            if before.array.dtype.kind != "f":
                continue
            moved = float(np.abs(after.array - before.array).max(initial=0.0)) / (NUDGE * scale)
            if np.isfinite(moved) and moved > (self.worst.factor if self.worst else 0.0):
                self.worst = Gain(moved, tuple(self.turns), times)

    def turn(self, function: Function, body: Block, bundle: str, env: Env, args: Sequence[Cell]) -> Sequence[Cell]:
        for value, cell in zip(body.params, args, strict=True):
            if value.name and cell.array.size == 1 and value.type.dtype is DType.FLOAT:
                self.times[value.name] = float(cell.array.reshape(-1)[0])
        out = self.block(function, body, bundle, env, args)
        self.matter(body.results, out)
        return out

    def first_rounds(self, function: Function, node: Node, bundle: str, env: Env) -> Sequence[Cell]:
        carried = [env[v.id] for v in node.inputs]
        test, body = node.regions
        for k in range(WHILE_ROUNDS):
            (again,) = self.block(function, test, bundle, env, carried)
            if not again.array.all():
                break
            self.turns.append((k + 1, 0))
            carried = list(self.turn(function, body, bundle, env, carried))
            self.turns.pop()
        return carried


def visited(count: int, few: bool) -> list[int]:
    """Which rounds of a loop are carried out, in order."""
    if few:
        return sorted({0, count - 1} & set(range(count)))
    if count <= ROUNDS:
        return list(range(count))
    return sorted({0, 1, count // 2, count - 2, count - 1})


def bad(cell: Cell) -> bool:
    return cell.array.dtype.kind == "f" and not bool(np.isfinite(cell.array).all())


def reason(node: Node, env: Env) -> str:
    """What made a value that is not a number out of numbers."""
    operands = [env[v.id].array for v in node.inputs]
    match node.op:
        case Op.DIV if not operands[1].all():
            return "divides by zero here"
        case Op.LOG | Op.LOG1P if (operands[0] <= (0 if node.op is Op.LOG else -1)).any():
            return "takes the logarithm of zero or less here"
        case Op.SQRT:
            return "takes the root of a negative number here"
        case Op.POW:
            return "raises to a power that does not exist here"
        case _:
            return "leaves the range of numbers here"


def rehearse(
    program: Program, name: str, known: Known, examples: int = 1, tried: Weights | None = None
) -> NotFinite | Gain | None:
    """Run a sampler or query on an example; what became of it when a value is not a number, whatever the network says.

    Else the round in which an error of the network counts most. known: kept between the entries of a program. examples: how
    many there must be, where they work in groups. tried: weights of a schedule with parameters, by path.
    """
    first = _run(program, name, known, 0, examples, tried or {})
    if not isinstance(first, NotFinite):
        return first
    others = [_run(program, name, known, sign, examples, tried or {}) for sign in (1, -1)]
    return first if all(isinstance(other, NotFinite) and other.node is first.node for other in others) else None


def _run(program: Program, name: str, known: Known, sign: int, examples: int, tried: Weights) -> NotFinite | Gain | None:
    entry = program.entries[name]
    function = program.functions[entry.function]
    largest = max((math.prod(d.space.shape) for d in program.data), default=1)
    if largest > TOO_LARGE:
        return None
    machine = Rehearsal(
        functions=program.functions,
        level="example",
        float_type=np.float32,
        batch=examples,
        sign=sign,
        few=largest > LARGE,
        known=known,
        params=tried,
    )
    args: list[Any] = []
    for wanted, value in zip(entry.inputs, function.block.params, strict=True):
        kind = np.float32 if value.type.dtype is DType.FLOAT else np.int64
        usual = 0.3 if value.type.dtype is DType.FLOAT else 0
        shape = tuple(int(d) for d in value.type.shape)
        made = np.zeros(shape, dtype=kind) + kind(usual if wanted.default is None else wanted.default)
        args.append(Cell(np.stack([made] * examples), True) if value.type.axes else Cell(made))
    try:
        with np.errstate(all="ignore"):
            out = machine.apply(function, "", args)
            machine.matter(function.block.results, out)
            if not sign:
                last = next((cells[0] for cells in reversed(machine.looped.values()) if cells), out[0])
                machine.weigh(last, out, lambda: machine.apply(function, "", args))
    except Enough:
        return None
    except NotFinite as found:
        return found
    return machine.worst
