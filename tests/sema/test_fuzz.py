"""Whatever is typed ends in a program or in a located diagnostic, soon."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mutations import SPELLINGS, corpus, grafted, mutated, renamed, respelt, soup

from specc.cli.render import render
from specc.ir.verify import verify
from specc.sema import elaborate
from specc.source import Source
from specc.syntax.parser import parse

CORPUS = corpus()
SECONDS = 8  # of processor time: about a second on an idle machine


def survive(text: str) -> None:
    began = time.process_time()
    source = Source("fuzz.spec", text)
    file, mistakes = parse(source)
    made = elaborate(file, source)
    for d in (*mistakes, *made.diagnostics):
        assert d.message and 0 <= d.span.start <= d.span.stop <= len(d.span.source.text)
        assert d.span.source.name == "fuzz.spec", d
        assert render(d)
        d.as_dict()
    for program in made.programs.values():
        verify(program)
    assert time.process_time() - began < SECONDS


def typed(seed: int) -> str:
    """A text from its number: mostly mutants of specs that are nearly right, which come furthest."""
    rng = random.Random(seed)
    kind = rng.random()
    if kind < 0.35:
        return mutated(rng.choice(CORPUS), rng, rng.choice((1, 1, 2, 3, 6)))
    if kind < 0.75:
        return renamed(rng.choice(CORPUS), rng, rng.choice((1, 2, 3, 6, 12)))
    return grafted(rng) if kind < 0.9 else soup(rng, rng.randrange(1, 60))


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32))
def test_mutants(seed: int) -> None:
    survive(typed(seed))


@settings(max_examples=50, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.text(max_size=200))
@example("model m { process vp }")
@example("specc 1\nmodel m from m { data x: vector(2) from moons }")
def test_any_text(text: str) -> None:
    survive(text)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, 20_000, 500))
def test_many_mutants(start: int) -> None:
    for seed in range(start, start + 500):
        survive(typed(seed))


@pytest.mark.slow
@pytest.mark.parametrize(("sign", "other"), SPELLINGS)
def test_signs_of_other_languages(sign: str, other: str) -> None:
    rng = random.Random(0)
    for text in CORPUS:
        for mutant in respelt(text, sign, other, rng):
            survive(mutant)
