"""`simplify` and `fold`: shorter programs of the same meaning."""

from __future__ import annotations

import numpy as np
import pytest
from programs import const, function, ops, per, program, same, single

from specc.ir.derivatives import derivative_function
from specc.ir.ops import Op
from specc.ir.program import Builder, Ids
from specc.ir.types import FLOAT, INT
from specc.passes import GRAPH, PYTORCH, run
from specc.passes.batch import batch
from specc.passes.simplify import fold, simplify
from specc.reference.interpret import evaluate

S, V = FLOAT, FLOAT.shaped((4,))


def short(types, body):
    """The ops that are left, after checks at both levels."""
    p = single(types, body)
    q = simplify(p)
    same(p, q, tolerance=1e-9)
    same(p, simplify(batch(p)), tolerance=1e-9)
    same(p, fold(p))
    return ops(q)


SHORTER = {
    "x * 1": (lambda b, x, y: b.add(Op.MUL, x, const(b, 1.0)), []),
    "0 + x": (lambda b, x, y: b.add(Op.ADD, const(b, 0.0), x), []),
    "x - x": (lambda b, x, y: b.add(Op.SUB, x, x), ["const", "spread"]),
    "x * 0": (lambda b, x, y: b.add(Op.MUL, x, const(b, 0.0)), ["const", "spread"]),
    "--x": (lambda b, x, y: b.add(Op.NEG, b.add(Op.NEG, x)), []),
    "(-x) / (-y)": (lambda b, x, y: b.add(Op.DIV, b.add(Op.NEG, x), b.add(Op.NEG, y)), ["div"]),
    "x * y / x": (lambda b, x, y: b.add(Op.DIV, b.add(Op.MUL, x, y), x), []),
    "(1 - x) + x": (lambda b, x, y: b.add(Op.ADD, b.add(Op.SUB, const(b, 1.0), x), x), ["const", "spread"]),
    "(1 - x) * y + x * y": (
        lambda b, x, y: b.add(Op.ADD, b.add(Op.MUL, b.add(Op.SUB, const(b, 1.0), x), y), b.add(Op.MUL, x, y)),
        [],
    ),
    "(1 - x) * y / (1 - x)": (
        lambda b, x, y: b.add(Op.DIV, b.add(Op.MUL, (d := b.add(Op.SUB, const(b, 1.0), x)), y), d),
        [],
    ),
    "2 * (3 * x)": (lambda b, x, y: b.add(Op.MUL, const(b, 2.0), b.add(Op.MUL, const(b, 3.0), x)), ["const", "mul"]),
    "exp(2 - 2)": (lambda b, x, y: b.add(Op.MUL, x, b.add(Op.EXP, b.add(Op.SUB, const(b, 2.0), const(b, 2.0)))), []),
    "x ^ 2": (lambda b, x, y: b.add(Op.POW, x, const(b, 2)), ["const", "pow"]),
    "x + -y": (lambda b, x, y: b.add(Op.ADD, x, b.add(Op.NEG, y)), ["sub"]),
}


@pytest.mark.parametrize("text", SHORTER)
def test_scalars(text):
    body, left = SHORTER[text]
    assert [op.value for op in short({"x": per(S), "y": per(S)}, body)] == left


def test_what_is_exact_near_one_is_not_multiplied_out():
    def body(b, x):
        one = const(b, 1.0)
        return b.add(Op.MUL, b.add(Op.SUB, one, x), b.add(Op.ADD, one, x))

    assert short({"x": per(S)}, body).count(Op.MUL) == 1


def test_arrays():
    def body(b, x):
        y = b.add(Op.MUL, b.add(Op.ADD, x, const(b, 0.0)), const(b, 1.0))
        y = b.add(Op.RESHAPE, b.add(Op.RESHAPE, y, shape=(2, 2)), shape=(4,))
        y = b.add(Op.FLIP, b.add(Op.CAST, y, dtype="float"), axis=0)
        return b.add(Op.MUL, y, const(b, 0.0)), b.add(Op.NEG, y, name="flipped")

    left = short({"x": per(V)}, body)
    assert Op.FLIP in left and not {Op.MUL, Op.ADD, Op.CAST} & set(left)


def test_names_stay_and_dead_code_goes():
    def body(b, x):
        b.add(Op.EXP, x)
        y = b.add(Op.MUL, b.add(Op.SIN, x), const(b, 1.0), name="wave")
        return b.add(Op.NEG, y)

    q = simplify(single({"x": per(V)}, body))
    assert [(n.op, n.out.name) for n in q.functions["main"].block.nodes] == [(Op.SIN, "wave"), (Op.NEG, None)]


def test_branches_and_loops_that_are_known():
    def body(b, x):
        yes, no = b.child(), b.child()
        regions = (yes.block(yes.add(Op.NEG, x)), no.block(no.add(Op.EXP, x)))
        (y,) = b.add_many(Op.IF, b.add(Op.LT, const(b, 1), const(b, 2)), regions=regions, types=(per(V),))
        region = b.child()
        region.param(INT)
        z = region.param(per(V))
        return b.add(Op.FOR, const(b, 0), y, regions=(region.block(region.add(Op.SIN, z)),))

    assert short({"x": per(V)}, body) == [Op.NEG]


