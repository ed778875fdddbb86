"""Frantar et al. 2022: weights rounded so that the layers' answers change least. Claims about the algebra are in
tests/ir/test_methods.py; here are those about a trained model of characters (width 64, two blocks), on held-out text.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest
import quantization_tools as q
import tools
from specc.backends.onnx.calibrate import Calibration
from specc.backends.onnx.moments import calls, moments

from specc.ir.methods.grid import Grid
from specc.ir.methods.table import round_weight

SPEC = "quantization/gptq.spec"
ROW = {"axis": "channel", "affine": True}


@pytest.fixture(scope="module")
def gap():
    """Nats that a rule loses, for windows of a seed to calibrate on."""
    program, weights = q.trained(SPEC)
    before = q.nats(program, weights)

    @functools.cache
    def lost(name, seed=0, **options):
        return q.nats(program, weights, q.rounds(name, **options), seed) - before

    return lost


def lost_by_layers(bits, block=None):
    """The mean over layers of tr(dW H dW') / tr(W H W'), by the method and by the nearest."""
    program, weights = q.trained(SPEC)
    made = calls(program, "token_nll", weights, Calibration(examples=16, conditions={"x": q.windows()}))
    paths = {k for k, v in weights.items() if v.ndim == 2 and ".transformer_block." in k}
    seen = moments(program, "backbone", weights, made["backbone"], paths)
    grid = Grid(f"int{bits}", "block" if block else "channel", block, affine=True)

    def error(path, method):
        w, h = np.float64(weights[path]), seen[path].second
        d = round_weight(w, seen[path], grid, method).values() - w
        return np.trace(d @ h @ d.T) / np.trace(w @ h @ w.T)

    return [np.mean([error(path, method) for path in paths]) for method in ("gptq", "nearest")]


def test_the_spec_says_what_is_measured():
    """Rules by rows with a zero; tables and the last layer stay."""
    program = tools.model(SPEC)
    rule = q.named(program, "w3").rules[-1]
    assert rule.weights is not None and rule.weights.name == "int3" and rule.weights.get("method") == "gptq"
    assert q.named(program, "w3").calibrate == "token_nll"


@pytest.mark.slow
def test_three_bits(gap):
    """Measured: layer errors 0.0075 against 0.0181 of the nearest; nats lost 0.0122 and 0.0158 against 0.0292."""
    found, nearest = lost_by_layers(3)
    assert found <= 0.5 * nearest
    assert (gap("int3", method="gptq", **ROW) + gap("int3", method="gptq", seed=1, **ROW)) / 2 <= 0.6 * gap("int3", **ROW)


@pytest.mark.slow
def test_eight_bits_cost_nothing(gap):
    assert abs(gap("int8", **ROW)) < 0.001 and abs(gap("int8", method="gptq", **ROW)) < 0.001


@pytest.mark.slow
def test_groups_at_two_bits(gap):
    """Measured: layer errors 0.0424 by rows, 0.0352 in groups of 32, 0.0262 of 16; nats 0.0898 by rows, 0.0589 in groups
    of 16."""
    rows, wide, narrow = (lost_by_layers(2, block)[0] for block in (None, 32, 16))
    assert rows > wide > narrow
    assert gap("int2", method="gptq", block=16, affine=True) <= 0.85 * gap("int2", method="gptq", **ROW)


@pytest.mark.slow
def test_calibration_on_rounded_layers(gap):
    """Measured nats at 2, 3 and 4 bits: 0.0898 against 0.0958, 0.0122 against 0.0151, 0.0030 against 0.0033."""
    for bits in (2, 3, 4):
        assert gap(f"int{bits}", method="gptq", **ROW) <= 1.05 * gap(f"int{bits}", method="gptq", sequential=False, **ROW)


@pytest.mark.slow
def test_the_most_active_first():
    """With outliers among the operands, by the row's factor (0.268 of 0.308 nats at 2 bits) in the sum over two seeds.

    Measured at 2 bits: 0.320 against 0.400, and 0.170 against 0.222 at 3. The order matters where channels differ in activity:
    the paper's gain is on models whose channels do. Here, by root mean squares, the most active channel of a layer is 1.3 to
    3.5 times the middle one, and the order decides nothing (0.268 of 0.289 nats over three seeds, one of them the other way
    round); four channels 20 times as large make it 22 to 35 times.
    """
    program, plain = q.trained(SPEC)
    weights = q.wild(plain)
    before = q.nats(program, weights)
    assert abs(before - q.nats(program, plain)) < 1e-4

    def lost(bits, seed, **more):
        return q.nats(program, weights, q.rounds(f"int{bits}", method="gptq", **more, **ROW), seed) - before

    for bits in (2, 3):
        ordered, plain = (sum(lost(bits, seed, **more) for seed in (0, 1)) for more in ({"act_order": True}, {}))
        assert ordered <= 0.268 / 0.308 * plain
