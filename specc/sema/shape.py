"""What the shape of a section may hold, kind by kind: clauses, and the parts between its name and its body."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from specc.record import record
from specc.sema import library
from specc.sema.report import choices, did_you_mean, fail
from specc.sema.values import Partial
from specc.syntax import tree


@record
class Shape:
    """clauses: words that may follow. parts: of `type`, `value`, `result`, `law`, `with`, `body`, those that mean something."""

    clauses: tuple[str, ...] = ()
    parts: tuple[str, ...] = ("body",)


PART = Shape(("for",), ("value", "with", "body"))
SHAPES: dict[str, Shape] = {
    "model": Shape(("from",)),
    "patch": Shape(("from",)),
    "at": Shape((), ("value", "body")),
    "stage": Shape(("for", "in", "from")),
    "dataset": Shape((), ("value",)),
    "data": Shape(("from", "in", "levels"), ("type",)),
    "condition": Shape(("in", "levels"), ("type", "value", "with")),
    "field": Shape(("in", "levels"), ("type",)),
    "represent": Shape((), ("type", "body")),
    "latent": Shape((), ("type", "law")),
    "param": Shape(("on",), ("type", "value", "law")),
    "memory": Shape((), ("type", "with")),
    "state": Shape((), ("type", "value", "law")),
    "process": Shape(("for", "over", "in"), ("value", "with", "body")),
    "predict": PART,
    "source": PART,
    "coupling": PART,
    "times": Shape(("for",), ("type", "value", "with", "body")),
    "guidance": PART,
    "weight": PART,
    "grid": Shape(("for",)),
    "loss": PART,
    "sampler": PART,
    "query": PART,
    "backbone": Shape(("for",), ("value", "result", "body")),
    "network": Shape(("for",), ("value", "result", "body")),
    "bijection": Shape((), ("value", "body")),
    "law": Shape(),
    "function": Shape((), ("value", "body")),
    "interface": Shape(("for", "from")),
    "reader": Shape((), ("value", "result", "body")),
    "optimizer": Shape((), ("value",)),
    "decay": Shape((), ("value",)),
    "freeze": Shape((), ()),
    "train": Shape(),
    "quantize": Shape(),
    "decode": Shape(),
    "evaluate": Shape(),
}
SAID = {"type": ": TYPE", "value": "= VALUE", "result": "-> TYPE", "law": "~ LAW", "with": "with { ... }", "body": "{ ... }"}
OVERRIDES = ("process", "predict", "times", "coupling", "guidance", "weight")  # kinds made of members, which `with` replaces


def check_shape(section: tree.Section) -> None:
    """Refuse what would be read and then forgotten."""
    shape = SHAPES.get(section.kind)
    if shape is None:
        return
    for clause in section.clauses:
        if not clause.values:
            fail(
                "E0204",
                clause.span,
                f"`{clause.word}` is followed by nothing",
                help=f"say what `{clause.word}` is, or leave it out",
            )
        if clause.word not in shape.clauses:
            hint = did_you_mean(clause.word, shape.clauses) or (
                f"its clauses are {choices(shape.clauses)}" if shape.clauses else "it takes none"
            )
            fail("E0204", clause.span, f"`{section.kind}` has no clause `{clause.word}`", help=hint)
    given = {
        "type": section.type,
        "value": section.values[0] if section.values else None,
        "result": section.result,
        "law": section.law,
        "with": section.overrides,
        "body": section.body,
    }
    for part, node in given.items():
        if node is not None and part not in shape.parts:
            taken = " and ".join(f"`{SAID[p]}`" for p in shape.parts)
            fail("E0204", node.span, f"`{section.kind}` takes no `{SAID[part]}`", help=f"it takes {taken}" if taken else "")


def overridden(partial: Partial, section: tree.Section, inherited: Iterable[str]) -> Partial:
    """`process vp with { t_end = 1e-2 }`: a definition with some of its members, inherited ones among them, replaced."""
    if section.overrides is None:
        return partial
    definition = partial.definition
    if definition.kind not in OVERRIDES:
        message = f"`with` replaces members, and a {definition.kind} has none"
        fail("E0204", section.overrides.span, message, help="give knobs instead")
    own = definition.body.items if definition.body else ()
    known = {name for i in own if (name := library.declares(i)) is not None} | set(inherited)
    said = {}
    for item in section.overrides.items:
        name = library.declares(item)
        if name is None or name not in known:
            hint = did_you_mean(name or "", known) or f"its members are {choices(known)}"
            fail("E0205", item.span, f"`{definition.name}` has no member `{name or item.span.text}` to replace", help=hint)
        said[name] = item
    items = (*(i for i in own if library.declares(i) not in said), *said.values())
    body = tree.Block(span=section.overrides.span, items=items)
    return replace(partial, definition=replace(definition, section=replace(definition.section, body=body)))
