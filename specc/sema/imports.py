"""Files that a file imports, and the names that it has for what they define."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from specc.installed import folder
from specc.sema.report import did_you_mean, fail
from specc.source import Source, Span
from specc.syntax import tree
from specc.syntax.parser import parse, read

DEEPEST_IMPORT = 20  # files that import each other


def imported(item: tree.Import, chain: tuple[Source, ...]) -> tuple[tree.File, Source]:
    """The file that an import names, relative to the one that imports it, which is the last of the chain of files being read;
    or else the one of that name that comes with the language."""
    where = Path(chain[-1].name).parent / item.path
    library = {} if os.path.exists(where) else shipped()
    where = next((Path(name) for name in (where.as_posix(), item.path) if name in library), where)
    if os.path.realpath(where) in {os.path.realpath(s.name) for s in chain}:
        through = f" through `{Path(chain[-1].name).name}`" if len(chain) > 1 else ""
        fail("E0210", item.span, f"`{Path(chain[0].name).name}` imports itself{through}", help="leave one of the imports out")
    if len(chain) > DEEPEST_IMPORT:
        fail("E0210", item.span, f"more than {DEEPEST_IMPORT} files import each other")
    found, diagnostics = read(library.get(where.as_posix(), where))
    if found is None:
        near = did_you_mean(where.stem, {Path(name).stem for name in library}) and did_you_mean(item.path, library)
        fail("E0210", item.span, f"`{item.path}` cannot be read", help=f"{diagnostics[0].message}{near and f'; {near}'}")
    found = Source(where.as_posix(), found.text)  # wherever the library is
    file, diagnostics = parse(found)
    if diagnostics:
        first = diagnostics[0]
        fail("E0210", item.span, f"`{item.path}` has errors of its own", labels=((first.span, first.message),))
    return file, found


@cache
def shipped() -> dict[str, Path]:
    """The specs that come with the language, by the path below their folder and, where it is the only one, by file name."""
    root = folder("specc.specs")
    every = [p for p in sorted(root.rglob("*.spec")) if p.parent.name != "std"]
    several = Counter(p.name for p in every)
    short = {p.name: p for p in every if several[p.name] == 1}
    return short | {p.relative_to(root).as_posix(): p for p in every}


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
