"""A network whose gradient is taken runs forward once: its value and its gradient share the pass."""

from __future__ import annotations

import numpy as np
import pytest
from specc.backends.onnx.write import initial

from specc.ir.ops import Op
from specc.ir.program import Program, walk
from specc.passes import GRAPH, run
from specc.passes.count import Calls, network_calls
from specc.passes.expand_grad import written_out
from specc.passes.inline import flatten
from specc.reference import interpret
from specc.sema import elaborate
from specc.source import Source
from specc.syntax.parser import parse

SPEC = """specc 1
model guided {
  data x: vector(2) from moons
  condition y: class(2)
  process vp
  backbone mlp(width = 8)
  network judge(z: vector(2), t: scalar) -> vector(2) {
    h = linear(concat([z, reshape(t, 1)]), 8)
    repeat 2 { h = layernorm(linear(silu(h), 8)) }
    return linear(h, 2)
  }
  predict velocity
  loss mse
  loss judged = noisy_classifier(net = judge)
  guidance classifier(net = judge)
  SAMPLER
}
"""


def program(sampler: str) -> Program:
    source = Source("guided.spec", SPEC.replace("SAMPLER", sampler))
    file, mistakes = parse(source)
    made = elaborate(file, source)
    assert not mistakes and not [d for d in made.diagnostics if d.severity == "error"], made.diagnostics
    return made.programs["guided"]


def maps(p: Program, entry: str, root: str) -> int:
    """Linear maps with a weight of a network that one run of an entry's text does."""
    block = flatten(p, entry).block
    paths = {n.out.id: n["path"] for n in walk(block) if n.op is Op.PARAM}
    used = [paths.get(v.id, "") for n in walk(block) if n.op is Op.LINEAR for v in n.inputs[1:2]]
    return sum(path.startswith(root) for path in used)


def test_the_forward_pass_is_shared_and_still_counted() -> None:
    p = program("sampler euler(steps = 3)")
    made = run(p, GRAPH)
    assert maps(made, "euler", "judge") == 4  # without sharing 8, and its linear maps twice
    assert network_calls(made, "euler") == network_calls(p, "euler") == Calls(6, 6)
    assert made.entries["euler"].hidden == (3, 3)
    weights = initial(p)
    feeds = {"seed": np.arange(4), "y": np.array([0, 1, 0, 1])}
    np.testing.assert_allclose(*(interpret.run(q, "euler", feeds, weights)[0] for q in (p, made)), rtol=1e-9)


def test_a_number_of_calls_that_depends_on_the_data_stays_unknown() -> None:
    """The file counts those itself, from its calls."""
    p = program("sampler adaptive = dopri5(rtol = 0.1, atol = 0.1, limit = 4)")
    assert network_calls(run(p, GRAPH), "adaptive") is None
    assert written_out(p).functions == p.functions


@pytest.mark.parametrize("sampler", ["sampler plain { z ~ prior(); return z + judge(z, t_max)[0] }"])
def test_without_a_gradient_calls_stay(sampler: str) -> None:
    p = program(sampler)
    assert written_out(p).functions["plain"] is p.functions["plain"]
