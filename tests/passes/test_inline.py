"""The pass `inline` and `flatten`: calls replaced by what they call."""

from __future__ import annotations

from dataclasses import replace

from programs import const, feeds, function, mlp, ops, per, program, same, weights

from specc.ir.ops import Op
from specc.ir.program import Ids, walk
from specc.ir.types import FLOAT, INT
from specc.ir.verify import verify
from specc.passes.batch import batch
from specc.passes.inline import flatten, inline
from specc.reference.interpret import run

S, V = FLOAT, FLOAT.shaped((4,))


def sampler():
    """A loop over a network of repeated blocks, with a schedule made of two plain functions."""
    ids = Ids()
    block = mlp(ids)
    log_alpha = function(ids, "log_alpha", "function", {"t": per(S)}, lambda b, t: b.add(Op.MUL, t, const(b, -2.0), name="la"))
    alpha = function(
        ids,
        "alpha",
        "function",
        {"t": per(S)},
        lambda b, t: b.add(Op.EXP, b.add(Op.CALL, t, function="log_alpha", bundle=None, types=(per(S),))),
    )
    net = function(
        ids,
        "net",
        "network",
        {"z": per(V), "t": per(S)},
        lambda b, z, t: b.add(
            Op.ADD,
            b.add(Op.REPEAT, z, t, function="mlp", bundle="block", count=2, carried=1),
            b.add(Op.PARAM, path="shift", shape=(4,), init=("zeros",)),
        ),
    )

    def body(b, x, t, n):
        region = b.child()
        region.param(INT)
        z = region.param(per(V), "z")
        a = region.add(Op.CALL, t, function="alpha", bundle=None, types=(per(S),), name="a")
        out = region.add_many(Op.CALL, z, t, z, a, function="net", bundle="backbone", lanes=2, types=(per(V), per(V)))
        moved = region.add(Op.ADD, region.add(Op.MUL, a, out[0]), out[1])
        return b.add(Op.FOR, n, x, regions=(region.block(moved),))

    main = function(ids, "main", "entry", {"x": per(V), "t": per(S), "n": INT}, body)
    return program(main, block, log_alpha, alpha, net, networks={"backbone": "net"})


def test_plain_functions_disappear():
    p = sampler()
    q = inline(p)
    same(p, q)
    assert set(q.functions) == {"main", "net", "mlp"}
    assert all(n["bundle"] for n in walk(q.functions["main"].block) if n.op is Op.CALL)
    names = [v.name for n in walk(q.functions["main"].block) for v in n.outputs]
    assert "a" in names and "la" in names


def test_only_some():
    p = sampler()
    q = inline(p, only=["log_alpha"])
    same(p, q)
    assert set(q.functions) == {"main", "net", "mlp", "alpha"}


def test_networks_too():
    p = sampler()
    q = inline(p, networks=True)
    verify(q)
    assert set(q.functions) == {"main"}
    assert not {Op.CALL, Op.REPEAT} & set(ops(q))
    paths = {n["path"] for n in walk(q.functions["main"].block) if n.op is Op.PARAM}
    assert "backbone.block.1.second.weight" in paths and "backbone.shift" in paths


def test_flatten_at_both_levels():
    p = sampler()
    want = run(p, "main", feeds(p), weights(p))[0]
    for level in (p, batch(p)):
        flat = replace(level, functions={"main": flatten(level, "main")}, networks={})
        verify(flat)
        assert abs(run(flat, "main", feeds(p), weights(p))[0] - want).max() < 1e-12
