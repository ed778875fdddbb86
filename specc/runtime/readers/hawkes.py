"""Event sequences of a multivariate Hawkes process with exponential kernels, by thinning (Ogata 1981)."""

import numpy as np


def draw(
    n: int,
    rng: np.random.Generator,
    size: int = 64,
    horizon: float = 20.0,
    base: tuple[float, ...] = (0.3, 0.2),
    branching: tuple[tuple[float, ...], ...] = ((0.15, 0.6), (0.675, 0.075)),
    decay: float = 2.0,
) -> dict[str, np.ndarray]:
    """x: (n, size) float32, times of the events, `end` where there is none; kind: (n, size) int64, 0 for none;
    mask: (n, size) int64, 1 for an event; end: (n,) float32, until when the sequence was watched.

    The intensity of kind k is base[k] + sum over past events (s, j) of branching[k][j] decay exp(-decay (t - s)). A sequence is
    watched until `horizon`, or until its event number `size`.
    """
    mu, parents = np.asarray(base, float), np.asarray(branching, float)
    if n < 0 or parents.shape != (len(mu), len(mu)) or len(mu) < 1:
        raise ValueError("hawkes needs at least one kind of events, and a branching number for each pair of kinds")
    if np.abs(np.linalg.eigvals(parents)).max() >= 1:
        raise ValueError("these events cause more than one event each: the sequence would never end")
    time, excited = np.zeros(n), np.zeros((n, len(mu)))
    x, kind = np.full((n, size), np.inf), np.zeros((n, size), np.int64)
    count = np.zeros(n, np.int64)
    going = np.arange(n)
    while len(going):
        bound = (mu + excited[going]).sum(axis=1)  # the intensity falls until the next event
        wait = rng.exponential(size=len(going)) / bound
        time[going] += wait
        excited[going] *= np.exp(-decay * wait)[:, None]
        rates = mu + excited[going]
        total = rates.sum(axis=1)
        here = (rng.uniform(size=len(going)) * bound < total) & (time[going] < horizon)
        rows = going[here]
        share = np.cumsum(rates[here], axis=1) / total[here, None]
        k = (rng.uniform(size=(len(rows), 1)) > share).sum(axis=1)
        x[rows, count[rows]], kind[rows, count[rows]] = time[rows], k
        count[rows] += 1
        excited[rows] += decay * parents[:, k].T
        going = going[(time[going] < horizon) & (count[going] < size)]
    mask = np.arange(size) < count[:, None]
    end = np.where(count == size, x[:, -1], horizon).astype(np.float32)
    return {
        "x": np.where(mask, x, end[:, None]).astype(np.float32),
        "kind": kind,
        "mask": mask.astype(np.int64),
        "end": end,
    }
