"""Small matrices, factored and inverted by formulas over their entries: (..., n, n) in ops that every backend has."""

from __future__ import annotations

from collections.abc import Sequence

from specc.ir.calc import Calc
from specc.ir.ops import Op
from specc.ir.program import Node, Value
from specc.ir.types import size

MOST_ROWS = 6  # of a matrix whose entries are written out

Rows = list[list[Value]]


def cholesky(c: Calc, n: Node) -> Value:
    """The lower triangular l with l l' = a, from the lower triangle of a."""
    a = _entries(c, n.inputs[0])
    zero = c.op(Op.MUL, a[0][0], c.number(0))
    rows: Rows = [[zero] * len(a) for _ in a]
    for j in range(len(a)):
        rows[j][j] = c.op(Op.SQRT, _less(c, a[j][j], [(v, v) for v in rows[j][:j]]))
        for i in range(j + 1, len(a)):
            rows[i][j] = c.div(_less(c, a[i][j], list(zip(rows[i][:j], rows[j][:j], strict=True))), rows[j][j])
    return _matrix(c, rows)


def inverse(c: Calc, n: Node) -> Value:
    """By cofactors."""
    a = _entries(c, n.inputs[0])
    count = range(len(a))
    if len(a) == 1:
        return _matrix(c, [[c.div(c.number(1), a[0][0])]])
    cofactors = [[_cofactor(c, a, i, j) for j in count] for i in count]
    total = _dot(c, a[0], cofactors[0])
    return _matrix(c, [[c.div(cofactors[j][i], total) for j in count] for i in count])


def _entries(c: Calc, x: Value) -> Rows:
    """Every entry as (..., 1, 1)."""
    rank, rows = x.type.rank, size(x.type.shape[-1:])
    if rows > MOST_ROWS:
        raise ValueError(f"a matrix of {rows} rows is not written out by its entries: at most {MOST_ROWS}")
    lines = [c.slice(x, rank - 2, i, i + 1) for i in range(rows)]
    return [[c.slice(line, rank - 1, j, j + 1) for j in range(rows)] for line in lines]


def _matrix(c: Calc, rows: Rows) -> Value:
    rank = rows[0][0].type.rank
    lines = [c.op(Op.CONCAT, *row, axis=rank - 1) for row in rows]
    return c.op(Op.CONCAT, *lines, axis=rank - 2)


def _less(c: Calc, start: Value, products: Sequence[tuple[Value, Value]]) -> Value:
    for x, y in products:
        start = c.sub(start, c.mul(x, y))
    return start


def _dot(c: Calc, xs: Sequence[Value], ys: Sequence[Value]) -> Value:
    products = [c.mul(x, y) for x, y in zip(xs, ys, strict=True)]
    total = products[0]
    for product in products[1:]:
        total = c.add(total, product)
    return total


def _cofactor(c: Calc, a: Rows, i: int, j: int) -> Value:
    minor = _determinant(c, [[v for k, v in enumerate(row) if k != j] for r, row in enumerate(a) if r != i])
    return minor if (i + j) % 2 == 0 else c.neg(minor)


def _determinant(c: Calc, a: Rows) -> Value:
    return a[0][0] if len(a) == 1 else _dot(c, a[0], [_cofactor(c, a, 0, j) for j in range(len(a))])
