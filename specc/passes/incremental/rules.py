"""The rule of each op for values that lie along places: a column of the table of ops.

A rule appends the op's form for one place and says how its result lies, or raises `Stop`. Rules that read other places than
their own, and those of control, are in `reaching` and `control`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from specc.ir.folding import FOLD
from specc.ir.ops import OPS, Lift, Op
from specc.ir.program import Node, Value
from specc.passes.incremental import control, reaching
from specc.passes.incremental.fixed import kept, numbers
from specc.passes.incremental.places import HIDDEN, Along, Stop
from specc.passes.incremental.steps import Steps

Rule = Callable[[Steps, Node], None]


def first(s: Steps, node: Node) -> tuple[Along, int]:
    """How the first operand lies, alone of all."""
    along = s.along(node.inputs[0])
    if along.axis is None or any(s.along(v).timed for v in node.inputs[1:]):
        raise Stop(node, "its weights differ from place to place", "use weights that are the same for all places")
    return along, along.axis


def alone(s: Steps, node: Node, axis: int) -> None:
    """The op on the first operand as it is, with the places at another axis of the result."""
    _, here = first(s, node)
    s.emit(node, [here, *[None] * (len(node.inputs) - 1)], axis)


# Element by element ----------------------------------------------------------------------------------------------------


def elementwise(s: Steps, node: Node) -> None:
    rank = node.out.type.rank
    ends = [(s.along(v), v.type.rank) for v in node.inputs]
    pair = next(((a, r) for a, r in ends if a.column is not None), None)
    row = pair[0].axis - pair[1] if pair is not None else None  # type: ignore[operator]
    column = pair[0].column - pair[1] if pair is not None else None  # type: ignore[operator]
    for along, r in ends:
        if along.axis is None or (column is not None and along.axis - r == column and along.column is None):
            continue
        row = along.axis - r if row is None else row
        if (along.axis - r, along.column if along.column is None else along.column - r) not in ((row, None), (row, column)):
            raise Stop(node, "it pairs each place with each", "pair them as queries and keys, with `dot_attention` or `@`")
    assert row is not None
    future = None if pair is None else _future(s, node, row, column or 0)
    s.emit(
        node,
        [_meets(v, row) for v in node.inputs],
        rank + row,
        columns=[None if column is None else _meets(v, column) for v in node.inputs],
        column=None if column is None else rank + column,
        future=future,
    )


def _meets(value: Value, end: int) -> int | None:
    """The dimension of an operand so far from its end, where it has one that is more than 1."""
    axis = value.type.rank + end
    return axis if axis >= 0 and value.type.shape[axis] != 1 else None


def _future(s: Steps, node: Node, row: int, column: int) -> float | None:
    """What stands behind each place in a table of pairs, where that is known."""
    parts = [_behind(s, v, row, column) for v in node.inputs]
    values, own = [p[0] for p in parts], [p[1] for p in parts]
    match node.op:
        case Op.WHERE:
            chosen = None if values[0] is None else values[1 if values[0] else 2]
            return chosen if chosen is None or chosen > HIDDEN or own[0] else None
        case Op.ADD if hidden := [v for v, o in zip(values, own, strict=True) if v is not None and v <= HIDDEN and o]:
            return hidden[0]
        case Op.MUL if 0 in values:
            return 0.0
        case Op.DIV if values[0] == 0:
            return 0.0
        case op if op in FOLD and None not in values:
            return _folded(op, values)
        case _:
            return None


def _folded(op: Op, values: list[float | None]) -> float | None:
    try:
        made = float(FOLD[op](*values))
    except (ValueError, ZeroDivisionError, OverflowError):
        return None
    return made if math.isfinite(made) else None


def _behind(s: Steps, value: Value, row: int, column: int) -> tuple[float | None, bool]:
    """The one number of an operand behind each place, and whether it leaves each place to itself."""
    along = s.along(value)
    if along.timed:
        return along.future, True
    held = numbers(s.calc, s.form(value))
    if held is None:
        return None, False
    if held.size == 1:
        return float(held.reshape(())), True
    if held.ndim < -min(row, column) or held.shape[row] != held.shape[column]:
        return None, False
    table = np.moveaxis(held, (row, column), (-2, -1))
    n = table.shape[-1]
    later = table[..., np.triu(np.ones((n, n), bool), 1)]
    itself = table[..., np.arange(n), np.arange(n)]
    uniform = later.size > 0 and bool((later == later.flat[0]).all())
    return float(later.flat[0]) if uniform else None, bool((itself.astype(float) > HIDDEN).all() and _seen(itself))


def _seen(itself: np.ndarray) -> bool:
    return itself.dtype != np.bool_ or bool(itself.all())


# Along axes ------------------------------------------------------------------------------------------------------------

NEUTRAL: dict[Op, Callable[[float], bool]] = {
    Op.SUM: lambda v: v == 0,
    Op.PROD: lambda v: v == 1,
    Op.AMAX: lambda v: v <= HIDDEN,
    Op.AMIN: lambda v: v >= -HIDDEN,
    Op.LOGSUMEXP: lambda v: v <= HIDDEN,
}
MIXES = "it takes all places together"
FIRST = "take what one place needs before, or use causal attention or a running sum"


def reduce(s: Steps, node: Node) -> None:
    along, axis = first(s, node)
    rank = node.inputs[0].type.rank
    axes = {a % rank for a in (node["axes"] if node.get("axes") is not None else (node["axis"],))}
    if axis in axes:
        raise Stop(node, MIXES, FIRST)
    column = along.column
    if column in axes:
        fits = NEUTRAL.get(node.op)
        if along.future is None or fits is None or not fits(along.future):
            raise Stop(node, "it takes places together with those behind them", "mask what is behind a place before")
        column = None
    gone = [sum(a < d for a in axes) for d in (axis, column or 0)]
    s.emit(node, [axis], axis - gone[0], column=None if column is None else column - gone[1])


def along_axis(s: Steps, node: Node) -> None:
    along, axis = first(s, node)
    here = node["axis"] % node.out.type.rank
    if here == axis:
        raise Stop(node, MIXES, FIRST)
    if here != along.column:
        s.emit(node, [axis], axis, column=along.column, future=along.future if node.op is Op.FLIP else None)
    elif node.op is Op.SOFTMAX and along.future is not None and along.future <= HIDDEN:
        s.emit(node, [axis], axis, column=here, future=0.0)
    else:
        raise Stop(node, "it takes places together with those behind them", "mask what is behind a place before")


def lastnorm(s: Steps, node: Node) -> None:
    along, axis = first(s, node)
    if node.out.type.rank - 1 in (axis, along.column):
        raise Stop(node, "it normalises over places", "normalise over features, with the places on another axis")
    alone(s, node, axis)


def round_to(s: Steps, node: Node) -> None:
    along, axis = first(s, node)
    if {axis, along.column} & {a % node.out.type.rank for a in node["axes"]}:
        raise Stop(node, "its scales are of several places", "round along features, with the places on another axis")
    alone(s, node, axis)


def groupnorm(s: Steps, node: Node) -> None:
    _, axis = first(s, node)
    if axis >= node.out.type.rank - node["spatial"] - 1:
        raise Stop(node, "it normalises over all places", "use `layernorm` or `rmsnorm`, which take each place by itself")
    alone(s, node, axis)


def windows(s: Steps, node: Node) -> None:
    _, axis = first(s, node)
    if axis >= node.out.type.rank - node["spatial"]:
        raise Stop(node, "it changes the number of places", "keep one entry for each place")
    alone(s, node, axis)


def matrices(s: Steps, node: Node) -> None:
    _, axis = first(s, node)
    if axis >= node.out.type.rank - 2:
        raise Stop(node, MIXES, FIRST)
    alone(s, node, axis)


def linear(s: Steps, node: Node) -> None:
    along, axis = first(s, node)
    if node.out.type.rank - 1 in (axis, along.column):
        raise Stop(node, "its weights run over places", FIRST)
    alone(s, node, axis)


# Shapes ----------------------------------------------------------------------------------------------------------------


def reshape(s: Steps, node: Node) -> None:
    along, axis = first(s, node)
    before = node.inputs[0].type.shape
    where = kept(axis, before, node["shape"])
    column = None if along.column is None else kept(along.column, before, node["shape"])
    if where is None or (column is None and along.column is not None):
        raise Stop(node, "the places do not stay a dimension of their own", "keep their axis apart from the others")
    s.emit(node, [axis], where, column=column, future=along.future)


def transpose(s: Steps, node: Node) -> None:
    along, axis = first(s, node)
    perm = node["perm"]
    column = None if along.column is None else perm.index(along.column)
    s.emit(node, [axis], perm.index(axis), column=column, future=along.future)


def expand(s: Steps, node: Node) -> None:
    along, axis = first(s, node)
    s.emit(node, [axis], axis, column=along.column, future=along.future)


def spread(s: Steps, node: Node) -> None:
    x = node.inputs[0]
    s.give(node, s.along(x), lambda o: s.calc.op(Op.SPREAD, s.at(node, x, o), s.index))


def of_batch(s: Steps, node: Node) -> None:
    s.give(node, Along(), lambda o: s.calc.op(node.op, s.index))


# Indices ---------------------------------------------------------------------------------------------------------------


def take(s: Steps, node: Node) -> None:
    x, index = node.inputs
    a, b = s.along(x), s.along(index)
    axis, batch = node["axis"] % x.type.rank, node.get("batch", 0)
    if a.column is not None or b.column is not None or a.axis == axis:
        raise Stop(node, "it looks at places out of order", "read the place at hand; attention finds others")
    common = a.axis if a.axis is not None else b.axis
    if common is not None and common < batch:
        s.emit(node, [common, common], common)
    elif a.axis is None and b.axis is not None:
        s.emit(node, [None, b.axis], axis + b.axis - batch)
    elif a.axis is not None and b.axis is None:
        s.emit(node, [a.axis, None], a.axis if a.axis < axis else a.axis - 1 + index.type.rank - batch)
    else:
        raise Stop(node, "it pairs each place with each", "pick along another axis with `pick`")


def scatter_add(s: Steps, node: Node) -> None:
    axes = {a.axis for a in map(s.along, node.inputs) if a.timed}
    (axis, *others) = axes
    if others or axis is None or axis >= node.get("batch", 0):
        raise Stop(node, "it adds up entries of several places", "keep the places apart from what is added up")
    s.emit(node, [axis, axis], axis)


def refuse(reason: str, help: str) -> Rule:
    def rule(s: Steps, node: Node) -> None:
        raise Stop(node, reason, help)

    return rule


RULES: dict[Op, Rule] = {
    **{op: elementwise for op, row in OPS.items() if row.lift is Lift.ALIGN},
    **dict.fromkeys((Op.SUM, Op.MEAN, Op.PROD, Op.AMAX, Op.AMIN, Op.LOGSUMEXP, Op.ARGMAX), reduce),
    **dict.fromkeys((Op.SOFTMAX, Op.SORT, Op.FLIP), along_axis),
    Op.CUMSUM: reaching.cumsum,
    Op.RESHAPE: reshape,
    Op.TRANSPOSE: transpose,
    Op.EXPAND: expand,
    Op.SLICE: reaching.slice_,
    Op.CONCAT: reaching.concat,
    Op.PAD: reaching.pad,
    Op.TAKE: take,
    Op.SCATTER_ADD: scatter_add,
    Op.MATMUL: reaching.matmul,
    Op.CHOLESKY: matrices,
    Op.INV: matrices,
    Op.LINEAR: linear,
    Op.CONV: reaching.conv,
    Op.CONV_TRANSPOSE: refuse("it spreads a place over several", "use `conv` with all its padding before the sequence"),
    Op.AVG_POOL: windows,
    Op.RESIZE: windows,
    Op.LAYERNORM: lastnorm,
    Op.RMSNORM: lastnorm,
    Op.ROUND_TO: round_to,
    Op.GROUPNORM: groupnorm,
    Op.ATTENTION: reaching.attention,
    Op.GRAD: refuse("a gradient runs through all places", "take it outside of the network"),
    Op.FOR: control.recurrence,
    Op.WHILE: refuse("a loop of unknown length sees all places", "put it after the place is taken"),
    Op.IF: refuse("a branch sees all places", "choose by `if` on a number of each place"),
    Op.PARTS: refuse("parts of a batch see all places", "train in parts; sample in one"),
    Op.CALL: control.call,
    Op.REPEAT: control.repeat,
    Op.SPREAD: spread,
    Op.BATCH_SIZE: of_batch,
    Op.BATCH_INDEX: of_batch,
    **dict.fromkeys(
        (Op.BATCH_SUM, Op.BATCH_MEAN, Op.BATCH_TAKE, Op.BATCH_GATHER, Op.BATCH_SCATTER, Op.BATCH_COST),
        refuse("it mixes examples", "keep it out of what a sampler calls"),
    ),
    Op.EXTERN: refuse("what the host's function does with the places is not known", "write it in the language"),
}
SOURCES = {Op.CONST, Op.PARAM, Op.IOTA, Op.NORMAL, Op.UNIFORM}  # without operands along places
