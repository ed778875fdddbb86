"""`freeze backbone["linear.*"]`: parameters that keep what they start from, whatever an objective reaches.

What an objective trains is a set of names and patterns; one that begins with `!` takes parameters out of it again.
"""

from __future__ import annotations

from collections.abc import Mapping

from specc.ir.program import chosen
from specc.sema import routine
from specc.sema.model import Model
from specc.sema.report import fail
from specc.source import Span
from specc.syntax import tree


def declare(m: Model, section: tree.Section) -> None:
    """The parameters of a section `freeze`: a set, as after `over`."""
    assert section.head is not None
    for pattern in routine.parameters(m.ev, section.head, m.env, m.top):
        m.frozen[pattern] = section.head.span


def left(m: Model, over: Mapping[str, tuple[str, ...]], span: Span) -> tuple[str, ...]:
    """What an objective trains without what is frozen. over: its names, with the parameters that each stands for."""
    out = [p for p in m.frozen if any(chosen(path, (p,)) for paths in over.values() for path in paths)]
    m.kept.update(out)
    names = tuple(name for name, paths in over.items() if not all(chosen(path, tuple(out)) for path in paths))
    if not names:
        fail("E0501", span, "all that this objective reaches is frozen", help="leave a part of it to be trained")
    inside = tuple(path for name in names for path in over[name])
    return (*names, *(f"!{p}" for p in out if any(chosen(path, (p,)) for path in inside)))


def settled(m: Model) -> None:
    """What is frozen is what some objective would train."""
    for pattern in m.frozen.keys() - m.kept:
        message = f"no objective would train a parameter like {pattern!r}: there is nothing to freeze"
        fail("E0505", m.frozen[pattern], message, help="paths are those of `specc check --explain`, as after `over`")
