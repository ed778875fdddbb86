"""Gradients of one value in several others become one: the way back from it is walked once."""

from __future__ import annotations

from dataclasses import replace

from specc.ir.ops import Op
from specc.ir.program import Block, Node, Program
from specc.ir.rewrite import map_functions


def merge_grads(program: Program) -> Program:
    """Every block of every function. What a gradient is taken in exists before what it is taken of, so that the first of them
    may stand for all."""
    return map_functions(program, lambda f: replace(f, block=_merged(f.block)))


def _merged(block: Block) -> Block:
    first: dict[int, Node] = {}
    together: dict[int, list[Node]] = {}
    for node in block.nodes:
        if node.op is Op.GRAD:
            first.setdefault(node.inputs[0].id, node)
            together.setdefault(node.inputs[0].id, []).append(node)
    nodes: list[Node] = []
    for node in block.nodes:
        if node.regions:
            node = replace(node, regions=tuple(_merged(r) for r in node.regions))
        if node.op is Op.GRAD:
            if first[node.inputs[0].id] is not node:
                continue
            same = together[node.inputs[0].id]
            inputs = (node.inputs[0], *(v for n in same for v in n.inputs[1:]))
            node = replace(node, inputs=inputs, outputs=tuple(v for n in same for v in n.outputs))
        nodes.append(node)
    return replace(block, nodes=tuple(nodes))
