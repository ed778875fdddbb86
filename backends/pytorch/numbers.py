"""How numbers are printed: with the digits that mean something, or as the closed form that folding has worked out.

`1 / 7`, `math.log(1000) / 31`, `math.sqrt(2)`: nothing is guessed, since Python computes the very same double from the text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from fractions import Fraction
from functools import cache

from specc.backends.pytorch.expressions import Level, Piece

from specc.ir.types import FLOAT, Type

TURNS = {s * v: f"{'-' * (s < 0)}{t}" for s in (1, -1) for v, t in ((2 * math.pi, "2 * math.pi"), (math.pi / 2, "math.pi / 2"))}
PLAIN = 9  # significant digits up to which a number is written as it is
LARGEST = 1000  # of numerators and denominators
BASES = {n: str(n) for n in (2, 3, 5, 10, 100, 1000, 10000)} | {2 * math.pi: "2 * math.pi"}  # of logarithms

Form = tuple[float, str, Level]  # what a text comes to, the text, how tightly it binds


def number(value: float | int | bool, type: Type = FLOAT) -> Piece:
    """A number in an expression."""
    text, level = written(value)
    return Piece(text, level, type, host=True, literal=value)


def written(value: float | int | bool) -> tuple[str, Level]:
    """The text of a number, and how tightly it binds."""
    if value in TURNS:
        return TURNS[value], Level.PRODUCT
    share, exponent = math.frexp(abs(value)) if math.isfinite(value) else (1.0, 0)
    if share == 0.5 and exponent < -10:  # of a grid of bits
        return (f"-2**{exponent - 1}", Level.SIGN) if value < 0 else (f"2**{exponent - 1}", Level.POWER)
    text = literal(value)
    if len(re.sub(r"e.*|\D", "", text).strip("0")) > PLAIN and (found := _closed_form(value)) is not None:
        return found
    return text, Level.SIGN if text.startswith("-") else Level.ATOM


def literal(value: float | int | bool) -> str:
    """A number as one would write it: 2 for 2.0, 1e-05 as 1e-5, and infinities by name."""
    if isinstance(value, bool):
        return str(value)
    if value != value:
        return "math.nan"
    if value in (float("inf"), float("-inf")):
        return "math.inf" if value > 0 else "-math.inf"
    if isinstance(value, int):
        return str(value)
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    if abs(value) == math.pi:
        return "math.pi" if value > 0 else "-math.pi"
    return re.sub(r"e([+-])0*(\d)", lambda m: f"e{'-' if m[1] == '-' else ''}{m[2]}", _shortest(float(value)))


def _shortest(value: float) -> str:
    """0.045 for 0.05 - 0.005, which is its neighbour: what was meant, not what rounding left of it."""
    short = float(f"{value:.15g}")
    near = abs(short - value) <= math.ulp(value) and len(repr(short)) + 3 <= len(repr(value))
    return repr(short if near else value)


@cache
def _closed_form(value: float) -> tuple[str, Level] | None:
    """A short expression of exactly this value."""
    for found, text, level in _forms(abs(value)):
        if found == value:
            return text, level
        if -found == value and level > Level.SUM:
            return f"-{text}", min(level, Level.SIGN)
    return None


def _forms(size: float) -> Iterator[Form]:
    """Expressions that come near a positive number, the plainest first."""
    yield _ratio(Fraction(size).limit_denominator(LARGEST))
    root = Fraction(size * size).limit_denominator(LARGEST)
    inside, text, _ = _ratio(root)
    yield math.sqrt(inside), f"math.sqrt({text})", Level.ATOM
    if 0 < root.numerator <= LARGEST:
        yield 1 / math.sqrt(1 / inside), f"1 / math.sqrt({_ratio(1 / root)[1]})", Level.PRODUCT
    turn = Fraction(size / math.pi).limit_denominator(64)
    times = "" if turn.numerator == 1 else f"{turn.numerator} * "
    over = "" if turn.denominator == 1 else f" / {turn.denominator}"
    yield turn.numerator * math.pi / turn.denominator, f"{times}math.pi{over}", Level.PRODUCT
    for base, shown in BASES.items():
        parts = round(math.log(base) / size) if size * LARGEST > 1 else 0
        if parts == 1:
            yield math.log(base), f"math.log({shown})", Level.ATOM
        elif parts:
            yield math.log(base) / parts, f"math.log({shown}) / {parts}", Level.PRODUCT
    rest = float(f"{1 - size:.4g}")
    yield 1 - rest, f"1 - {rest!r}", Level.SUM
    for k in range(3, 11) if size < 1e30 else ():
        base = float(f"{size**k:.3g}")
        yield base ** (1 / k), f"{base!r} ** (1 / {k})", Level.POWER


def _ratio(share: Fraction) -> Form:
    """A fraction; as a decimal where that is as short."""
    value, p, q = share.numerator / share.denominator, share.numerator, share.denominator
    if q == 1:
        return value, str(p), Level.ATOM
    if len(repr(value)) <= len(f"{p} / {q}"):
        return value, repr(value), Level.ATOM
    return value, f"{p} / {q}", Level.PRODUCT
