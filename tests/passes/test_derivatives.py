"""Every row of the columns of derivatives against finite differences, in reverse and forward, at both levels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from programs import EXAMPLES, const, feeds, function, mlp, per, program, same, single, weights

from specc.ir.decompositions import DECOMPOSITIONS
from specc.ir.derivatives import forward, gradient
from specc.ir.engine import CONTROL, REFUSED, ZERO
from specc.ir.ops import OPS, Op
from specc.ir.partials import PARTIALS
from specc.ir.program import Builder, Ids
from specc.ir.transposes import LINEAR
from specc.ir.types import FLOAT, INT
from specc.ir.verify import verify
from specc.passes.batch import batch
from specc.passes.expand_grad import expand_grad
from specc.reference.interpret import run
from specc.reference.rounding import round_to

S, V, M, IMAGE = FLOAT, FLOAT.shaped((4,)), FLOAT.shaped((3, 4)), FLOAT.shaped((4, 4, 6))
UNARY = [op for op in PARTIALS if len(PARTIALS[op]) == 1 and op not in (Op.CAST, Op.ROUND_TO)]
BINARY = [op for op in PARTIALS if len(PARTIALS[op]) == 2]


def test_every_op_has_its_row():
    groups = [set(PARTIALS), set(LINEAR), set(DECOMPOSITIONS), ZERO, set(REFUSED), CONTROL]
    assert set().union(*groups) == set(OPS)
    assert sum(map(len, groups)) == len(OPS)


def objective(types, body):
    """A program that gives e, its gradients by GRAD, and the tangents of its value along fixed directions."""
    ids = Ids()
    floats = [n for n, t in types.items() if t.dtype is FLOAT.dtype]

    def main(b, *xs):
        wrt = [x for x in xs if x.name in floats]
        y = body(b, *xs)
        weight = _weight(b, y)
        e = b.add(Op.MUL, weight, y)
        grads = b.add_many(Op.GRAD, e, *wrt)
        return (e, *grads)

    return program(function(ids, "main", "entry", types, main)), floats


def _weight(b, y):
    """Different numbers for the elements, so that a wrong order shows."""
    shape = tuple(EXAMPLES if d == "B" else d for d in y.type.shape)
    n = int(np.prod(shape))
    values = tuple(float(x) for x in np.linspace(0.5, 1.7, n))
    return b.add(Op.CONST, value=values if shape else values[0], shape=y.type.shape if "B" not in y.type.shape else shape)


def check(types, body, seed=0, tolerance=2e-6):
    p, floats = objective(types, body)
    expanded = expand_grad(p)
    verify(expanded)
    lifted = batch(expanded)
    verify(lifted)
    late = expand_grad(batch(p))
    verify(late)
    inputs, params = feeds(p, seed), weights(p)
    _, *grads = run(expanded, "main", inputs, params)
    for q in (lifted, late):
        for g, h in zip(grads, run(q, "main", inputs, params)[1:], strict=True):
            np.testing.assert_allclose(h, g, rtol=1e-9, atol=1e-9)

    # Only e, so that differences do not pay for gradients.
    block = p.functions["main"].block
    bare = replace(block, nodes=tuple(n for n in block.nodes if n.op is not Op.GRAD), results=block.results[:1])
    q = replace(p, functions=p.functions | {"main": replace(p.functions["main"], block=bare)})
    rng = np.random.default_rng(seed + 1)
    directions = {n: rng.normal(size=inputs[n].shape) for n in floats}

    def value(h):
        moved = {n: x + h * directions[n] if n in directions else x for n, x in inputs.items()}
        return run(q, "main", moved, params)[0]

    h = 1e-5
    slope = (value(h) - value(-h)) / (2 * h)
    along = sum(np.sum(g * directions[n]) for g, n in zip(grads, floats, strict=True))
    np.testing.assert_allclose(along, slope.sum(), rtol=tolerance, atol=tolerance)

    for source in (q, batch(q)):
        (tangent,) = run(_forward(source, floats), "main", inputs | {"d" + n: d for n, d in directions.items()}, params)
        np.testing.assert_allclose(tangent, slope, rtol=tolerance, atol=tolerance)
    return expanded


def _forward(p, floats):
    """The program of the tangent of e, with the directions as inputs."""
    ids = Ids(10**6)
    main = p.functions["main"]
    builder = Builder(ids, params=list(main.block.params))
    for node in main.block.nodes:
        builder.push(node)
    wrt = [v for v in main.block.params if v.name in floats]
    directions = [builder.param(v.type, "d" + v.name) for v in wrt]
    (t,) = forward(builder, main.block.results, list(zip(wrt, directions, strict=True)), p.functions)
    assert t is not None
    inputs = p.entries["main"].inputs
    inputs += tuple(replace(i, name="d" + i.name) for i in inputs if i.name in floats)
    entries = {"main": replace(p.entries["main"], inputs=inputs)}
    return verify(replace(p, functions=p.functions | {"main": replace(main, block=builder.block(t))}, entries=entries))


@pytest.mark.parametrize("op", UNARY, ids=lambda op: op.value)
def test_unary(op):
    def body(b, x, y):
        shrunk = b.add(Op.MUL, x, const(b, 0.7)) if op in (Op.ASIN, Op.ACOS, Op.ERFINV) else b.add(Op.SUB, x, const(b, 0.2))
        return b.add(op, b.add(Op.MUL, shrunk, y))

    check({"x": per(V), "y": S}, body)


@pytest.mark.parametrize("x", [-2.6, -0.4, 0.3, 1.0, 7.5])
def test_lgamma_everywhere(x):
    check({"x": per(S)}, lambda b, v: b.add(Op.LGAMMA, b.add(Op.ADD, b.add(Op.MUL, v, const(b, 0.01)), const(b, x))))


@pytest.mark.parametrize("op", BINARY, ids=lambda op: op.value)
@pytest.mark.parametrize("types", [(per(V), per(V)), (per(M), per(V)), (S, per(IMAGE)), (per(S), M)])
def test_binary(op, types):
    def body(b, x, y):
        return b.add(op, b.add(Op.MUL, x, const(b, 3.1)) if op is Op.MOD else x, y)

    check({"x": types[0], "y": types[1]}, body)


@pytest.mark.parametrize("exponent", [0, 1, 2, 3.0, -1.5])
def test_constant_powers(exponent):
    check({"x": per(V)}, lambda b, x: b.add(Op.ADD, b.add(Op.POW, x, const(b, exponent)), b.add(Op.POW, const(b, 1.7), x)))


def test_where_and_cast():
    def body(b, x, y):
        chosen = b.add(Op.WHERE, b.add(Op.LT, x, y), b.add(Op.EXP, x), b.add(Op.MUL, x, y))
        return b.add(Op.CAST, chosen, dtype="float")

    check({"x": per(V), "y": S}, body)


@pytest.mark.parametrize("op", [Op.SUM, Op.MEAN, Op.PROD, Op.AMAX, Op.AMIN, Op.LOGSUMEXP], ids=lambda op: op.value)
@pytest.mark.parametrize("axes", [(0,), (-1,), (0, 1), ()])
def test_reductions(op, axes):
    check({"x": per(M), "y": M}, lambda b, x, y: b.add(Op.MUL, b.add(op, x, axes=axes), b.add(op, y, axes=axes)))


@pytest.mark.parametrize("op", [Op.SOFTMAX, Op.CUMSUM, Op.FLIP], ids=lambda op: op.value)
@pytest.mark.parametrize("axis", [0, -1])
def test_scans(op, axis):
    check({"x": per(M)}, lambda b, x: b.add(op, b.add(op, x, axis=axis), axis=axis))


def test_shapes():
    def body(b, x, y):
        x = b.add(Op.TRANSPOSE, b.add(Op.RESHAPE, x, shape=(2, 3, 2)), perm=(2, 0, 1))
        x = b.add(Op.PAD, x, pads=((1, 0), (0, 2), (0, 0)), value=2.0)
        x = b.add(Op.SLICE, x, axis=1, start=0, stop=3, step=2)
        y = b.add(Op.EXPAND, b.add(Op.RESHAPE, y, shape=(1, 1, 3)), shape=(3, 2, 3))
        z = b.add(Op.CONCAT, x, y, x, axis=-1)
        return b.add(Op.SLICE, b.add(Op.MUL, z, z), axis=2, start=1, stop=8, step=1)

    check({"x": per(M), "y": FLOAT.shaped((3,))}, body)


@pytest.mark.parametrize("varies", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("axis", [0, 1])
def test_take_and_scatter(varies, axis):
    x, i = (per(t) if v else t for t, v in zip((M, INT.shaped((2,))), varies, strict=True))

    def body(b, x, i):
        rows = b.add(Op.TAKE, b.add(Op.MUL, x, x), i, axis=axis)
        return b.add(Op.SCATTER_ADD, b.add(Op.EXP, rows), i, axis=axis, n=5)

    check({"x": x, "i": i}, body)


@pytest.mark.parametrize(
    "types", [(per(M), FLOAT.shaped((4, 2))), (M, per(FLOAT.shaped((2, 4, 5)))), (per(M), per(M.shaped((4, 3))))]
)
def test_matmul(types):
    check({"x": types[0], "y": types[1]}, lambda b, x, y: b.add(Op.MATMUL, x, y))


@pytest.mark.parametrize("x", [per(V), per(M), V])
def test_linear(x):
    check({"x": x, "w": FLOAT.shaped((2, 4)), "b": FLOAT.shaped((2,))}, lambda b, *v: b.add(Op.LINEAR, *v))


def _kernel(b, *shape):
    n = int(np.prod(shape))
    return b.add(Op.CONST, value=tuple(float(x) for x in np.sin(np.arange(n) + 1)), shape=shape)


@pytest.mark.parametrize("a", [(1, 1, 1, 1), (2, 1, 1, 2), (2, 0, 1, 1), (3, 1, 1, 1), (1, 2, 2, 4)])
def test_convolutions(a):
    stride, padding, dilation, groups = a
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}

    def body(b, x, bias):
        y = b.add(Op.CONV, x, _kernel(b, 8, 4 // groups, 2, 3), bias, **options)
        return b.add(Op.MUL, y, y)

    check({"x": per(IMAGE), "bias": FLOAT.shaped((8,))}, body)

    def transposed(b, x, bias):
        return b.add(
            Op.CONV_TRANSPOSE,
            x,
            _kernel(b, 4, 6 // groups if groups < 4 else 2, 3, 3),
            bias,
            **options,
            output_padding=stride - 1,
        )

    channels = {1: 6, 2: 6, 4: 8}[groups]
    check({"x": per(IMAGE), "bias": FLOAT.shaped((channels,))}, transposed)


def test_pools():
    def body(b, x):
        y = b.add(Op.RESIZE, x, factor=2, spatial=2)
        return b.add(Op.AVG_POOL, b.add(Op.MUL, y, y), window=4, spatial=2)

    check({"x": per(FLOAT.shaped((2, 2, 4)))}, body)


def test_norms():
    def body(b, x, scale, bias, g, h):
        y = b.add(Op.LAYERNORM, x, g, h, eps=1e-3)
        y = b.add(Op.GROUPNORM, b.add(Op.EXP, y), scale, bias, groups=2, eps=1e-3, spatial=2)
        return b.add(Op.RMSNORM, b.add(Op.LAYERNORM, b.add(Op.EXP, y), eps=1e-3), g, eps=1e-3)

    c, d = FLOAT.shaped((4,)), FLOAT.shaped((6,))
    check({"x": per(IMAGE), "scale": c, "bias": c, "g": d, "h": d}, body)


@pytest.mark.parametrize("causal", [False, True])
def test_attention(causal):
    q, k = per(FLOAT.shaped((2, 3, 4))), FLOAT.shaped((2, 3, 4))
    check({"q": q, "k": k, "v": per(k)}, lambda b, *v: b.add(Op.ATTENTION, *v, causal=causal))


def test_batch_ops():
    def body(b, x, i, c):
        everyone = b.add(Op.BATCH_GATHER, b.add(Op.EXP, x))
        cost = b.add(Op.BATCH_COST, x, b.add(Op.MUL, x, c), cost="sqdist")
        y = b.add(Op.MUL, b.add(Op.SUB, x, b.add(Op.BATCH_MEAN, x)), b.add(Op.BATCH_SUM, b.add(Op.MUL, x, x)))
        y = b.add(Op.ADD, y, b.add(Op.MUL, x, b.add(Op.SUM, everyone, axes=(0,))))
        y = b.add(Op.ADD, y, b.add(Op.BATCH_TAKE, b.add(Op.MUL, x, x), i))
        y = b.add(Op.ADD, y, b.add(Op.BATCH_SCATTER, b.add(Op.MUL, everyone, everyone)))
        y = b.add(Op.MUL, y, b.add(Op.MEAN, b.add(Op.SIN, cost), axes=(0, 1)))
        return b.add(Op.ADD, y, b.add(Op.MUL, b.add(Op.SPREAD, c, x), c))

    check({"x": per(V), "i": per(INT), "c": V}, body)


def test_stop_cuts_and_zero_is_none():
    b = Builder(Ids())
    x, y = b.param(per(V)), b.param(per(V))
    e = b.add(Op.MUL, b.add(Op.STOP, x), y)
    gx, gy = gradient(b, e, (x, y))
    assert gx is None and gy is not None
    assert gradient(b, b.add(Op.FLOOR, x), (x,)) == (None,)


def test_gradients_pass_straight_through_rounding():
    def body(b, x, y):
        rounded = b.add(Op.ROUND_TO, x, format="int4", axes=(0,))
        return b.add(Op.SUM, b.add(Op.MUL, b.add(Op.MUL, rounded, rounded), y), axes=(0,))

    p, _ = objective({"x": per(V), "y": per(V)}, body)
    inputs = feeds(p)
    _, gx, _ = run(expand_grad(p), "main", inputs, {})
    rounded = round_to(inputs["x"], format="int4", axes=(1,))
    np.testing.assert_allclose(gx, 0.5 * 2 * rounded * inputs["y"])  # 0.5 is the weight of the value
    assert np.abs(rounded - inputs["x"]).max() > 1e-3


def test_gradient_of_a_gradient():
    def body(b, x, t):
        e = b.add(Op.MUL, b.add(Op.SUM, b.add(Op.TANH, b.add(Op.MUL, x, t)), axes=(0,)), t)
        g = b.add(Op.GRAD, e, x)
        return b.add(Op.MUL, g, g)

    def nested(b, x, t):
        e = b.add(Op.SUM, body(b, x, t), axes=(0,))
        return b.add(Op.EXP, b.add(Op.GRAD, e, x))

    p, _ = objective({"x": per(V), "t": per(S)}, nested)
    # The differences are taken of the program whose inner gradients are written out.
    expanded = expand_grad(p)
    assert not [n for n in expanded.functions["main"].block.nodes if n.op is Op.GRAD]
    inputs = feeds(p)
    _, gx, gt = run(expanded, "main", inputs, {})
    rng = np.random.default_rng(3)
    dx, dt, h = rng.normal(size=gx.shape), rng.normal(size=gt.shape), 1e-5
    up, down = (run(expanded, "main", {"x": inputs["x"] + s * dx, "t": inputs["t"] + s * dt}, {})[0] for s in (h, -h))
    np.testing.assert_allclose((up - down).sum() / (2 * h), (gx * dx).sum() + (gt * dt).sum(), rtol=1e-5)
    same(expanded, batch(expanded))


def test_gradient_in_a_value_on_the_way():
    """grad(e, (x, y)) with y made from x: the gradient in x goes through y."""
    b = Builder(Ids())
    x = b.param(FLOAT, "x")
    y = b.add(Op.MUL, x, x)
    gx, gy = gradient(b, b.add(Op.MUL, y, x), (x, y))
    main = function_of(b, gx, gy)
    a, c = run(main, "main", {"x": 2.0}, {})
    assert (a, c) == (12, 2)


def function_of(b, *results):
    from specc.ir.program import Function

    return program(Function(name="main", kind="entry", block=b.block(*results)))


def test_through_networks_repeats_and_functions():
    ids = Ids()
    net = mlp(ids)
    outer = function(
        ids,
        "outer",
        "network",
        {"z": per(V), "t": per(S)},
        lambda b, z, t: b.add(Op.REPEAT, z, t, function="mlp", bundle="block", count=2, carried=1),
    )
    score = function(
        ids,
        "score",
        "function",
        {"z": per(V), "t": per(S)},
        lambda b, z, t: b.add(Op.NEG, b.add(Op.GRAD, b.add(Op.SUM, b.add(Op.MUL, z, b.add(Op.MUL, z, t)), axes=(0,)), z)),
    )

    def body(b, x, t):
        out = b.add_many(Op.CALL, x, t, x, t, function="outer", bundle="net", lanes=2, types=(per(V), per(V)))
        y = b.add(Op.MUL, out[0], b.add(Op.CALL, x, t, function="score", bundle=None, types=(per(V),)))
        e = b.add(Op.MUL, y, out[1])
        return (e, *b.add_many(Op.GRAD, e, x, t))

    p = program(function(ids, "main", "entry", {"x": per(V), "t": per(S)}, body), net, outer, score, networks={"net": "outer"})
    q = expand_grad(p)
    same(q, batch(q))
    inputs, params = feeds(p), weights(p)
    _, gx, gt = run(q, "main", inputs, params)
    rng, h = np.random.default_rng(3), 1e-5
    dx, dt = rng.normal(size=gx.shape), rng.normal(size=gt.shape)
    up, down = (run(q, "main", {"x": inputs["x"] + s * dx, "t": inputs["t"] + s * dt}, params)[0] for s in (h, -h))
    np.testing.assert_allclose((up - down).sum() / (2 * h), (gx * dx).sum() + (gt * dt).sum(), rtol=1e-5)


def test_loops_and_branches():
    def body(b, x, c):
        region = b.child()
        k = region.param(INT)
        z, n = region.param(per(V), "z"), region.param(S, "n")
        step = region.add(Op.MUL, c, region.add(Op.CAST, k, dtype="float"))
        z = region.add(Op.SIN, region.add(Op.ADD, z, region.add(Op.MUL, step, n)))
        block = region.block(z, region.add(Op.ADD, n, c))
        z, n = b.add_many(Op.FOR, const(b, 3), x, const(b, 0.5), regions=(block,))
        yes, no = b.child(), b.child()
        regions = (yes.block(yes.add(Op.MUL, z, n)), no.block(no.add(Op.EXP, z)))
        test = b.add(Op.LT, c, const(b, 0.0))
        flipped = b.add(Op.NOT, test)
        out = b.add_many(Op.IF, test, regions=regions, types=(per(V),))[0]
        yes, no = b.child(), b.child()
        regions = (yes.block(yes.add(Op.MUL, z, n)), no.block(no.add(Op.EXP, z)))
        return b.add(Op.ADD, out, b.add_many(Op.IF, flipped, regions=regions, types=(per(V),))[0])

    check({"x": per(V), "c": S}, body)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.0])  # 0: a part without examples
def test_parts_of_the_batch(share):
    """Each part its own formula; `c` is shared, and what it is told by both parts adds up. Means are those of a part."""

    def body(b, x, c):
        regions = []
        for op in (Op.SIN, Op.EXP):
            part = b.child()
            z = part.param(per(V), "z")
            mean = part.add(Op.BATCH_MEAN, part.add(Op.MUL, z, z))
            y = part.add(Op.MUL, part.add(op, part.add(Op.MUL, z, c)), z)
            regions.append(part.block(y, part.add(Op.ADD, part.add(Op.MUL, z, c), mean)))
        y, u = b.add_many(Op.PARTS, x, regions=tuple(regions), types=(per(V), per(V)), share=share)
        return b.add(Op.ADD, y, b.add(Op.MUL, u, u))

    check({"x": per(V), "c": S}, body)


@pytest.mark.parametrize("op", [Op.CHOLESKY, Op.INV], ids=lambda op: op.value)
@pytest.mark.parametrize("rows", [3, 8])  # by entries, and by a loop over columns
def test_factors_of_a_matrix(op, rows):
    def body(b, x):
        product = b.add(Op.MATMUL, x, b.add(Op.TRANSPOSE, x, perm=(1, 0)))
        eye = tuple(3.0 * (i == j) for i in range(rows) for j in range(rows))
        return b.add(op, b.add(Op.ADD, product, b.add(Op.CONST, value=eye, shape=(rows, rows))))

    check({"x": per(FLOAT.shaped((rows, rows)))}, body)


def test_parts_of_which_one_result_counts():
    def body(b, x):
        regions = []
        for k in (2.0, 3.0):
            part = b.child()
            z = part.param(per(V), "z")
            regions.append(part.block(part.add(Op.EXP, z), part.add(Op.MUL, part.add(Op.SIN, z), const(part, k))))
        return b.add_many(Op.PARTS, x, regions=tuple(regions), types=(per(V), per(V)), share=0.5)[1]

    check({"x": per(V)}, body)


def test_gradient_inside_a_loop():
    """Langevin: the gradient of an energy in what the loop carries."""

    def body(b, x, c):
        region = b.child()
        region.param(INT)
        z = region.param(per(V), "z")
        e = region.add(Op.SUM, region.add(Op.SIN, region.add(Op.MUL, z, c)), axes=(0,))
        block = region.block(region.add(Op.SUB, z, region.add(Op.GRAD, e, z)))
        return b.add(Op.FOR, const(b, 3), x, regions=(block,))

    p = expand_grad(single({"x": per(V), "c": S}, body))
    same(p, batch(p))
    z, c = feeds(p)["x"], feeds(p)["c"]
    for _ in range(3):
        z = z - c * np.cos(z * c)
    np.testing.assert_allclose(run(p, "main", feeds(p), {})[0], z)


@pytest.mark.parametrize("op", [Op.SORT], ids=lambda op: op.value)
def test_what_has_no_derivative_says_why(op):
    b = Builder(Ids())
    x = b.param(per(V))
    with pytest.raises(ValueError, match="sort has no derivative"):
        gradient(b, b.add(op, x, axis=0), (x,))


def test_fresh_random_numbers_are_not_drawn_again():
    b = Builder(Ids())
    x = b.param(per(V))
    region = b.child()
    region.param(INT)
    z = region.param(per(V))
    w = region.add(Op.NORMAL, shape=(4,), place=0, keyed=False, axes=("example",))
    (y,) = b.add_many(Op.FOR, const(b, 2), x, regions=(region.block(region.add(Op.MUL, z, w)),))
    with pytest.raises(ValueError, match="fresh random numbers"):
        gradient(b, y, (x,))
