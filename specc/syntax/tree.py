"""The syntax tree: frozen nodes, each with the span of its text.

One shape serves every section and definition (LANGUAGE.md, section 2): what a kind allows is a table in `specc.sema.shape`,
not grammar. Comments and blank lines are not in the tree; the formatter reads them from the tokens.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from specc.record import record
from specc.source import Span


@record(kw_only=True)
class Node:
    span: Span


# Expressions ---------------------------------------------------------------------------------------------------------


@record(kw_only=True)
class Name(Node):
    id: str


@record(kw_only=True)
class Number(Node):
    value: int | float
    text: str


@record(kw_only=True)
class String(Node):
    value: str


@record(kw_only=True)
class Bool(Node):
    value: bool


@record(kw_only=True)
class Unary(Node):
    op: str  # "-" or "not"
    operand: Expr


@record(kw_only=True)
class Binary(Node):
    op: str  # + - * / // @ ^ .. |> == != < <= > >= and or
    left: Expr
    right: Expr


@record(kw_only=True)
class Ternary(Node):
    test: Expr
    then: Expr
    other: Expr


@record(kw_only=True)
class Lambda(Node):
    params: tuple[str, ...]  # `u => e`, `(z, t) => e`
    body: Expr


@record(kw_only=True)
class Arg(Node):
    """An argument `e`, `name = e`, or in a header a parameter `name: type` or `name: type = default`."""

    name: str | None
    type: Expr | None
    value: Expr | None


@record(kw_only=True)
class Call(Node):
    func: Expr
    args: tuple[Arg, ...]


@record(kw_only=True)
class Slice(Node):
    start: Expr | None
    stop: Expr | None


@record(kw_only=True)
class Index(Node):
    value: Expr
    items: tuple[Expr | Slice, ...]


@record(kw_only=True)
class Attribute(Node):
    value: Expr
    name: str


@record(kw_only=True)
class Prime(Node):
    value: Expr


@record(kw_only=True)
class Tuple(Node):
    """`(a, b)`: two or more items, or one with a trailing comma, or none."""

    items: tuple[Expr, ...]


@record(kw_only=True)
class Paren(Node):
    """`(a)`: kept so that the formatter prints what was written."""

    value: Expr


@record(kw_only=True)
class List(Node):
    items: tuple[Expr, ...]


@record(kw_only=True)
class Comprehension(Node):
    """`[e for p in q]`."""

    value: Expr
    pattern: tuple[str, ...]
    iterable: Expr


Expr = (
    Name
    | Number
    | String
    | Bool
    | Unary
    | Binary
    | Ternary
    | Lambda
    | Call
    | Index
    | Attribute
    | Prime
    | Tuple
    | Paren
    | List
    | Comprehension
)


# Statements ----------------------------------------------------------------------------------------------------------


@record(kw_only=True)
class Clause(Node):
    """A word with values after a head: `from digits`, `for gaussian`, `over t in [0, 1]` is two clauses, `over` and `in`."""

    word: str
    values: tuple[Expr, ...]


@record(kw_only=True)
class Block(Node):
    items: tuple[Statement, ...]


@record(kw_only=True)
class Section(Node):
    """KIND [name or call] [: type] [= value] [-> type] [~ law] [clause...] [with { overrides }] [{ body }]"""

    kind: str
    kind_span: Span
    head: Expr | None
    type: Expr | None
    values: tuple[Expr, ...]
    result: Expr | None
    law: Expr | None
    clauses: tuple[Clause, ...]
    overrides: Block | None
    body: Block | None
    extern: bool = False  # `extern reader digits(...) -> ...`: a reader that is declared here and written elsewhere


@record(kw_only=True)
class Bind(Node):
    """`a = e`, `a, b = e`, `f(t) = e`, `s: type = e`, `z ~ law`; `draw` tells `~` from `=`."""

    targets: tuple[Expr, ...]
    type: Expr | None
    values: tuple[Expr, ...]
    draw: bool
    clauses: tuple[Clause, ...]  # per batch, tag "name"


@record(kw_only=True)
class Method(Node):
    """`forward(x) -> (z, logdet) { ... }`, or an interface's bodiless `alpha(t)` (body None)."""

    name: str
    params: tuple[Arg, ...]
    result: Expr | None
    body: Block | None


@record(kw_only=True)
class For(Node):
    pattern: tuple[str, ...]
    iterable: Expr
    body: Block
    static: bool


@record(kw_only=True)
class While(Node):
    test: Expr
    limit: Expr
    body: Block


@record(kw_only=True)
class Repeat(Node):
    count: Expr
    body: Block


@record(kw_only=True)
class If(Node):
    test: Expr
    then: Block
    other: Block | None  # `else if` is a block of one If


@record(kw_only=True)
class Minimize(Node):
    value: Expr
    clauses: tuple[Clause, ...]  # over, every, when


@record(kw_only=True)
class Update(Node):
    target: Expr
    value: Expr
    clauses: tuple[Clause, ...]


@record(kw_only=True)
class Require(Node):
    test: Expr
    message: str | None


@record(kw_only=True)
class Return(Node):
    values: tuple[Expr, ...]


@record(kw_only=True)
class ExprStatement(Node):
    value: Expr


@record(kw_only=True)
class Import(Node):
    path: str
    alias: str | None


@record(kw_only=True)
class Version(Node):
    number: int


Statement = (
    Section
    | Bind
    | Method
    | For
    | While
    | Repeat
    | If
    | Minimize
    | Update
    | Require
    | Return
    | ExprStatement
    | Import
    | Version
    | Block
)


@record(kw_only=True)
class File(Node):
    items: tuple[Statement, ...]


def names_in(node: Any) -> Iterator[Name]:
    """Every name that occurs in a part of a tree."""
    if isinstance(node, Name):
        yield node
    elif isinstance(node, tuple):
        for item in node:
            yield from names_in(item)
    elif isinstance(node, Node):
        for f in dataclasses.fields(node):
            if f.name != "span":
                yield from names_in(getattr(node, f.name))
