"""Settings and arguments as they are written: each has a value, and is said once."""

from __future__ import annotations

from collections.abc import Iterable

from specc.sema.report import fail
from specc.syntax import tree


def once(items: Iterable[tree.Statement]) -> None:
    """Nothing is set twice."""
    known: set[str] = set()
    for item in items:
        if isinstance(item, tree.Bind) and isinstance(name := item.targets[0], tree.Name):
            if name.id in known:
                fail("E0208", item.span, f"`{name.id}` is set twice")
            known.add(name.id)


def value_of(item: tree.Bind) -> tree.Expr:
    """The value of a setting."""
    if not item.values:
        name = item.targets[0].span.text
        given = "..." if item.type is None else item.type.span.text
        fail("E0209", item.span, f"`{name}` is given no value", help=f"a setting is written with `=`: `{name} = {given}`")
    return item.values[0]


def argument(arg: tree.Arg) -> tree.Expr:
    """The value of an argument."""
    if arg.value is None:
        given = "..." if arg.type is None else arg.type.span.text
        help = f"an argument is written with `=`: `{arg.name} = {given}`" if arg.name else ""
        fail("E0206", arg.span, "an argument needs a value", help=help)
    return arg.value
