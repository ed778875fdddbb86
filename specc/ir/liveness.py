"""What of a block its results need: nodes that nothing reads, and values that loops carry for nothing, are left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from specc.ir.ops import Op
from specc.ir.program import Block, Node, Value
from specc.ir.rewrite import reads


def live(block: Block) -> Block:
    """The block with the same parameters and results, and of its nodes those that the results need."""
    used = {v.id for v in block.results}
    kept: list[Node] = []
    for node in reversed(block.nodes):
        if any(v.id in used for v in node.outputs):
            slim = _slim(node, used)
            kept.append(slim)
            used.update(v.id for v in reads(slim))
    return replace(block, nodes=tuple(reversed(kept)))


def felt(block: Block, wanted: set[int]) -> Iterator[Node]:
    """Nodes, also in regions, through which gradients of the wanted values may pass, from last to first."""
    for node in reversed(block.nodes):
        if node.op is Op.STOP or wanted.isdisjoint(v.id for v in node.outputs):
            continue
        yield node
        for region in node.regions:
            wanted.update(v.id for v in region.results)
            yield from felt(region, wanted)
        wanted.update(v.id for v in node.inputs)


def _slim(node: Node, used: set[int]) -> Node:
    match node.op:
        case Op.FOR:
            return _loop(node, used, first=1)
        case Op.WHILE:
            return _loop(node, used, first=0)
        case Op.IF | Op.PARTS:
            picked = [i for i, v in enumerate(node.outputs) if v.id in used]
            regions = tuple(live(replace(r, results=tuple(r.results[i] for i in picked))) for r in node.regions)
            attrs = tuple((k, tuple(v[i] for i in picked) if k == "types" else v) for k, v in node.attrs)
            slim = replace(node, outputs=tuple(node.outputs[i] for i in picked), attrs=attrs, regions=regions)
            return _needed(slim) if node.op is Op.PARTS else slim
        case _:
            return node


def _needed(node: Node) -> Node:
    """Without operands that no part reads, but for the first, which says how many examples there are."""
    wanted = {0}.union(*(_wanted(region, region.params) for region in node.regions))
    order = sorted(wanted)
    regions = tuple(replace(r, params=tuple(r.params[i] for i in order)) for r in node.regions)
    return replace(node, inputs=tuple(node.inputs[i] for i in order), regions=regions)


def _loop(node: Node, used: set[int], first: int) -> Node:
    """A loop that carries what is used after it and what that needs. first: operands and parameters before the carried."""
    body = node.regions[-1]
    picked = {i for i, v in enumerate(node.outputs) if v.id in used}
    if node.op is Op.WHILE:
        picked |= _wanted(live(node.regions[0]), node.regions[0].params)
    while True:
        needed = _wanted(_picked(body, sorted(picked)), body.params[first:]) | picked
        if needed == picked:
            break
        picked = needed
    order = sorted(picked)
    slim = _picked(body, order)
    regions: tuple[Block, ...] = (replace(slim, params=(*body.params[:first], *(body.params[first + i] for i in order))),)
    if node.op is Op.WHILE:
        test = live(node.regions[0])
        regions = (replace(test, params=tuple(test.params[i] for i in order)), *regions)
    inputs = (*node.inputs[:first], *(node.inputs[first + i] for i in order))
    return replace(node, inputs=inputs, outputs=tuple(node.outputs[i] for i in order), regions=regions)


def _picked(body: Block, order: list[int]) -> Block:
    return live(replace(body, results=tuple(body.results[i] for i in order)))


def _wanted(block: Block, params: tuple[Value, ...]) -> set[int]:
    """Which of the parameters the block reads."""
    read = {v.id for node in block.nodes for v in reads(node)} | {v.id for v in block.results}
    return {i for i, p in enumerate(params) if p.id in read}
