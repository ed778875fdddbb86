"""Every definition of the library, with knobs of every sort, ends in a program or in a located diagnostic."""

from __future__ import annotations

import random

import pytest
from test_fuzz import survive
from test_fuzz_calls import VALUES

from specc.sema import library

PARTS = {
    "reader": "data x: vector(2) from {}",
    "process": "process {}",
    "source": "source {}",
    "coupling": "coupling {}",
    "times": "times {}",
    "network": "backbone {}",
    "backbone": "backbone {}",
    "predict": "predict {}",
    "loss": "loss {}",
    "weight": "loss mse(weight = {})",
    "guidance": "guidance {}",
    "sampler": "sampler s = {}",
    "grid": "sampler s = euler(steps = 3, spacing = {})",
    "optimizer": "train {{ optimizer = {} }}",
    "decay": "train {{ decay = {} }}",
    "query": "query {}",
    "law": "query drawn {{ v ~ {}; return v }}",
    "function": "query made {{ return {} }}",
}
USUAL = {
    "reader": "data x: vector(2) from gaussians(k = 3)",
    "condition": "condition y: class(3) with { drop = 0.1 }",
    "process": "process linear",
    "network": "backbone mlp(width = 8)",
    "predict": "predict velocity",
    "sampler": "sampler s = euler(steps = 3)",
}
INSTEAD = {"backbone": "network", "grid": "sampler"}  # parts that stand in the place of another one
KNOWN = [e for e in library.catalogue() if e.kind in PARTS]


def spec(entry: library.Entry, rng: random.Random) -> str:
    """A model that uses it with some of its knobs given, seldom with one that it has not, sometimes as another kind."""
    found = library.find(entry.kind, entry.name)
    assert found is not None
    names = [p.name for p in found.params if p.name and rng.random() < 0.4] + ["steps"] * (rng.random() < 0.05)
    given = [rng.choice(VALUES)] * (rng.random() < 0.2) + [f"{name} = {rng.choice(VALUES)}" for name in names]
    kind = entry.kind if rng.random() < 0.95 else rng.choice([*PARTS])
    place = INSTEAD.get(kind, kind)
    parts = USUAL | {place: PARTS[kind].format(f"{entry.name}({', '.join(given)})" if given else entry.name)}
    return "specc 1\nmodel m {\n  " + "\n  ".join(parts.values()) + "\n}\n"


@pytest.mark.parametrize("entry", KNOWN[::24], ids=lambda e: f"{e.kind} {e.name}")
def test_knobs_of_it_are_survived(entry: library.Entry) -> None:
    for seed in range(5):
        survive(spec(entry, random.Random(f"{entry.kind} {entry.name} {seed}")))


@pytest.mark.slow
@pytest.mark.parametrize("entry", KNOWN, ids=lambda e: f"{e.kind} {e.name}")
def test_many_knobs_of_it_are_survived(entry: library.Entry) -> None:
    for seed in range(5, 50):
        survive(spec(entry, random.Random(f"{entry.kind} {entry.name} {seed}")))
