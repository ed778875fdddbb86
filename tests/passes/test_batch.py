"""The pass `batch`: the array level means what the example level means."""

from __future__ import annotations

import pytest
from programs import const, function, mlp, ops, per, program, same, single

from specc.ir.ops import Op
from specc.ir.program import Ids
from specc.ir.types import BOOL, FLOAT, INT
from specc.ir.verify import IRError, verify
from specc.passes.batch import batch

S, V, M, IMAGE = FLOAT, FLOAT.shaped((4,)), FLOAT.shaped((3, 4)), FLOAT.shaped((2, 4, 4))


def lifted(types, body):
    p = single(types, body)
    q = batch(p)
    same(p, q)
    return q


def test_elementwise_gets_ones_after_the_batch():
    def body(b, x, t, c, m):
        y = b.add(Op.ADD, b.add(Op.MUL, x, t), c)
        return b.add(Op.WHERE, b.add(Op.LT, t, m), y, b.add(Op.MIN, x, t, name="low"))

    q = lifted({"x": per(IMAGE), "t": per(S), "c": IMAGE, "m": S}, body)
    assert ops(q).count(Op.RESHAPE) == 2  # t, and t < m
    assert any(v.name == "low" for n in q.functions["main"].block.nodes for v in n.outputs)


def test_differing_ranks_of_one_example():
    lifted({"x": per(V), "y": per(M), "z": M}, lambda b, x, y, z: (b.add(Op.ADD, x, y), b.add(Op.MUL, x, z)))


def test_reductions_and_shapes():
    def body(b, x, m):
        y = b.add(Op.TRANSPOSE, x, perm=(2, 0, 1))
        y = b.add(Op.PAD, y, pads=((1, 0), (0, 0), (2, 1)), value=1.0)
        y = b.add(Op.SLICE, y, axis=2, start=1, stop=6, step=2)
        s = b.add(Op.SOFTMAX, b.add(Op.RESHAPE, x, shape=(4, 8)), axis=1)
        e = b.add(Op.EXPAND, b.add(Op.RESHAPE, m, shape=(3, 1, 4)), shape=(3, 2, 4))
        return (
            b.add(Op.SUM, x, axes=(0, 2)),
            b.add(Op.MEAN, y, axes=(0, 1, 2)),
            b.add(Op.ARGMAX, s, axis=-1),
            b.add(Op.LOGSUMEXP, m, axes=(1,)),
            b.add(Op.CUMSUM, b.add(Op.FLIP, e, axis=1), axis=0),
        )

    lifted({"x": per(IMAGE), "m": M}, body)


def test_concat_spreads_what_is_shared():
    q = lifted({"x": per(M), "c": M}, lambda b, x, c: b.add(Op.CONCAT, x, c, axis=0))
    assert Op.SPREAD in ops(q)


@pytest.mark.parametrize("x", [FLOAT.shaped((5, 6)), per(FLOAT.shaped((5, 6)))])
@pytest.mark.parametrize("index", [INT, per(INT), INT.shaped((2,)), per(INT.shaped((2,)))])
@pytest.mark.parametrize("axis", [0, 1])
def test_take(x, index, axis):
    lifted({"x": x, "i": index}, lambda b, x, i: b.add(Op.TAKE, x, i, axis=axis))


