"""Small matrices: made of numbers or of run-time values, factored, inverted, and asked about while compiling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from specc.ir.ops import Op
from specc.ir.program import Value
from specc.sema import spaces
from specc.sema.arithmetic import add, describe, lift, rectangle
from specc.sema.evaluate import Evaluator
from specc.sema.frame import Frame
from specc.sema.report import fail
from specc.source import Span

Args = list[Any]
Knobs = dict[str, Any]


def matrix(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Any:
    """matrix([[a, b], [c, d]]): of numbers, or of scalars of run time; matrix(n, m) is the type."""
    if len(args) != 1 or kwargs or not isinstance(args[0], (list, tuple)):
        return spaces.space("matrix", args, span)
    rows = args[0]
    widths = {len(row) if isinstance(row, (list, tuple)) else 0 for row in rows}
    if len(widths) != 1 or widths == {0}:
        fail("E0301", span, "the rows of a matrix are lists of one length", help="as in `matrix([[1, 0], [0, 1]])`")
    if rectangle(rows) is not None:
        return lift(rows, frame, span)
    return _stacked([_stacked(row, frame, span) for row in rows], frame, span)


def stack(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Value:
    """stack([a, b]): values of one shape as one, with a new first axis."""
    values = args[0] if len(args) == 1 and isinstance(args[0], (list, tuple)) else args
    if kwargs or not values:
        fail("E0206", span, "`stack` takes values of one shape", help="as in `stack([x, v])`")
    return _stacked(values, frame, span)


def _stacked(values: Sequence[Any], frame: Frame, span: Span) -> Value:
    made = [lift(float(v) if isinstance(v, int) else v, frame, span) for v in values]
    return add(frame, span, Op.CONCAT, *(add(frame, span, Op.RESHAPE, v, shape=(1, *v.type.shape)) for v in made), axis=0)


def identity(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Value:
    """identity(n)"""
    (n,) = args if len(args) == 1 and not kwargs else (None,)
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= 1024:
        fail("E0601", span, "`identity(n)` takes the number of rows, known while compiling")
    return lift([[float(i == j) for j in range(n)] for i in range(n)], frame, span)


def _square(name: str, op: Op) -> Any:
    def apply(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Value:
        if len(args) != 1 or kwargs:
            fail("E0206", span, f"`{name}` takes one matrix")
        return add(frame, span, op, lift(args[0], frame, span))

    return apply


def semidefinite(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> bool:
    """semidefinite(a): whether a matrix known while compiling is symmetric, with no negative eigenvalue."""
    array = ev.constant(lift(args[0], frame, span), frame) if len(args) == 1 else None
    if array is None or array.ndim != 2 or array.shape[0] != array.shape[1]:
        fail("E0305", span, f"a square matrix known while compiling is needed, not {describe(args[0] if args else None)}")
    slack = 1e-12 * float(np.abs(array).max())
    return bool(np.abs(array - array.T).max() <= slack and np.linalg.eigvalsh(array).min() >= -slack)


def symmetric_root(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Value:
    """symmetric_root(a): the semidefinite r with r r = a, of a semidefinite matrix known while compiling."""
    if not semidefinite(ev, frame, span, args, kwargs):
        fail("E0601", span, "a symmetric matrix with no negative eigenvalue is needed here")
    array = ev.constant(lift(args[0], frame, span), frame)
    assert array is not None
    sizes, axes = np.linalg.eigh(array)
    return lift(((axes * np.sqrt(np.maximum(sizes, 0))) @ axes.T).tolist(), frame, span)


MATRICES: dict[str, Any] = {
    "matrix": matrix,
    "stack": stack,
    "identity": identity,
    "cholesky": _square("cholesky", Op.CHOLESKY),
    "inv": _square("inv", Op.INV),
    "semidefinite": semidefinite,
    "symmetric_root": symmetric_root,
}
