"""Attention of one place after another: the op adds keys and values to its caches, and loops carry them as it gives them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from specc.backends.onnx.export import export
from specc.backends.onnx.write import initial

from specc import driver
from specc.ir.program import Program
from specc.reference import interpret
from specc.runtime import ort

TEXT = """specc 1
model lm {{
  data x: tokens(6, 7) from markov
  backbone transformer(dim = 8, depth = 2, heads = 2, causal = true, {options})
  loss next_token
  sampler ancestral
}}
"""


GUIDED = Path(__file__).parents[2] / "specs" / "tokens" / "llamagen.spec"


def round_of(file: Path) -> onnx.GraphProto:
    """What the sampler's loop does in each round."""
    (loop,) = (n for n in onnx.load(file).graph.node if n.op_type == "Loop")
    return loop.attribute[0].g


def agrees(program: Program, file: Path, weights: dict[str, np.ndarray]) -> None:
    model = ort.load(file, threads=1)
    feeds = model.feeds(ort.example_seeds(0, 5))
    (want,) = interpret.run(program, "ancestral", feeds, weights)
    np.testing.assert_allclose(model.run(feeds, ["x"])["x"], want, rtol=0, atol=1e-5 * np.abs(want).max())


def some(program: Program) -> dict[str, np.ndarray]:
    """Weights that are nowhere zero."""
    rng = np.random.default_rng(0)
    return {k: v + 0.3 * rng.standard_normal(v.shape).astype(np.float32) for k, v in initial(program).items()}


@pytest.mark.parametrize("options, reshapes", [("positions = learnt", False), ("positions = rotary, qk_norm = true", True)])
def test_caches(options: str, reshapes: bool, tmp_path: Path):
    """No Concat in front, which would copy them once more; where heads are nothing but cut from rows, the op does that too."""
    spec = tmp_path / "lm.spec"
    spec.write_text(TEXT.format(options=options))
    (program,) = driver.check(spec).programs.values()
    weights = some(program)
    export(driver.prepare(program), "ancestral", weights, tmp_path / "lm.onnx")
    body = round_of(tmp_path / "lm.onnx")
    asked = [n for n in body.node if n.op_type == "Attention"]
    caches = [i for n in asked for i in n.input[4:6]]
    assert len(asked) == 2 and len(set(caches)) == 4 and set(caches) <= {v.name for v in body.input}
    assert {o for n in asked for o in n.output[1:]} <= {v.name for v in body.output}
    assert not any(set(n.input) & set(caches) for n in body.node if n not in asked)
    made = {o: n.op_type for n in body.node for o in n.output}
    assert all((made[n.input[0]] == "Slice") != reshapes for n in asked)
    agrees(program, tmp_path / "lm.onnx", weights)


def test_caches_of_guidance(tmp_path: Path):
    """The caches of both calls stay in one tensor from round to round: joined and taken apart they were copied twice more."""
    program = driver.check(GUIDED).programs["llamagen"]
    weights = some(program)
    export(driver.prepare(program), "ancestral", weights, tmp_path / "guided.onnx")
    body = round_of(tmp_path / "guided.onnx")
    asked = [n for n in body.node if n.op_type == "Attention"]
    assert len(asked) == 2 and {i for n in asked for i in n.input[4:6]} <= {v.name for v in body.input}
    assert {o for n in asked for o in n.output[1:]} <= {v.name for v in body.output}
    assert len(body.input) == 2 + 1 + 4  # the round and whether to go on, the tokens, keys and values of two blocks
    agrees(program, tmp_path / "guided.onnx", weights)
