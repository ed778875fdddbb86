"""Tables of numbers in a network's code: buffers of its class, which are made once and stand where its parameters do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from specc.backends.pytorch.names import candidates, legal

from specc.ir.ops import Op
from specc.ir.program import Block, Function, Node, walk

FEW = 4  # numbers that an expression may list


def with_tables(functions: Iterable[Function]) -> list[Function]:
    """Functions over one bundle that read long constants as parameters whose `init` is the table itself."""
    functions = list(functions)
    taken = {n["path"].split(".")[0] for f in functions for n in walk(f.block) if n.op is Op.PARAM}
    taken |= {n["bundle"].split(".")[0] for f in functions for n in walk(f.block) if n.get("bundle")}
    paths: dict[object, str] = {}

    def block(old: Block) -> Block:
        return replace(old, nodes=tuple(node(n) for n in old.nodes))

    def node(old: Node) -> Node:
        if old.regions:
            return replace(old, regions=tuple(block(r) for r in old.regions))
        if old.op is not Op.CONST or not isinstance(old["value"], tuple) or len(old["value"]) <= FEW:
            return old
        key = (old["value"], old["shape"], old.get("dtype"))
        if key not in paths:
            paths[key] = next(n for n in candidates(legal(old.out.name or "table")) if n not in {*taken, *paths.values()})
        attrs = {"path": paths[key], "shape": old["shape"], "init": ("table", old)}
        return replace(old, op=Op.PARAM, attrs=tuple(attrs.items()))

    return [replace(f, block=block(f.block)) for f in functions]
