"""Matrices (..., n, n), factored and inverted in ops that every backend has: small ones by formulas over their entries, larger
ones by a loop over their columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from specc.ir.calc import Calc
from specc.ir.ops import Op
from specc.ir.program import Node, Value
from specc.ir.types import INT, size

MOST_ROWS = 6  # of a matrix whose entries are written out

Rows = list[list[Value]]
Round = Callable[[Calc, Value, tuple[Value, ...]], tuple[Value, ...]]  # from the number of a round and what the loop carries


def cholesky(c: Calc, n: Node) -> Value:
    """The lower triangular l with l l' = a, from the lower triangle of a."""
    if _rows(n.inputs[0]) > MOST_ROWS:
        return _cholesky_by_columns(c, n.inputs[0])
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
    if _rows(n.inputs[0]) > MOST_ROWS:
        return _inverse_by_columns(c, n.inputs[0])
    a = _entries(c, n.inputs[0])
    count = range(len(a))
    if len(a) == 1:
        return _matrix(c, [[c.div(c.number(1), a[0][0])]])
    cofactors = [[_cofactor(c, a, i, j) for j in count] for i in count]
    total = _dot(c, a[0], cofactors[0])
    return _matrix(c, [[c.div(cofactors[j][i], total) for j in count] for i in count])


def _cholesky_by_columns(c: Calc, x: Value) -> Value:
    """Each round divides a column of what is left by the root of its pivot, and takes the product with itself away."""
    n = _rows(x)

    def step(d: Calc, j: Value, carried: tuple[Value, ...]) -> tuple[Value, ...]:
        left, found = carried
        e = _unit(d, j, n)
        column = d.op(Op.MATMUL, left, e)
        below = d.op(Op.CAST, d.op(Op.LE, j, _numbers(d, n)), dtype="float")
        column = d.div(d.mul(below, column), d.op(Op.SQRT, _turned(d, e, column)))
        outer = d.op(Op.MATMUL, column, d.swap(column))
        return d.sub(left, outer), d.add(found, d.op(Op.MATMUL, column, d.swap(e)))

    lower = c.op(Op.CONST, value=tuple(float(j <= i) for i in range(n) for j in range(n)), shape=(n, n))
    left = c.mul(x, lower)  # the upper triangle is not looked at
    diagonal = c.mul(x, _identity(c, n))
    whole = c.sub(c.add(left, c.swap(left)), diagonal)
    return _by_columns(c, n, (whole, c.full(c.number(0), x)), step)[1]


def _inverse_by_columns(c: Calc, x: Value) -> Value:
    """Gauss and Jordan, who exchange rows for the largest pivot, on the matrix and the identity beside it."""
    n, last = _rows(x), x.type.rank - 1

    def step(d: Calc, j: Value, carried: tuple[Value, ...]) -> tuple[Value, ...]:
        (both,) = carried
        e = _unit(d, j, n)
        column = d.op(Op.MATMUL, d.slice(both, last, 0, n), e)
        sizes = d.op(Op.WHERE, d.op(Op.LE, j, _numbers(d, n)), d.op(Op.ABS, column), d.number(-1))
        largest = d.op(Op.ARGMAX, d.reshape(sizes, sizes.type.shape[:-1]), axis=-1)
        at = d.reshape(largest, (*largest.type.shape, 1, 1))
        apart = d.sub(e, d.op(Op.CAST, d.op(Op.EQ, at, _numbers(d, n)), dtype="float"))
        both = d.sub(both, d.op(Op.MATMUL, apart, _turned(d, apart, both)))
        column, row = d.op(Op.MATMUL, d.slice(both, last, 0, n), e), _turned(d, e, both)
        row = d.div(row, _turned(d, e, column))
        return (d.sub(both, d.op(Op.MATMUL, d.sub(column, e), row)),)

    both = c.op(Op.CONCAT, x, c.full(_identity(c, n), x), axis=last)
    return c.slice(_by_columns(c, n, (both,), step)[0], last, n, 2 * n)


def _by_columns(c: Calc, n: int, start: tuple[Value, ...], step: Round) -> tuple[Value, ...]:
    inside = c.b.child()
    index, *carried = (inside.param(t) for t in (INT, *(v.type for v in start)))
    body = inside.block(*step(Calc(inside), index, tuple(carried)))
    count = c.op(Op.CONST, value=n, shape=(), dtype="int")
    return c.b.add_many(Op.FOR, count, *start, regions=(body,))


def _rows(x: Value) -> int:
    return size(x.type.shape[-1:])


def _numbers(c: Calc, n: int) -> Value:
    """0, 1, ... as a column."""
    return c.op(Op.CONST, value=tuple(range(n)), shape=(n, 1), dtype="int")


def _unit(c: Calc, j: Value, n: int) -> Value:
    """The column with a 1 in place j."""
    return c.op(Op.CAST, c.op(Op.EQ, j, _numbers(c, n)), dtype="float")


def _identity(c: Calc, n: int) -> Value:
    return c.op(Op.CONST, value=tuple(float(i == j) for i in range(n) for j in range(n)), shape=(n, n))


def _turned(c: Calc, x: Value, y: Value) -> Value:
    """x' y."""
    return c.op(Op.MATMUL, c.swap(x), y)


def _entries(c: Calc, x: Value) -> Rows:
    """Every entry as (..., 1, 1)."""
    rank, rows = x.type.rank, _rows(x)
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
