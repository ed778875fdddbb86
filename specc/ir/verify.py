"""What must hold of every program between two passes; a breach is a bug of the compiler.

Single assignment and definition before use, types that agree with the table of ops, regions of the right arity, and calls of
functions that exist with arguments of the types that they take.
"""

from __future__ import annotations

from typing import Any

from specc.ir import rules
from specc.ir.ops import OPS, Op
from specc.ir.program import Block, Entry, Function, Node, Program, Value, all_steps
from specc.ir.rewrite import captured_by
from specc.ir.types import BATCH, BOOL, INT, DType, Type

LISTED = {Op.CALL, Op.IF, Op.PARTS, Op.EXTERN}  # their types follow from no operand: the attribute `types` may list them
REGIONS = {Op.FOR: 1, Op.WHILE: 2, Op.IF: 2, Op.PARTS: 2}


class IRError(Exception):
    """A broken program: a bug of the compiler rather than of a spec. Please report it."""


def verify(program: Program) -> Program:
    """The program itself. Raises IRError with the function and the node that break a rule."""
    for name, function in program.functions.items():
        _check(function.name == name, f"{name}: the function is called {function.name}")
        _Checker(program, function).block(function.block, {})
        if function.kind == "network":
            for value in function.block.params:
                _check(varies(value.type, program.level), f"{name}: the argument {value!r} of a network is shared")
    for entry in program.entries.values():
        _check(entry.function in program.functions, f"entry {entry.name}: there is no function {entry.function}")
        types = tuple(v.type for v in program.functions[entry.function].block.params)
        _check(types == tuple(i.type for i in entry.inputs), f"entry {entry.name}: its inputs differ from its function's")
        _check_writes(program, entry)
    for start in program.starts:
        known = start.network in program.functions and start.function in program.functions
        _check(known, f"start of {start.network}: there is no function {start.function}")
        given = program.functions[start.function].block
        _check(len(given.results) == len(start.paths), f"{start.function}: one value for each of {', '.join(start.paths)}")
    for root, name in program.networks.items():
        _check(name in program.functions, f"network {root}: there is no function {name}")
    _check_routine(program)
    return program


def _check_writes(program: Program, entry: Entry) -> None:
    """The last results of an entry have the types of the states that it writes."""
    states = {b.path: b for b in program.bare if not b.trainable or entry.role == "start"}
    results = program.functions[entry.function].block.results
    count = len(entry.writes) + (entry.role not in ("update", "start"))
    _check(not entry.writes or len(results) == count, f"entry {entry.name}: {len(results)} results and {count} are needed")
    for path, value in zip(reversed(entry.writes), reversed(results), strict=False):
        _check(path in states, f"entry {entry.name}: it writes {path}, which is no state")
        wanted = Type(DType(states[path].dtype), states[path].shape)
        _check(value.type == wanted, f"entry {entry.name}: {path} is {wanted} and gets {value.type}")


def _check_routine(program: Program) -> None:
    for step in all_steps(program.routine):
        doing = (bool(step.entries), bool(step.steps), step.maps is not None)
        _check(sum(doing) == 1, f"a step does {sum(doing)} things")
        _check(step.times >= 1 and step.every >= 1, "a step is done once or more")
        for name in step.entries:
            role = program.entries[name].role if name in program.entries else ""
            alone = role == "update" and len(step.entries) == 1
            _check(role == "objective" or alone, f"a step does {name}: {role or 'nothing'}")
        for used in (step.maps, step.when):
            _check(used is None or used in program.functions, f"a step uses {used}, which is no function")


def infer(op: Op, inputs: tuple[Value, ...], attrs: dict[str, Any], outputs: tuple[Value, ...]) -> tuple[Type, ...]:
    """Types of a node's results by its op's rule; a call, branch or extern that does not list them is taken at its word."""
    if op in LISTED and "types" not in attrs:
        return tuple(v.type for v in outputs)
    return OPS[op].rule(tuple(v.type for v in inputs), attrs)


def varies(type: Type, level: str) -> bool:
    """Whether a value varies by example at this level of a program."""
    return type.shape[:1] == (BATCH,) if level == "array" else bool(type.axes)


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise IRError(message)


