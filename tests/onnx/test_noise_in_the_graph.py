"""The generator inside the graph gives NumPy's numbers."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_programs import SEED, program
from specc.backends.onnx.export import export

from specc.ir.ops import Op
from specc.ir.program import Builder, Entry, Function, Ids, Input
from specc.ir.types import EXAMPLE, FLOAT, INT
from specc.passes.batch import batch
from specc.runtime import noise
from specc.runtime.ort import load

SEEDS = np.array([0, 1, -1, 2**62, -(2**63), 123456789], np.int64)


@pytest.mark.parametrize("op", [Op.NORMAL, Op.UNIFORM])
@pytest.mark.parametrize("shape", [(), (3, 5), (2000,)])
def test_numbers_are_those_of_numpy(op: Op, shape, tmp_path) -> None:
    b = Builder(Ids())
    seed, k = b.param(SEED.type), b.param(INT)
    z = b.add(op, seed, k, k, shape=shape, place=11, keyed=True, axes=(EXAMPLE,))
    f = Function(name="f", kind="entry", block=b.block(z))
    inputs = (SEED, Input(name="k", role="argument", type=INT))
    p = program((f,), f, (Entry(name="f", role="sampler", function="f", inputs=inputs, calls=0),), (1,))
    export(batch(p), "f", {}, tmp_path / "f.onnx")
    got = load(tmp_path / "f.onnx").run({"seed": SEEDS, "k": np.array(7)})["x"]
    make = noise.normal if op is Op.NORMAL else noise.uniform
    wanted = make(SEEDS, 11, shape, (7, 7))
    np.testing.assert_array_max_ulp(got, wanted, maxulp=1)
    assert np.mean(got == wanted) > 0.999


def test_a_query_that_draws_gets_a_seed(tmp_path) -> None:
    """Draws without a key: one for each example and one for the batch, inside a loop."""
    b = Builder(Ids())
    z = b.param(Input(name="z", role="data", type=FLOAT.over(EXAMPLE)).type, "z")
    step = b.child()
    step.param(INT, "k")
    h = step.param(z.type, "h")
    own = step.add(Op.NORMAL, shape=(), place=1, keyed=False, axes=(EXAMPLE,))
    common = step.add(Op.UNIFORM, shape=(), place=2, keyed=False, axes=())
    body = step.block(step.add(Op.ADD, h, step.add(Op.ADD, own, common)))
    count = b.add(Op.CONST, value=3, shape=(), dtype="int")
    f = Function(name="f", kind="entry", block=b.block(b.add(Op.FOR, count, z, regions=(body,))))
    inputs = (Input(name="z", role="data", type=z.type),)
    p = program((f,), f, (Entry(name="f", role="query", function="f", inputs=inputs),), (1,))
    export(batch(p), "f", {}, tmp_path / "f.onnx")
    model = load(tmp_path / "f.onnx")
    assert [i["role"] for i in model.inputs] == ["data", "seed"]
    zeros = np.zeros(len(SEEDS), np.float32)
    got = model.run({"seed": SEEDS, "z": zeros})["x"]
    wanted = sum(noise.normal(SEEDS, 1, (), (k,)) + noise.uniform(SEEDS[:1], 2, (), (k,)) for k in range(3))
    np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-6)
    given = {"noise_1": np.ones((3, len(SEEDS)), np.float32), "noise_2": np.zeros(3, np.float32)}
    np.testing.assert_allclose(model.run({"seed": SEEDS, "z": zeros, **given})["x"], 3)
