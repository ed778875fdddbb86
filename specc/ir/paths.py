"""Where parameters are: paths such as `backbone.block.0.qkv.weight`, as checkpoints have them."""

from __future__ import annotations

from collections.abc import Mapping

from specc.ir.ops import Op
from specc.ir.program import Function, walk
from specc.ir.splice import join
from specc.ir.types import Shape


def parameters(functions: Mapping[str, Function], networks: Mapping[str, str]) -> dict[str, Shape]:
    """Every parameter of the networks (root to function), by its path, in order of use."""
    found: dict[str, Shape] = {}

    def visit(function: str, bundle: str) -> None:
        for node in walk(functions[function].block):
            match node.op:
                case Op.PARAM:
                    found.setdefault(join(bundle, node["path"]), tuple(node["shape"]))
                case Op.CALL:
                    visit(node["function"], join(bundle, node.get("bundle") or ""))
                case Op.REPEAT:
                    for i in range(node["count"]):
                        visit(node["function"], join(bundle, f"{node['bundle']}.{i}"))
                case _:
                    pass

    for root, function in networks.items():
        visit(function, root)
    return found
