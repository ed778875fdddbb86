"""Where the values of a function come from and go to."""

from __future__ import annotations

from specc.ir.dataflow import sites
from specc.ir.ops import Op
from specc.ir.program import Block, Node, Value, walk
from specc.ir.types import Shape, broadcast

BROADCASTING = {
    *(Op.ADD, Op.SUB, Op.MUL, Op.DIV, Op.FLOORDIV, Op.MOD, Op.POW, Op.MIN, Op.MAX),
    *(Op.EQ, Op.NE, Op.LT, Op.LE, Op.AND, Op.OR, Op.WHERE),
}


class Uses:
    """Where the values of a function come from and go to. `kept` are results of its blocks, which other graphs see."""

    def __init__(self, block: Block) -> None:
        self.nodes = list(walk(block))
        self.made = {v.id: node for node in self.nodes for v in node.outputs}
        self.kept = {v.id for b in (block, *(r for n in self.nodes for r in n.regions)) for v in b.results}
        self.sites = sites(block)
        self._users: dict[int, list[Node]] = {}
        for node in self.nodes:
            for v in node.inputs:
                self._users.setdefault(v.id, []).append(node)

    def users(self, value: Value) -> list[Node]:
        return self._users.get(value.id, [])


def skippable(uses: Uses) -> set[int]:
    """Expansions that need not happen, because every use of them broadcasts to the same shape anyway."""
    small: dict[int, Shape] = {}
    for node in uses.nodes:
        if node.op is Op.EXPAND and node.out.id not in uses.kept:
            small[node.out.id] = small.get(node.inputs[0].id, node.inputs[0].type.shape)
            if not all(_broadcasts(user, small) for user in uses.users(node.out)):
                del small[node.out.id]
    return set(small)


def _broadcasts(user: Node, small: dict[int, Shape]) -> bool:
    if user.op not in BROADCASTING:
        return False
    return broadcast(*(small.get(v.id, v.type.shape) for v in user.inputs)) == user.out.type.shape
