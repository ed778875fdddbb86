"""`counted`: loops that stop by themselves become loops of known length, and stop where they did."""

from __future__ import annotations

import pytest
from programs import const, ops, per, same, single

from specc.ir.ops import Op
from specc.ir.types import FLOAT
from specc.passes.batch import batch
from specc.passes.counted import counted

V = FLOAT.shaped((4,))


def growing(limit, inner=None):
    """v doubles while its sum is below 100; inner: the limit of a loop of the same sort inside."""

    def loop(b, x, limit, inner):
        test, step = b.child(), b.child()
        going = test.block(test.add(Op.LT, test.add(Op.SUM, test.param(per(V)), axes=(0,)), const(test, 100.0)))
        v = step.param(per(V))
        v = loop(step, v, inner, None) if inner else v
        block = step.block(step.add(Op.MUL, step.add(Op.ABS, v), const(step, 2.0)))
        return b.add(Op.WHILE, x, regions=(going, block), **({} if limit is None else {"limit": limit}))

    return batch(single({"x": per(V)}, lambda b, x: loop(b, x, limit, inner)))


@pytest.mark.parametrize(("limit", "inner"), [(2, None), (60, None), (1, 2), (3, 60)], ids=str)
def test_it_stops_at_the_test_or_at_the_limit(limit, inner):
    before = growing(limit, inner)
    after = counted(before)
    same(before, after)
    assert Op.WHILE not in ops(after) and ops(after).count(Op.FOR) == 2 * ops(before).count(Op.WHILE)


def test_a_loop_without_a_limit_stays():
    before = growing(None)
    assert ops(counted(before)) == ops(before)
