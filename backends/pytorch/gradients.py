"""The order of statements around gradients: each stands right behind what it differentiates."""

from __future__ import annotations

from dataclasses import dataclass

from specc.ir.ops import Op
from specc.ir.program import Node, Value, walk


@dataclass(slots=True, eq=False)
class Group:
    """A gradient, and the nodes between what it is taken in and what it is taken of."""

    gradient: Node
    inside: list[Node]


def around_gradients(nodes: list[Node], every: list[Node] | None = None) -> list[Node | Group]:
    """Nodes in an order in which each gradient stands right behind what it differentiates. every: all nodes around them."""
    every = nodes if every is None else every
    gradient = next((n for n in reversed(nodes) if n.op is Op.GRAD), None)
    if gradient is None:
        return list(nodes)
    place = nodes.index(gradient)
    before = nodes[:place]
    down: set[int] = {v.id for v in gradient.inputs[1:]}
    depends: set[Node] = set()
    for n in every[: every.index(gradient)]:
        if any(v.id in down for v in _inputs(n)):
            depends.add(n)
            down.update(v.id for v in n.outputs)
    up: set[int] = {gradient.inputs[0].id}
    inside: list[Node] = []
    for n in reversed(before):
        if n in depends and any(v.id in up for v in n.outputs):
            inside.insert(0, n)
            up.update(v.id for v in _inputs(n))
    first = [n for n in before if n not in depends]
    rest = [n for n in before if n in depends and n not in inside]
    around = [*around_gradients(first, every), Group(gradient, inside), *around_gradients(rest, every)]
    return [*around, *nodes[place + 1 :]]


def _inputs(node: Node) -> list[Value]:
    """Operands, and what the regions of a node read."""
    inner = [v for region in node.regions for n in walk(region) for v in n.inputs]
    return [*node.inputs, *inner, *(v for region in node.regions for v in region.results)]
