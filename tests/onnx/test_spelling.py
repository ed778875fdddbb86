"""Each op of the table has an ONNX form that agrees with the reference, or a reason why it has none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from cases import CASES as TABLE
from onnx_programs import program
from op_case import EXAMPLES
from specc.backends.onnx.export import export
from specc.backends.onnx.spelling import ONNX, UNSUPPORTED

from specc.ir.ops import Op
from specc.ir.program import Builder, Entry, Function, Ids, Input, Program
from specc.ir.types import BATCH, DType, Type
from specc.passes.batch import batch
from specc.reference.interpret import run
from specc.reference.ops import REFERENCE, bind
from specc.runtime.ort import load

B = 3  # examples: a dimension 0 of this size is the batch
RNG = np.random.default_rng(7)
KINDS = {"f": DType.FLOAT, "i": DType.INT, "b": DType.BOOL}


@dataclass(frozen=True)
class Case:
    """Operands, of which those that lead with B vary by example, and attributes at array level."""

    op: Op
    args: tuple[np.ndarray, ...]
    attrs: dict[str, Any] = field(default_factory=dict)
    tolerance: float = 2e-6


def real(*shape: int, low: float = -2.5, high: float = 2.5) -> np.ndarray:
    return RNG.uniform(low, high, shape).astype(np.float32)


def whole(*shape: int, low: int = 0, high: int = 4) -> np.ndarray:
    return RNG.integers(low, high, shape)


def truth(*shape: int) -> np.ndarray:
    return RNG.random(shape) < 0.5


x, y = real(B, 4, 5), real(B, 4, 5)
PLAIN = (Op.NEG, Op.ABS, Op.SIGN, Op.EXP, Op.SIN, Op.COS, Op.ATAN, Op.TANH, Op.SIGMOID, Op.SOFTPLUS, Op.ERF)
INSIDE, ABOVE = (Op.ASIN, Op.ACOS, Op.ERFINV), (Op.LOG, Op.SQRT, Op.LGAMMA)
PAIRS = (Op.ADD, Op.SUB, Op.MUL, Op.MIN, Op.MAX, Op.EQ, Op.NE, Op.LT, Op.LE)

UP = {"stride": 2, "padding": 1, "output_padding": 1, "groups": 2}

CASES = [
    *(Case(op, (x,)) for op in (*PLAIN, Op.FLOOR, Op.CEIL, Op.ROUND, Op.SILU, Op.GELU, Op.RELU, Op.STOP)),
    Case(Op.ROUND_TO, (x,), {"format": "int8", "axes": (-1,)}),
    *(Case(op, (real(B, 6, low=-0.999, high=0.999),)) for op in INSIDE),
    *(Case(op, (real(B, 6, low=0.01, high=30),)) for op in ABOVE),
    *(Case(op, (a, b)) for op in PAIRS for a, b in ((x, real(5)), (whole(B, 4), whole(4)), (whole(B, 5), real(B, 5)))),
    Case(Op.TAN, (real(B, 5, low=-1.4, high=1.4),)),
    Case(Op.ABS, (whole(B, 5, low=-4),)),
    Case(Op.EXP, (whole(B, 5, low=-4),)),
    Case(Op.ROUND, (np.array([[0.5, 1.5, -0.5], [2.5, 3.49, -1.5], [0, 1, 2]], np.float32),)),
    Case(Op.EXPM1, (np.array([[1e-8, -1e-6], [0.5, -3], [0, 10]], np.float32),)),
    Case(Op.LOG1P, (np.array([[1e-8, -1e-6], [0.5, -0.9], [0, 100]], np.float32),)),
    Case(Op.ERFINV, (np.array([[1 - 1e-7, -1 + 1e-6], [0.9999, 0], [1, -1]], np.float32),)),
    Case(Op.LGAMMA, (np.array([[-0.5, -3.7], [0.1, -1], [0, 3]], np.float32),), tolerance=5e-6),
    Case(Op.NOT, (truth(B, 4),)),
    Case(Op.CAST, (x,), {"dtype": "int"}),
    Case(Op.CAST, (truth(B, 4),), {"dtype": "float"}),
    Case(Op.CAST, (whole(B, 4),), {"dtype": "bool"}),
    Case(Op.DIV, (whole(B, 5), whole(B, 5, low=1))),
    Case(Op.DIV, (x, real(B, 1, 5, low=0.5))),
    *(Case(op, (whole(B, 9, low=-9, high=9), np.array([-3, -2, -1, 1, 2, 3, 4, 5, 6]))) for op in (Op.FLOORDIV, Op.MOD)),
    *(Case(op, (real(B, 9, low=-9, high=9), real(9, low=0.5, high=3))) for op in (Op.FLOORDIV, Op.MOD)),
    Case(Op.POW, (real(B, 5, low=0.1), real(5))),
    Case(Op.POW, (whole(B, 5), np.array(3))),
    Case(Op.AND, (truth(B, 4), truth(4))),
    Case(Op.OR, (truth(B, 4), truth(B, 4))),
    Case(Op.WHERE, (truth(B, 1, 1), x, real(4, 5))),
    Case(Op.WHERE, (truth(B, 4), truth(B, 4), truth(B, 4))),
    Case(Op.WHERE, (truth(B, 4), whole(B, 4), real(B, 4))),
    *(Case(op, (x,), {"axes": a}) for op in (Op.SUM, Op.MEAN, Op.PROD, Op.AMAX, Op.AMIN) for a in ((-1,), (1, 2), (0,))),
    Case(Op.LOGSUMEXP, (60 * x,), {"axes": (1,)}, 2e-5),
    Case(Op.SUM, (whole(B, 5),), {"axes": (1,)}),
    Case(Op.AMAX, (truth(B, 5),), {"axes": (0,)}),
    Case(Op.ARGMAX, (np.array([[1, 2, 2], [3, 3, 1], [0, 0, 0]], np.float32),), {"axis": 1}),
    Case(Op.SOFTMAX, (40 * x,), {"axis": 1}),
    Case(Op.CUMSUM, (x,), {"axis": -1}),
    Case(Op.SORT, (x,), {"axis": 1}),
    Case(Op.RESHAPE, (x,), {"shape": (BATCH, 2, 10)}),
    Case(Op.RESHAPE, (real(B),), {"shape": (BATCH, 1, 1)}),
    Case(Op.TRANSPOSE, (x,), {"perm": (0, 2, 1)}),
    Case(Op.EXPAND, (real(B, 1, 5),), {"shape": (BATCH, 4, 5)}),
    Case(Op.EXPAND, (real(1, 5), real(B)), {"shape": (BATCH, 5)}),
    Case(Op.SLICE, (x,), {"axis": 2, "start": 1, "stop": 5, "step": 2}),
    Case(Op.CONCAT, (x, real(B, 2, 5)), {"axis": 1}),
    Case(Op.PAD, (x,), {"pads": ((0, 0), (1, 2), (0, 3)), "value": 1.5}),
    Case(Op.FLIP, (x,), {"axis": 1}),
    Case(Op.TAKE, (real(6, 5), whole(B, 2, high=6)), {"axis": 0}),
    Case(Op.TAKE, (x, whole(B, high=4)), {"axis": 1, "batch": 1}),
    Case(Op.TAKE, (x, whole(B, 2, 3, high=5)), {"axis": 2, "batch": 1}),
    Case(Op.TAKE, (real(B, 2, 3, 4), whole(B, high=4)), {"axis": 3, "batch": 1}),
    Case(Op.TAKE, (real(B, 2, 3, 4), whole(B, 2, high=3)), {"axis": 2, "batch": 1}),
    Case(Op.SCATTER_ADD, (x, whole(5, high=3)), {"axis": 2, "n": 3}),
    Case(Op.SCATTER_ADD, (x, whole(B, 4, high=6)), {"axis": 1, "n": 6, "batch": 1}),
    Case(Op.SCATTER_ADD, (real(B, 2, 3, 4), whole(B, 3, high=2)), {"axis": 2, "n": 2, "batch": 1}),
    Case(Op.SCATTER_ADD, (real(B, 4), whole(B, high=3)), {"axis": 0, "n": BATCH}),
    Case(Op.CHOLESKY, (3 * np.eye(3, dtype=np.float32) + real(B, 3, 3, low=0, high=0.5),), {}, 1e-5),
    Case(Op.INV, (3 * np.eye(3, dtype=np.float32) + real(B, 3, 3, low=0, high=0.5),), {}, 1e-5),
    Case(Op.CHOLESKY, (3 * np.eye(9, dtype=np.float32) + real(B, 9, 9, low=0, high=0.5),), {}, 1e-5),
    Case(Op.INV, (np.eye(9, dtype=np.float32)[::-1] + 0.1 * real(B, 9, 9),), {}, 1e-5),  # rows have to change places
    Case(Op.MATMUL, (x, real(5, 6)), {}, 1e-5),
    Case(Op.MATMUL, (real(B, 2, 4, 5), real(B, 1, 5, 3)), {}, 1e-5),
    Case(Op.LINEAR, (x, real(6, 5), real(6)), {}, 1e-5),
    Case(Op.LINEAR, (real(B, 5), real(6, 5), real(6)), {}, 1e-5),
    Case(Op.LINEAR, (real(B, 5), real(6, 5)), {}, 1e-5),
    Case(Op.CONV, (real(B, 4, 7, 6), real(6, 4, 3, 3), real(6)), {"stride": 2, "padding": 1}, 1e-5),
    Case(Op.CONV, (real(B, 4, 9), real(6, 2, 3)), {"groups": 2, "dilation": 2}, 1e-5),
    Case(Op.CONV, (real(4, 7, 7), real(2, 4, 3, 3), real(B)), {}, 1e-5),
    Case(Op.CONV_TRANSPOSE, (real(B, 4, 5, 5), real(4, 3, 3, 3), real(6)), UP, 1e-5),
    Case(Op.AVG_POOL, (real(B, 2, 6, 4),), {"window": 2, "spatial": 2}),
    Case(Op.AVG_POOL, (real(B, 2, 3, 6),), {"window": 3, "spatial": 1}),
    Case(Op.RESIZE, (real(B, 2, 3, 4),), {"factor": 2, "spatial": 2}),
    Case(Op.RESIZE, (real(B, 2, 4),), {"factor": 3, "spatial": 1}),
    Case(Op.LAYERNORM, (x,), {"eps": 1e-5}, 1e-5),
    Case(Op.LAYERNORM, (x, real(5), real(5)), {"eps": 1e-5}, 1e-5),
    Case(Op.GROUPNORM, (real(B, 4, 3, 3), real(4), real(4)), {"groups": 2, "eps": 1e-5, "spatial": 2}, 1e-5),
    Case(Op.GROUPNORM, (real(B, 4, 6),), {"groups": 4, "eps": 1e-5, "spatial": 1}, 1e-5),
    Case(Op.RMSNORM, (x, real(5)), {"eps": 1e-6}, 1e-5),
    Case(Op.ATTENTION, (real(B, 2, 4, 8), real(B, 2, 6, 8), real(B, 2, 6, 8)), {"causal": False}, 1e-5),
    Case(Op.ATTENTION, (real(B, 2, 4, 8), real(B, 2, 4, 8), real(B, 2, 4, 8)), {"causal": True}, 1e-5),
    Case(Op.IOTA, (real(B),), {"n": 5}),
    Case(Op.CONST, (real(B),), {"value": (1.5, -2.0), "shape": (2, 1), "dtype": "float"}),
    Case(Op.CONST, (real(B),), {"value": 3, "shape": (2,), "dtype": "int"}),
    Case(Op.SPREAD, (real(4), real(B))),
    Case(Op.BATCH_SIZE, (x,)),
    Case(Op.BATCH_INDEX, (x,)),
    Case(Op.BATCH_SUM, (x,)),
    Case(Op.BATCH_MEAN, (x,)),
    Case(Op.BATCH_TAKE, (x, whole(B, high=B))),
    Case(Op.BATCH_COST, (x, y), {"cost": "sqdist"}, 1e-5),
    Case(Op.BATCH_COST, (x, y), {"cost": "dist"}, 1e-5),
]  # fmt: skip
ELSEWHERE = {
    Op.PARAM,
    Op.NORMAL,
    Op.UNIFORM,
    Op.FOR,
    Op.WHILE,
    Op.IF,
    Op.PARTS,
    Op.CALL,
    Op.REPEAT,
    Op.BATCH_GATHER,
    Op.BATCH_SCATTER,
}
ONLY_FOR_SIZE = {Op.EXPAND: 1, Op.IOTA: 0, Op.CONST: 0, Op.BATCH_SIZE: 1}  # operands that the op itself takes


def one_op(case: Case, taken: int, result: np.ndarray) -> Program:
    """A query that applies one op to its inputs."""
    b = Builder(Ids())
    inputs = []
    for i, a in enumerate(case.args):
        shape = (BATCH, *a.shape[1:]) if a.shape[:1] == (B,) else a.shape
        inputs.append(Input(name=f"a{i}", role="data", type=Type(KINDS[a.dtype.kind], shape)))
    args = [b.param(i.type, i.name) for i in inputs]
    shape = (BATCH, *result.shape[1:]) if result.shape[:1] == (B,) else result.shape
    out = b.add(case.op, *args[:taken], types=(Type(KINDS[result.dtype.kind], shape),), **case.attrs)
    f = Function(name="query", kind="entry", block=b.block(out))
    entry = Entry(name="query", role="query", function="query", inputs=tuple(inputs), calls=0)
    from dataclasses import replace

    return replace(program((f,), f, (entry,), (1,)), level="array", networks={})


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.op.value}-{'x'.join(str(a.shape) for a in c.args)}".replace(" ", ""))
def test_op(case: Case, tmp_path) -> None:
    taken = ONLY_FOR_SIZE.get(case.op, len(case.args))
    if case.op is Op.CONV and case.args[0].ndim == 3 and case.args[0].shape[0] != B:
        taken = 2
    wide = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in case.args]
    with np.errstate(all="ignore"):
        wanted = np.asarray(REFERENCE[case.op](*wide[:taken], **bind(case.attrs, B)))
    p = one_op(case, taken, wanted)
    export(p, "query", {}, tmp_path / "op.onnx")
    got = load(tmp_path / "op.onnx").run({f"a{i}": a for i, a in enumerate(case.args)}, ["x"])["x"]
    assert got.dtype == {"f": np.float32, "i": np.int64, "b": np.bool_}[wanted.dtype.kind]
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, rtol=case.tolerance, atol=case.tolerance)


@pytest.mark.parametrize("op", TABLE, ids=lambda op: op.value)
def test_cases_of_the_table(op: Op, tmp_path) -> None:
    """The cases that all columns of the table share, at example level and at array level."""
    for i, case in enumerate(TABLE[op]):
        if op in (Op.NORMAL, Op.UNIFORM) and not case.attrs["keyed"]:
            continue
        p, path = case.program(), tmp_path / f"{i}.onnx"
        (wanted,) = run(p, "main", case.feeds(), case.weights(), batch=EXAMPLES)
        export(batch(p), "main", case.weights(), path)
        model = load(path)
        taken = {i.name for i in model.session.get_inputs()}
        feeds = {k: np.asarray(v, np.float32 if np.asarray(v).dtype.kind == "f" else None) for k, v in case.feeds().items()}
        got = model.run({k: v for k, v in feeds.items() if k in taken}, ["x"])["x"]
        np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=2e-5, err_msg=str(case))


def test_every_op_has_a_row_or_a_reason() -> None:
    assert set(ONNX).isdisjoint(UNSUPPORTED)
    assert set(ONNX) | set(UNSUPPORTED) == set(Op)


def test_every_row_is_tried() -> None:
    assert {c.op for c in CASES} | ELSEWHERE == set(ONNX)
