"""What reverse mode cannot go back through, found before a gradient is written out: in regions and called functions too."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import cycle

from specc.ir.engine import REFUSED, Engine, Functions, Made
from specc.ir.ops import Op
from specc.ir.program import Block, Node, Value
from specc.ir.rewrite import reads

Numbers = set[int]


def obstacle(functions: Functions, made: Made, e: Value, v: Value, crossed: Collection[int] = ()) -> Node | None:
    """The last node between v and e that has no rule. made: the node that gives a value, in the blocks at hand; crossed: values
    of STOP that are gone through."""
    search = _Search(Engine(functions, crossed=crossed))
    search.block(made, [e], {v.id})
    return next(iter(search.found), None)


class _Search:
    """Goes back as reverse mode does: through what depends on the leaves, where a gradient of it is asked for."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.found: list[Node] = []

    def block(self, made: Made, outputs: Sequence[Value], leaves: Numbers) -> tuple[Numbers, Numbers]:
        """The values that depend on the leaves, and those of them that a gradient of the outputs is passed on to."""
        order, active = self.engine.section(made, outputs, leaves, stop=True)
        asked = {v.id for v in outputs} & active
        for node in reversed(order):
            if asked.isdisjoint(v.id for v in node.outputs):
                continue
            if node.op in REFUSED and node.op is not Op.GRAD:
                self.found.append(node)
            asked |= active & self.node(node, active, asked)
        return active, asked

    def node(self, node: Node, active: Numbers, asked: Numbers) -> Numbers:
        """What a node that is asked for its gradient asks of."""
        match node.op:
            case Op.CALL | Op.REPEAT:
                block = self.engine.functions[node["function"]].block
                return self.inside(node, block, node.get("carried", 0), set(), asked, active)
            case Op.FOR:
                (body,) = node.regions
                return self.inside(node, body, len(body.results), active, asked, active, first=1)
            case Op.IF | Op.PARTS:
                return set().union(*(self.inside(node, r, 0, active, asked, active) for r in node.regions))
            case _:
                return {v.id for v in reads(node)}

    def inside(
        self, node: Node, block: Block, carried: int, around: Numbers, asked: Numbers, active: Numbers, first: int = 0
    ) -> Numbers:
        """Through a region or function. carried: how many of its results are its parameters of the next round, from `first`
        on; around: what depends on the leaves and can be captured."""
        own = {v.id: n for n in block.nodes for v in n.outputs}
        inputs, outputs = node.inputs[first:], list(zip(node.outputs, cycle(block.results), strict=False))
        taken = list(zip(inputs, cycle(block.params[first:]), strict=False)) if block.params[first:] else []
        leaves = around | {p.id for v, p in taken if v.id in active}
        wanted = {r.id for v, r in outputs if v.id in asked}
        rounds = list(zip(block.params[first:], block.results[:carried], strict=False))
        while True:
            results = [r for r in block.results if r.id in wanted]
            depends, back = self.block(lambda v: own.get(v.id), results, leaves)
            more = leaves | {p.id for p, r in rounds if r.id in depends}
            again = wanted | {r.id for p, r in rounds if p.id in back}
            if (more, again) == (leaves, wanted):
                return back | {v.id for v, p in taken if p.id in back}
            leaves, wanted = more, again
