"""Rules of the ops that reach over places: shifts, windows, running sums, products of matrices, attention."""

from __future__ import annotations

from functools import partial

import numpy as np

from specc.ir.ops import Op
from specc.ir.program import Node, Value
from specc.ir.types import per_dimension, size
from specc.passes.incremental.fixed import numbers
from specc.passes.incremental.places import Along, Stop, joined
from specc.passes.incremental.steps import Steps

BEHIND = "it sums over all places, those behind a place as well"
MASK = "set to 0 what is behind a place, by a mask or causal attention"


# Shifts ----------------------------------------------------------------------------------------------------------------


def slice_(s: Steps, node: Node) -> None:
    """Along the places a shift; its end needs no looking at, since what is made of it ends as early."""
    x = node.inputs[0]
    along = s.along(x)
    axis, here = along.axis, node["axis"] % x.type.rank
    assert axis is not None
    if here not in (axis, along.column):
        s.emit(node, [axis], axis, column=along.column, future=along.future)
        return
    if here == along.column or node.get("step", 1) != 1:
        raise Stop(node, "it leaves places out", "keep one entry for each place")
    s.give(node, s.moved(node, along, -node["start"]), lambda o: s.at(node, x, o - node["start"]))


def concat(s: Steps, node: Node) -> None:
    """Along the places each part is shifted by what stands before it."""
    here = node["axis"] % node.out.type.rank
    alongs = [s.along(v) for v in node.inputs]
    axis = next(a.axis for a in alongs if a.axis is not None)
    if any(a.column is not None or a.axis not in (None, axis) for a in alongs):
        raise Stop(node, "the places are another axis in each part", "bring them to one axis before")
    if here != axis:
        s.emit(node, [axis] * len(alongs), axis)
        return
    starts = np.cumsum([0, *(size((v.type.shape[axis],)) for v in node.inputs)]).tolist()
    moved = [s.moved(node, a, k) if a.timed else a for a, k in zip(alongs, starts, strict=False)]

    def made(offset: int) -> Value:
        parts = [_part(s, node, v, axis, k, offset) for v, k in zip(node.inputs, starts, strict=False)]
        found = parts[-1]
        for part, end in zip(parts[-2::-1], starts[-2:0:-1], strict=True):
            found = s.calc.op(Op.WHERE, s.calc.op(Op.LT, s.place(offset), s.whole(end)), part, found)
        return found

    s.give(node, joined(moved).at(axis), made)


def _part(s: Steps, node: Node, value: Value, axis: int, start: int, offset: int) -> Value:
    """A part of a concatenation at the place at hand; where that lies outside of it, anything."""
    if s.along(value).timed:
        return s.at(node, value, offset + start)
    last = size((value.type.shape[axis],)) - 1
    place = s.calc.op(Op.MAX, s.calc.op(Op.MIN, s.place(offset + start), s.whole(last)), s.whole(0))
    return s.row(s.form(value), axis, place)


def pad(s: Steps, node: Node) -> None:
    x = node.inputs[0]
    along = s.along(x)
    axis = along.axis
    assert axis is not None
    if along.column is not None:
        raise Stop(node, "it adds places to pairs of places", "pad the sequence before it is paired")
    before = node["pads"][axis][0]
    others = tuple((0, 0) if i == axis else p for i, p in enumerate(node["pads"]))
    value = node.get("value", 0)

    def made(offset: int) -> Value:
        form = s.at(node, x, offset + before)
        if any(map(any, others)):
            form = s.calc.op(Op.PAD, form, pads=others, value=value)
        return _within(s, form, offset + before, size((x.type.shape[axis],)), value)

    s.give(node, s.moved(node, along, before), made)


def _within(s: Steps, form: Value, offset: int, length: int, otherwise: float) -> Value:
    """A value where its place is one of the sequence, and a number before and after."""
    place, inside = s.place(offset), []
    if offset > 0:
        inside.append(s.calc.op(Op.LE, s.whole(0), place))
    if length < s.rounds - offset:
        inside.append(s.calc.op(Op.LT, place, s.whole(length)))
    if not inside:
        return form
    number = s.calc.op(Op.CONST, value=otherwise, shape=(), dtype=form.type.dtype.value)
    return s.calc.op(Op.WHERE, inside[0] if len(inside) == 1 else s.calc.op(Op.AND, *inside), form, number)


# Windows and running sums ----------------------------------------------------------------------------------------------


