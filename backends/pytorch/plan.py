"""From nodes to statements: which values get a line of their own, in which order, and what they are called.

A value that is used once and that the author did not name goes into its user's expression. Names are given by life time, so
that a spec's `z = z + ...` stays `z = z + ...` in Python and a loop carries its variables in place.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from specc.backends.pytorch.gradients import Group, around_gradients
from specc.backends.pytorch.kinds import Kinds
from specc.backends.pytorch.names import candidates, legal
from specc.backends.pytorch.tables import FEW

from specc.ir.ops import OPS, Op
from specc.ir.program import Block, Node, Value, walk
from specc.ir.types import BATCH

CONTROL = {Op.FOR, Op.WHILE, Op.IF, Op.PARTS, Op.REPEAT}
ALIASES = {Op.BATCH_GATHER, Op.BATCH_SCATTER, Op.BATCH_SIZE, Op.PARAM}


@dataclass(slots=True, eq=False)
class Statement:
    """kind: let, chunk (slices of one value), grad (a gradient and what it differentiates), for, while, if, parts,
    repeat."""

    kind: str
    node: Node
    outputs: tuple[Value, ...]
    bodies: list[list[Statement]] = field(default_factory=list)
    at: int = 0
    end: int = 0
    carried: list[str] = field(default_factory=list)  # names of a loop's variables
    starts: list[int] = field(default_factory=list)  # where each part of a batch begins
    in_place: list[bool] = field(default_factory=list)  # whether the body already leaves the new value in the variable


@dataclass(slots=True)
class Plan:
    """Statements of a block, with the names of all values that have one. `forced` values get a line whatever their use."""

    block: Block
    kinds: Kinds
    suggest: Callable[[Node, Value, Callable[[Value], str | None]], Iterable[str]]
    taken: frozenset[str]
    forced: set[int] = field(default_factory=set)
    base: Value | None = None  # what the size of the batch and the device are read from
    copied: Callable[[Node], bool] = lambda node: False  # whether gradients in a parameter are taken in a copy of it
    body: list[Statement] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)
    node_of: dict[int, Node] = field(default_factory=dict)
    inlined: set[int] = field(default_factory=set)
    _users: dict[int, list[tuple[Node | None, Block]]] = field(default_factory=lambda: defaultdict(list))
    _tests: set[Block] = field(default_factory=set)  # of while loops
    _last: dict[int, int] = field(default_factory=dict)
    _path: dict[int, tuple[Statement, ...]] = field(default_factory=dict)
    _extended: list[tuple[int, Statement]] = field(default_factory=list)
    _clock: int = 0
    _busy: dict[str, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))

    def make(self) -> Plan:
        self._count(self.block)
        self.body = self._statements(self.block, list(self.block.nodes))
        self._place(self.body, ())
        self._clock += 1
        for value in self.block.results:
            self._read(value, self._clock, ())
        for value in self.block.params:
            self._give(value, legal(value.name or "v"), 0, self._until(value))
        self._name(self.body)
        return self

    # Uses

    def _count(self, block: Block) -> None:
        alive = _alive(block)
        for node in block.nodes:
            if node not in alive:
                continue
            for value in node.inputs:
                self._users[value.id].append((node, block))
            for value in node.outputs:
                self.node_of[value.id] = node
            if node.op is Op.WHILE:
                self._tests.add(node.regions[0])
            for region in node.regions:
                self._count(region)
        for value in block.results:
            self._users[value.id].append((None, block))

    def trivial(self, value: Value) -> bool:
        """Always written where it is used: numbers, parameters, sizes."""
        node = self.node_of.get(value.id)
        if node is None or value.id in self.kinds.lifted:
            return False
        number = node.op in (Op.CONST, Op.CAST) and self.kinds[node.outputs[0]].host
        return (number or node.op in ALIASES) and not self.copies(node)

    def copies(self, node: Node) -> bool:
        """Whether this reads a parameter or state in which a gradient is taken that no objective's passes: it is of a copy."""
        users = self._users[node.outputs[0].id]
        return node.op is Op.PARAM and self.copied(node) and any(n is not None and n.op is Op.GRAD for n, _ in users)

    def _inline(self, value: Value, node: Node, block: Block) -> bool:
        if self.trivial(value):
            return True
        if node.op is Op.CONST and isinstance(node["value"], tuple) and len(node["value"]) > FEW:
            return False
        if len(node.outputs) != 1 or node.op in CONTROL or value.id in self.forced or value.id in self.kinds.lifted:
            return False
        if not OPS[node.op].pure and node.op is not Op.CALL:
            return False
        users = self._users[value.id]
        if self._cut(value, users, block):
            return value.name is None
        if len(users) != 1 or users[0][1] is not block:
            return False
        user = users[0][0]
        if user is None:
            return block is self.block or block in self._tests
        if node.op is Op.CALL and node.get("lanes", 1) > 1:
            return False
        if any(value is v for v in _sized_by(user)) or user.op is Op.GRAD:
            return False
        return value.name is None

    def _cut(self, value: Value, users: list[tuple[Node | None, Block]], block: Block) -> bool:
        """Whether all that happens to a value is to be cut into pieces, in one place."""
        cuts = [n for n, where in users if n is not None and n.op is Op.SLICE and where is block]
        if any(n.op is Op.GRAD for n in block.nodes):  # the pieces may stand in different places
            return False
        return len(cuts) == len(users) > 1 and len(self._pieces(cuts[0], cuts)) == len(cuts)

    # Statements

    def _statements(self, block: Block, nodes: list[Node]) -> list[Statement]:
        alive = _alive(block)
        out: list[Statement] = []
        done: set[Node] = set()
        order = around_gradients([n for n in nodes if n in alive], [n for n in block.nodes if n in alive])
        level = [n for n in order if isinstance(n, Node)]
        for node in order:
            if isinstance(node, Group):
                inner = self._statements(block, node.inside)
                out.append(Statement("grad", node.gradient, node.gradient.outputs, [inner]))
                continue
            if node in done:
                continue
            pieces = self._pieces(node, level) if node.op is Op.SLICE else []
            if pieces:
                done.update(pieces)
                out.append(Statement("chunk", node, tuple(p.out for p in pieces)))
                continue
            if len(node.outputs) == 1 and self._inline(node.out, node, block):
                self.inlined.add(node.out.id)
                continue
            kind = node.op.value if node.op in CONTROL else "let"
            out.append(Statement(kind, node, node.outputs, [self._statements(r, list(r.nodes)) for r in node.regions]))
        return out

    def _pieces(self, first: Node, nodes: list[Node]) -> list[Node]:
        """The slices of one value that together cover an axis, beginning with this one; [] unless there are several."""
        source, axis = first.inputs[0], first["axis"]
        same = [n for n in nodes if n.op is Op.SLICE and n.inputs[0] is source and n["axis"] == axis and n.get("step", 1) == 1]
        same.sort(key=lambda n: n["start"])
        ends = [0, *(n["stop"] for n in same)]
        if len(same) < 2 or [n["start"] for n in same] != ends[:-1] or ends[-1] != source.type.shape[axis]:
            return []
        return same

    # Life times

    def _place(self, body: list[Statement], path: tuple[Statement, ...]) -> None:
        for s in body:
            self._clock += 1
            s.at = s.end = self._clock
            match s.kind:
                case "grad":
                    self._place(s.bodies[0], path)
                    self._clock += 1
                    s.end = self._clock
                    self._reads(s.node, s.end, path)
                    for value in s.node.inputs[1:]:
                        self._read(value, s.at, path)
                case "for" | "while" | "if" | "parts":
                    self._reads(s.node, s.at, path)
                    inner = path if s.kind in ("if", "parts") else (*path, s)
                    for region, statements in zip(s.node.regions, s.bodies, strict=True):
                        if s.kind == "parts":
                            self._clock += 1
                            s.starts.append(self._clock)
                            self._reads(s.node, self._clock, path)
                        for value in region.params:
                            self._path[value.id] = inner
                        self._place(statements, inner)
                        self._clock += 1
                        for value in region.results:
                            self._read(value, self._clock, inner)
                    self._clock += 1
                    s.end = self._clock
                    for value in [v for r in s.node.regions for v in r.results] if s.kind == "parts" else ():
                        self._read(value, s.end, inner)
                case "repeat":
                    self._reads(s.node, s.at, path)
                    self._clock += 1
                    s.end = self._clock
                    for value in s.node.inputs[s.node["carried"] :]:
                        self._read(value, s.end, path)
                case _:
                    self._reads(s.node, s.at, path)
            for value in s.outputs:
                self._path[value.id] = path

    def _reads(self, node: Node, at: int, path: tuple[Statement, ...]) -> None:
        for value in node.inputs:
            self._read(value, at, path)
        if self.base is not None and self._wants_base(node):
            self._read(self.base, at, path)

    def _wants_base(self, node: Node) -> bool:
        """Whether the size of the batch or the device is taken from a value that is no operand."""
        match node.op:
            case Op.CONST:
                return not self.kinds[node.out].host
            case Op.RESHAPE:
                return self.kinds[node.inputs[0]].host
            case Op.IOTA:
                return True
            case Op.NORMAL | Op.UNIFORM:
                return not node.inputs
            case _:
                return False

    def _read(self, value: Value, at: int, path: tuple[Statement, ...]) -> None:
        if value.id in self.inlined:
            self._reads(self.node_of[value.id], at, path)
            return
        self._last.setdefault(value.id, at)
        self._last[value.id] = max(self._last[value.id], at)
        home = self._path.get(value.id, ())
        for i, loop in enumerate(path):
            if home[i : i + 1] != (loop,):
                self._extended.append((value.id, loop))
                break

    def _until(self, value: Value) -> int:
        """The last place where a value is read; a loop that reads what was made outside reads it to its end."""
        ends = [loop.end for v, loop in self._extended if v == value.id]
        return max([self._last.get(value.id, 0), *ends])

    # Names

    def _free(self, name: str, start: int, end: int) -> bool:
        return all(end <= s or e <= start for s, e in self._busy[name])

    def _give(self, value: Value, name: str, start: int, end: int) -> None:
        for candidate in candidates(name):
            if candidate not in self.taken and self._free(candidate, start, max(end, start + 1)):
                self.names[value.id] = candidate
                self._busy[candidate].append((start, max(end, start + 1)))
                return

    def _choose(self, names: Iterable[str], start: int, end: int) -> str:
        """The first of these names that is free from start to end, else one with a number."""
        wanted = [legal(n, self.taken) for n in names]
        for name in wanted:
            if self._free(name, start, end):
                return name
        return next(c for c in candidates(wanted[0]) if self._free(c, start, end) and c not in self.taken)

    def _wanted(self, node: Node, value: Value) -> Iterable[str]:
        if value.name:
            return [value.name]
        return self.suggest(node, value, lambda v: self.names.get(v.id))

    def _name(self, body: list[Statement]) -> None:
        for s in body:
            match s.kind:
                case "for" | "while":
                    self._name_loop(s)
                case "if":
                    for inner in s.bodies:
                        self._name(inner)
                    self._name_outputs(s, s.at)
                case "parts":
                    s.carried.append(self._choose(["cut"], s.at, s.end))
                    self._busy[s.carried[0]].append((s.at, s.end))
                    for region, start, inner in zip(s.node.regions, s.starts, s.bodies, strict=True):
                        for param in region.params:
                            end = self._until(param) or start + 1
                            self.names[param.id] = self._choose([param.name or "v"], start, end)
                            self._busy[self.names[param.id]].append((start, end))
                        self._name(inner)
                    self._name_outputs(s, s.end)
                case "repeat":
                    carried = s.node["carried"]
                    self._name_outputs(s, s.at, s.outputs[:carried])
                    self._name_outputs(s, s.end, s.outputs[carried:])
                case "grad":
                    self._name(s.bodies[0])
                    self._name_outputs(s, s.end)
                case _:
                    self._name_outputs(s, s.at)

    def _name_outputs(self, s: Statement, at: int, outputs: tuple[Value, ...] | None = None) -> None:
        for value in s.outputs if outputs is None else outputs:
            if value.id in self.names:  # the new value of a loop's variable, in place
                continue
            end = self._until(value)
            if not end:
                self.names[value.id] = "_"
                continue
            name = self._choose(self._wanted(s.node, value), at, max(end, at + 1))
            self.names[value.id] = name
            self._busy[name].append((at, max(end, at + 1)))

    def _name_loop(self, s: Statement) -> None:
        region = s.node.regions[-1]
        params = region.params
        if s.kind == "for":
            index, params = params[0], params[1:]
            name = self._choose([index.name or "i", "i", "j", "k"], s.at, s.end)
            self.names[index.id] = name if self._until(index) else "_"
            self._busy[name].append((s.at, s.end))
        start = s.node.inputs[1:] if s.kind == "for" else s.node.inputs
        for k, (param, out) in enumerate(zip(params, s.outputs, strict=True)):
            end = max(self._until(out), s.end)
            wanted = [v.name for v in (param, out, region.results[k], start[k]) if v.name] or ["v"]
            name = self.names.get(out.id) or self._choose(wanted, s.at, end)  # the loop around may have chosen
            s.carried.append(name)
            self._busy[name].append((s.at, end))
            for value in (out, param, *((s.node.regions[0].params[k],) if s.kind == "while" else ())):
                self.names[value.id] = name
        for k, (param, result) in enumerate(zip(params, region.results, strict=True)):
            made = next((b for b in s.bodies[-1] if result in b.outputs), None)
            once = sum(r is result for r in region.results) == 1
            at = 0 if made is None else made.end if made.kind == "grad" else made.at
            place = made is not None and made.kind != "if" and once and self._until(param) <= at
            if place:
                self.names[result.id] = s.carried[k]
            s.in_place.append(place)
        for statements in s.bodies:
            self._name(statements)


