"""What a reader declares of its examples, held against what a model asks of them: the type of x, and what stands beside it.

`reader digits(size = 8) -> image(1, size, size) = extern("digits") { field y: class(10) }`. A field without a type is one that
only the files themselves tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from specc.ir.program import Dataset, Setting, Space
from specc.ir.types import DType, Type, size
from specc.sema.evaluate import Evaluator
from specc.sema.frame import Frame
from specc.sema.report import choices, did_you_mean, fail
from specc.sema.values import Env, TypeRef
from specc.source import Span
from specc.syntax import tree

ANY = "any"  # a field of this name: what stands beside x is for the data themselves to say
INTO = ("tokens", "counts", "bits")  # steps that make integers of numbers


def check_examples(
    ev: Evaluator,
    reader: tuple[Setting, Span],
    kind: TypeRef,
    at: tree.Expr,
    steps: Sequence[tuple[Setting, Span]],
    env: Env,
    frame: Frame,
) -> TypeRef | None:
    """x is of the type that the reader gives, or of as many integers after a step that makes them. Gives the reader's type."""
    setting, span = reader
    found = ev.definition("reader", setting.name)
    assert found is not None
    promised = _type(ev, found[0].result, setting, env, frame)
    into = next((step for step in steps if step[0].name in INTO), None)
    if into is not None:
        _check_levels(*into, kind)
    if promised is None:
        return None
    if into is not None:
        have, want = size(promised.type.shape), size(kind.type.shape)
        if have != want:
            message = f"`{setting.name}` gives {have} numbers, and {at.span.text} has {want}"
            fail("E0301", at.span, message, labels=((into[1], "each of them becomes one integer"),))
    elif (promised.type, promised.classes) != (kind.type, kind.classes):
        message = f"`{setting.name}` gives {spelled(promised)}, not {at.span.text}"
        fail("E0301", at.span, message, labels=((span, "the reader"),))
    return promised


def _check_levels(step: Setting, span: Span, kind: TypeRef) -> None:
    levels = step.get("levels", (step.get("args") or (None,))[0])
    if not isinstance(levels, int) or not 2 <= levels <= (kind.classes or 0):
        help = f"`{step.name}(levels = ...)` with 2 to {kind.classes}, the values that one element may have"
        fail("E0601", span, f"`{step.name}` into {levels} values makes no sense here", help=help)


def check_field(
    ev: Evaluator, dataset: Dataset, section: tree.Section, space: Space, first: bool, env: Env, frame: Frame
) -> None:
    """A condition or field is one that the reader gives. The first condition, or one of classes, may be `y` renamed."""
    found = ev.definition("reader", dataset.reader.name)
    assert found is not None and section.head is not None and section.type is not None
    known = fields(found[0].body)
    if ANY in known:
        return
    classes = space.kind == "class"
    renamed = section.kind == "condition" and (first or classes) and space.name not in known and "y" in known
    name = "y" if renamed else space.name
    if name not in known:
        have = f"it gives {choices(known)}" if known else "it gives x alone"
        help = did_you_mean(space.name, known) or f"{have}; what follows from an example is written `condition c = f(x)`"
        fail("E0312", section.head.span, f"the reader `{dataset.reader.name}` gives no `{name}`", help=help)
    promised = _type(ev, known[name], dataset.reader, env, frame)
    asked = Type(DType(space.dtype), space.shape), space.classes
    if promised is not None and (promised.type, promised.classes) != asked:
        message = f"`{dataset.reader.name}` gives `{name}` as {spelled(promised)}, not {section.type.span.text}"
        help = f"write `{section.kind} {space.name}: {spelled(promised)}`"
        fail("E0312", section.type.span, message, help=help)


def fields(body: tree.Block | None) -> dict[str, tree.Expr | None]:
    """The fields that a reader declares, with their types as written."""
    items = body.items if body is not None else ()
    return {
        item.head.id: item.type
        for item in items
        if isinstance(item, tree.Section) and item.kind == "field" and isinstance(item.head, tree.Name)
    }


def _type(ev: Evaluator, node: tree.Expr | None, reader: Setting, env: Env, frame: Frame) -> TypeRef | None:
    """A type in a reader's declaration, by the reader's knobs."""
    made = None if node is None else ev.expr(node, env.child(**{k: _list(v) for k, v in reader.options}), frame)
    return made if isinstance(made, TypeRef) else None


def _list(value: Any) -> Any:
    """A setting's list as one of the language."""
    return [_list(v) for v in value] if isinstance(value, tuple) else value


def spelled(kind: TypeRef) -> str:
    """A type as a spec writes it."""
    sizes = (*kind.type.shape, *((kind.classes,) if kind.kind in ("tokens", "labels", "class", "events") else ()))
    return f"{kind.kind}({', '.join(map(str, sizes))})" if sizes else kind.kind
