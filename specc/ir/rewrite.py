"""What passes and derivatives share: value numbers, substitution and copies of blocks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace

from specc.ir.ops import Op
from specc.ir.program import Block, Function, Ids, Node, Program, Value, walk

Subst = dict[int, Value]


def ids_after(program: Program) -> Ids:
    """Value numbers that no function of the program uses yet."""
    return Ids(max((v.id for f in program.functions.values() for v in defined(f.block)), default=0))


def defined(block: Block) -> Iterator[Value]:
    """Every value that a block and the regions inside define."""
    yield from block.params
    for node in block.nodes:
        yield from node.outputs
        for region in node.regions:
            yield from defined(region)


def captured(node: Node) -> tuple[Value, ...]:
    """The outer values that a node's regions use, each once."""
    return tuple({v.id: v for region in node.regions for v in captured_by(region)}.values())


def captured_by(block: Block) -> tuple[Value, ...]:
    """The values from around a block that it uses, each once."""
    inside = {v.id for v in defined(block)}
    used = [v for n in walk(block) for v in (*n.inputs, *(r for region in n.regions for r in region.results))]
    return tuple({v.id: v for v in (*used, *block.results) if v.id not in inside}.values())


def reads(node: Node) -> tuple[Value, ...]:
    """Every value that must exist before a node runs: its operands and what its regions capture."""
    return (*node.inputs, *captured(node)) if node.regions else node.inputs


def map_functions(program: Program, change: Callable[[Function], Function]) -> Program:
    return replace(program, functions={name: change(f) for name, f in program.functions.items()})


def substitute(block: Block, subst: Subst) -> Block:
    """The block with other values in place of some that it captures."""
    if not subst:
        return block
    return Block(
        params=block.params,
        nodes=tuple(substitute_node(n, subst) for n in block.nodes),
        results=tuple(subst.get(v.id, v) for v in block.results),
    )


def substitute_node(node: Node, subst: Subst) -> Node:
    inputs = tuple(subst.get(v.id, v) for v in node.inputs)
    regions = tuple(substitute(r, subst) for r in node.regions)
    return replace(node, inputs=inputs, regions=regions)


def copy_block(block: Block, subst: Subst, ids: Ids) -> Block:
    """A copy with fresh values. subst: what stands for values of the original; the copy's values are added to it."""
    params = tuple(_fresh(v, subst, ids) for v in block.params)
    nodes = tuple(copy_node(n, subst, ids) for n in block.nodes)
    return Block(params=params, nodes=nodes, results=tuple(subst.get(v.id, v) for v in block.results))


def copy_node(node: Node, subst: Subst, ids: Ids) -> Node:
    inputs = tuple(subst.get(v.id, v) for v in node.inputs)
    regions = tuple(copy_block(r, subst, ids) for r in node.regions)
    return replace(node, inputs=inputs, regions=regions, outputs=tuple(_fresh(v, subst, ids) for v in node.outputs))


def _fresh(value: Value, subst: Subst, ids: Ids) -> Value:
    new = Value(ids.fresh(), value.type, value.name)
    subst[value.id] = new
    return new


def canonical(block: Block) -> Block:
    """The block with every use of a value as it is where it is defined, its name included."""
    return substitute(block, {v.id: v for v in defined(block)})


def reachable(functions: Mapping[str, Function], roots: Collection[str]) -> set[str]:
    """The functions that these call, and they themselves."""
    waiting, found = list(roots), set()
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [n["function"] for n in walk(functions[name].block) if n.op in (Op.CALL, Op.REPEAT)]
    return found
