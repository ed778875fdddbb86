"""Loops that stop by themselves, as loops of known length whose rounds are skipped once the test has failed.

For compilers that lose the limit of a loop with a test. A round is a loop of one turn or none: what no round changes any more
keeps failing the test, and nothing but the state is carried.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from specc.ir.ops import Op
from specc.ir.program import Block, Ids, Node, Program, Value
from specc.ir.rewrite import ids_after, map_functions
from specc.ir.types import INT, DType


def counted(program: Program) -> Program:
    """The program without a WHILE, but for those that say no limit. At array level, where a test is one for the batch."""
    ids = ids_after(program)
    return map_functions(program, lambda f: replace(f, block=_block(f.block, ids)))


def _block(block: Block, ids: Ids) -> Block:
    return replace(block, nodes=tuple(made for node in block.nodes for made in _node(node, ids)))


def _node(node: Node, ids: Ids) -> Iterator[Node]:
    node = replace(node, regions=tuple(_block(r, ids) for r in node.regions))
    limit = node.get("limit") if node.op is Op.WHILE else None
    if limit is None:
        yield node
        return
    test, body = node.regions
    (going,) = test.results
    index, count, again = (Value(ids.fresh(), INT, None) for _ in range(3))
    after = tuple(Value(ids.fresh(), v.type, v.name) for v in node.outputs)
    cast = Node(op=Op.CAST, inputs=(going,), outputs=(again,), attrs=(("dtype", DType.INT.value),))
    round = replace(body, params=(Value(ids.fresh(), INT, None), *body.params))
    inner = replace(node, op=Op.FOR, inputs=(again, *test.params), outputs=after, attrs=(), regions=(round,))
    outer = Block(params=(index, *test.params), nodes=(*test.nodes, cast, inner), results=after)
    yield Node(op=Op.CONST, inputs=(), outputs=(count,), attrs=(("dtype", "int"), ("shape", ()), ("value", limit)))
    yield replace(node, op=Op.FOR, inputs=(count, *node.inputs), attrs=(), regions=(outer,))
