"""Timing two things side by side: interleaved rounds in one process, medians, and their ratio."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def side_by_side(a: Callable[[], object], b: Callable[[], object], *, rounds: int = 9, warm: int = 2) -> tuple[float, float]:
    """Median seconds of a and of b over interleaved rounds."""
    for _ in range(warm):
        a()
        b()
    seconds: tuple[list[float], list[float]] = ([], [])
    for i in range(rounds):
        for which, run in ((0, a), (1, b)) if i % 2 == 0 else ((1, b), (0, a)):
            start = time.perf_counter()
            run()
            seconds[which].append(time.perf_counter() - start)
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def show(what: str, ours: float, peer: float, bound: float | None, unit: str = "s") -> None:
    """One line: both figures, the ratio peer / ours, and the bound that it should reach, if there is one."""
    ratio = peer / ours
    verdict = "stated" if bound is None else f"bound {bound:4.2f}   {'ok' if ratio >= bound else 'BELOW'}"
    print(f"{what:44} ours {ours:9.4f} {unit}   peer {peer:9.4f} {unit}   ratio {ratio:6.3f}   {verdict}", flush=True)
