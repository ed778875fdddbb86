"""What calibration says of a layer's operand: the squared length of the answers of any weight follows from it."""

from __future__ import annotations

import numpy as np
import onnx_programs as made
import pytest
from specc.backends.onnx.calibrate import Calibration
from specc.backends.onnx.moments import calls, moments

from specc.ir.coding import as_matrix
from specc.ir.ops import Op
from specc.ir.program import Builder, Entry, Function, Ids, Input, Program
from specc.ir.types import FLOAT
from specc.passes.batch import batch
from specc.reference.interpret import run

SHAPES = {Op.LINEAR: (5, 6), Op.CONV: (4, 6, 3, 3), Op.CONV_TRANSPOSE: (6, 4, 3, 3)}


def layer(op: Op, shape: tuple[int, ...] | None = None, **options) -> Program:
    """A network of one layer without a bias, and a query that calls it."""
    ids = Ids()
    inner, outer = Builder(ids), Builder(ids)
    type = FLOAT.shaped((3, 6) if op is Op.LINEAR else (6, 5, 5)).over("example")
    x = inner.param(type, "x")
    w = inner.add(Op.PARAM, path="layer.weight", shape=shape or SHAPES[op], init=("zeros",))
    y = inner.add(op, x, w, **options)
    z = outer.param(type, "x")
    out = outer.add(Op.CALL, z, function="net", bundle="net", types=(y.type,))
    functions = {
        "net": Function(name="net", kind="network", block=inner.block(y)),
        "main": Function(name="main", kind="entry", block=outer.block(out)),
    }
    entry = Entry(name="main", role="query", function="main", inputs=(Input(name="x", role="data", type=type),))
    return Program(
        name="layer", level="example", spec="", digest="", functions=functions, networks={"net": "net"}, entries={"main": entry}
    )


@pytest.mark.parametrize(
    ("op", "options"),
    [
        (Op.LINEAR, {}),
        (Op.CONV, {"padding": 1}),
        (Op.CONV, {"stride": 2, "padding": 1, "dilation": 2}),
        (Op.CONV_TRANSPOSE, {"stride": 2, "padding": 1, "output_padding": 1}),
    ],
)
def test_they_give_the_length_of_every_answer(op, options):
    p, rng = batch(layer(op, **options)), np.random.default_rng(0)
    x = rng.normal(size=(7, *((3, 6) if op is Op.LINEAR else (6, 5, 5)))).astype(np.float32)
    w = rng.normal(size=SHAPES[op]).astype(np.float32)
    weights = {"net.layer.weight": w}
    made = calls(p, "main", weights, Calibration(examples=7, batch=3, conditions={"x": x}))
    assert len(made["net"]) == 3
    seen = moments(p, "net", weights, made["net"], {"net.layer.weight"})["net.layer.weight"]
    (y,) = run(p, "main", {"x": x}, weights)
    rows = as_matrix(w, op is Op.CONV_TRANSPOSE)
    np.testing.assert_allclose(np.trace(rows @ seen.second @ rows.T), (y**2).sum(), rtol=1e-4)
    if op is Op.LINEAR:
        np.testing.assert_array_equal(seen.largest, np.abs(x).max(axis=(0, 1)))


def test_channels_in_groups_are_left_out():
    p = batch(layer(Op.CONV, shape=(4, 3, 3, 3), groups=2))
    weights, x = {"net.layer.weight": np.ones((4, 3, 3, 3), np.float32)}, np.ones((2, 6, 5, 5), np.float32)
    made = calls(p, "main", weights, Calibration(examples=2, conditions={"x": x}))
    assert moments(p, "net", weights, made["net"], {"net.layer.weight"}) == {}


def test_calls_are_those_of_the_whole_trajectory():
    p = batch(made.dit_sampler(4, d=16, depth=1, heads=2, size=4))
    w = made.weights(p)
    found = calls(p, "euler", w, Calibration(examples=6, batch=4))
    times = [arguments[1] for arguments in found["backbone"]]
    assert len(times) == 8 and {len(t) for t in times} == {4, 2}
    assert {float(t[0]) for t in times} == {1, 0.75, 0.5, 0.25}
