"""How a value lies in the places of a sequence, and why an op may not be followed place by place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field, replace

from specc.ir.program import Node, Value
from specc.record import record

HIDDEN = -1e6  # a score from here down is what a mask leaves: softmax gives it 0


class Stop(Exception):
    """An op that keeps a network from answering one place after another: the node, the reason, and the way out."""

    def __init__(self, node: Node, reason: str, help: str) -> None:
        super().__init__(f"{node.op.value}: {reason}")
        self.node, self.reason, self.help = node, reason, help


@record
class Along:
    """What is known of a value.

    axis: the dimension over which it has one entry for each place; None where it has no places. Entry p depends on what
    stands at the places up to p - lag of the input, and on nothing behind them. `late` is the op that made the lag as small
    as it is.
    column: for a table of pairs of places, such as attention's scores, the dimension of the second one. `future` is then the
    number in all entries whose second place lies behind the first, None where they may differ.
    drifts: it is another value in each round even where its place stays, so that nothing of earlier rounds may be kept.
    """

    axis: int | None = None
    lag: int = 0
    late: Node | None = field(default=None, compare=False)
    column: int | None = None
    future: float | None = None
    drifts: bool = False

    @property
    def timed(self) -> bool:
        return self.axis is not None

    def at(self, axis: int, column: int | None = None, future: float | None = None) -> Along:
        return replace(self, axis=axis, column=column, future=future)


@record
class Known:
    """A value of the original and its form for one place: of size 1 along its axis. `stop` says why there is none.

    sooner: computes it for a place that later rounds come to, from an offset, where that takes nothing that is kept.
    """

    along: Along
    value: Value | None = None
    stop: Stop | None = None
    sooner: Callable[[int], Value] | None = field(default=None, compare=False)


FIXED, ROUND = Along(), Along(drifts=True)


def joined(parts: list[Along]) -> Along:
    """What a value made of these depends on, without its dimensions."""
    timed = [p for p in parts if p.timed]
    least = min(timed, key=lambda p: p.lag, default=FIXED)
    return Along(lag=least.lag, late=least.late, drifts=any(p.drifts for p in parts))


def timely(node: Node, along: Along, lag: int) -> None:
    """Raises Stop where a value of a place knows of places that are not to be seen from it."""
    if along.timed and along.lag < min(lag, 0):
        raise Stop(along.late or node, "it looks at places behind the one that it stands for", "pad before the sequence alone")
    if along.timed and along.lag < lag:
        help = "shift the sequence, so that each place is answered from those before it"
        raise Stop(along.late or node, "what is read at a place knows of that place itself", help)
