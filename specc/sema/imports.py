"""Files that a file imports, and the names that it has for what they define."""

from __future__ import annotations

import os
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from specc.sema.report import fail
from specc.source import Source, Span
from specc.syntax import tree
from specc.syntax.parser import parse, read

DEEPEST_IMPORT = 20  # files that import each other


def imported(item: tree.Import, chain: tuple[Source, ...]) -> tuple[tree.File, Source]:
    """The file that an import names, relative to the one that imports it: the last of the chain of files being read."""
    where = Path(chain[-1].name).parent / item.path
    if os.path.realpath(where) in {os.path.realpath(s.name) for s in chain}:
        through = f" through `{Path(chain[-1].name).name}`" if len(chain) > 1 else ""
        fail("E0210", item.span, f"`{Path(chain[0].name).name}` imports itself{through}", help="leave one of the imports out")
    if len(chain) > DEEPEST_IMPORT:
        fail("E0210", item.span, f"more than {DEEPEST_IMPORT} files import each other")
    found, diagnostics = read(where)
    if found is None:
        fail("E0210", item.span, f"`{item.path}` cannot be read", help=diagnostics[0].message)
    file, diagnostics = parse(found)
    if diagnostics:
        first = diagnostics[0]
        fail("E0210", item.span, f"`{item.path}` has errors of its own", labels=((first.span, first.message),))
    return file, found


def same_place(a: Span, b: Span) -> bool:
    """Whether two texts are one, read by two ways."""
    return (a.start, os.path.realpath(a.source.name)) == (b.start, os.path.realpath(b.source.name))


def unqualified(node: Any, aliases: dict[str, frozenset[str]]) -> Any:
    """The same with `base.flat` as `flat`, where a file is imported as `base` and defines `flat`."""
    match node:
        case tree.Attribute(value=tree.Name(id=alias), name=name) if name in aliases.get(alias, ()):
            return tree.Name(span=node.span, id=name)
        case tree.Node():
            old = [(f.name, getattr(node, f.name)) for f in fields(node)]
            new = {name: made for name, value in old if (made := unqualified(value, aliases)) is not value}
            return replace(node, **new) if new else node
        case tuple():
            made = tuple(unqualified(item, aliases) for item in node)
            return made if any(a is not b for a, b in zip(made, node, strict=True)) else node
        case _:
            return node
