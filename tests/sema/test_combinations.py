"""Random models from the library: accepted ones run and give numbers, refused ones say what to do."""

from __future__ import annotations

import random

import numpy as np
import pytest
from combinations import combination

from specc.ir.program import Program
from specc.ir.verify import verify
from specc.passes.batch import batch
from specc.passes.count import parameters
from specc.reference.interpret import run
from specc.sema import elaborate
from specc.sema.codes import CODES
from specc.source import Source
from specc.syntax.parser import parse

BATCH = 3


def inputs(program: Program, name: str) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    made = {}
    for wanted in program.entries[name].inputs:
        shape = (BATCH, *wanted.type.shape)
        match wanted.role:
            case "data":
                made[wanted.name] = rng.uniform(-1, 1, shape)
            case "condition":
                made[wanted.name] = rng.integers(0, wanted.classes or 1, shape)
            case "seed":
                made[wanted.name] = np.arange(BATCH)
            case _:
                pass  # an argument keeps its default
    return made


def checked(text: str) -> Program | None:
    """The program of a spec that is accepted; where one is refused, each code has a page, and each message a way out."""
    source = Source("combination.spec", text)
    file, mistakes = parse(source)
    assert not mistakes, text
    made = elaborate(file, source)
    errors = [d for d in made.diagnostics if d.severity == "error"]
    for d in made.diagnostics:
        assert d.code in CODES, text
        assert d.help or d.labels, f"{d.code} gives no way out\n{text}"
    if errors:
        assert not made.programs
        return None
    (program,) = made.programs.values()
    verify(program)
    verify(batch(program))
    return program


def check(text: str) -> bool:
    """Whether the spec was accepted; then every entry gives numbers in the reference."""
    program = checked(text)
    if program is None:
        return False
    rng = np.random.default_rng(0)
    weights = {path: rng.normal(size=shape) * 0.3 for path, shape in parameters(program).items()}
    for name in program.entries:
        for result in run(program, name, inputs(program, name), weights, dtype="float32"):
            assert np.isfinite(result).all(), f"{name}\n{text}"
    return True


@pytest.mark.parametrize("seed", range(60))
def test_combination(seed: int) -> None:
    check(combination(random.Random(seed)))


def test_most_parts_go_together() -> None:
    """The generator makes neither only what fits nor only what does not."""
    accepted = [check(combination(random.Random(seed))) for seed in range(1000, 1020)]
    assert 0.2 < np.mean(accepted) < 0.95


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, 2000, 50))
def test_many_combinations(start: int) -> None:
    for seed in range(start, start + 50):
        check(combination(random.Random(10_000 + seed)))
