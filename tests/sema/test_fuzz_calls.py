"""Every function of the language, given values of every sort in every place, ends in a program or in a located diagnostic."""

from __future__ import annotations

import random
from functools import cache

import pytest
from test_fuzz import survive

from specc.sema import builtins, elaborate
from specc.sema.layers import LAYERS
from specc.source import Source
from specc.syntax.parser import parse

NAMES = sorted({*builtins.environment().names, *LAYERS})
VALUES = """z t y v h 0 1 2 -1 3 0.5 -0.5 1e9 2^70 true none "a" pi [1,2] [] [z,z] [1.0,-2.0] [0,1] (z,t) 0..1
0..t u=>u u=>2*u (u,w)=>u+w
u=>"a" channel uniform exact normal alpha alpha' velocity draw times x normal(z,1) net source t>0.5 int(t) input(2.0) like(z)
zeros(4) batch size like vector(2) image(1,2,2) moons""".split()  # noqa: SIM905
LIKELY = "z t y v h 1 2 3 0.5 [z,z] [1,2] u=>2*u".split()  # noqa: SIM905
KNOBS = """axis like count kernel stride padding groups mode bias init weight eps heads dim top by steps scale seed start stop
step keep over size width high low spacing n p causal dilation""".split()  # noqa: SIM905
MODEL = """specc 1
model m {{
  data x: vector(2) from gaussians(k = 3)
  condition y: class(3)
  process linear
  backbone net(z: vector(2), t: scalar, y: class(3)) -> like(z) {{
    v = linear(concat([z, reshape(t, 1), embedding(y, 3)]), 8)
    h = reshape(v, 2, 2, 2)
    {inside}
    return linear(v, 2)
  }}
  predict velocity
  loss mine for gaussian {{
    t ~ times()
    e ~ source()
    z = draw(x, e, t)
    v = z
    h = reshape(z, 1, 2, 1)
    {loss}
    minimize mean((out(z, t) - target(x, e, t))^2)
  }}
  sampler mine {{
    z ~ prior()
    v = z
    h = reshape(z, 1, 2, 1)
    for (t, s) in grid(3) {{
      {sampler}
      z = z + (s - t) * velocity(z, t)
    }}
    return z
  }}
}}
"""


@cache
def takes(name: str) -> dict[int, list[str]]:
    """How many arguments it takes, and which knobs it has beside them, as its diagnostics tell."""
    counts = [n for n in range(5) if "E0206" not in codes(f"q = {name}({', '.join(['z'] * n)})")] or [1]
    knobs = [k for k in KNOBS if "E0205" not in codes(f"q = {name}({', '.join(['z'] * counts[0] + [f'{k} = 1'])})")]
    return {n: knobs for n in counts}


def codes(line: str) -> set[str]:
    source = Source("fuzz.spec", MODEL.format(inside=line, loss="", sampler=""))
    file, mistakes = parse(source)
    try:
        return {d.code for d in (*mistakes, *elaborate(file, source).diagnostics)}
    except Exception:  # what the tests below are to find
        return set()


def call(name: str, rng: random.Random) -> str:
    """A call with as many arguments as it takes, seven times in eight, and some of its knobs."""
    known = takes(name)
    count = rng.choice([*known]) if rng.random() < 7 / 8 else rng.randrange(5)
    values = [rng.choice(LIKELY if rng.random() < 0.5 else VALUES) for _ in range(count)]
    knobs = [k for k in known.get(count, KNOBS) if rng.random() < 0.3]
    return f"{name}({', '.join([*values, *(f'{k} = {rng.choice(VALUES)}' for k in knobs[:3])])})"


def spec(name: str, rng: random.Random) -> str:
    """A model that calls it in its network, loss or sampler, where the value goes on into a sum."""
    place = rng.choice(("inside", "loss", "sampler"))
    made = call(name, rng)
    other = call(rng.choice(NAMES), rng)
    use = rng.choice((f"q = {made}", f"q ~ {made}", f"v = v + {made}", f"v = v * sum({made})", f"v = {other} + {made}"))
    return MODEL.format(**{"inside": "", "loss": "", "sampler": ""} | {place: use})


@pytest.mark.parametrize("name", NAMES[::24])
def test_calls_of_it_are_survived(name: str) -> None:
    for seed in range(5):
        survive(spec(name, random.Random(f"{name} {seed}")))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_many_calls_of_it_are_survived(name: str) -> None:
    for seed in range(5, 50):
        survive(spec(name, random.Random(f"{name} {seed}")))
