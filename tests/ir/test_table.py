"""The table of ops: every op has its reference, which gives what the shape rule says, at both levels."""

from __future__ import annotations

import numpy as np
import pytest
from cases import CASES
from op_case import EXAMPLES, Case

from specc.ir.ops import OPS, Op
from specc.ir.types import BATCH, DType
from specc.passes.batch import batch
from specc.reference.interpret import run
from specc.reference.machine import CONTROL
from specc.reference.ops import REFERENCE

KINDS = {DType.FLOAT: "f", DType.INT: "i", DType.BOOL: "b"}
EVERY = pytest.mark.parametrize("op", CASES, ids=lambda op: op.value)


def result(case: Case, dtype: str = "float64") -> np.ndarray:
    (out,) = run(case.program(), "main", case.feeds(), case.weights(), dtype=dtype, batch=EXAMPLES)
    return out


def test_every_op_has_a_row_and_a_reference():
    assert set(OPS) == set(Op)
    assert set(REFERENCE) | set(CONTROL) == set(OPS)
    shared = set(REFERENCE) & set(CONTROL)
    assert all(op is Op.SPREAD or op.value.startswith("batch_") for op in shared)


def test_every_op_on_arrays_has_cases():
    assert set(CASES) == set(REFERENCE) | {Op.NORMAL, Op.UNIFORM}
    for op, cases in CASES.items():
        assert len(cases) >= 2
        assert all(c.op is op for c in cases)
        assert len({c.level for c in cases}) == 2 or op.value.startswith(("const", "iota", "batch_"))


@EVERY
def test_result_has_the_type_of_the_rule(op: Op):
    for case in CASES[op]:
        main = case.program().functions["main"].block
        (value,) = main.results
        shape = tuple(EXAMPLES if d == BATCH else d for d in value.type.shape)
        out = result(case)
        assert out.shape == ((EXAMPLES, *shape) if value.type.axes else shape), str(case)
        assert out.dtype.kind == KINDS[value.type.dtype], str(case)
        assert np.isfinite(out).all(), str(case)


@EVERY
def test_both_levels_give_the_same(op: Op):
    for case in CASES[op]:
        program = case.program()
        if case.level == "example" and any(o.type.axes for o in case.operands):
            (lifted,) = run(batch(program), "main", case.feeds(), case.weights(), batch=EXAMPLES)
            np.testing.assert_allclose(lifted, result(case), rtol=1e-12, atol=1e-12, err_msg=str(case))


@EVERY
def test_single_precision_is_close(op: Op):
    for case in CASES[op]:
        single, double = result(case, "float32"), result(case)
        assert single.dtype == (np.float32 if double.dtype == np.float64 else double.dtype)
        np.testing.assert_allclose(single, double, rtol=2e-5, atol=2e-5, err_msg=str(case))


@pytest.mark.parametrize("op", [op for op in CASES if not op.value.startswith("batch_")], ids=lambda op: op.value)
def test_one_example_alone_is_the_same(op: Op):
    for case in CASES[op]:
        program, feeds, kinds = case.program(), case.feeds(), [o for o in case.operands if o.path is None]
        (value,) = program.functions["main"].block.results
        if not value.type.batched:
            continue
        whole = result(case)
        for b in range(EXAMPLES):
            first = {n: a[b : b + 1] if o.type.batched else a for (n, a), o in zip(feeds.items(), kinds, strict=True)}
            (alone,) = run(program, "main", first, case.weights())
            np.testing.assert_allclose(alone[0], whole[b], rtol=1e-12, atol=1e-12, err_msg=str(case))
