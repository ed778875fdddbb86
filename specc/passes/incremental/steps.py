"""The machinery under the rules: builds, beside what is known of each value, the nodes that compute it for one place.

Round i reads the input at place i - ahead, where `ahead` rounds must have passed before an answer may know of it. A value
with a lag of l is computed at place i - max(ahead - l, 0): what is subtracted is its *offset*. What an op needs of earlier
places is kept from round to round in a *cache*, a value that a step takes and gives back. All begin as zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from specc.ir.calc import Calc
from specc.ir.ops import Op
from specc.ir.program import Builder, Node, Value
from specc.ir.types import EXAMPLE, GROWING, INT, Dim, Type
from specc.passes.incremental.fixed import one, rows
from specc.passes.incremental.places import FIXED, Along, Known, Stop, joined
from specc.record import record

NAMES = {(Op.ATTENTION, 1): "keys", (Op.ATTENTION, 2): "values", (Op.MATMUL, 1): "past"}  # of what an op looks back at


@dataclass(slots=True)
class Cache:
    """A value that is carried from round to round: what a step takes, and what it gives back."""

    before: Value
    after: Value


@record
class Step:
    """A function that answers one place: its own arguments, the number of the round where it `counts`, and its caches; it
    gives its results, lying as `along` says, and the caches again."""

    function: str
    along: tuple[Known, ...]
    caches: tuple[Value, ...]
    counts: bool


@record
class Frame:
    """ahead: how many rounds must have passed before an answer may know of a place. rounds: the places of the input.
    stacked: whether the caches of the turns of a `repeat` are one value, for a reader rather than for speed."""

    ahead: int
    rounds: int
    stacked: bool = False


Derive = Callable[[str, tuple[Known, ...]], Step]


class Steps:
    """Follows the nodes of one block. `made` has what is known of its values.

    index: the number of the round, one for each example. derive: gives the step of a function, for what is known of its
    arguments. makers: the nodes that give the original values.
    """

    def __init__(self, builder: Builder, frame: Frame, index: Value, derive: Derive, makers: Mapping[int, Node]) -> None:
        self.builder, self.index, self.derive, self.makers = builder, index, derive, makers
        self.ahead, self.rounds, self.stacked = frame.ahead, frame.rounds, frame.stacked
        self.calc = Calc(builder)
        self.made: dict[int, Known] = {}
        self.before: dict[tuple[int, int], Value] = {}  # a value so many rounds ago
        self.caches: list[Cache] = []

    # What is known

    def known(self, value: Value) -> Known:
        """What does not come from this block is the same in every round. Raises the reason where a value was not followed."""
        found = self.made.get(value.id, Known(FIXED, value))
        if found.stop is not None:
            raise found.stop
        return found

    def along(self, value: Value) -> Along:
        return self.known(value).along

    def form(self, value: Value) -> Value:
        """The value for one place, at its own offset."""
        found = self.known(value).value
        assert found is not None
        return found

    def offset(self, along: Along) -> int:
        return max(self.ahead - along.lag, 0)

    def place(self, offset: int) -> Value:
        """The place, in this round, of what has this offset."""
        return self.calc.sub(self.index, self.whole(offset)) if offset else self.index

    # Earlier places

    def at(self, node: Node, value: Value, offset: int) -> Value:
        """A value at another offset than its own: at a larger one, what was kept of earlier rounds. Where its place is none
        of the sequence, anything."""
        known, form = self.known(value), self.form(value)
        rounds = offset - self.offset(known.along)
        if known.along.axis is None or not rounds:
            return form
        if rounds < 0 and known.sooner is not None:
            return known.sooner(offset)
        if rounds < 0:
            keeps = self.makers.get(value.id, node)
            raise Stop(keeps, "it is asked for a place before the rounds come to it", "let the first place be one of the input")
        if known.along.column is not None:
            raise Stop(node, "it brings together pairs of places of different rounds", "shift the sequence before it is paired")
        self.still(node, known.along)
        if (value.id, rounds) not in self.before:
            kept = self.cache(form.type, "before")
            self.keep(kept, self.at(node, value, offset - 1))
            self.before[value.id, rounds] = kept.before
        return self.before[value.id, rounds]

    def window(self, node: Node, value: Value, offset: int, length: int, inside: Callable[[Value, int], Value]) -> Value:
        """So many places of a value up to that of an offset. inside: what stands for a place, which may be none, at an
        offset; before the first one zeros do."""
        along, form = self.along(value), inside(self.at(node, value, offset), offset)
        assert along.axis is not None
        if length == 1:
            return form
        self.still(node, along)
        if offset < 0:  # the first places are none that a round came to
            earlier = [inside(self.at(node, value, offset + k), offset + k) for k in range(length - 1, 0, -1)]
            return self.calc.op(Op.CONCAT, *earlier, form, axis=along.axis)
        kept = self.cache(resized(form.type, along.axis, length - 1), "window")
        window = self.calc.op(Op.CONCAT, kept.before, form, axis=along.axis)
        self.keep(kept, self.calc.op(Op.SLICE, window, axis=along.axis, start=1, stop=length, step=1))
        return window

    def history(self, node: Node, value: Value, name: str) -> Value:
        """All places of a value up to the one at hand, in order along its axis."""
        along, form = self.along(value), self.form(value)
        assert along.axis is not None
        if self.offset(along):
            raise Stop(
                node,
                "a place looks at itself here, and it is not drawn yet",
                "shift the sequence before this op, so that each place is answered from those before it",
            )
        self.still(node, along)
        kept = self.cache(resized(form.type, along.axis, GROWING), name)
        return self.keep(kept, self.calc.op(Op.CONCAT, kept.before, form, axis=along.axis))

    def places(self) -> Value:
        """The numbers of all places up to the one at hand."""
        kept = self.cache(INT.shaped((GROWING,)), "places")
        return self.keep(kept, self.calc.op(Op.CONCAT, kept.before, self.calc.op(Op.RESHAPE, self.index, shape=(1,)), axis=0))

    def still(self, node: Node, along: Along) -> None:
        if along.drifts:
            raise Stop(
                node,
                "it keeps values of earlier places, and they change from round to round",
                "let them depend on their place alone",
            )

    # Caches

    def cache(self, type: Type, name: str | None) -> Cache:
        kept = Value(self.builder.ids.fresh(), type.over(EXAMPLE), name)
        self.caches.append(Cache(kept, kept))
        return self.caches[-1]

    def keep(self, kept: Cache, after: Value) -> Value:
        after = after if EXAMPLE in after.type.axes else self.calc.op(Op.SPREAD, after, self.index)
        kept.after = self.builder.name(after, kept.before.name) if kept.before.name and after.name is None else after
        return kept.after

    # Nodes

    def whole(self, number: int) -> Value:
        return self.calc.op(Op.CONST, value=number, shape=(), dtype="int")

    def row(self, value: Value, axis: int, place: Value) -> Value:
        """The entry of a value without places that lies along them."""
        return rows(self.calc, value, axis, place)

    def emit(
        self,
        node: Node,
        aligned: Sequence[int | None],
        axis: int,
        *,
        columns: Sequence[int | None] | None = None,
        column: int | None = None,
        future: float | None = None,
        **attrs: Any,
    ) -> None:
        """The node for one place. aligned: for each operand the dimension that lies along the places, if any does; columns:
        the one along the places that a place is paired with. axis, column, future: those of the result."""
        attrs = dict(node.attrs) | attrs
        if "shape" in attrs:
            attrs["shape"] = one(attrs["shape"], axis)
            if column is not None:
                attrs["shape"] = (*attrs["shape"][:column], GROWING, *attrs["shape"][column + 1 :])

        columns = columns or [None] * len(aligned)

        def made(offset: int) -> Value:
            lies = zip(node.inputs, aligned, columns, strict=True)
            return self.calc.op(node.op, *(self.operand(node, *x, offset) for x in lies), **attrs)

        state = joined([self.along(v) for v in node.inputs])
        self.give(node, state.at(axis, column, future), made, free=column is None and columns == [None] * len(aligned))

    def operand(self, node: Node, value: Value, where: int | None, second: int | None, offset: int) -> Value:
        along = self.along(value)
        if along.timed and second == along.axis:
            return self.history(node, value, NAMES.get((node.op, node.inputs.index(value)), "past"))
        made = self.at(node, value, offset)
        if where is not None and not along.timed:
            made = self.row(made, where, self.place(offset))
        if second is not None and along.column is None and made.type.shape[second] != 1:
            made = self.calc.op(Op.TAKE, made, self.places(), axis=second)
        return made

    def give(self, node: Node, along: Along, made: Callable[[int], Value], free: bool = True) -> None:
        """What is known of a node's result. made: computes it at an offset; free: for any, since it keeps nothing."""
        value = made(self.offset(along))
        if node.out.name and value.name is None:
            value = self.builder.name(value, node.out.name)
        self.made[node.out.id] = Known(along, value, sooner=made if free else None)

    def moved(self, node: Node, along: Along, by: int) -> Along:
        """What is known of w with w[p] = v[p - by], from what is known of v."""
        return replace(along, lag=along.lag + by, late=along.late if by >= 0 else node)


def resized(type: Type, axis: int, size: Dim) -> Type:
    return type.shaped((*type.shape[:axis], size, *type.shape[axis + 1 :]))
