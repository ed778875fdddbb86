"""What the tests of the syntax share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from specc.diagnostics import Diagnostic
from specc.source import Source
from specc.syntax import tree
from specc.syntax.parser import parse

HERE = Path(__file__).parent
SPECS = sorted(HERE.glob("*.spec"))


def plain(node: Any) -> Any:
    """A tree as nested tuples, without the spans."""
    if isinstance(node, tree.Node):
        return (type(node).__name__, *(plain(getattr(node, slot)) for slot in type(node).__slots__ if "span" not in slot))
    return tuple(map(plain, node)) if isinstance(node, tuple) else node


def one(text: str) -> tree.Statement:
    """The only statement of a text without errors."""
    file, found = parse(Source("test.spec", text))
    assert not found, found
    (item,) = file.items
    return item


def shown(diagnostic: Diagnostic) -> str:
    """A diagnostic on one line: code, place, message, labels and help."""
    labels = "".join(f" [{x.span.line}:{x.span.column} {x.text}]" for x in diagnostic.labels)
    place = f"{diagnostic.code} {diagnostic.span.line}:{diagnostic.span.column}"
    return f"{place} {diagnostic.message}{labels}" + (f" | {diagnostic.help}" if diagnostic.help else "")


def errors(text: str) -> list[str]:
    return [shown(d) for d in parse(Source("test.spec", text))[1]]
