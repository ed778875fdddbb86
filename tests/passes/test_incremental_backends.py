"""Samplers with caches as PyTorch and as ONNX, on random causal networks, against the whole sequence in the reference."""

from __future__ import annotations

from pathlib import Path

import causal_programs as causal
import numpy as np
import pytest
from programs import feeds, weights
from projects import agree
from specc.backends.onnx.export import export

from specc.passes import GRAPH, run
from specc.passes.incremental.decode import decode
from specc.reference import interpret
from specc.runtime import ort

SEEDS = [203, 205, 206, 213]  # convolutions, attention, recurrences, running sums; a `repeat` whose turns have caches


def filled(seed: int):
    p = causal.filled(causal.random_network(seed))
    single = {k: v.astype(np.float32) for k, v in weights(p).items()}
    return p, {k: v.astype(np.float32) for k, v in feeds(p).items()}, single


@pytest.mark.parametrize("seed", SEEDS)
def test_printed(seed: int):
    """A step is a method beside `forward`; the blocks of a `repeat` stay a loop."""
    p, inputs, params = filled(seed)
    text = agree(p, inputs, params, tolerance=1e-4)
    assert "def step(" in text and "model.late.step(" in text
    assert ("zip(self." in text) == (seed == 206)


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_exported(seed: int, stacked: bool, tmp_path: Path):
    p, inputs, params = filled(seed)
    made = run(decode(p, stacked), GRAPH)
    export(made, "main", params, tmp_path / "main.onnx")
    loaded = ort.load(tmp_path / "main.onnx", threads=1)
    got = loaded.session.run(None, {k: v for k, v in inputs.items() if k in {i.name for i in loaded.session.get_inputs()}})[0]
    (want,) = interpret.run(p, "main", inputs, params)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-4)
