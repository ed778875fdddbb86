"""The path of samples through the states of a sampler's loop, by the reference interpreter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from specc.ir.program import Program
from specc.passes import PYTORCH
from specc.passes import run as passed
from specc.reference import interpret
from specc.reference.machine import Step


def trajectory(
    program: Program, entry: str, feeds: Mapping[str, Any], weights: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray | None]:
    """States (T, B, *shape), the first before the first round, and their times (T,), None where the loop does not name them.

    program: at example level. The state is the first value of the data's shape that the outermost loop carries; its times are
    `t` and `s` of the rounds. Raises ValueError for a sampler without such a loop, or with one whose rounds depend on the data.
    """
    rounds: list[Step] = []
    array = passed(program, PYTORCH)
    interpret.run(array, entry, feeds, weights, dtype="float32", trace=rounds)
    outer = [r for r in rounds if r.depth == 0]
    shape = tuple(program.data[0].space.shape)
    at = next((i for r in outer for i, v in enumerate(r.before) if v.shape[1:] == shape), None)
    if at is None:
        raise ValueError(f"the sampler {entry} has no loop of fixed length that carries a sample")
    outer = [r for r in outer if at < len(r.before) and r.before[at].shape[1:] == shape]
    return np.stack([outer[0].before[at], *(r.after[at] for r in outer)]), _times(outer)


def _times(rounds: list[Step]) -> np.ndarray | None:
    """Where each round starts, and where the last one ends; None unless time runs one way."""
    if not all({"t", "s"} <= r.named.keys() for r in rounds):
        return None
    times = np.array([rounds[0].named["t"], *(r.named["s"] for r in rounds)])
    steps = np.diff(times)
    return times if (steps > 0).all() or (steps < 0).all() else None
