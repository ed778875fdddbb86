"""Loops whose body asks again what the test of a round has asked: one question, with a name that both read."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace

from specc.ir.ops import OPS, Op
from specc.ir.program import Block, Node, Value
from specc.ir.rewrite import substitute
from specc.ir.types import DType

GOING = "going"


def with_tests_once(block: Block) -> Block:
    """The block, where bodies of `while` read what their tests compute, rather than computing it anew."""
    nodes = [
        replace(n, regions=tuple(map(with_tests_once, _shared(n) if n.op is Op.WHILE else n.regions))) if n.regions else n
        for n in block.nodes
    ]
    return replace(block, nodes=tuple(nodes))


def _shared(loop: Node) -> tuple[Block, Block]:
    test, body = loop.regions
    same: dict[int, Hashable] = {p.id: ("carried", k) for region in (test, body) for k, p in enumerate(region.params)}
    asked = {_key(n, same): n for n in test.nodes if _key(n, same) is not None}
    found: dict[int, Value] = {}
    kept = []
    for node in body.nodes:
        before = asked.get(_key(node, same))
        if before is None or node.op is Op.CONST:
            kept.append(node)
        else:
            found[node.out.id] = found[before.out.id] = _called(before.out)
        if before is not None:
            same[node.out.id] = before.out.id
    asking = (replace(n, outputs=tuple(found.get(v.id, v) for v in n.outputs)) for n in test.nodes)
    return substitute(replace(test, nodes=tuple(asking)), found), substitute(replace(body, nodes=tuple(kept)), found)


def _called(value: Value) -> Value:
    """Whether an example goes on is worth a word."""
    return Value(value.id, value.type, GOING) if value.type.dtype is DType.BOOL and value.name is None else value


def _key(node: Node, same: dict[int, Hashable]) -> Hashable | None:
    """Equal for nodes that compute the same; None where that cannot be said."""
    if node.regions or len(node.outputs) != 1 or not OPS[node.op].pure:
        return None
    return node.op, tuple(same.get(v.id, v.id) for v in node.inputs), node.attrs
