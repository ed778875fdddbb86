"""Attention of one place after another: the op adds keys and values to its caches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from specc.backends.onnx.export import export
from specc.backends.onnx.write import initial

from specc import driver
from specc.reference import interpret
from specc.runtime import ort

TEXT = """specc 1
model lm {{
  data x: tokens(6, 7) from markov
  backbone transformer(dim = 8, depth = 2, heads = 2, causal = true, {options})
  loss next_token
  sampler ancestral = ancestral_ar
}}
"""


@pytest.mark.parametrize("options, reshapes", [("positions = learnt", False), ("positions = rotary, qk_norm = true", True)])
def test_caches(options: str, reshapes: bool, tmp_path: Path):
    """No Concat in front, which would copy them once more; where heads are nothing but cut from rows, the op does that too."""
    spec = tmp_path / "lm.spec"
    spec.write_text(TEXT.format(options=options))
    (program,) = driver.check(spec).programs.values()
    rng = np.random.default_rng(0)
    weights = {k: v + 0.3 * rng.standard_normal(v.shape).astype(np.float32) for k, v in initial(program).items()}
    export(driver.prepare(program), "ancestral", weights, tmp_path / "lm.onnx")
    (loop,) = (n for n in onnx.load(tmp_path / "lm.onnx").graph.node if n.op_type == "Loop")
    body = loop.attribute[0].g
    asked = [n for n in body.node if n.op_type == "Attention"]
    caches = [i for n in asked for i in n.input[4:6]]
    assert len(asked) == 2 and len(set(caches)) == 4 and set(caches) <= {v.name for v in body.input}
    assert {o for n in asked for o in n.output[1:]} <= {v.name for v in body.output}
    assert not any(set(n.input) & set(caches) for n in body.node if n not in asked)
    made = {o: n.op_type for n in body.node for o in n.output}
    assert all((made[n.input[0]] == "Slice") != reshapes for n in asked)

    model = ort.load(tmp_path / "lm.onnx", threads=1)
    feeds = model.feeds(ort.example_seeds(0, 5))
    (want,) = interpret.run(program, "ancestral", feeds, weights)
    np.testing.assert_array_equal(model.run(feeds, ["x"])["x"], want)
