"""The space that a model works in, where it is not that of its data.

`represent c: tokens(16, 64) { encode(x) = ...; decode(c) = ... }`
Losses, queries and samplers see the represented example as x; what a sampler returns is decoded.
"""

from __future__ import annotations

from typing import Any

from specc.ir.program import Value
from specc.record import record
from specc.sema.arithmetic import describe, lift, shown
from specc.sema.evaluate import Evaluator
from specc.sema.frame import EntryState, Frame
from specc.sema.library import define
from specc.sema.members import members
from specc.sema.report import fail
from specc.sema.values import Closure, Env, TypeRef
from specc.syntax import tree


@record
class Represented:
    """The type of a represented example, and the functions to it and back."""

    type: TypeRef
    encode: Closure
    decode: Closure
    section: tree.Section


def represented(ev: Evaluator, section: tree.Section, env: Env, frame: Frame) -> Represented:
    """What a `represent` section says."""
    if section.type is None or section.body is None or not isinstance(section.head, tree.Name):
        form = "represent c: TYPE { encode(x) = ...; decode(c) = ... }"
        fail("E0304", section.span, f"a representation is written `{form}`")
    kind = ev.expr(section.type, env, frame)
    if not isinstance(kind, TypeRef):
        fail("E0304", section.type.span, f"{describe(kind)} is not a type")
    found, rest = members(define(section), env, id(section))
    for item in rest:
        fail("E0202", item.span, "a representation is made of `encode(x) = ...` and `decode(c) = ...`")
    functions = [found.get(name) for name in ("encode", "decode")]
    for name, f in zip(("encode", "decode"), functions, strict=True):
        if not isinstance(f, Closure) or len(f.params) != 1:
            message = f"the representation `{section.head.id}` does not give `{name}`"
            fail("E0209", section.span, message, help=f"add `{name}(v) = ...`, of one argument")
    return Represented(kind, functions[0], functions[1], section)  # type: ignore[arg-type]


def enter(ev: Evaluator, held: Represented, entry: EntryState, frame: Frame, x: Any) -> None:
    """Bind x to the represented example; in a sampler, to its type."""
    if not isinstance(x, Value):
        entry.bindings["x"] = held.type
        return
    span = held.encode.span
    value = lift(ev.call(held.encode, [x], {}, frame, span), frame, span)
    wanted = held.type.type
    if (value.type.shape, value.type.dtype) != (wanted.shape, wanted.dtype):
        message = f"`encode` gives {value.type.dtype.value}s of shape {shown(value.type.shape)}"
        assert held.section.type is not None
        fail("E0301", span, message, labels=((held.section.type.span, "promised here"),))
    if held.type.classes is not None:
        ev.classes[value.id] = held.type.classes
    assert isinstance(held.section.head, tree.Name)
    entry.bindings["x"] = frame.builder.name(value, held.section.head.id)


def leave(ev: Evaluator, held: Represented, result: Any, frame: Frame) -> Any:
    """What a sampler's result is in the space of the data."""
    return ev.call(held.decode, [result], {}, frame, held.decode.span)
