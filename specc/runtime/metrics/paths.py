"""How straight the paths of a sampler are.

A trajectory is an array (T, B, ...) of the states of B samples at T times; times: (T,) strictly rising or falling, evenly
spaced when left out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def straightness(trajectory: ArrayLike, times: ArrayLike | None = None) -> float:
    """The mean over time and samples of |chord velocity - velocity|^2, in squares of data per unit of time.

    0 exactly when every path is straight and run at constant speed, so that one Euler step is exact.
    Source: Xingchao Liu, Chengyue Gong and Qiang Liu, "Flow Straight and Fast: Learning to Generate and Transfer Data with
    Rectified Flow", 2023.
    """
    states, steps = _steps(trajectory, times)
    velocity = np.diff(states, axis=0) / steps[:, None, None]
    return straightness_of_velocities(velocity, steps)


def straightness_of_velocities(velocities: ArrayLike, durations: ArrayLike | None = None) -> float:
    """`straightness` from the velocities (S, B, ...) that a sampler used in its S steps, each of a duration (S,)."""
    velocity = np.asarray(velocities, dtype=np.float64)
    if velocity.ndim < 2 or velocity.size == 0:
        raise ValueError(f"velocities must be (steps, samples, ...), not {velocity.shape}")
    velocity = velocity.reshape(*velocity.shape[:2], -1)
    weight = np.ones(len(velocity)) if durations is None else np.asarray(durations, dtype=np.float64)
    if weight.shape != (len(velocity),):
        raise ValueError(f"{len(velocity)} steps need as many durations, not {weight.shape}")
    weight = weight / weight.sum()
    chord = np.tensordot(weight, velocity, axes=1)  # (B, D)
    return float(weight @ ((velocity - chord) ** 2).sum(axis=-1).mean(axis=1))


def path_length_ratio(trajectory: ArrayLike) -> float:
    """Length of the paths over the distance of their ends, both summed over the samples; 1 for straight paths, else more."""
    states, _ = _steps(trajectory, None)
    length = np.linalg.norm(np.diff(states, axis=0), axis=-1).sum()
    chord = np.linalg.norm(states[-1] - states[0], axis=-1).sum()
    if chord == 0:
        raise ValueError("no path moves from its start to its end")
    return float(length / chord)


def _steps(trajectory: ArrayLike, times: ArrayLike | None) -> tuple[Array, Array]:
    """States (T, B, D) and durations (T - 1,)."""
    states = np.asarray(trajectory, dtype=np.float64)
    if states.ndim < 2 or len(states) < 2 or states.size == 0:
        raise ValueError(f"a trajectory must be (times, samples, ...) with two times or more, not {states.shape}")
    if not np.isfinite(states).all():
        raise ValueError(f"state {np.argwhere(~np.isfinite(states))[0][0]} of the trajectory is not finite")
    clock = np.linspace(0, 1, len(states)) if times is None else np.asarray(times, dtype=np.float64)
    steps = np.diff(clock)
    if clock.shape != (len(states),) or not ((steps > 0).all() or (steps < 0).all()):
        raise ValueError(f"{len(states)} states need as many strictly rising or falling times")
    return states.reshape(len(states), states.shape[1], -1), steps
