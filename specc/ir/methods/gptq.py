"""Rounding a weight so that the layer's answers change least.

The error of the answers of W (n, k) to the inputs X (k, inputs) is tr((W - Q) H (W - Q)') with H = X X'. Columns are rounded
one after another, and what is lost of one is made up for by those still to come: with U the upper Cholesky factor of the
inverse of H, err = (w_q - round(w_q)) / U_qq, and err U_qj is taken from each later column j. Updates of far columns wait for
a whole run of columns, so that they are one matrix product.

Frantar, Ashkboos, Hoefler, Alistarh 2022, GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers.
Columns that stay as they are, last: Ashkboos et al. 2023, Towards End-to-end 4-Bit Inference on Generative Large Language
Models.
"""

from __future__ import annotations

import numpy as np

from specc.ir.methods.grid import NONE, Grid, Rounded, Rounding


def gptq(
    weight: np.ndarray,
    second: np.ndarray,
    grid: Grid,
    *,
    damp: float = 0.01,
    act_order: bool = False,
    kept: np.ndarray = NONE,
    run: int = 128,
) -> Rounded:
    """Round a weight (n, k) whose inputs have the second moments `second` (k, k), on any scale.

    damp: what is added to the diagonal, as a share of its mean. act_order: the largest inputs first. kept: columns that
    are not rounded. run: how many columns are rounded before far ones are updated, which changes nothing but the time.
    """
    order = _order(np.diag(second), act_order, kept)
    w = np.array(weight[:, order], np.float64)
    dead = np.diag(second)[order] == 0
    w[:, dead] = 0  # nothing comes in here
    u = _factor(second[np.ix_(order, order)], dead, damp)
    back = np.argsort(order)
    made = Rounding((len(w), len(order)), grid, kept)
    start, k = 0, len(order)
    while start < k:
        if made.begins(order[start]):
            made.fit(w[:, back], order[start])
        stop = next((q for q in range(start + 1, min(start + run, k)) if made.begins(order[q])), min(start + run, k))
        lost = np.zeros((len(w), stop - start))
        for q in range(start, stop):
            value = made.column(w[:, q], order[q]) if made.whole[order[q]] else w[:, q]
            err = lost[:, q - start] = (w[:, q] - value) / u[q, q]
            w[:, q + 1 : stop] -= np.outer(err, u[q, q + 1 : stop])
        w[:, stop:] -= lost @ u[start:stop, stop:]
        start = stop
    return made.done(w[:, back])


def _order(activity: np.ndarray, act_order: bool, kept: np.ndarray) -> np.ndarray:
    """As columns stand, or the most active first; those that stay come last, where they take up every error."""
    order = np.argsort(-activity, kind="stable") if act_order else np.arange(len(activity))
    last = np.isin(order, kept)
    return np.concatenate([order[~last], order[last]])


def _factor(second: np.ndarray, dead: np.ndarray, damp: float) -> np.ndarray:
    """U, upper triangular, with U'U the inverse of the damped moments."""
    h = np.array(second, np.float64)
    h[dead, dead] = 1
    h += damp * np.mean(np.diag(h)) * np.eye(len(h))
    half = np.linalg.inv(np.linalg.cholesky(h))
    return np.linalg.cholesky(half.T @ half).T
