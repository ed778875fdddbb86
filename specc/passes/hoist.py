"""Nodes of a loop's body that do not change from round to round go before the loop.

Only pure nodes move. Random numbers without a key are fresh in every round and stay; so does the test of a `while`.
"""

from __future__ import annotations

from dataclasses import replace

from specc.ir.ops import OPS, Op
from specc.ir.program import Block, Node, Program
from specc.ir.rewrite import map_functions, reads


def hoist(program: Program) -> Program:
    return map_functions(program, lambda f: replace(f, block=_hoisted(f.block)))


def _hoisted(block: Block) -> Block:
    nodes: list[Node] = []
    for node in block.nodes:
        if node.regions:
            regions = [_hoisted(r) for r in node.regions]
            if node.op in (Op.FOR, Op.WHILE):
                before, regions[-1] = _split(regions[-1])
                nodes += before
            node = replace(node, regions=tuple(regions))
        nodes.append(node)
    return replace(block, nodes=tuple(nodes))


def _split(body: Block) -> tuple[list[Node], Block]:
    """The nodes that may stand before the loop, and the rest of its body."""
    changing = {v.id for v in body.params}
    before: list[Node] = []
    rest: list[Node] = []
    for node in body.nodes:
        fresh = node.op in (Op.NORMAL, Op.UNIFORM) and not node.get("keyed", True)
        if node.regions or fresh or not OPS[node.op].pure or any(v.id in changing for v in reads(node)):
            rest.append(node)
            changing.update(v.id for v in node.outputs)
        else:
            before.append(node)
    return before, replace(body, nodes=tuple(rest))
