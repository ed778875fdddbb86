"""Repetition in one call: of several changes of shape that only put dimensions of size 1 in, take them out and repeat along
them, one index and one `expand` are left, and of an array of one number the array as large as it becomes."""

from __future__ import annotations

from dataclasses import replace

from specc.ir.ops import Op
from specc.ir.program import Block, Node, Value
from specc.ir.types import BATCH, GROWING, Shape

Axes = tuple[int | None, ...]  # for each dimension of a result, that of the source which it is; None: it is new
Made = dict[int, Node]


def with_spreads(block: Block, made: Made | None = None) -> Block:
    """The block, where a node that ends such a chain says the call as its `idiom`; what was between may be dead now."""
    known: Made = dict(made or {})
    nodes: list[Node] = []
    for node in block.nodes:
        if node.regions:
            node = replace(node, regions=tuple(with_spreads(r, known) for r in node.regions))
        shown = node
        if node.op in (Op.EXPAND, Op.SPREAD, Op.RESHAPE) and node.get("idiom") is None:
            node = _filled(node, known) or node
            shown = _in_one(node, known) or node
        known.update((v.id, node) for v in node.outputs)  # as it is, so that a chain may go on
        nodes.append(shown)
    return replace(block, nodes=tuple(nodes))


def _filled(node: Node, made: Made) -> Node | None:
    """An array of one number, in another shape, is an array of that number."""
    source, shape = made.get(node.inputs[0].id), node.out.type.shape
    if source is None or source.op is not Op.CONST or isinstance(source["value"], tuple):
        return None
    if node.op is Op.SPREAD or BATCH in shape or GROWING in shape:
        return None
    attrs = {**dict(source.attrs), "shape": shape}
    return replace(node, op=Op.CONST, inputs=(), attrs=tuple(sorted(attrs.items())))


def _in_one(node: Node, made: Made) -> Node | None:
    if node.op is Op.CONST:
        return None
    source, axes = _traced(node, made)
    if source is node.inputs[0] or source is node.out or not (source.type.rank or _of_arrays(source, made)):
        return None
    sizes = [_size(a, d, source.type.shape) for a, d in zip(axes, node.out.type.shape, strict=True)]
    if set(sizes) == {"-1"} or ("len({})" in sizes and node.op is not Op.SPREAD):
        return None
    first = next((k for k, axis in enumerate(axes) if axis is not None), len(axes))  # those before come by `expand`
    places = ["None" if axis is None else ":" for axis in axes[first:]]
    while places and places[-1] == ":":
        places.pop()
    index = f"[{', '.join(places)}]" if places else ""
    call = f"{{}}{index}.expand({', '.join(sizes)})"
    like = node.inputs[1:] if node.op is Op.SPREAD else ()
    return replace(node, inputs=(source, *like), attrs=(*node.attrs, ("idiom", call)))


def _traced(node: Node, made: Made) -> tuple[Value, Axes]:
    """The value of which a node only repeats parts, and which dimensions of it are where."""
    before = made.get(node.inputs[0].id)
    inner = node.inputs[0], tuple(range(node.inputs[0].type.rank))
    if before is not None and before.op in (Op.EXPAND, Op.RESHAPE) and before.get("idiom") is None and before.out.name is None:
        inner = _traced(before, made)
        inner = (node.inputs[0], tuple(range(node.inputs[0].type.rank))) if inner[0] is before.out else inner
    source, axes = inner
    if node.op is Op.SPREAD:
        return source, (None, *axes)
    if node.op is Op.EXPAND:
        return source, axes
    kept = _moved(axes, node.inputs[0].type.shape, node.out.type.shape)
    return (node.out, tuple(range(node.out.type.rank))) if kept is None else (source, kept)


def _moved(axes: Axes, old: Shape, new: Shape) -> Axes | None:
    """The axes after a change of shape by dimensions of size 1; None where it is more than that, or loses one of the source."""
    if [d for d in old if d != 1] != [d for d in new if d != 1]:
        return None
    left = list(zip(axes, old, strict=True))
    kept: list[int | None] = []
    for d in new:
        while d != 1 and left[0][1] == 1:
            if left.pop(0)[0] is not None:
                return None
        kept.append(left.pop(0)[0] if left and left[0][1] == d else None)
    return None if any(a is not None for a, _ in left) else tuple(kept)


def _size(axis: int | None, size: int | str, source: Shape) -> str:
    if axis is not None and source[axis] == size:
        return "-1"
    return "len({})" if size == BATCH else str(size)


def _of_arrays(value: Value, made: Made) -> bool:
    """Whether a number of no dimensions is surely a tensor, and of single precision."""
    node = made.get(value.id)
    return node is not None and any(v.type.rank for v in node.inputs)
