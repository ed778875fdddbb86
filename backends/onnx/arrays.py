"""Rows for reductions, shapes, indexing and the batch."""

from __future__ import annotations

import numpy as np
from specc.backends.onnx import caches
from specc.backends.onnx.emit import Bound, Emitter, Packed, Spell, Weight
from specc.backends.onnx.scopes import NUMPY

from specc.ir.calc import Calc
from specc.ir.decompositions import DECOMPOSITIONS
from specc.ir.program import Builder, Ids, Node, Value
from specc.ir.types import BATCH, GROWING, DType, Shape, size

LAST = np.iinfo(np.int64).max  # "to the end" of a Slice


def reduce(kind: str) -> Spell:
    """A reduction over attribute `axes`, which disappear."""

    def row(e: Emitter, node: Node) -> Bound:
        axes = tuple(node["axes"])
        (x,) = e.names(node, _counted(node))
        out = e.op(kind, x, e.ints(*axes), keepdims=0) if axes else x
        return e.cast(out, _counted(node), node.out.type.dtype)

    return row


def _counted(node: Node) -> DType:
    """Truth values are reduced as integers."""
    have = node.inputs[0].type.dtype
    return DType.INT if have is DType.BOOL else have


def argmax(e: Emitter, node: Node) -> str:
    (x,) = e.names(node, DType.FLOAT)
    return e.op("ArgMax", x, axis=node["axis"], keepdims=0)


def softmax(e: Emitter, node: Node) -> str:
    return e.op("Softmax", *e.names(node), axis=node["axis"])


def cumsum(e: Emitter, node: Node) -> str:
    return e.op("CumSum", *e.names(node), e.const(np.int64(node["axis"])))


def sort(e: Emitter, node: Node) -> str:
    (x,) = e.names(node)
    shape, axis = node.out.type.shape, node["axis"]
    count = e.batch if shape[axis] == BATCH else e.ints(int(shape[axis]))
    values, _ = e.op("TopK", x, count, outputs=2, axis=axis, largest=0, sorted=1)
    return values


def reshape(e: Emitter, node: Node) -> Bound:
    return reshaped(e, e.name(node.inputs[0]), node.inputs[0].type.shape, node.out.type.shape)


def reshaped(e: Emitter, x: str, have: Shape, want: Shape) -> str:
    """What is itself a reshaping is skipped over."""
    x, have = e.reshaped.get(x, (x, have))
    if have == want:
        return x
    sizes = e.dims(want, infer=True) if GROWING not in want else _with_places(e, x, have, want)
    out = e.op("Reshape", x, sizes)
    e.reshaped[out] = (x, have)
    return out


def _with_places(e: Emitter, x: str, have: Shape, want: Shape) -> str:
    place = have.index(GROWING)
    places = e.op("Shape", x, start=place, end=place + 1)
    return e.op("Concat", *(places if d == GROWING else e.dims((d,), infer=True) for d in want), axis=0)


def transpose(e: Emitter, node: Node) -> str:
    """`e.turned` has values whose only uses are one transposition, in the order that it wants."""
    if node.inputs[0].id in e.turned:
        return e.turned[node.inputs[0].id]
    return e.op("Transpose", *e.names(node), perm=list(node["perm"]))


def expand(e: Emitter, node: Node) -> Bound:
    """Where the batch is there already, the wanted shape says 1 and it stays."""
    have, want = node.inputs[0].type.shape, node.out.type.shape
    if have == want:
        return e.env[node.inputs[0].id]
    return e.op("Expand", *e.names(node), e.dims(tuple(1 if d == h else d for d, h in zip(want, have, strict=True))))


def slice_(e: Emitter, node: Node) -> str:
    ends = (node["start"], node["stop"], node["axis"], node.get("step", 1))
    return e.op("Slice", *e.names(node), *(e.ints(i) for i in ends))


def concat(e: Emitter, node: Node) -> str | Packed:
    return caches.grown(e, node) or e.op("Concat", *e.names(node, node.out.type.dtype), axis=node["axis"])


def pad(e: Emitter, node: Node) -> str:
    before, after = zip(*node["pads"], strict=True)
    value = e.const(NUMPY[node.out.type.dtype](node.get("value", 0)))
    return e.op("Pad", *e.names(node), e.ints(*before, *after), value)


def flip(e: Emitter, node: Node) -> str:
    return e.op("Slice", *e.names(node), e.ints(-1), e.ints(-LAST), e.ints(node["axis"]), e.ints(-1))


