"""`merge_calls`, `hoist` and `count`."""

from __future__ import annotations

from programs import const, function, mlp, ops, per, program, same

from specc.ir.ops import Op
from specc.ir.program import Ids, walk
from specc.ir.types import FLOAT, INT
from specc.passes import GRAPH, run
from specc.passes.batch import batch
from specc.passes.count import Calls, flops, macs, network_calls, parameter_count, parameters
from specc.passes.hoist import hoist
from specc.passes.merge_calls import merge_calls
from specc.passes.merge_grads import merge_grads

S, V = FLOAT, FLOAT.shaped((4,))


def with_network(body, types=None):
    """body(b, call, x, t): call(b, z, t) is a call of the network."""
    ids = Ids()
    net = mlp(ids, "net")

    def call(b, z, t):
        return b.add(Op.CALL, z, t, function="net", bundle="backbone", lanes=1, types=(per(V),))

    main = function(ids, "main", "entry", types or {"x": per(V), "t": per(S)}, lambda b, *v: body(b, call, *v))
    return program(main, net, networks={"backbone": "net"})


def lanes(p):
    return [n.get("lanes", 1) for n in walk(p.functions["main"].block) if n.op is Op.CALL]


def checked(p):
    q = merge_calls(p)
    same(p, q)
    same(p, batch(q))
    return q


def test_guidance_is_one_call():
    def body(b, call, x, t):
        with_class = call(b, x, t)
        scaled = b.add(Op.MUL, with_class, const(b, 3.0))  # a use before the arguments of the second call exist
        other = b.add(Op.NEG, x)
        return b.add(Op.SUB, scaled, call(b, other, t))

    assert lanes(checked(with_network(body))) == [2]


def test_dependent_calls_stay_apart():
    p = with_network(lambda b, call, x, t: call(b, call(b, x, t), t))
    assert lanes(checked(p)) == [1, 1]


def test_calls_in_which_examples_meet_stay_apart():
    ids = Ids()

    def call(b, x, name):
        return b.add(Op.CALL, x, function=name, bundle="backbone", lanes=1, types=(per(V),))

    def twice(name):
        return lambda b, x: b.add(Op.MUL, call(b, x, name), call(b, b.add(Op.EXP, x), name))

    inner = function(ids, "inner", "network", {"x": per(V)}, lambda b, x: b.add(Op.SUB, x, b.add(Op.BATCH_MEAN, x)))
    outer = function(ids, "outer", "network", {"x": per(V)}, lambda b, x: call(b, x, "inner"))
    for name in ("inner", "outer"):
        main = function(ids, "main", "entry", {"x": per(V)}, twice(name))
        assert lanes(checked(program(main, inner, outer, networks={"backbone": name}))) == [1, 1]


def test_two_pairs_of_heun():
    def body(b, call, x, t):
        d = b.add(Op.ADD, call(b, x, t), call(b, b.add(Op.NEG, x), t))
        y = b.add(Op.ADD, x, d)
        return b.add(Op.ADD, call(b, y, t), call(b, b.add(Op.NEG, y), t))

    assert lanes(checked(with_network(body))) == [2, 2]


def test_equal_calls_are_one_and_crossed_ones_do_not_cycle():
    def body(b, call, x, t):
        first = call(b, x, t)
        return first, call(b, first, t), call(b, x, t)

    assert sum(lanes(checked(with_network(body)))) == 2


def test_two_networks_that_feed_each_other():
    ids = Ids()
    f, g = mlp(ids, "f"), mlp(ids, "g")

    def body(b, x, t):
        def call(name, z):
            return b.add(Op.CALL, z, t, function=name, bundle=name, lanes=1, types=(per(V),))

        a = call("f", x)
        c = call("g", b.add(Op.SIN, x))
        return call("g", a), call("f", c)

    p = program(function(ids, "main", "entry", {"x": per(V), "t": per(S)}, body), f, g, networks={"f": "f", "g": "g"})
    q = checked(p)
    assert sorted(lanes(q)) == [1, 1, 2]


def test_a_call_under_a_gradient_stays_alone():
    def body(b, call, x, t):
        e = b.add(Op.SUM, call(b, x, t), axes=(0,))
        return b.add(Op.GRAD, e, x), call(b, b.add(Op.NEG, x), t)

    assert lanes(merge_calls(with_network(body))) == [1, 1]


def loop(b, call, x, t, n=None):
    region = b.child()
    k = region.param(INT)
    z = region.param(per(V), "z")
    scale = region.add(Op.EXP, region.add(Op.NEG, t), name="scale")
    out = region.add(Op.ADD, call(region, z, t), call(region, region.add(Op.NEG, z), t))
    w = region.add(Op.NORMAL, shape=(4,), place=1, keyed=False, axes=("example",))
    step = region.add(Op.MUL, region.add(Op.CAST, k, dtype="float"), w)
    z = region.add(Op.ADD, region.add(Op.MUL, scale, out), step)
    return b.add(Op.FOR, const(b, 7) if n is None else n, x, regions=(region.block(z),))


def test_hoist_moves_what_stays_and_keeps_random_numbers():
    p = with_network(loop)
    q = hoist(p)
    same(p, q)
    (node,) = (n for n in q.functions["main"].block.nodes if n.op is Op.FOR)
    inside = [n.op for n in node.regions[0].nodes]
    assert Op.EXP not in inside and Op.NORMAL in inside and inside.count(Op.CALL) == 2


def test_counts():
    p = with_network(loop)
    assert network_calls(p, "main") == Calls(14, 14)
    merged = merge_calls(p)
    assert network_calls(merged, "main") == Calls(7, 14)
    assert network_calls(run(p, GRAPH), "main") == Calls(7, 14)
    assert parameters(p) == {
        "backbone.first.weight": (5, 8),
        "backbone.first.bias": (5,),
        "backbone.second.weight": (4, 5),
        "backbone.second.bias": (4,),
    }
    assert parameter_count(p) == 69
    assert macs(p, "net") == macs(batch(p), "net") == 60
    assert flops(p, "net") == 120


def test_calls_that_depend_on_an_input_are_not_counted():
    p = with_network(loop, {"x": per(V), "t": per(S), "n": INT})
    assert network_calls(p, "main") is None
    assert Op.CALL in ops(p)


def test_gradients_of_one_value_are_one():
    def body(b, x, y):
        e = b.add(Op.SUM, b.add(Op.MUL, x, b.add(Op.EXP, y)), axes=(0,))
        other = b.add(Op.SUM, b.add(Op.MUL, x, x), axes=(0,))
        return (b.add(Op.GRAD, e, x), b.add(Op.GRAD, other, x), b.add(Op.GRAD, e, y))

    p = program(function(Ids(), "main", "entry", {"x": per(V), "y": per(V)}, body))
    q = merge_grads(p)
    same(p, q)
    same(p, run(q, GRAPH))
    assert [len(n.outputs) for n in walk(q.functions["main"].block) if n.op is Op.GRAD] == [2, 1]
