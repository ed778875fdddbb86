"""The generator inside the graph gives NumPy's numbers."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_programs import SEED, program
from specc.backends.onnx.export import export

from specc.ir.ops import Op
from specc.ir.program import Builder, Entry, Function, Ids, Input
from specc.ir.types import EXAMPLE, INT
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
