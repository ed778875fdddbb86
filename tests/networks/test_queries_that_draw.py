"""A query draws by the seed of its example: one seed gives one answer, in every backend, alone and in a batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from everywhere import everywhere, parameters, query

from specc import driver
from specc.reference.interpret import run

DATA = "data x: vector(2) from moons"
FLOW = f"{DATA}\nprocess linear\nbackbone mlp(width = 8, depth = 1)\npredict velocity\nsampler euler(steps = 1)"
PARTS = """\
    e ~ normal(like = x)
    if batch.part(1 / 2) { u ~ uniform(like = x); a = e + u } else { v ~ normal(like = x); a = v }
    return a + e"""
BODIES = {
    "one draw and its gradient": "e ~ normal(like = x)\nreturn sum(x * e) + sum(grad(sum((x + e)^3), x))",
    "fresh draws": "z = x\nfor k in 1..3 { for j in 1..2 { e ~ rademacher(like = x); z = z + e / k } }\nreturn z",
    "a class drawn": "logits = x\nk ~ categorical(logits)\nreturn 1.0 * k + x[0]",
    "rounds by example": "z = x[0]\nwhile z < 2 limit 30 { u ~ uniform(); z = z + u }\nreturn z",
    "parts of a batch": PARTS,
}
X = np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32)
SEEDS = np.array([3, 1, 4, -1, 5, 2**40])


@pytest.mark.parametrize("body", BODIES.values(), ids=list(BODIES))
def test_the_three_agree(body: str, tmp_path: Path) -> None:
    text = f"model m {{\n{FLOW}\nquery main {{\n{body}\n}}\n}}"
    found = everywhere(tmp_path, text, x=X, seed=SEEDS)
    program = query(tmp_path, text)
    assert [i.role for i in program.entries["main"].inputs] == ["data", "seed"]
    other = run(program, "main", {"x": X, "seed": SEEDS + 1}, parameters(program))[0]
    assert not np.allclose(found, other)
    if body is PARTS:
        return  # where an example stands in its batch says which part it is in
    for i in (0, 3):
        alone = run(program, "main", {"x": X[i : i + 1], "seed": SEEDS[i : i + 1]}, parameters(program))[0]
        np.testing.assert_array_equal(alone[0], found[i])


def test_a_trace_by_a_probe(tmp_path: Path) -> None:
    """Hutchinson's estimate of a flow's likelihood is right on average, and each answer is that of its seed."""
    body = """\
query main {
    e ~ rademacher(like = x)
    v = velocity(x, 0.5)
    return sum(e * grad(sum(e * v), x))
}
"""
    text = f"model m {{\n{FLOW}\n{body}}}"
    one = np.repeat(X[:1], 400, axis=0)
    found = everywhere(tmp_path, text, x=one, seed=np.arange(400))
    exact = text.replace(body, "query main { v = velocity(x, 0.5); return grad(v[0], x)[0] + grad(v[1], x)[1] }\n")
    wanted = everywhere(tmp_path, exact, x=one[:1])
    np.testing.assert_allclose(found.mean(), wanted[0], atol=4 * found.std() / 20 + 1e-6)
    assert found.std() > 1e-3


def test_without_draws_there_is_no_seed(tmp_path: Path) -> None:
    program = query(tmp_path, f"model m {{\n{FLOW}\nquery main {{ return velocity(x, 0.5) }}\n}}")
    assert [i.name for i in program.entries["main"].inputs] == ["x"]


def test_it_asks_for_the_conditions_that_it_reads(tmp_path: Path) -> None:
    """A sampler of the same model takes them all; a knob called as an output of its file has one underscore."""
    flow = FLOW.replace("process", "condition y: class(2) with { drop = 0.1 }\ncondition low = sum(x)\nprocess")
    sampler = "sampler mine(x = input(2.0)) { z ~ prior(); return x * z }"
    plain, asking = (f"model m {{\n{flow}\n{sampler}\nquery main {{ return {e} }}\n}}" for e in ("2 * x", "velocity(x, low)"))
    assert [i.name for i in query(tmp_path, plain).entries["main"].inputs] == ["x"]
    (program,) = driver.check(tmp_path / "m.spec").programs.values()
    assert [i.name for i in program.entries["mine"].inputs] == ["seed", "y", "x_"]
    everywhere(tmp_path, plain, x=X)
    assert [i.name for i in query(tmp_path, asking).entries["main"].inputs] == ["x", "y", "low"]
    everywhere(tmp_path, asking, x=X, y=np.arange(6) % 3, low=X[:, 0])


def test_a_query_about_nothing_has_only_a_seed(tmp_path: Path) -> None:
    text = "model m {\nnetwork f(z) -> scalar = mlp(width = 4)\nquery main { e ~ normal(like = zeros(2)); return f(e) }\n}"
    program = query(tmp_path, text)
    assert [i.name for i in program.entries["main"].inputs] == ["seed"]
    found = everywhere(tmp_path, text, seed=SEEDS)
    assert len(np.unique(found)) == len(SEEDS)


def test_a_sampler_draws_in_parts_of_a_batch(tmp_path: Path) -> None:
    """Its seeds are what says how many examples a part has."""
    text = f"model m {{\n{FLOW}\nsampler main {{\n{PARTS}\n}}\n}}"
    program = query(tmp_path, text)
    found = run(program, "main", {"seed": SEEDS}, {})[0]
    np.testing.assert_allclose(run(driver.prepare(program), "main", {"seed": SEEDS}, {})[0], found, rtol=1e-6)
    other = run(program, "main", {"seed": SEEDS[:2]}, {})[0]
    np.testing.assert_array_equal(other[0], found[0])
