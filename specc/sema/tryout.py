"""Samplers and queries tried out with a stand-in for the network, and what a reader is told of it."""

from __future__ import annotations

import math

from specc.ir.program import Program
from specc.sema.model import Model, mention
from specc.sema.rehearse import MISSING, Gain, Known, NotFinite, rehearse
from specc.sema.report import foreign
from specc.source import Span

MOST_GAIN = 100  # of an error of the network in the state of a sampler


def check_samplers(m: Model, program: Program) -> None:
    """Each sampler is tried out with a stand-in for the network."""
    known: Known = {}
    examples = math.lcm(*m.ev.groups.values())
    for entry in program.entries.values():
        if entry.role in ("objective", "update", "start", "generate"):
            continue
        at = next((mention(s) for k in ("sampler", "query") for s in m.found.get(k, []) if s.span == entry.span), m.span)
        match rehearse(program, entry.name, known, examples, m.ev.tried):
            case NotFinite() as found:
                _not_finite(m, entry.name, found, at)
            case Gain() as found if found.factor > MOST_GAIN and not _warned(m, "W0406"):
                _ill_conditioned(m, entry.name, found, at)


def _warned(m: Model, code: str) -> bool:
    return any(d.code == code for d in m.ev.diagnostics)


def _place(turns: tuple[tuple[int, int], ...], times: dict[str, float]) -> str:
    """Where in a sampler: " at t = 0.5, s = 0.4 (turn 3 of 7)"."""
    rounds = " in ".join(f"turn {k} of {n}" if n else f"turn {k}" for k, n in reversed(turns))
    clock = ", ".join(f"{name} = {times[name]:.4g}" for name in ("t", "s") if name in times)
    return f" at {clock} ({rounds})" if rounds and clock else f" in {rounds}" if rounds else ""


def _not_finite(m: Model, name: str, found: NotFinite, at: Span) -> None:
    where = _place(found.turns, found.times)
    message = f"`{name}` comes to a value that is not a number{where}"
    help = "keep the values that are divided by, or taken a root or logarithm of, away from zero"
    if found.why == MISSING:
        message, help = f"`{name}` asks for an item that does not exist{where}", "indices count from 0"
    elif "predict" in m.parts and found.turns and found.node.span is not None and foreign(found.node.span):
        last = found.turns[-1][0] == found.turns[-1][1]
        predicted = m.parts["predict"].definition.name
        help = f"what `{predicted}` predicts has no such conversion there: predict `velocity` or `v`, or " + (
            "let samplers stop earlier, as in `with { t_end = 1e-3 }`" if last else "end the process earlier"
        )
    origin = found.node.span
    labels = ((origin, found.why),) if origin is not None and origin.source.text else ()
    m.report("E0303" if found.why == MISSING else "E0406", at, message, help=help, labels=labels)


def _ill_conditioned(m: Model, name: str, found: Gain, at: Span) -> None:
    where = _place(found.turns, found.times) or " in its last step"
    message = f"`{name}` multiplies an error of the network by {found.factor:.0f}{where}"
    help = "predict what is well conditioned there, such as `v` or `velocity`, take smaller steps, or end the process earlier"
    predict = m.found.get("predict")
    labels = ((mention(predict[0]), "what the network predicts"),) if predict else ()
    m.report("W0406", at, message, severity="warning", help=help, labels=labels)
