"""Pieces of printed Python: text that knows how tightly it binds, so that parentheses appear only where they must."""

from __future__ import annotations

import re
from enum import IntEnum

from specc.ir.types import FLOAT, Type
from specc.record import record


class Level(IntEnum):
    """How tightly an expression binds, loosest first."""

    CHOICE = 1  # a if c else b
    OR = 2
    AND = 3
    NOT = 4
    COMPARE = 5
    BIT_OR = 6
    BIT_AND = 7
    SUM = 8
    PRODUCT = 9
    SIGN = 10
    POWER = 11
    ATOM = 12


@record
class Piece:
    """An expression: its text, how tightly it binds, its type in the IR, and whether it is a plain Python number (`host`)
    rather than a tensor. `literal` is the number itself where it is known."""

    text: str
    level: Level = Level.ATOM
    type: Type = FLOAT
    host: bool = False
    literal: float | int | bool | None = None
    whole: bool = False  # a number that may be an int in Python

    def at(self, level: Level) -> str:
        """The text, in parentheses if it binds less tightly than its place asks for."""
        return self.text if self.level >= level else f"({self.text})"

    @property
    def atom(self) -> str:
        """The text as something that a method or an index may follow."""
        return f"({self.text})" if self.level < Level.ATOM or self.text[:1].isdigit() else self.text

    @property
    def is_atom(self) -> bool:
        return self.level >= Level.ATOM and not self.text[:1].isdigit()


INFIX: dict[str, Level] = {
    "+": Level.SUM,
    "-": Level.SUM,
    "*": Level.PRODUCT,
    "/": Level.PRODUCT,
    "//": Level.PRODUCT,
    "%": Level.PRODUCT,
    "@": Level.PRODUCT,
    "&": Level.BIT_AND,
    "|": Level.BIT_OR,
    "and": Level.AND,
    "or": Level.OR,
}
SIMPLE = re.compile(r"-?[\w.]+")  # operands of ** that stand close to it


def infix(symbol: str, left: Piece, right: Piece) -> tuple[str, Level]:
    """left symbol right, for operators that group from the left."""
    level = INFIX[symbol]
    tighter = Level(level + 1)
    if symbol in "+-" and right.text.startswith("-") and right.level >= Level.PRODUCT:  # a + -b is a - b
        return f"{left.at(level)} {'-' if symbol == '+' else '+'} {right.text[1:]}", level
    return f"{left.at(level)} {symbol} {right.at(tighter)}", level


MIRRORED = {"<": ">", "<=": ">=", "==": "==", "!=": "!="}


def compare(symbol: str, left: Piece, right: Piece) -> tuple[str, Level]:
    if left.literal is not None and right.literal is None:  # x >= 0 rather than 0 <= x
        left, right, symbol = right, left, MIRRORED[symbol]
    return f"{left.at(Level.BIT_OR)} {symbol} {right.at(Level.BIT_OR)}", Level.COMPARE


def power(base: Piece, exponent: Piece) -> tuple[str, Level]:
    left, right = base.at(Level.ATOM), exponent.at(Level.SIGN)
    space = "" if SIMPLE.fullmatch(left) and SIMPLE.fullmatch(right) else " "
    return f"{left}{space}**{space}{right}", Level.POWER


def negated(x: Piece) -> tuple[str, Level]:
    return f"-{x.at(Level.SIGN)}", Level.SIGN


def call(function: str, *args: str, **options: str | None) -> str:
    """function(args..., option=value...), without the options that are None."""
    named = [f"{k}={v}" for k, v in options.items() if v is not None]
    return f"{function}({', '.join([*args, *named])})"


def tuple_of(parts: list[str]) -> str:
    return f"({parts[0]},)" if len(parts) == 1 else f"({', '.join(parts)})"
