"""What a model says and nothing reads: knobs, names, conditions, networks, guidance."""

from __future__ import annotations

from specc.sema import library
from specc.sema.model import Model
from specc.sema.values import Closure, Definition, Network
from specc.source import Span
from specc.syntax import tree
from specc.syntax.tree import names_in

GUIDED = "guidance gives `out` or what samplers ask for, such as `denoise`, `score`, `velocity` or `logits`"


def check_unused(m: Model) -> None:
    """Knobs, conditions and networks that nothing reads."""
    for definition, _ in m.ev.user.values():
        _unused_knobs(m, definition)
        if library.find(definition.kind, definition.name) is not None:
            message = f"`{definition.kind} {definition.name}` hides the library's own"
            m.report(
                "W0702",
                definition.section.span,
                message,
                severity="warning",
                help="give it another name unless that is meant",
            )
    for part in m.parts.values():
        if not part.definition.library and (part.definition.kind, part.definition.name) not in m.ev.user:
            _unused_knobs(m, part.definition)
    check_guidance(m)
    read = [n.id for item in m.block.items for n in names_in(item)]
    for item in m.block.items:
        for target in item.targets if isinstance(item, tree.Bind) else ():
            if isinstance(target, tree.Name) and read.count(target.id) == 1 and own(m, target.span):
                message = f"nothing reads `{target.id}`"
                m.report("W0701", target.span, message, severity="warning", help="use it or leave it out")
    for space, _ in m.conditions:
        assert space.span is not None
        if space.name not in m.used and m.entries and own(m, space.span):
            message = f"nothing reads the condition `{space.name}`"
            m.report(
                "W0701",
                space.span,
                message,
                severity="warning",
                help=f"the backbone takes it by name: give it an input `{space.name}`",
            )
    for name, value in m.ev.world.names.items():
        if isinstance(value, Network) and value.bundle == name and name not in m.ev.networks and m.entries:
            assert value.partial.span is not None
            if not own(m, value.partial.span):
                continue
            m.report("W0701", value.partial.span, f"nothing calls the network `{name}`", severity="warning")


def check_guidance(m: Model) -> None:
    """Guidance changes something that the model has, and that one of its samplers asks for."""
    guidance = m.parts.get("guidance")
    if guidance is None or not any(e.role == "sampler" for e in m.entries.values()):
        return
    given, at = sorted(guidance.members), m.found["guidance"][0].span
    strange = next((name for name in given if not isinstance(m.ev.world.names.get(name), Closure)), None)
    if strange is not None:
        m.report("E0201", at, f"guidance gives `{strange}`, and this model has no such function", help=GUIDED)
    elif not given:
        m.report("E0209", at, "this guidance gives no function", help=GUIDED)
    elif m.ev.redirected.isdisjoint(given):
        m.report("W0701", at, f"no sampler asks for the `{given[0]}` that guidance gives", severity="warning", help=GUIDED)


def _unused_knobs(m: Model, definition: Definition) -> None:
    if definition.body is None or definition.section.values:  # or what reads them is written elsewhere
        return
    read = {n.id for n in names_in(definition.body)} | {n.id for a in definition.params for n in names_in(a.value)}
    read |= {n.id for c in definition.section.clauses for n in names_in(c)}
    for a in definition.params:
        if a.name not in read:
            m.report(
                "W0701",
                a.span,
                f"`{definition.name}` never reads its knob `{a.name}`",
                severity="warning",
                help="use it or leave it out",
            )


def own(m: Model, span: Span) -> bool:
    """Whether something stands in this model itself, and not in one that it is made from."""
    return span.source is m.span.source and m.span.start <= span.start < m.span.stop
