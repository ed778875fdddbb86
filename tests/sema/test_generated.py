"""Data that a parent's sampler draws: what may be said, and what is answered where it may not."""

from __future__ import annotations

import pytest
from sema_helpers import elaborated, errors

PARENT = """specc 1
model flow {
  data x: vector(2) from csv("a.csv", label = "low")
  condition low: vector(1)
  process linear
  backbone mlp(width = 8, depth = 1)
  predict velocity
  sampler fast = euler(steps = 4)
}
model generator {
  data x: vector(2) from moons
  latent z: vector(2) ~ normal
  network G(z) -> like(x) = mlp(width = 8, depth = 1)
  sampler once { return G(z) }
}
"""
FLOW = PARENT.replace("  condition low: vector(1)\n", "")


def stage(lines: str, parent: str = "flow") -> str:
    return f"{FLOW}stage s from {parent} {{\n  teacher = frozen({parent})\n{lines}\n}}\n"


def test_the_draws_are_an_entry_of_the_stage() -> None:
    lines = "dataset pairs = generate(teacher.fast, n = 8, keep = [noise, sample])\n  data x: vector(2) from pairs"
    made = elaborated(stage(f"  {lines}\n  field noise: vector(2)"))
    assert not made.diagnostics
    program = made.programs["s"]
    (entry,) = program.by_role("generate")
    assert [i.role for i in entry.inputs] == ["seed"]
    assert [v.name for v in program.functions[entry.function].block.results] == ["z", "e"]
    assert program.data[0].reader.get("of") == "teacher.fast"


@pytest.mark.parametrize(
    ("lines", "code", "words"),
    [
        ("dataset pairs = generate(teacher.fast)", "E0205", "no data come from `pairs`"),
        ("dataset pairs = generate(teacher.fast, many = 8)\n  data x: vector(2) from pairs", "E0205", "no setting `many`"),
        ("dataset pairs = generate(teacher.fast, n: 8)\n  data x: vector(2) from moons", "E0206", "an argument needs a value"),
        ("dataset pairs = generate(teacher.fast, n = 0)\n  data x: vector(2) from pairs", "E0601", "1 or more"),
        ("dataset pairs = generate(teacher.velocity)\n  data x: vector(2) from pairs", "E0304", "by a sampler of a parent"),
        ("dataset pairs = moons\n  data x: vector(2) from pairs", "E0304", "a dataset is written"),
        ("dataset pairs = generate(teacher.fast)\n  data x: vector(3) from pairs", "E0311", "cannot come from `flow`"),
        (
            "dataset d = generate(teacher.fast, keep = [noise, sample])\n  data x: vector(2) from d\n  field noise: vector(3)",
            "E0301",
            "of shape (2)",
        ),
        (
            "dataset pairs = generate(teacher.fast)\n  data x: vector(2) from pairs\n  field noise: vector(2)",
            "E0209",
            "keeps no `noise`",
        ),
    ],
)
def test_what_is_answered(lines: str, code: str, words: str) -> None:
    found = errors(stage(f"  {lines}"))
    assert any(d.code == code and words in d.message for d in found), [(d.code, d.message) for d in found]


def test_draws_are_made_for_seeds_and_classes_alone() -> None:
    lines = "teacher = frozen(flow)\n  dataset pairs = generate(teacher.fast)\n  data x: vector(2) from pairs"
    (found,) = errors(f"{PARENT}stage s from flow {{\n  {lines}\n}}\n")
    assert (found.code, found.message) == (
        "E0211",
        "`teacher.fast` asks for `low`, and draws are made for seeds and classes alone",
    )


def test_a_sampler_without_a_prior_keeps_no_noise() -> None:
    lines = "dataset pairs = generate(teacher.once, keep = [noise, sample])\n  data x: vector(2) from pairs"
    found = errors(stage(f"  {lines}\n  field noise: vector(2)", "generator"))
    assert [d.code for d in found] == ["E0209"]
    assert "has no `noise`" in found[0].message
