"""Kim et al. 2023: blocks as large as each weight allows, found from the weight alone. How it chooses on matrices with and without
outliers is in tests/ir/test_methods.py.
"""

from __future__ import annotations

import numpy as np
import pytest
import quantization_tools as q
import tools

from specc.ir.coding import encode

SPEC = "quantization/finequant.spec"
WILD = "backbone.transformer_block.0.attention.linear.weight"


def planted(weights, channel=11, times=16):
    """The same function with an outlier: a normalisation gives 1 / 16 in one channel, and the layer after it takes 16 times."""
    out = {path: w.copy() for path, w in weights.items()}
    out["backbone.transformer_block.0.layernorm.weight"][channel] /= times
    out["backbone.transformer_block.0.layernorm.bias"][channel] /= times
    out[WILD][:, channel] *= times
    return out


@pytest.mark.parametrize("name", ["int8", "int4", "int3"])
@pytest.mark.parametrize("block", [None, 64, 16])
def test_codes_are_within_half_a_step(name, block):
    """And the bytes are those of the codes and of a scale of 4 bytes a block (the paper's are of 2)."""
    w = np.random.default_rng(0).normal(size=(32, 128)).astype(np.float32)
    made = encode(w, name, "block" if block else "channel", block)
    assert np.all(np.abs(made.values() - w) <= 0.5001 * made.scales.spread(128))
    bits = int(name[3:])
    assert made.nbytes == w.size * bits // 8 + 4 * w.size // (block or 128)


def test_the_report_says_which_blocks_were_chosen():
    """Random weights have no outliers and keep one scale a row; the planted one has 8 bits."""
    program = tools.graph(SPEC)
    rng = np.random.default_rng(0)
    weights = {k: rng.normal(size=s).astype(np.float32) for k, s in tools.shapes(SPEC).items()}
    _, report = q.written(program, planted(weights), q.named(program, "fine"))
    rows = {r.path: r.format for r in report.quantization.layers if ".transformer_block." in r.path}
    assert rows.pop(WILD) == "int8 by channel"
    assert {f for path, f in rows.items() if path.endswith(".weight")} == {"int4 by channel"}


@pytest.mark.slow
def test_perplexity(capsys):
    """Measured, of the perplexity in float: XX by rows, XX with blocks as chosen, at XX of the bytes of half precision."""
    program, plain = q.trained(SPEC)
    weights = planted(plain)
    before = q.nats(program, weights)
    assert abs(before - q.nats(program, plain)) < 1e-4
    rows = np.exp(q.nats(program, weights, q.named(program, "columns")) - before)
    fine = np.exp(q.nats(program, weights, q.named(program, "fine")) - before)
    _, report = q.written(program, weights, q.named(program, "fine"))
    done = [r for r in report.quantization.layers if r.format.startswith("int")]
    assert {r.path for r in done if r.format.startswith("int8")} == {WILD}
    assert rows >= 1.5
    assert fine <= 1.03
    assert sum(r.bytes_after for r in done) <= 0.3 * sum(r.bytes_before for r in done) / 2
