"""What PyTorch has a name for: several nodes that it does in one call become one node, which says the call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from specc.ir.ops import Op
from specc.ir.program import Block, Node, Value
from specc.ir.types import BATCH, Shape

Made = Mapping[int, Node]  # the node that makes a value
BROADCASTING = {
    Op.ADD, Op.SUB, Op.MUL, Op.DIV, Op.POW, Op.MIN, Op.MAX, Op.EQ, Op.NE, Op.LT, Op.LE, Op.AND, Op.OR, Op.WHERE,
}  # fmt: skip
Idiom = tuple[str, tuple[Value, ...]]  # the call, with a place for each operand; the operands


def with_idioms(block: Block, made: Made | None = None) -> Block:
    """The block, where nodes that stand for a call have it as `idiom`, and without changes of shape that broadcasting does;
    what they were made of may be dead now."""
    known: dict[int, Node] = dict(made or {})
    nodes: list[Node] = []
    for node in block.nodes:
        node = _plainer(node, known)
        if node.op is Op.CAST and (spread := known.get(node.inputs[0].id)) is not None and spread.op is Op.EXPAND:
            source = spread.inputs[0]
            cast = Value(-1 - node.out.id, replace(source.type, dtype=node.out.type.dtype))
            nodes.append(replace(node, inputs=(source,), outputs=(cast,)))
            known[cast.id] = nodes[-1]
            node = replace(spread, inputs=(cast,), outputs=node.outputs)
        if node.regions:
            node = replace(node, regions=tuple(with_idioms(r, known) for r in node.regions))
        find = IDIOMS.get(node.op)
        found = find(node, known) if find is not None else None
        if found is not None:
            node = replace(node, inputs=found[1], attrs=(*node.attrs, ("idiom", found[0])))
        known.update((v.id, node) for v in node.outputs)
        nodes.append(node)
    return replace(block, nodes=tuple(nodes))


def _plainer(node: Node, made: Made) -> Node:
    """The node with operands before a change of shape that makes no difference to it."""
    for i, value in enumerate(node.inputs):
        change = made.get(value.id)
        if change is None or change.op not in (Op.EXPAND, Op.RESHAPE, Op.SPREAD) or change.get("idiom") is not None:
            continue
        source = change.inputs[0]
        others = [v.type.shape for k, v in enumerate(node.inputs) if k != i]
        if (
            change.op is Op.RESHAPE and value.name is None
            if node.op is Op.RESHAPE
            else node.op in BROADCASTING and _spreads(change) and _together([source.type.shape, *others]) == node.out.type.shape
        ):
            return _plainer(replace(node, inputs=(*node.inputs[:i], source, *node.inputs[i + 1 :])), made)
    return node


def _spreads(node: Node) -> bool:
    """Whether a node only repeats its operand, as broadcasting would."""
    old, new = node.inputs[0].type.shape, node.out.type.shape
    return bool(old) and (node.op is not Op.RESHAPE or new == (*[1] * (len(new) - len(old)), *old))


def _together(shapes: list[Shape]) -> Shape:
    """The shape of arrays of these shapes, broadcast."""
    rank = max(map(len, shapes))
    columns = zip(*((*[1] * (rank - len(s)), *s) for s in shapes), strict=True)
    return tuple(next((d for d in column if d != 1), 1) for column in columns)


def _number(value: Value, made: Made) -> float | None:
    node = made.get(value.id)
    if node is None or node.op is not Op.CONST or node.get("shape", ()) or isinstance(node["value"], tuple):
        return None
    return float(node["value"])


def _leaky(node: Node, made: Made) -> Idiom | None:
    """The larger of v and a share of v."""
    for whole, part in (node.inputs, node.inputs[::-1]):
        product = made.get(part.id)
        if product is None or product.op is not Op.MUL or not any(v is whole for v in product.inputs):
            continue
        share = _number(next(v for v in product.inputs if v is not whole), made)
        if share is not None and 0 < share < 1 and whole.type.rank:
            return f"F.leaky_relu({{}}, {share!r})", (whole,)
    return None


def _of_places(node: Node, made: Made) -> Idiom | None:
    """A matrix where its places are on one side of the diagonal, or a vector on the diagonal, and 0 elsewhere."""
    test, values, rest = node.inputs
    compared = made.get(test.id)
    if compared is None or compared.op not in (Op.LT, Op.LE, Op.EQ) or _number(rest, made) != 0:
        return None
    shape, row_first = compared.out.type.shape, [_counted(v, made) for v in compared.inputs] == [0, 1]
    if not row_first and [_counted(v, made) for v in compared.inputs] != [1, 0]:
        return None
    if compared.op is Op.EQ:
        vector = _repeated(values, made)
        return ("{}.diag()", (vector,)) if vector is not None and vector.type.shape * 2 == shape else None
    if values.type.shape != shape:
        return None
    strict = compared.op is Op.LT
    if row_first:  # row < column
        return "{}.triu(1)" if strict else "{}.triu()", (values,)
    return "{}.tril(-1)" if strict else "{}.tril()", (values,)


def _repeated(values: Value, made: Made) -> Value | None:
    """The vector that is each row of a matrix, or each column."""
    while values.type.rank == 2:
        node = made.get(values.id)
        if node is None or node.op not in (Op.EXPAND, Op.RESHAPE):
            return None
        (values,) = node.inputs
    return values if values.type.rank == 1 else None


def _counted(value: Value, made: Made) -> int | None:
    """The axis that a matrix of indices counts along."""
    node = made.get(value.id)
    match node and node.op:
        case Op.IOTA:
            return 1
        case Op.EXPAND:
            return _counted(node.inputs[0], made)
        case Op.RESHAPE if node.out.type.rank == 2 and _counted(node.inputs[0], made) == 1:
            return 0 if node.out.type.shape[1] == 1 else 1
    return None


def _reshaped(node: Node, made: Made) -> Idiom | None:
    """A row times a matrix, one place of an axis, blocks of pixels as channels, and channels as blocks of pixels."""
    moved = made.get(node.inputs[0].id)
    if moved is not None and moved.op is Op.SLICE:
        return _picked(node, moved)
    if moved is not None and moved.op is Op.MATMUL:
        return _row_times(node, moved, made)
    cut = made.get(moved.inputs[0].id) if moved is not None and moved.op is Op.TRANSPOSE else None
    if moved is None or cut is None or cut.op is not Op.RESHAPE or cut.out.type.rank != 6 or node.out.type.rank != 4:
        return None
    source, old, new = cut.inputs[0], cut.inputs[0].type.shape, node.out.type.shape
    match moved["perm"]:
        case (0, 1, 3, 5, 2, 4):
            name, fine, coarse, n = "F.pixel_unshuffle", old, new, cut.out.type.shape[3]
        case (0, 1, 4, 2, 5, 3):
            name, fine, coarse, n = "F.pixel_shuffle", new, old, cut.out.type.shape[2]
        case _:
            return None
    if len(old) != 4 or BATCH in fine[1:] or coarse != (fine[0], fine[1] * n * n, fine[2] // n, fine[3] // n):
        return None
    return f"{name}({{}}, {n})", (source,)


def _picked(node: Node, cut: Node) -> Idiom | None:
    """The one place that a slice leaves of an axis, which the new shape is without."""
    axis, shape = cut["axis"] % cut.out.type.rank, cut.out.type.shape
    if cut.out.name is not None or shape[axis] != 1 or node.out.type.shape != (*shape[:axis], *shape[axis + 1 :]):
        return None
    before = "..., " if axis == len(shape) - 1 > 1 else ":, " * axis
    return f"{{}}[{before}{cut['start']}]", (cut.inputs[0],)


def _row_times(node: Node, product: Node, made: Made) -> Idiom | None:
    row, matrix = made.get(product.inputs[0].id), product.inputs[1]
    if row is None or row.op is not Op.RESHAPE or row.inputs[0].type.rank != 2 or matrix.type.rank != 2:
        return None
    batch, width = node.out.type.shape if node.out.type.rank == 2 else (None, None)
    return ("@", (row.inputs[0], matrix)) if product.out.type.shape == (batch, 1, width) else None


def _stacked(node: Node, made: Made) -> Idiom | None:
    """Parts that get a dimension of size 1 just to be put together along it."""
    axis = node["axis"] % node.out.type.rank
    parts = [made.get(v.id) for v in node.inputs]
    if len(parts) < 2 or not all(p is not None and p.op is Op.RESHAPE and p.out.name is None for p in parts):
        return None
    sources = tuple(p.inputs[0] for p in parts if p is not None)
    shape = node.out.type.shape
    if any(v.type.shape != (*shape[:axis], *shape[axis + 1 :]) for v in sources):
        return None
    dim = "" if axis == 0 else ", dim=-1" if axis == len(shape) - 1 else f", dim={axis}"
    return f"torch.stack([{', '.join(['{}'] * len(sources))}]{dim})", sources


def _lost(node: Node, made: Made) -> Idiom | None:
    """How improbable logits make a class at each place: rows of logits in one call, which never holds their exponentials."""
    total, chosen = (made.get(v.id) for v in node.inputs)
    if total is None or chosen is None or total.op is not Op.LOGSUMEXP or chosen.op is not Op.TAKE:
        return None
    logits, at = chosen.inputs
    last = logits.type.rank - 1
    if last < 1 or total.inputs[0] is not logits or at.type.shape != logits.type.shape[:-1]:
        return None
    if (
        [a % (last + 1) for a in total["axes"]] != [last]
        or chosen["axis"] % (last + 1) != last
        or chosen.get("batch", 0) != last
    ):
        return None
    if last == 1:
        return 'F.cross_entropy({}, {}, reduction="none")', (logits, at)
    return 'F.cross_entropy({}.flatten(0, -2), {}.flatten(), reduction="none").view_as({})', (logits, at, at)


IDIOMS: dict[Op, Callable[[Node, Made], Idiom | None]] = {
    Op.MAX: _leaky,
    Op.SUB: _lost,
    Op.WHERE: _of_places,
    Op.RESHAPE: _reshaped,
    Op.CONCAT: _stacked,
}
