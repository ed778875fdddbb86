"""Tokens, and the comments and blank lines that stand between them."""

from __future__ import annotations

from typing import Literal, NamedTuple

TriviaKind = Literal["comment", "trailing", "blank"]


class Trivia(NamedTuple):
    """A comment on a line of its own, a comment after code ("trailing"), or a run of blank lines."""

    kind: TriviaKind
    text: str
    start: int
    stop: int


class Token(NamedTuple):
    """One token with what came before it.

    `kind` is a terminal of the grammar: a class (NAME, KIND, WORD, NUMBER, ...) or the spelling itself ("(", "->", "if").
    `text` is in NFKC, except that strings keep their characters and quotes; `start` and `stop` always count in the source.
    """

    kind: str
    text: str
    start: int
    stop: int
    fresh: bool  # the first token on its line
    trivia: tuple[Trivia, ...]


INFIX = frozenset(("+", "-", "MUL", "^", "|>", "..", "CMP", "and", "or", "=", ",", "~", "->", "=>"))
"""Kinds after which a line goes on."""

OPEN_ENDED = INFIX | {":", ".", "not", "then", "else", "if", "("}

LEADING = INFIX | {":", ".", "then", "else", "'", ")", "]"}
"""Kinds that cannot begin a statement: a line that begins with one goes on from the line before."""

LEADING_WORDS = frozenset(("over", "from", "when", "every", "with"))
"""Names that do the same, where a value follows them."""

RESERVED = frozenset(("if", "then", "else", "and", "or", "not", "true", "false"))
"""The only words that can never be a name; all the others are told by where they stand."""

STATEMENT_WORDS = frozenset(("for", "while", "repeat", "return", "minimize", "update", "require", "static", "import", "specc"))

OPERAND_ENDS = frozenset(("NAME", "NUMBER", "STRING", "BOOL", ")", "]", "'"))
OPERAND_STARTS = frozenset(("NAME", "NUMBER", "STRING", "BOOL", "(", "[", "-", "not", "if"))

CLOSERS = {"(": ")", "[": "]", "{": "}"}
OPENERS = {")": "(", "]": "[", "}": "{"}
