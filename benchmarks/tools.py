"""Timing two things side by side: interleaved rounds in one process, and the median of the ratios of the rounds.

What disturbs a machine for a while disturbs both halves of a round, and a round that it disturbs in the middle is one of many.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

from specc.record import record


@record
class Pair:
    """Median seconds of two things, and how many times longer the second takes: the median over rounds."""

    ours: float
    peer: float
    ratio: float


def paired(ours: Sequence[float], peer: Sequence[float]) -> Pair:
    """Of the seconds of each round."""
    return Pair(
        statistics.median(ours), statistics.median(peer), statistics.median(b / a for a, b in zip(ours, peer, strict=True))
    )


def side_by_side(a: Callable[[], object], b: Callable[[], object], *, rounds: int = 9, warm: int = 2) -> Pair:
    """a and b in turn, the one that begins alternating."""
    for _ in range(warm):
        a()
        b()
    seconds: tuple[list[float], list[float]] = ([], [])
    for i in range(rounds):
        for which, run in ((0, a), (1, b)) if i % 2 == 0 else ((1, b), (0, a)):
            start = time.perf_counter()
            run()
            seconds[which].append(time.perf_counter() - start)
    return paired(*seconds)


def show(what: str, pair: Pair, bound: float | None, steps: int = 1) -> None:
    """One line: the seconds of both, for each of the steps of a round, the ratio peer / ours, and the bound that it should
    reach, if there is one."""
    unit = "s" if steps == 1 else "s/step"
    verdict = "stated" if bound is None else f"bound {bound:4.2f}   {'ok' if pair.ratio >= bound else 'BELOW'}"
    ours, peer = f"ours {pair.ours / steps:9.4f} {unit}", f"peer {pair.peer / steps:9.4f} {unit}"
    print(f"{what:44} {ours}   {peer}   ratio {pair.ratio:6.3f}   {verdict}", flush=True)
