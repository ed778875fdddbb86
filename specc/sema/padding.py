"""Padding along one axis, composed of slices: with zeros, mirrored, around in a circle, or with the ends repeated."""

from __future__ import annotations

from typing import Any

from specc.ir.ops import Op
from specc.ir.program import Value
from specc.sema.arithmetic import add, describe
from specc.sema.frame import Frame
from specc.sema.report import choices, did_you_mean, fail
from specc.sema.values import word_of
from specc.source import Span

MODES = ("zeros", "reflect", "circular", "edge")


def padded(v: Value, axis: int, before: int, after: int, mode: Any, frame: Frame, span: Span) -> Value:
    """v with `before` and `after` more elements at the ends of an axis."""
    word, n = word_of(mode), v.type.shape[axis]
    if word not in MODES or not isinstance(n, int):
        help = did_you_mean(word or "", MODES) or f"ways to pad are {choices(MODES)}"
        fail("E0203", span, f"there is no way to pad called {word or describe(mode)}", help=help)
    if word == "zeros":
        pads = tuple((before, after) if i == axis else (0, 0) for i in range(v.type.rank))
        return add(frame, span, Op.PAD, v, pads=pads, value=0.0) if before or after else v
    if max(before, after) > {"reflect": n - 1, "circular": n}.get(word, before + after):
        fail("E0301", span, f"{n} elements are too few to pad with {max(before, after)} by `{word}`")

    def part(start: int, stop: int) -> Value:
        return add(frame, span, Op.SLICE, v, axis=axis, start=start, stop=stop, step=1)

    def turned(start: int, stop: int) -> Value:
        return add(frame, span, Op.FLIP, part(start, stop), axis=axis)

    def repeated(place: int, count: int) -> Value:
        shape = (*v.type.shape[:axis], count, *v.type.shape[axis + 1 :])
        return add(frame, span, Op.EXPAND, part(place, place + 1), shape=shape)

    ends = {
        "reflect": lambda: (turned(1, before + 1), turned(n - 1 - after, n - 1)),
        "circular": lambda: (part(n - before, n), part(0, after)),
        "edge": lambda: (repeated(0, max(before, 1)), repeated(n - 1, max(after, 1))),
    }
    left, right = ends[word]()
    parts = [*([left] if before else []), v, *([right] if after else [])]
    return add(frame, span, Op.CONCAT, *parts, axis=axis) if len(parts) > 1 else v
