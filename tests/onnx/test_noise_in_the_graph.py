"""The generator inside the graph gives NumPy's numbers."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_programs import SEED, program
from specc.backends.onnx.emit import UnsupportedError
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


def test_given_noise_in_a_loop(tmp_path) -> None:
    """A draw of a query in each round, by its seed or from the caller."""
    b = Builder(Ids())
    z, seed = b.param(FLOAT.over(EXAMPLE), "z"), b.param(SEED.type, "seed")
    step = b.child()
    k, h = step.param(INT, "k"), step.param(z.type, "h")
    drawn = step.add(Op.NORMAL, seed, k, shape=(), place=1, keyed=True, axes=(EXAMPLE,))
    body = step.block(step.add(Op.ADD, h, drawn))
    count = b.add(Op.CONST, value=3, shape=(), dtype="int")
    f = Function(name="f", kind="entry", block=b.block(b.add(Op.FOR, count, z, regions=(body,))))
    inputs = (Input(name="z", role="data", type=z.type), SEED)
    p = program((f,), f, (Entry(name="f", role="query", function="f", inputs=inputs),), (1,))
    export(batch(p), "f", {}, tmp_path / "f.onnx")
    model = load(tmp_path / "f.onnx")
    assert [i["role"] for i in model.inputs] == ["data", "seed"]
    zeros = np.zeros(len(SEEDS), np.float32)
    wanted = sum(noise.normal(SEEDS, 1, (), (k,)) for k in range(3))
    np.testing.assert_allclose(model.run({"seed": SEEDS, "z": zeros})["x"], wanted, rtol=1e-6, atol=1e-6)
    given = {"noise_1": np.ones((3, len(SEEDS)), np.float32)}
    np.testing.assert_allclose(model.run({"seed": SEEDS, "z": zeros, **given})["x"], 3)


def test_a_draw_of_training_is_not_exported(tmp_path) -> None:
    b = Builder(Ids())
    z = b.param(FLOAT.over(EXAMPLE), "z")
    f = Function(
        name="f",
        kind="entry",
        block=b.block(b.add(Op.ADD, z, b.add(Op.NORMAL, shape=(), place=1, keyed=False, axes=(EXAMPLE,)))),
    )
    inputs = (Input(name="z", role="data", type=z.type),)
    p = program((f,), f, (Entry(name="f", role="query", function="f", inputs=inputs),), (1,))
    with pytest.raises(UnsupportedError, match="belongs to training"):
        export(batch(p), "f", {}, tmp_path / "f.onnx")