def take(e: Emitter, node: Node) -> str:
    """Gather; with common dimensions in front of both, GatherND after the axis has been moved next to them."""
    x, index = node.inputs
    axis, rank, batch = node["axis"] % x.type.rank, x.type.rank, node.get("batch", 0)
    bound = e.env[x.id]
    if isinstance(bound, Weight) and e.layers is not None and axis == 0 and rank == 2 and not batch:
        rows = e.layers.embedding(e, node, bound)
        if rows is not None:
            return rows
    if not batch:
        return e.op("Gather", e.name(x), e.name(index), axis=axis)
    moved = e.name(x)
    if axis != batch:
        moved = e.op("Transpose", moved, perm=[*range(batch), axis, *(i for i in range(batch, rank) if i != axis)])
    got = e.op("GatherND", moved, e.op("Unsqueeze", e.name(index), e.ints(-1)), batch_dims=batch)
    between, places = axis - batch, index.type.rank - batch
    if axis == batch or (not places and not between):
        return got
    lead = [batch + places + i for i in range(between)]
    tail = [batch + places + i for i in range(between, rank - 1 - batch)]
    return e.op("Transpose", got, perm=[*range(batch), *lead, *range(batch, batch + places), *tail])


def scatter_add(e: Emitter, node: Node) -> str:
    """ScatterND that adds, with the indexed dimensions in front; a batch becomes part of the index."""
    x, index = node.inputs
    axis, n, batch = node["axis"] % node.out.type.rank, node["n"], node.get("batch", 0)
    places = index.type.rank - batch
    moved = [*range(batch), *range(axis, axis + places), *range(batch, axis), *range(axis + places, x.type.rank)]
    update = e.op("Transpose", e.name(x), perm=moved) if moved != sorted(moved) else e.name(x)
    rest = tuple(x.type.shape[i] for i in moved[batch + places :])
    where = e.name(index)
    common = e.dims(index.type.shape[:batch]) if batch else ""
    if batch:
        count = e.op("ReduceProd", common, keepdims=0)
        rows = e.op("Mul", e.op("Range", e.const(np.int64(0)), count, e.const(np.int64(1))), e.const(np.int64(n)))
        ones = e.op("Concat", common, e.ints(*[1] * places), axis=0) if places else common
        where = e.op("Add", where, e.op("Reshape", rows, ones))
    total = e.op("Mul", e.op("ReduceProd", common, keepdims=1), e.ints(n)) if batch else e.dims((n,))
    shape = e.op("Concat", total, e.dims(rest), axis=0) if rest else total
    dtype = node.out.type.dtype
    zeros = e.op("Expand", e.const(np.zeros([1] * (1 + len(rest)), NUMPY[dtype])), shape)
    added = e.op("ScatterND", zeros, e.op("Unsqueeze", where, e.ints(-1)), update, reduction="add")
    if batch:
        tail = (e.dims((n, *rest)),)
        added = e.op("Reshape", added, e.op("Concat", common, *tail, axis=0))
    between = axis - batch
    back = [*range(batch), *(batch + 1 + i for i in range(between)), batch, *range(batch + 1 + between, node.out.type.rank)]
    return e.op("Transpose", added, perm=back) if back != sorted(back) else added


def spread(e: Emitter, node: Node) -> Bound:
    """A shared value for each example of `like`."""
    x = node.inputs[0]
    if x.type.batched:
        return e.env[x.id]
    shape = e.op("Concat", e.batch, e.dims(x.type.shape), axis=0) if x.type.rank else e.batch
    return e.op("Expand", e.name(x), shape)


def batch_size(e: Emitter, node: Node) -> str:
    return e.op("Squeeze", _rows(e, node.inputs[0]), e.ints(0))


def batch_index(e: Emitter, node: Node) -> str:
    count = e.op("Squeeze", _rows(e, node.inputs[0]), e.ints(0))
    return e.op("Range", e.const(np.int64(0)), count, e.const(np.int64(1)))


def _rows(e: Emitter, like: Value) -> str:
    return e.op("Shape", e.name(like), start=0, end=1)


def batch_reduce(kind: str) -> Spell:
    def row(e: Emitter, node: Node) -> str:
        (x,) = e.names(node, _counted(node))
        out = e.op(kind, x, e.ints(0), keepdims=0)
        return e.cast(out, _counted(node), node.out.type.dtype)

    return row


def batch_take(e: Emitter, node: Node) -> str:
    return e.op("Gather", *e.names(node), axis=0)


def batch_cost(e: Emitter, node: Node) -> str:
    """Every pair at once: |a|^2 + |b|^2 - 2 a b would lose digits where a and b are close."""
    a, b = node.inputs
    width = size(_without(a.type.shape))
    left = e.op("Reshape", e.name(a), e.ints(-1, 1, width))
    right = e.op("Reshape", e.name(b), e.ints(1, -1, width))
    gap = e.op("Sub", left, right)
    total = e.op("ReduceSum", e.op("Mul", gap, gap), e.ints(-1), keepdims=0)
    return e.op("Sqrt", total) if node["cost"] == "dist" else total


def _without(shape: Shape) -> Shape:
    return shape[1:] if shape[:1] == (BATCH,) else shape


def written_out(e: Emitter, node: Node) -> str:
    """An op without a form of its own, in the simpler ones that derivatives go through."""
    calc = Calc(Builder(Ids(max(v.id for v in (*node.inputs, node.out)))))
    value = DECOMPOSITIONS[node.op](calc, node)
    outer = e.env
    e.env = dict(outer)
    for part in calc.b.nodes:
        e.node(part)
    made = e.name(value)
    e.env = outer
    return made
