"""Interfaces: what the language says that a process, and what stands beside it, gives to bodies that are `for` it.

`interface masking from kernel for process { ... }` builds on `kernel`: a process for masking is a process for kernels too.
`interface head from gaussian for predict { ... }` is what every prediction under a Gaussian process gives.
"""

from __future__ import annotations

from specc.sema import library
from specc.sema.evaluate import Evaluator
from specc.sema.report import did_you_mean, fail
from specc.sema.values import Definition
from specc.source import Span
from specc.syntax.tree import names_in


def line(ev: Evaluator, name: str, span: Span) -> list[Definition]:
    """An interface and those that it builds on, itself first."""
    found: list[Definition] = []
    wanted: str | None = name
    while wanted is not None:
        declared = ev.definition("interface", wanted)
        if declared is None:
            help = did_you_mean(wanted, library.names("interface"))
            fail("E0203", span, f"there is no interface `{wanted}`", help=help)
        if declared[0] in found:
            fail("E0604", declared[0].section.span, f"the interface `{wanted}` builds on itself")
        found.append(declared[0])
        wanted = declared[0].base
    return found


def beside(ev: Evaluator, kind: str, process: list[Definition]) -> list[Definition]:
    """What sections of a kind give under a process of these interfaces, the most special first."""
    return [d for p in process for d in ev.interfaces_for(kind) if d.base == p.name]


def given(interfaces: list[Definition]) -> set[str]:
    """Every name that interfaces declare or define."""
    items = [item for d in interfaces if d.body is not None for item in d.body.items]
    return {name for item in items if (name := library.declares(item)) is not None}


def lacking(ev: Evaluator, definition: Definition, process: list[Definition], span: Span) -> str | None:
    """A name that a body mentions, and that neither this process nor a prediction under it gives; the latter first."""
    if definition.kind == "predict":
        return None  # it gives more than it asks for
    wanted = line(ev, definition.interface or "", span)
    here = given(process) | given(beside(ev, "predict", process))
    own = {library.declares(item) for item in definition.body.items} if definition.body is not None else set()
    mentioned = [n.id for n in names_in(definition.body) if n.id not in own]
    for names in (given(beside(ev, "predict", wanted)), given(wanted)):
        for name in mentioned:
            if name in names - here:
                return name
    return None


def users(ev: Evaluator, kind: str, process: list[Definition]) -> set[str]:
    """Definitions of a kind, in the library or the spec, that are for a process of these interfaces."""
    names = {p.name for p in process}
    known = library.names(kind) | {n for k, n in ev.user if k == kind}
    return {n for n in known if (d := ev.definition(kind, n)) is not None and d[0].interface in names}
