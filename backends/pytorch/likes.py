"""Values that others follow: in number of examples the ones that they meet, rather than the seeds, and in shape a parameter."""

from __future__ import annotations

from dataclasses import replace

from specc.backends.pytorch.shapes import general

from specc.ir.ops import Op
from specc.ir.program import Block, Node, Value
from specc.ir.types import BATCH, DType


def with_likes(block: Block, known: frozenset[int] = frozenset(), given: tuple[Value, ...] | None = None) -> Block:
    """The block, where each `spread` for a call is sized by a float among the call's arguments that exists by then, and a
    `reshape` to the shape of a parameter has it as a second operand.

    known: numbers of the values that the blocks around this one have defined. given: the parameters of the outermost one.
    """
    defined = set(known) | {v.id for v in block.params}
    given = block.params if given is None else given
    nodes: list[Node] = []
    for i, node in enumerate(block.nodes):
        if node.regions:
            node = replace(node, regions=tuple(with_likes(r, frozenset(defined), given) for r in node.regions))
        if node.op is Op.RESHAPE and node.get("idiom") is None and general(node.inputs[0].type.shape, node.out.type.shape):
            node = replace(node, inputs=(node.inputs[0], *[v for v in given if v.type.shape == node.out.type.shape][:1]))
        if node.op is Op.SPREAD and not _float(node.inputs[1]):
            better = next((v for v in _companions(block.nodes[i + 1 :], node.out) if v.id in defined), None)
            if better is not None:
                node = replace(node, inputs=(node.inputs[0], better))
        nodes.append(node)
        defined.update(v.id for v in node.outputs)
    return Block(params=block.params, nodes=tuple(nodes), results=block.results)


def _companions(later: tuple[Node, ...], value: Value) -> list[Value]:
    """Floats that vary by example and stand beside a value in a call."""
    calls = [n for n in later if n.op in (Op.CALL, Op.REPEAT) and any(v is value for v in n.inputs)]
    return [v for n in calls for v in n.inputs if v is not value and _float(v)]


def _float(value: Value) -> bool:
    return value.type.dtype is DType.FLOAT and value.type.shape[:1] == (BATCH,)
