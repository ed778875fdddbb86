"""Texts that are almost specs: real ones with tokens and lines moved about, and soups of the language's own words."""

from __future__ import annotations

import random
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOKEN = re.compile(r'[ \t]*(?:"[^"\n]*"|\w+|#[^\n]*|=>|->|\.\.|//|\|>|[<>=!]=|\n|.)')


def corpus() -> list[str]:
    """Specs that compile, definitions of the library, specs with one mistake."""
    systems = [p for p in (ROOT / "specs").rglob("*.spec") if p.stat().st_size < 4000]
    bad = sorted((ROOT / "tests" / "bad").glob("*/*.spec"))[::3]
    small = [text for path in [*sorted(systems), *bad] if len(text := path.read_text(encoding="utf-8")) < 4000]
    return [*small, *SMALL]


SPELLINGS = (
    (" = ", ": "),
    (" = ", ": int = "),
    (" = ", " ~ "),
    (" = ", " += "),
    (" = ", " == "),
    (" = ", " from "),
    ("(", ": ("),
    ("{", "= {"),
    (";", " tag ;"),
    (",", ";"),
)  # of this language, and what stands in its place in others


def respelt(text: str, sign: str, other: str, rng: random.Random, most: int = 3) -> list[str]:
    """The text with one of its signs, at some places, as another language would write it."""
    places = [m.start() for m in re.finditer(re.escape(sign), text)]
    return [text[:p] + other + text[p + len(sign) :] for p in rng.sample(places, min(len(places), most))]


BODIES = {
    "sampler": "z ~ prior()\nfor (t, s) in grid(3) {\n  z = z + (s - t) * velocity(z, t)\n}\nreturn z",
    "loss": "t ~ times()\ne ~ source()\nz = draw(x, e, t)\nminimize mean((out(z, t) - target(x, e, t))^2)",
    "process": "alpha(t) = 1 - t\nsigma(t) = t",
    "network": "h = linear(flatten(z), 8)\nrepeat 2 { h = silu(linear(h, 8)) }\nreturn reshape_like(linear(h, size(z)), z)",
}
SMALL = [
    f"""specc 1
network mine(z: vector(n), t: scalar) -> like(z) {{
{BODIES["network"]}
}}
model m {{
  data x: vector(2) in [-1, 1] from moons(noise = 0.1)
  condition y: class(2) with {{ drop = 0.1 }}
  process mine(a = 1) for gaussian over t in [0, 1] {{
{BODIES["process"]}
}}
  backbone mine
  predict velocity
  loss mine {{
{BODIES["loss"]}
}}
  sampler mine {{
{BODIES["sampler"]}
}}
  sampler fast = heun(steps = 3)
  train {{ optimizer = adam(lr = 1e-3); steps = 10; batch = 4 }}
  quantize q {{ weights = int8(axis = channel); keep = [first] }}
  evaluate {{ nfe(fast) == 5 }}
}}
""",
    """specc 1
model m {
  data x: image(1, 8, 8) in [-1, 1] from digits
  condition y: class(10) with { drop = 0.1 }
  process vp(beta_min = 0.1)
  backbone dit(dim = 8, depth = 1, heads = 2)
  predict eps
  loss mse(weight = min_snr(gamma = 5))
  guidance cfg(scale = input(2.0))
  sampler ddim(steps = 3, eta = 1, spacing = quadratic)
}
""",
]
WORDS = re.findall(
    r"\S+",
    """
specc 1 model process data condition backbone predict loss sampler guidance coupling source times train network query
repeat for in static while limit if else then return minimize over require with from import as x y z t s e vp linear mlp eps
velocity mse euler heun normal uniform prior source draw target out denoise alpha sigma vector image class scalar like 0 1 2 3
-1 0.5 1e-3 1e300 10 = ~ + - * / ^ @ ( ) [ ] { } , : -> => . .. ' < == and or not |> none true false "a" input sum mean axis
channel zeros conv attention split concat reshape exp log sqrt grad stop batch mean steps width param tag m
""",
)


def mutated(text: str, rng: random.Random, count: int) -> str:
    """The text after a few changes: tokens or lines that go, come twice, change places, or are replaced."""
    for _ in range(count):
        lines = rng.random() < 0.3
        parts = text.split("\n") if lines else TOKEN.findall(text)
        if not parts:
            return text
        i, j = rng.randrange(len(parts)), rng.randrange(len(parts))
        match rng.randrange(5):
            case 0:
                del parts[i]
            case 1:
                parts.insert(j, parts[i])
            case 2:
                parts[i], parts[j] = parts[j], parts[i]
            case 3:
                parts[i] = " " + rng.choice(WORDS)
            case _:
                near = min(max(i + rng.choice((-1, 1)), 0), len(parts) - 1)
                parts[i], parts[near] = parts[near], parts[i]
        text = ("\n" if lines else "").join(parts)
    return text


NAMES = [w for w in WORDS if w.isidentifier()]
VALUES = [
    *NAMES,
    "0",
    "1",
    "2",
    "-1",
    "0.5",
    "1e300",
    "[]",
    "[1, 2]",
    "none",
    "true",
    '"a"',
    "x => x",
    "input(1)",
    "(1, 2)",
    "1..3",
    "zeros(2)",
]
SIGNS = ["+", "-", "*", "/", "//", "^", "@", "<", "==", "and", "..", "|>"]


def renamed(text: str, rng: random.Random, count: int) -> str:
    """The text with names and numbers in each other's place, and other operators: most of these still parse."""
    parts = TOKEN.findall(text)
    for _ in range(count):
        i = rng.randrange(len(parts))
        bare = parts[i].strip()
        if bare.isidentifier() or bare.isdigit():
            others = [p.strip() for p in parts if p.strip().isidentifier()]
            parts[i] = " " + rng.choice(VALUES if rng.random() < 0.5 else others or VALUES)
        elif bare in SIGNS:
            parts[i] = f" {rng.choice(SIGNS)}"
    return "".join(parts)


def soup(rng: random.Random, length: int) -> str:
    """Words at random, in a model or not."""
    words = [rng.choice([*WORDS, "\n", "\n"]) for _ in range(length)]
    text = " ".join(words)
    return f"specc 1\nmodel m {{\n{text}\n}}\n" if rng.random() < 0.5 else text


def grafted(rng: random.Random) -> str:
    """A whole model whose bodies are soups."""
    text = SMALL[0]
    kind = rng.choice(sorted(BODIES))
    body = mutated(BODIES[kind], rng, rng.randrange(1, 6))
    if rng.random() < 0.3:
        body = "\n".join([body, soup(rng, rng.randrange(1, 12))])
    return text.replace(BODIES[kind], body)