def _alive(block: Block) -> set[Node]:
    """Nodes of a block that a result depends on."""
    wanted = {v.id for v in block.results}
    kept: set[Node] = set()
    for node in reversed(block.nodes):
        if any(v.id in wanted for v in node.outputs):
            kept.add(node)
            wanted.update(v.id for v in node.inputs)
            for region in node.regions:
                wanted.update(v.id for n in walk(region) for v in n.inputs)
                wanted.update(v.id for v in region.results)
                for inner in walk(region):
                    wanted.update(v.id for r in inner.regions for v in r.results)
    return kept


def _sized_by(node: Node) -> list[Value]:
    """Operands that are only asked for their size, type or device: they are written twice, so they need a name."""
    match node.op:
        case Op.SPREAD:
            return [node.inputs[1]]
        case Op.NORMAL | Op.UNIFORM:
            return list(node.inputs[:1])
        case Op.BATCH_SIZE | Op.BATCH_INDEX:
            return list(node.inputs)
        case Op.TAKE | Op.SCATTER_ADD if node.get("batch", 0):
            return list(node.inputs)
        case _:
            return []


def batched(values: Iterable[Value]) -> Value | None:
    """The first value that leads with the batch; one of floats where there is one."""
    found = [v for v in values if v.type.shape[:1] == (BATCH,)]
    return next(iter(sorted(found, key=lambda v: v.type.dtype.value != "float")), None)
