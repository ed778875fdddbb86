"""Sequences of a Markov chain whose transition rows were drawn once: their law is known exactly."""

import numpy as np


def draw(
    n: int, rng: np.random.Generator, length: int = 16, vocab: int = 4, concentration: float = 0.5, chain: int = 0
) -> dict[str, np.ndarray]:
    """x: (n, length) int64 below `vocab`, begun at the chain's stationary law.

    concentration: of the symmetric Dirichlet law of the rows; small numbers make some transitions rare. chain: which rows.
    """
    start, rows = law(vocab, concentration, chain)
    x = np.empty((n, length), dtype=np.int64)
    x[:, 0] = (rng.random((n, 1)) > start.cumsum()[:-1]).sum(axis=1)
    for i in range(1, length):
        x[:, i] = (rng.random((n, 1)) > rows[x[:, i - 1]].cumsum(axis=1)[:, :-1]).sum(axis=1)
    return {"x": x}


def law(vocab: int, concentration: float, chain: int) -> tuple[np.ndarray, np.ndarray]:
    """The stationary law (vocab) and the transition rows (vocab, vocab)."""
    rows = np.random.default_rng((chain, vocab)).dirichlet(np.full(vocab, concentration), size=vocab)
    rows = 0.99 * rows + 0.01 / vocab
    values, vectors = np.linalg.eig(rows.T)
    start = np.abs(np.real(vectors[:, np.argmin(np.abs(values - 1))]))
    return start / start.sum(), rows