def test_loops_carry_what_is_used():
    def body(b, x):
        region = b.child()
        region.param(INT)
        z, u, w = region.param(per(V)), region.param(per(V)), region.param(per(V))
        block = region.block(region.add(Op.ADD, z, u), region.add(Op.SIN, u), region.add(Op.COS, w))
        return b.add_many(Op.FOR, const(b, 3), x, x, x, regions=(block,))[0]

    q = simplify(single({"x": per(V)}, body))
    (loop,) = (n for n in q.functions["main"].block.nodes if n.op is Op.FOR)
    assert len(loop.outputs) == 2 and Op.COS not in ops(q)


def test_pipelines_keep_the_meaning():
    from test_inline import sampler

    for pipeline in (PYTORCH, GRAPH):
        p = sampler()
        same(p, run(p, pipeline), tolerance=1e-9)


def schedule():
    """log_alpha, alpha and sigma of a variance-preserving process."""
    ids, t = Ids(), per(S)

    def call(b, name, x):
        return b.add(Op.CALL, x, function=name, bundle=None, lanes=1, types=(t,))

    def log_alpha(b, x):
        square = b.add(Op.DIV, b.add(Op.MUL, const(b, -19.9), b.add(Op.POW, x, const(b, 2))), const(b, 4))
        return b.add(Op.SUB, square, b.add(Op.DIV, b.add(Op.MUL, const(b, 0.1), x), const(b, 2)))

    def sigma(b, x):
        return b.add(Op.SQRT, b.add(Op.SUB, const(b, 1.0), b.add(Op.POW, call(b, "alpha", x), const(b, 2))))

    bodies = {"log_alpha": log_alpha, "alpha": lambda b, x: b.add(Op.EXP, call(b, "log_alpha", x)), "sigma": sigma}
    return ids, {name: function(ids, name, "function", {"t": t}, body) for name, body in bodies.items()}


@pytest.mark.parametrize("name", ["log_alpha", "alpha", "sigma"])
def test_derivative_functions(name):
    ids, functions = schedule()
    prime = derivative_function(functions, functions[name], 0, ids)
    assert prime.name == f"{name}_prime"
    t = np.linspace(0.2, 0.9, 7)
    (have,) = evaluate(prime, [t], functions)
    (up,), (down,) = (evaluate(functions[name], [t + h], functions) for h in (1e-6, -1e-6))
    np.testing.assert_allclose(have, (up - down) / 2e-6, rtol=1e-6)


def test_derivatives_read_as_a_person_would_write_them():
    ids, functions = schedule()
    made = {name: derivative_function(functions, functions[name], 0, ids) for name in ("log_alpha", "alpha", "sigma")}
    assert _formula(made["log_alpha"]) == "((-9.95 mul t) sub 0.05)"
    assert _formula(made["alpha"]) == "(alpha(t) mul log_alpha_prime(t))"
    assert _formula(made["sigma"]) == "(neg((alpha(t) mul alpha_prime(t))) div sigma(t))"


def test_derivative_that_is_zero_or_of_one_argument_of_two():
    ids = Ids()
    two = function(ids, "two", "function", {"t": S, "s": S}, lambda b, t, s: b.add(Op.MUL, t, b.add(Op.FLOOR, s)))
    functions = {"two": two}
    assert derivative_function(functions, two, 1, ids) is None
    partial = derivative_function(functions, two, 0, ids)
    assert partial.name == "two_by_t" and _formula(partial) == "floor(s)"


def test_derivative_of_a_derivative():
    ids, functions = schedule()
    first = derivative_function(functions, functions["alpha"], 0, ids)
    functions[first.name] = first
    second = derivative_function(functions, first, 0, ids)
    t = np.linspace(0.2, 0.9, 7)
    (have,) = evaluate(second, [t], functions)
    (up,), (down,) = (evaluate(first, [t + h], functions) for h in (1e-6, -1e-6))
    np.testing.assert_allclose(have, (up - down) / 2e-6, rtol=1e-5)
    program_of(functions, second)


def program_of(functions, *more):
    """All of them verified, called from an entry."""
    ids = Ids(10**6)
    names = [f.name for f in more]

    def body(b: Builder, t):
        return tuple(b.add(Op.CALL, t, function=n, bundle=None, lanes=1, types=(per(S),)) for n in names)

    return program(function(ids, "main", "entry", {"t": per(S)}, body), *functions.values(), *more)


def _formula(f):
    text = {v.id: v.name for v in f.block.params}
    for n in f.block.nodes:
        args = [text[v.id] for v in n.inputs]
        match n.op:
            case Op.CONST:
                made = f"{n['value']:g}"
            case Op.CALL:
                made = f"{n['function']}({', '.join(args)})"
            case _:
                made = f"({args[0]} {n.op.value} {args[1]})" if len(args) == 2 else f"{n.op.value}({args[0]})"
        text[n.out.id] = made
    return text[f.block.results[0].id]