def conv(s: Steps, node: Node) -> None:
    """Along the places a window that ends `reach` behind its first element, of the last elements read."""
    x, weight = node.inputs[:2]
    along = s.along(x)
    spatial = weight.type.rank - 2
    if along.axis is None or any(s.along(v).timed for v in node.inputs[1:]):
        raise Stop(node, "its weights differ from place to place", "use weights that are the same for all places")
    axis = along.axis
    k = axis - (x.type.rank - spatial)
    options = {o: list(per_dimension(node.get(o, d), spatial)) for o, d in (("stride", 1), ("padding", 0), ("dilation", 1))}
    if k < 0:
        raise Stop(node, "it takes all places together as channels", "put the places on a spatial axis")
    if options["stride"][k] != 1:
        raise Stop(node, "it leaves places out", "take a stride of 1 along the places")
    reach, before = (size((weight.type.shape[2 + k],)) - 1) * options["dilation"][k], options["padding"][k]
    options["padding"][k] = 0
    attrs = dict(node.attrs) | {o: tuple(v) for o, v in options.items()}
    length = size((x.type.shape[axis],))

    def made(offset: int) -> Value:
        inside = partial(_within, s, length=length, otherwise=0.0)
        window = s.window(node, x, offset + before - reach, reach + 1, inside)
        return s.calc.op(Op.CONV, window, *(s.form(v) for v in node.inputs[1:]), **attrs)

    s.give(node, s.moved(node, along, before - reach), made, free=False)


def cumsum(s: Steps, node: Node) -> None:
    x = node.inputs[0]
    along, form = s.along(x), s.form(x)
    if node["axis"] % x.type.rank != along.axis:
        if node["axis"] % x.type.rank == along.column:
            raise Stop(node, BEHIND, MASK)
        s.emit(node, [along.axis], along.axis or 0, column=along.column)
        return
    s.still(node, along)
    kept = s.cache(form.type, "total")
    offset = s.offset(along)
    zero = s.calc.op(Op.CONST, value=0, shape=(), dtype=form.type.dtype.value)
    started = s.calc.op(Op.WHERE, s.calc.op(Op.LT, s.whole(0), s.place(offset)), kept.before, zero)
    total = s.keep(kept, s.calc.op(Op.ADD, started if offset else kept.before, form))
    s.give(node, along, lambda o: total, free=False)


# Products --------------------------------------------------------------------------------------------------------------


def matmul(s: Steps, node: Node) -> None:
    """Rows by a matrix, queries by keys (a table of pairs), and a table that hides what is behind by values."""
    a, b = node.inputs
    left, right = s.along(a), s.along(b)
    row, column = _end(left, a), _end(right, b)
    rank = node.out.type.rank
    if left.column is not None:
        _weighted(s, node, left, right)
    elif right.column is not None or row == -1 or column == -2:
        _triangular(s, node)
    elif row == -2 and column == -1:
        s.emit(node, [left.axis, None], rank - 2, columns=[None, right.axis], column=rank - 1)
    elif row in (-2, None) and column in (-1, None):
        s.emit(node, [left.axis, right.axis], rank + (row or column or 0))
    else:
        _stacks(s, node, row, column)


def _end(along: Along, value: Value) -> int | None:
    return None if along.axis is None else along.axis - value.type.rank


def _weighted(s: Steps, node: Node, left: Along, right: Along) -> None:
    a, b = node.inputs
    if left.column != a.type.rank - 1 or left.axis != a.type.rank - 2 or right.axis != b.type.rank - 2:
        raise Stop(node, BEHIND, MASK)
    if left.future != 0:
        raise Stop(node, BEHIND, MASK)
    s.emit(node, [left.axis, None], node.out.type.rank - 2, columns=[None, right.axis])


def _triangular(s: Steps, node: Node) -> None:
    """A matrix that is known to be lower triangular, by what lies along places."""
    a, b = node.inputs
    right = s.along(b)
    held = None if s.along(a).timed else numbers(s.calc, s.form(a))
    if right.column is not None or right.axis != b.type.rank - 2 or held is None or np.triu(held, 1).any():
        raise Stop(node, BEHIND, MASK)
    s.emit(node, [a.type.rank - 2, None], node.out.type.rank - 2, columns=[a.type.rank - 1, right.axis])


def _stacks(s: Steps, node: Node, row: int | None, column: int | None) -> None:
    """Matrices one a place: the places are among the leading dimensions."""
    end = row if row is not None else column
    if end is None or end > -3 or (row is not None and column is not None and row != column):
        raise Stop(node, BEHIND, MASK)
    lies = [v.type.rank + end if v.type.rank + end >= 0 and v.type.shape[end] != 1 else None for v in node.inputs]
    s.emit(node, lies, node.out.type.rank + end)


def attention(s: Steps, node: Node) -> None:
    alongs = [s.along(v) for v in node.inputs]
    ends = [_end(a, v) for a, v in zip(alongs, node.inputs, strict=True)]
    lies = [v.type.rank - 2 for v in node.inputs]
    rank = node.out.type.rank
    if any(a.column is not None for a in alongs) or -1 in ends:
        raise Stop(node, "the places lie along features", "put them on the axis before the features")
    if -3 in ends and set(ends) <= {-3, None}:
        s.emit(node, [v.type.rank - 3 for v in node.inputs], rank - 3)
    elif ends[1:] == [None, None] and not node.get("causal", False):
        s.emit(node, [lies[0], None, None], rank - 2)
    elif set(ends) <= {-2, None} and node.get("causal", False):
        s.emit(node, [lies[0], None, None], rank - 2, columns=[None, lies[1], lies[2]], causal=False)
    else:
        raise Stop(node, "each place attends to all, those behind it as well", "say `causal = true`")