class _Checker:
    def __init__(self, program: Program, function: Function) -> None:
        self.program = program
        self.function = function
        self.used: set[int] = set()

    def block(self, block: Block, scope: dict[int, Type]) -> None:
        """scope: the types of what the blocks around this one have defined so far."""
        scope = dict(scope)
        for value in block.params:
            self.define(value, scope)
        for node in block.nodes:
            for value in node.inputs:
                self.use(value, scope, node)
            for region in node.regions:
                self.block(region, scope)
            self.node(node)
            for value in node.outputs:
                self.define(value, scope)
        for value in block.results:
            self.use(value, scope, None)

    def define(self, value: Value, scope: dict[int, Type]) -> None:
        _check(value.id not in self.used, f"{self.function.name}: {value!r} is defined twice")
        _check(not (self.program.level == "array" and value.type.axes), f"{self.function.name}: {value!r} has implicit axes")
        self.used.add(value.id)
        scope[value.id] = value.type

    def use(self, value: Value, scope: dict[int, Type], node: Node | None) -> None:
        where = f"{self.function.name}: {'its result' if node is None else node.op.value}"
        _check(value.id in scope, f"{where} uses {value!r} before it is defined")
        _check(scope[value.id] == value.type, f"{where} takes {value!r} as {value.type}, and it is {scope[value.id]}")

    def node(self, node: Node) -> None:
        where = f"{self.function.name}: {node.op.value} {', '.join(map(repr, node.outputs))}"
        _check(len(node.regions) == REGIONS.get(node.op, 0), f"{where} has {len(node.regions)} regions")
        try:
            types = infer(node.op, node.inputs, dict(node.attrs), node.outputs)
        except (ValueError, KeyError, IndexError) as error:
            raise IRError(f"{where}: {error}") from error
        have = tuple(v.type for v in node.outputs)
        _check(types == have, f"{where} gives {_show(types)}, and it says {_show(have)}")
        match node.op:
            case Op.FOR:
                self.carried(node.regions[0], (INT, *have), have, where)
            case Op.WHILE:
                test, body = node.regions
                _check(len(test.results) == 1 and test.results[0].type.shaped(()).dtype is BOOL.dtype, f"{where}: no test")
                self.carried(test, have, (test.results[0].type,), where)
                self.carried(body, have, have, where)
            case Op.IF:
                for region in node.regions:
                    self.carried(region, (), have, where)
            case Op.PARTS:
                self.parts(node, have, where)
            case Op.CALL:
                self.call(node, where, node.get("lanes", 1))
            case Op.REPEAT:
                self.call(node, where, 1)
            case _:
                pass

    def carried(self, region: Block, params: tuple[Type, ...], results: tuple[Type, ...], where: str) -> None:
        have = tuple(v.type for v in region.params)
        _check(have == params, f"{where}: a region takes {_show(have)} and is given {_show(params)}")
        have = tuple(v.type for v in region.results)
        _check(have == results, f"{where}: a region gives {_show(have)} and {_show(results)} is needed")

    def parts(self, node: Node, have: tuple[Type, ...], where: str) -> None:
        """What varies by example comes in by parameters, each region's own part of it, and goes out whole."""
        level = self.program.level
        for value in (*node.inputs, *node.outputs):
            _check(varies(value.type, level), f"{where}: {value!r} is shared")
        for region in node.regions:
            self.carried(region, tuple(v.type for v in node.inputs), have, where)
            for value in captured_by(region):
                _check(not varies(value.type, level), f"{where}: {value!r} comes in for the whole batch")

    def call(self, node: Node, where: str, lanes: int) -> None:
        callee = self.program.functions.get(node["function"])
        if callee is None:
            raise IRError(f"{where}: there is no function {node['function']}")
        turn = rules.turn if node.op is Op.REPEAT else lambda types, a: types
        given = turn(tuple(v.type for v in node.inputs), dict(node.attrs))
        taken = tuple(v.type for v in callee.block.params) * lanes
        _check(given == taken, f"{where}: {callee.name} takes {_show(taken)} and is given {_show(given)}")
        results = tuple(v.type for v in callee.block.results) * lanes
        have = turn(tuple(v.type for v in node.outputs), dict(node.attrs))
        _check(results == have, f"{where}: {callee.name} gives {_show(results)} and the call says {_show(have)}")
        plain = node.op is Op.CALL and node.get("bundle") is None
        _check(plain == (callee.kind == "function"), f"{where}: a {callee.kind} called with bundle {node.get('bundle')}")


def _show(types: tuple[Type, ...]) -> str:
    return "(" + ", ".join(map(str, types)) + ")"