@pytest.mark.parametrize("varies", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("axis", [0, 1])
def test_scatter_add(varies, axis):
    shape = (2, 4) if axis == 0 else (4, 2)
    x, i = (per(t) if v else t for t, v in zip((FLOAT.shaped(shape), INT.shaped((2,))), varies, strict=True))
    lifted({"x": x, "i": i}, lambda b, x, i: b.add(Op.SCATTER_ADD, x, i, axis=axis, n=3))


def test_matmul_of_differing_ranks():
    a, c = per(FLOAT.shaped((3, 4))), FLOAT.shaped((2, 4, 5))
    lifted({"a": a, "c": c, "d": per(c)}, lambda b, a, c, d: (b.add(Op.MATMUL, a, c), b.add(Op.MATMUL, a, d)))


def test_attention_and_layers():
    def body(b, q, k, x):
        weight = b.add(Op.CONST, value=tuple(i / 20 for i in range(72)), shape=(4, 2, 3, 3), dtype="float")
        y = b.add(Op.CONV, x, weight, stride=1, padding=1, dilation=1, groups=1)
        y = b.add(Op.GROUPNORM, y, groups=2, eps=1e-5, spatial=2)
        y = b.add(Op.AVG_POOL, y, window=2, spatial=2)
        return b.add(Op.ATTENTION, q, k, k, causal=False), b.add(Op.RESIZE, y, factor=2, spatial=2)

    q = FLOAT.shaped((2, 3, 4))
    lifted({"q": per(q), "k": q, "x": per(IMAGE)}, body)


def test_batch_ops():
    def body(b, x, i, c):
        everyone = b.add(Op.BATCH_GATHER, x)
        total = b.add(Op.SUM, everyone, axes=(0,))
        return (
            b.add(Op.SUB, x, b.add(Op.BATCH_MEAN, x)),
            b.add(Op.BATCH_SUM, x),
            b.add(Op.BATCH_SUM, c),
            b.add(Op.BATCH_MEAN, c),
            b.add(Op.BATCH_TAKE, x, i),
            b.add(Op.BATCH_COST, x, x, cost="sqdist"),
            b.add(Op.BATCH_INDEX, x),
            b.add(Op.BATCH_SIZE, x),
            b.add(Op.SUB, x, everyone),
            b.add(Op.BATCH_SCATTER, everyone),
            total,
        )

    q = lifted({"x": per(V), "i": per(INT), "c": V}, body)
    assert not {Op.BATCH_GATHER, Op.BATCH_SCATTER, Op.BATCH_TAKE, Op.BATCH_MEAN} & set(ops(q))


def test_keyed_and_unkeyed_draws():
    def body(b, seed, x):
        z = b.add(Op.NORMAL, seed, shape=(4,), place=3, keyed=True, axes=("example",))
        u = b.add(Op.UNIFORM, shape=(4,), place=4, keyed=False, axes=("example",))
        w = b.add(Op.NORMAL, shape=(), place=5, keyed=False, axes=())
        return b.add(Op.ADD, x, z), b.add(Op.MUL, u, w)

    q = lifted({"seed": per(INT), "x": per(V)}, body)
    (unkeyed,) = (n for n in q.functions["main"].block.nodes if n.op is Op.UNIFORM)
    assert len(unkeyed.inputs) == 1


def test_for_carries_and_captures():
    def body(b, x, t, n):
        region = b.child()
        k = region.param(INT)
        z, s = region.param(per(V), "z"), region.param(S, "s")
        step = region.add(Op.MUL, t, region.add(Op.CAST, k, dtype="float"))
        block = region.block(region.add(Op.ADD, z, step), region.add(Op.ADD, s, const(region, 1.0)))
        return b.add_many(Op.FOR, n, x, const(b, 0.5), regions=(block,))

    lifted({"x": per(V), "t": per(S), "n": INT}, body)


def test_shared_initial_value_of_a_loop_is_spread():
    ids = Ids()

    def body(b, x, n):
        region = b.child()
        region.param(INT)
        z = region.param(per(V), "z")
        block = region.block(region.add(Op.ADD, z, x))
        zero = b.add(Op.CONST, value=0.0, shape=(4,), dtype="float")
        return b.add(Op.FOR, n, zero, regions=(block,), types=(per(V),))

    main = function(ids, "main", "entry", {"x": per(V), "n": INT}, body)
    q = batch(program_unchecked(main))
    verify(q)
    assert Op.SPREAD in ops(q)


def test_loop_that_begins_to_vary_is_an_error_with_the_name():
    def body(b, x, n):
        region = b.child()
        region.param(INT)
        z = region.param(V, "drift")
        block = region.block(region.add(Op.ADD, z, x, name="moved"))
        return b.add(Op.FOR, n, b.add(Op.CONST, value=0.0, shape=(4,)), regions=(block,))

    main = function(Ids(), "main", "entry", {"x": per(V), "n": INT}, body)
    with pytest.raises(IRError, match="moved"):
        batch(program_unchecked(main))


def program_unchecked(main):
    from dataclasses import replace

    p = single({i: v.type for i, v in ((v.name, v) for v in main.block.params)}, lambda b, *v: v)
    return replace(p, functions={"main": main})


def test_while_holds_the_examples_that_are_done():
    def body(b, x, c):
        test, step = b.child(), b.child()
        v, k = test.param(per(V), "v"), test.param(per(INT), "k")
        limit = test.add(Op.MUL, c, const(test, 3.0))
        going = test.block(test.add(Op.LT, test.add(Op.SUM, v, axes=(0,)), limit))
        assert k
        v, k = step.param(per(V), "v"), step.param(per(INT), "k")
        block = step.block(step.add(Op.MUL, v, const(step, 1.3)), step.add(Op.ADD, k, const(step, 1)))
        zero = b.add(Op.SPREAD, const(b, 0), x)
        return b.add_many(Op.WHILE, x, zero, regions=(going, block), limit=50)

    q = lifted({"x": per(V), "c": per(S)}, body)
    (loop,) = (n for n in q.functions["main"].block.nodes if n.op is Op.WHILE)
    assert loop.regions[0].results[0].type == BOOL


def test_while_with_a_shared_test():
    def body(b, x):
        test, step = b.child(), b.child()
        test.param(per(V))
        s = test.param(S)
        going = test.block(test.add(Op.LT, s, const(test, 3.0)))
        v, s = step.param(per(V)), step.param(S)
        block = step.block(step.add(Op.MUL, v, s), step.add(Op.ADD, s, const(step, 1.0)))
        return b.add_many(Op.WHILE, x, const(b, 0.5), regions=(going, block), limit=50)

    lifted({"x": per(V)}, body)


def test_branch_joins_its_results():
    def body(b, x, s):
        yes, no = b.child(), b.child()
        regions = (yes.block(yes.add(Op.NEG, x)), no.block(no.add(Op.EXP, x)))
        return b.add_many(Op.IF, b.add(Op.LT, s, const(b, 1.0)), regions=regions, types=(per(V),))

    lifted({"x": per(V), "s": S}, body)


def test_calls_of_networks_and_functions():
    ids = Ids()
    net = mlp(ids)
    alpha = function(ids, "alpha", "function", {"t": per(S)}, lambda b, t: b.add(Op.EXP, b.add(Op.NEG, t)))
    outer = function(
        ids,
        "outer",
        "network",
        {"z": per(V), "t": per(S)},
        lambda b, z, t: b.add(Op.REPEAT, z, t, function="mlp", bundle="block", count=2, carried=1),
    )

    def body(b, x, t):
        a = b.add(Op.CALL, t, function="alpha", bundle=None, types=(per(S),))
        out = b.add_many(Op.CALL, x, a, x, t, function="outer", bundle="net", lanes=2, types=(per(V), per(V)))
        return (*out, a)

    main = function(ids, "main", "entry", {"x": per(V), "t": per(S)}, body)
    p = program(main, net, alpha, outer, networks={"net": "outer"})
    same(p, batch(p))


def test_values_keep_their_numbers_and_names():
    p = single({"x": per(V)}, lambda b, x: b.add(Op.NEG, x, name="y"))
    (y,) = batch(p).functions["main"].block.results
    assert (y.id, y.name) == (p.functions["main"].block.results[0].id, "y")
