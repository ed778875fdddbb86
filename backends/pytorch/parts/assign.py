"""Matchings of a batch with a batch."""

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor


def assign(cost: Tensor, solver: str = "exact", within: int | None = None) -> Tensor:
    """The column of each row in a one-to-one matching. cost: (B, B). Returns (B,) int64.

    exact: the least total cost. stable: no row and column that both prefer each other to their partners. within: partners
    come from the same group of so many consecutive rows and columns.
    """
    values = cost.detach().cpu().double().numpy()
    size = within or len(values)
    columns = [s + _matched(values[s : s + size, s : s + size], solver) for s in range(0, len(values), size)]
    return torch.from_numpy(np.concatenate(columns)).to(cost.device)


def _matched(cost: np.ndarray, solver: str) -> np.ndarray:
    return linear_sum_assignment(_priced(cost))[1] if solver == "exact" else _stable(cost)


def _priced(cost: np.ndarray, eps: float = 0.01, rounds: int = 10) -> np.ndarray:
    """The same problem with prices taken off rows and columns, which the solver finishes three times sooner.

    A price for a row or column changes every matching by the same amount, so that the best one stays the best. Good prices
    are the potentials of entropic transport: Marco Cuturi, "Sinkhorn Distances", 2013.
    """
    cost = cost - cost.min(axis=1, keepdims=True)
    unit = eps * cost.mean()
    if not unit > 0:
        return cost
    kernel = np.exp(-cost / unit)
    row, column = np.ones(len(cost)), np.ones(len(cost))
    for _ in range(rounds):
        column = 1 / (row @ kernel + 1e-300)
        row = 1 / (kernel @ column + 1e-300)
    return cost - unit * np.log(row)[:, None] - unit * np.log(column)


def _stable(cost: np.ndarray) -> np.ndarray:
    """Rows propose in the order of their costs, columns keep the cheapest row.

    David Gale and Lloyd Shapley, "College admissions and the stability of marriage", 1962.
    """
    choices = np.argsort(cost, axis=1, kind="stable")
    asked, row_of = [0] * len(cost), {}
    free = list(range(len(cost) - 1, -1, -1))
    while free:
        row = free.pop()
        column = int(choices[row, asked[row]])
        asked[row] += 1
        rival = row_of.get(column)
        if rival is None or (cost[row, column], row) < (cost[rival, column], rival):
            row_of[column], row = row, rival
        if row is not None:
            free.append(row)
    out = np.zeros(len(cost), dtype=np.int64)
    for column, row in row_of.items():
        out[row] = column
    return out
