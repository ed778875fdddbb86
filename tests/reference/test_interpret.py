"""The oracle itself: control flow, calls, draws and what it refuses."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from specc.ir.ops import Op
from specc.ir.program import Builder, Entry, Function, Ids, Input, Program, Value
from specc.ir.types import BOOL, FLOAT, INT, Type
from specc.ir.verify import verify
from specc.passes.batch import batch
from specc.reference.interpret import evaluate, run
from specc.reference.machine import Step
from specc.runtime import noise

EACH, SEED = FLOAT.over("example"), INT.over("example")
KEYED: dict[str, Any] = {"keyed": True, "axes": ("example",)}
FREE: dict[str, Any] = {"keyed": False, "axes": ("example",)}


def number(b: Builder, value: float | int | bool) -> Value:
    return b.add(Op.CONST, value=value, shape=(), dtype={float: "float", int: "int", bool: "bool"}[type(value)])


def function(ids: Ids, name: str, kind: str, types: dict[str, Type], body: Callable[..., Any]) -> Function:
    b = Builder(ids)
    out = body(b, *(b.param(t, n) for n, t in types.items()))
    return Function(name=name, kind=kind, block=b.block(*(out if isinstance(out, tuple) else (out,))))


def program(main: Function, *others: Function, networks: dict[str, str] | None = None) -> Program:
    inputs = tuple(Input(name=v.name or "", role="data", type=v.type) for v in main.block.params)
    entry = Entry(name="main", role="query", function=main.name, inputs=inputs)
    functions = {f.name: f for f in (main, *others)}
    made = Program(
        name="p", level="example", spec="", digest="", functions=functions, networks=networks or {}, entries={"main": entry}
    )
    return verify(made)


def single(types: dict[str, Type], body: Callable[..., Any]) -> Program:
    return program(function(Ids(), "main", "entry", types, body))


def both(p: Program, inputs: dict[str, Any], params: dict[str, Any] | None = None, **options: Any) -> tuple[np.ndarray, ...]:
    """The results, which must be the same at array level."""
    out = run(p, "main", inputs, params or {}, **options)
    for a, b in zip(out, run(batch(p), "main", inputs, params or {}, **options), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-12, atol=1e-12)
    return out


def counted(b: Builder, count: int, start: Value, body: Callable[[Builder, Value, Value], Value]) -> Value:
    """start = body(index, start), count times."""
    region = b.child()
    index, carried = region.param(INT, "k"), region.param(start.type, "z")
    return b.add(Op.FOR, number(b, count), start, regions=(region.block(body(region, index, carried)),))


def test_for_carries_and_traces():
    def body(b, x):
        scaled = lambda r, k, z: r.add(Op.ADD, r.add(Op.MUL, z, number(r, 2.0)), r.add(Op.CAST, k, dtype="float"))
        return counted(b, 2, x, lambda r, i, z: counted(r, 3, z, scaled))

    p, x, trace = single({"x": EACH}, body), np.array([1.0, -1.0]), []
    (out,) = both(p, {"x": x})
    np.testing.assert_allclose(out, ((x * 8 + 4) * 8) + 4)
    run(p, "main", {"x": x}, {}, trace=trace)
    assert all(isinstance(s, Step) for s in trace)
    assert [s.indices for s in trace] == [(0, 0), (0, 1), (0, 2), (0,), (1, 0), (1, 1), (1, 2), (1,)]
    assert [s.depth for s in trace[:4]] == [1, 1, 1, 0]
    np.testing.assert_allclose(trace[1].before[0], trace[0].after[0])
    np.testing.assert_allclose(trace[-1].after[0], out)
    assert trace[0].names == ("z",)


def test_for_of_no_rounds_gives_what_it_got():
    (out,) = both(single({"x": EACH}, lambda b, x: counted(b, 0, x, lambda r, k, z: z)), {"x": np.ones(2)})
    np.testing.assert_allclose(out, 1)


def halving(b: Builder, x: Value, limit: int) -> tuple[Value, ...]:
    """Halve while above 1, and count the halvings."""
    test, body = b.child(), b.child()
    rounds = b.add(Op.MUL, x, number(b, 0.0))
    z, _ = (test.param(v.type, n) for v, n in ((x, "z"), (rounds, "n")))
    above = test.block(test.add(Op.LT, number(test, 1.0), z))
    z, n = (body.param(v.type, n) for v, n in ((x, "z"), (rounds, "n")))
    halved = body.block(body.add(Op.DIV, z, number(body, 2.0)), body.add(Op.ADD, n, number(body, 1.0)))
    return b.add_many(Op.WHILE, x, rounds, limit=limit, regions=(above, halved))


def test_while_stops_for_each_example():
    p, x = single({"x": EACH}, lambda b, x: halving(b, x, 100)), np.array([0.5, 3.0, 100.0])
    z, n = both(p, {"x": x})
    np.testing.assert_allclose(n, [0, 2, 7])
    np.testing.assert_allclose(z, x / 2**n)


def test_while_keeps_its_limit():
    _, n = both(single({"x": EACH}, lambda b, x: halving(b, x, 3)), {"x": np.array([0.5, 3.0, 100.0])})
    np.testing.assert_allclose(n, [0, 2, 3])


@pytest.mark.parametrize("flag", [True, False])
def test_if_takes_one_branch(flag: bool):
    def body(b, x):
        regions = []
        for factor in (2.0, -1.0):
            region = b.child()
            regions.append(region.block(region.add(Op.MUL, x, number(region, factor))))
        return b.add(Op.IF, number(b, flag), regions=tuple(regions), types=(x.type,))

    np.testing.assert_allclose(both(single({"x": EACH}, body), {"x": np.ones(2)})[0], 2 if flag else -1)


def network(ids: Ids, name: str = "net") -> Function:
    def body(b, x):
        return b.add(Op.LINEAR, x, b.add(Op.PARAM, path="mix.weight", shape=(2, 2), init=("zeros",)))

    return function(ids, name, "network", {"x": FLOAT.shaped((2,)).over("example")}, body)


def test_calls_lanes_and_repeats():
    ids = Ids()
    inner = network(ids)
    pair = inner.block.params[0].type

    def outer(b, x):
        h = b.add(Op.REPEAT, x, function="net", bundle="block", count=2, carried=1)
        return b.add(Op.CALL, h, function="net", bundle="last", types=(pair,))

    def main(b, x, y):
        lanes = b.add_many(Op.CALL, x, y, function="outer", bundle="backbone", lanes=2, types=(pair, pair))
        return (*lanes, b.add(Op.CALL, x, function="double", bundle=None, types=(pair,)))

    double = function(ids, "double", "function", {"x": pair}, lambda b, x: b.add(Op.ADD, x, x))
    outside = function(ids, "outer", "network", {"x": pair}, outer)
    entry = function(ids, "main", "entry", {"x": pair, "y": pair}, main)
    p = program(entry, inner, outside, double, networks={"backbone": "outer"})
    rng = np.random.default_rng(0)
    first, second, last = rng.normal(size=(3, 2, 2))
    params = {f"backbone.{n}.mix.weight": w for n, w in (("block.0", first), ("block.1", second), ("last", last))}
    x, y = rng.normal(size=(2, 4, 2))
    a, b, c = both(p, {"x": x, "y": y}, params)
    whole = (last @ second @ first).T
    np.testing.assert_allclose(a, x @ whole)
    np.testing.assert_allclose(b, y @ whole)
    np.testing.assert_allclose(c, 2 * x)
    with pytest.raises(ValueError, match=r"the parameter backbone\.last\.mix\.weight is missing") as caught:
        run(p, "main", {"x": x, "y": y}, {k: v for k, v in params.items() if "last" not in k})
    assert any("in main: call" in note for note in caught.value.__notes__)


def test_keyed_draws_follow_the_definition():
    def body(b, seed):
        start = b.add(Op.UNIFORM, seed, shape=(2,), place=3, **KEYED)
        more = lambda r, i, j, z: r.add(Op.ADD, z, r.add(Op.NORMAL, seed, i, j, shape=(2,), place=4, **KEYED))
        return counted(b, 2, start, lambda r, i, z: counted(r, 2, z, lambda s, j, w: more(s, i, j, w)))

    p, seeds = single({"seed": SEED}, body), np.array([5, -1, 2**62])
    (out,) = both(p, {"seed": seeds})
    want = noise.uniform(seeds, 3, (2,)).astype(float)
    want += sum(noise.normal(seeds, 4, (2,), (i, j)).astype(float) for i in range(2) for j in range(2))
    np.testing.assert_allclose(out, want)
    (alone,) = run(p, "main", {"seed": seeds[1:2]}, {})
    np.testing.assert_allclose(alone[0], out[1])
    given = np.arange(2 * 2 * 3 * 2.0).reshape(2, 2, 3, 2)
    (out,) = both(p, {"seed": seeds}, noise={3: np.zeros((3, 2)), 4: given})
    np.testing.assert_allclose(out, given.sum((0, 1)))


def test_draws_by_an_index_that_varies():
    def body(b, seed, k):
        return b.add(Op.NORMAL, seed, k, shape=(2,), place=1, **KEYED)

    seeds, k = np.array([1, 2, 3]), np.array([4, 0, 4])
    (out,) = both(single({"seed": SEED, "k": SEED}, body), {"seed": seeds, "k": k})
    for b in range(3):
        np.testing.assert_allclose(out[b], noise.normal(seeds[b : b + 1], 1, (2,), (k[b],))[0])


def test_unkeyed_draws_come_from_the_caller():
    def body(b, x):
        mine = b.add(Op.NORMAL, shape=(2,), place=0, **FREE)
        ours = b.add(Op.UNIFORM, shape=(), place=1, keyed=False, axes=())
        return b.add(Op.ADD, b.add(Op.MUL, mine, ours), x)

    p, asked = single({"x": EACH}, body), []

    def draws(op, place, shape, indices):
        asked.append((op, place, shape, indices))
        return np.full(shape, place + 2.0)

    (out,) = both(p, {"x": np.zeros(3)}, draws=draws)
    np.testing.assert_allclose(out, np.full((3, 2), 6.0))
    assert asked[:2] == asked[2:] == [(Op.NORMAL, 0, (3, 2), ()), (Op.UNIFORM, 1, (), ())]
    (one,) = run(p, "main", {"x": np.zeros(3)}, {}, rng=np.random.default_rng(1))
    (two,) = run(p, "main", {"x": np.zeros(3)}, {}, rng=np.random.default_rng(1))
    np.testing.assert_array_equal(one, two)


def test_gradients_are_written_out():
    def body(b, x, y):
        e = b.add(Op.MUL, b.add(Op.MUL, x, x), y)
        return b.add_many(Op.GRAD, e, x, y)

    x, y = np.array([1.0, -2.0]), np.array([3.0, 0.5])
    dx, dy = run(single({"x": EACH, "y": EACH}, body), "main", {"x": x, "y": y}, {})
    np.testing.assert_allclose(dx, 2 * x * y)
    np.testing.assert_allclose(dy, x * x)


def test_batch_ops_and_externs():
    def body(b, x):
        cost = b.add(Op.BATCH_COST, x, x, cost="sqdist")
        partner = b.add_many(Op.EXTERN, cost, name="assign", options=(("solver", "stable"),), types=(SEED,))[0]
        centred = b.add(Op.SUB, x, b.add(Op.BATCH_MEAN, x))
        back = b.add(Op.BATCH_SCATTER, b.add(Op.BATCH_GATHER, centred))
        return (b.add(Op.BATCH_TAKE, back, partner), b.add(Op.BATCH_SIZE, x), b.add(Op.BATCH_INDEX, x), partner)

    x = np.array([[1.0, 2.0], [5.0, 4.0], [0.0, 0.0]])
    moved, size, index, partner = both(single({"x": FLOAT.shaped((2,)).over("example")}, body), {"x": x})
    np.testing.assert_allclose(moved, x - x.mean(0))
    np.testing.assert_array_equal(index, partner)
    assert size == 3


def test_no_examples_give_no_results():
    p = single({"x": FLOAT.shaped((2,)).over("example")}, lambda b, x: b.add(Op.SOFTMAX, x, axis=0))
    assert both(p, {"x": np.zeros((0, 2))})[0].shape == (0, 2)


def test_inputs():
    p = single({"x": EACH, "scale": FLOAT}, lambda b, x, scale: b.add(Op.MUL, x, scale))
    entry = p.entries["main"]
    p = replace(p, entries={"main": replace(entry, inputs=(entry.inputs[0], replace(entry.inputs[1], default=3)))})
    np.testing.assert_allclose(both(p, {"x": [1.0, 2.0]})[0], [3, 6])
    np.testing.assert_allclose(run(p, "main", {"x": 2.0}, {}, batch=4)[0], np.full(4, 6.0))
    assert run(p, "main", {"x": [1.0]}, {}, dtype="float32")[0].dtype == np.float32
    with pytest.raises(ValueError, match="main needs the input x: float per example"):
        run(p, "main", {}, {})
    two = single({"x": EACH, "y": EACH}, lambda b, x, y: b.add(Op.MUL, x, y))
    with pytest.raises(ValueError, match=r"differ in the number of examples: 2 \(x\), 3 \(y\)"):
        run(two, "main", {"x": np.zeros(2), "y": np.zeros(3)}, {})


def test_types_are_held_against_the_numbers():
    p = single({"x": FLOAT.shaped((2,)).over("example")}, lambda b, x: x)
    with pytest.raises(ValueError, match=r"has shape \(3,\), but its type is float\[2\] per example"):
        run(p, "main", {"x": np.zeros((4, 3))}, {})
    ids = Ids()
    b = Builder(ids)
    x = b.param(EACH, "x")
    wrong = b.add_many(Op.NEG, x, types=(FLOAT,))[0]
    main = Function(name="main", kind="entry", block=b.block(wrong))
    p = Program(name="p", level="example", spec="", digest="", functions={"main": main}, networks={}, entries={
        "main": Entry(name="main", role="query", function="main", inputs=(Input(name="x", role="data", type=EACH),))
    })  # fmt: skip
    with pytest.raises(ValueError, match="is shared by its type float, but varies by example"):
        run(p, "main", {"x": np.zeros(2)}, {})


def schedule(ids: Ids) -> Function:
    """cos(t)^2 below 1/2, its square root above."""

    def body(b, t):
        square = b.add(Op.POW, b.add(Op.COS, t), number(b, 2.0))
        yes, no = b.child(), b.child()
        regions = (yes.block(square), no.block(no.add(Op.SQRT, square)))
        low = b.add(Op.LT, t, number(b, 0.5))
        return b.add(Op.IF, low, regions=regions, types=(t.type,)), number(b, 7.0)

    return function(ids, "alpha", "function", {"t": FLOAT}, body)


def test_evaluate_on_a_grid():
    f, t = schedule(Ids()), np.linspace(0, 1, 256)
    alpha, constant = evaluate(f, [t])
    np.testing.assert_allclose(alpha, np.where(t < 0.5, np.cos(t) ** 2, np.cos(t)))
    np.testing.assert_allclose(constant, np.full(256, 7.0))
    assert [out.shape for out in evaluate(f, [0.25])] == [(), ()]
    fastest = min(_seconds(lambda: evaluate(f, [t])) for _ in range(5))
    assert fastest < 0.02  # a tenth of it where nothing else runs


def test_evaluate_calls_functions():
    ids = Ids()
    inner = schedule(ids)
    call = lambda b, t: b.add_many(Op.CALL, t, function="alpha", bundle=None, types=(FLOAT, FLOAT))[0]
    outer = function(ids, "outer", "function", {"t": FLOAT}, call)
    (out,) = evaluate(outer, [np.array([0.0, 0.1])], {"alpha": inner})
    np.testing.assert_allclose(out, np.cos([0.0, 0.1]) ** 2)
    with pytest.raises(ValueError, match="grids of 2, 3 values"):
        evaluate(function(ids, "two", "function", {"s": FLOAT, "t": FLOAT}, lambda b, s, t: s), [np.zeros(2), np.zeros(3)])
    gradient = function(ids, "slope", "function", {"t": FLOAT}, lambda b, t: b.add(Op.GRAD, b.add(Op.SIN, t), t))
    with pytest.raises(ValueError, match="must be written out first"):
        evaluate(gradient, [0.5])


def test_where_and_truth_values():
    body = lambda b, x, c: b.add(Op.WHERE, b.add(Op.AND, c, b.add(Op.LT, x, number(b, 1.0))), x, number(b, 1.0))
    (out,) = both(single({"x": EACH, "c": BOOL}, body), {"x": np.array([0.5, 2.0]), "c": True})
    np.testing.assert_allclose(out, [0.5, 1.0])


def _seconds(f: Callable[[], Any]) -> float:
    start = time.perf_counter()
    f()
    return time.perf_counter() - start
