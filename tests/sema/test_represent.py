"""Representations and fields: what losses, queries and samplers see."""

from __future__ import annotations

import numpy as np
from sema_helpers import entry, errors, ops, program

from specc.ir.ops import Op
from specc.reference.interpret import run

PATCHES = """
specc 1
model m {
  data x: image(1, 2, 2) from digits
  represent c: vector(4) { encode(x) = 2 * flatten(x); decode(c) = reshape(c / 2, 1, 2, 2) }
  backbone net(z: vector(n)) -> like(z) { return linear(z, n) }
  loss l { minimize mean((backbone(x) - x)^2) }
  query twice { return x }
  sampler s { z ~ normal(like = x); return z }
}
""".strip().replace("from digits", 'from npy("a.npy")')


def test_entries_work_in_the_represented_space() -> None:
    made = program(PATCHES)
    x = np.arange(8.0).reshape(2, 1, 2, 2)
    np.testing.assert_array_equal(run(made, "twice", {"x": x}, {})[0], 2 * x.reshape(2, 4))
    assert made.entries["l"].inputs[0].type.shape == (1, 2, 2)
    (z,) = entry(made, "s").block.results
    assert z.type.shape == (1, 2, 2)
    noise = next(n for n in entry(made, "s").block.nodes if n.op is Op.NORMAL)
    assert noise["shape"] == (4,)


def test_what_encode_gives_has_the_promised_type() -> None:
    (found,) = {d.code for d in errors(PATCHES.replace("c: vector(4)", "c: vector(5)"))}
    assert found == "E0301"
    assert "does not give `decode`" in errors(PATCHES.replace("; decode(c) = reshape(c / 2, 1, 2, 2)", ""))[0].message


FIELDS = """
specc 1
model m {
  data x: events(8, 3) from hawkes(size = 8)
  field kind: tokens(8, 3)
  field mask: bits(8)
  network f(x: vector(n), k: tensor) -> scalar { return sum(linear(embedding(k, 2), 1)) + sum(x) }
  loss l { minimize f(x, kind) + sum(where(mask == 1, x, 0)) over f }
  sampler s { z ~ uniform(like = x); return z, zeros(like = kind) }
}
""".strip()


def test_fields_are_inputs_of_losses_and_types_in_samplers() -> None:
    made = program(FIELDS)
    assert [(i.name, i.role) for i in made.entries["l"].inputs] == [("x", "data"), ("kind", "data"), ("mask", "data")]
    assert [i.role for i in made.entries["s"].inputs] == ["seed"]
    assert [f.name for f in made.data[0].fields] == ["kind", "mask"]
    table = next(n for f in made.functions.values() for n in f.block.nodes if n.op is Op.PARAM and "embedding" in n["path"])
    assert table["shape"] == (3, 2)
    assert made.entries["s"].function and entry(made, "s").block.results[1].type.shape == (8,)


WHILE = """
specc 1
model m {
  data x: vector(2) from eight_gaussians
  sampler s {
    z = zeros(2)
    t = batch.each(0)
    while t < 3 limit 10 { e ~ normal(like = x); z = z + e; t = t + 1 }
    return z
  }
  sampler still { t = batch.each(0); while t < 3 limit 10 { t = t + 1 }; return fill(t, like = x) }
}
""".strip()


def test_each_round_of_a_while_draws_anew() -> None:
    """The variance of a sum of three draws is 3 where they differ, and would be 9 where they were one."""
    made = program(WHILE)
    z = run(made, "s", {"seed": np.arange(3000)}, {})[0]
    assert abs(z.var() - 3) < 0.3
    loop = next(n for n in entry(made, "still").block.nodes if n.op is Op.WHILE)
    assert len(loop.inputs) == 1 and Op.NORMAL not in ops(entry(made, "still"))
