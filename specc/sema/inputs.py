"""What an entry is given: the example, in the space that the model learns in, its conditions, seeds and states."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from specc.ir.ops import Op
from specc.ir.program import (
    Block,
    Builder,
    Entry,
    Function,
    Input,
    Space,
    Value,
    walk,
)
from specc.ir.types import EXAMPLE, DType, Type
from specc.sema import held, represent
from specc.sema.arithmetic import add, binary, lift, where
from specc.sema.frame import Condition, EntryState, Frame
from specc.sema.laws import primitive
from specc.sema.model import Model, line_of, name_of
from specc.sema.values import TypeRef
from specc.source import Span
from specc.syntax import tree

PLACES = 2**20  # the draws of derived conditions are apart from those of the samplers that are given the same seeds


def entry_frame(m: Model, role: str) -> tuple[Frame, EntryState]:
    """A frame for an entry, with its data, its seed, and its conditions."""
    builder = Builder(m.ev.ids)
    example = frozenset({EXAMPLE})
    data = m.data[0].space if m.data else None
    inputs: list[Input] = []
    seed = like = None
    if role != "sampler" and data is not None:
        type_ = Type(DType(data.dtype), data.shape, example)
        like = builder.param(type_, data.name)
        if data.classes is not None:
            m.ev.classes[like.id] = data.classes
        inputs.append(Input(name=data.name, role="data", type=type_))
    elif role != "sampler":
        like = builder.param(Type(DType.INT, (), example), "index")
        inputs.append(Input(name="index", role="index", type=like.type))
    if role in ("sampler", "query", "condition"):
        seed = builder.param(Type(DType.INT, (), example), "seed")
        inputs.append(Input(name="seed", role="seed", type=seed.type))
    like = like or seed
    assert like is not None
    entry = EntryState(role=role, builder=builder, like=like, seed=seed, inputs=inputs, guided=role == "sampler")
    entry.place = PLACES if role == "condition" else 0
    frame = Frame(builder=builder, kind="entry", entry=entry)
    if data is not None:
        own = TypeRef(Type(DType(data.dtype), data.shape), data.kind, data.classes)
        entry.bindings["x"] = like if role != "sampler" else own
        if role == "objective" and any(s.name == "dequantize" for s in m.data[0].steps):
            entry.bindings["x"] = _dequantized(data, like, frame, m.span)
    for space in m.data[0].fields if m.data else ():
        _field(m, entry, space)
    for space, type_ref in m.conditions:
        t = Type(type_ref.type.dtype, type_ref.type.shape, example)
        value = builder.param(t, space.name)
        inputs.append(Input(name=space.name, role="condition", type=t, classes=space.classes))
        _condition(m, frame, entry, space, value)
    if m.represented is not None:
        represent.enter(m.ev, m.represented, entry, frame, entry.bindings["x"])
    for section in m.derived:
        _derived(m, frame, entry, section)
    for section in m.latents:
        held.latent(m.ev, section, m.env, frame, entry)
    counted(entry, like)
    return frame, entry


def counted(entry: EntryState, like: Value) -> None:
    """A value that says how many examples there are, to draws and to what is counted."""
    entry.like = like
    entry.bindings["batch.index"] = entry.builder.add(Op.BATCH_INDEX, like)
    entry.bindings["batch.size"] = entry.builder.add(Op.BATCH_SIZE, like)


def _field(m: Model, entry: EntryState, space: Space) -> None:
    """`field kind: tokens(64, 2)`: what the data say of an example beside x; in a sampler, its type."""
    type_ = Type(DType(space.dtype), space.shape, frozenset({EXAMPLE}))
    if entry.role == "sampler":
        entry.bindings[space.name] = TypeRef(Type(type_.dtype, type_.shape), space.kind, space.classes)
        return
    value = entry.bindings[space.name] = entry.builder.param(type_, space.name)
    if space.classes is not None:
        m.ev.classes[value.id] = space.classes
    entry.inputs.append(Input(name=space.name, role="data", type=type_))


def _dequantized(space: Space, x: Value, frame: Frame, span: Span) -> Value:
    """An example on a grid, moved within its cell by a fresh uniform draw: its levels tile the range of the space."""
    assert space.low is not None and space.high is not None and space.levels is not None
    reach, u = space.high - space.low, primitive(Op.UNIFORM, space.shape, frame, span, False)
    level = binary("*", binary("-", x, space.low, frame, span), (space.levels - 1) / reach, frame, span)
    moved = binary("*", binary("+", level, u, frame, span), reach / space.levels, frame, span)
    return frame.builder.name(lift(binary("+", moved, space.low, frame, span), frame, span), space.name)


def _derived(m: Model, frame: Frame, entry: EntryState, section: tree.Section) -> None:
    """`condition c = f(x)`: computed from each example while training, an input of the same type when sampling."""
    assert isinstance(section.head, tree.Name)
    name = section.head.id
    if entry.role in ("objective", "condition"):
        value = lift(m.ev.expr(section.values[0], m.env, frame), frame, section.span)
    else:
        type_ = _derived_type(m, name)
        value = entry.builder.param(type_, name)
        entry.inputs.append(Input(name=name, role="condition", type=type_))
    entry.bindings[name] = value
    entry.conditions[name] = Condition(name=name, value=value, null=None)


def _derived_type(m: Model, name: str) -> Type:
    """The type of a derived condition, of which each example has its own."""
    _, state = entry_frame(m, "objective")
    found: Type = state.bindings[name].type
    return found.over(EXAMPLE)


def conditions(m: Model) -> None:
    """The entry that computes the derived conditions of an example: samplers outside of training take held-out ones."""
    frame, entry = entry_frame(m, "condition")
    names = [name_of(section) for section in m.derived]
    results = tuple(m.ev.spread(entry.bindings[name], frame, m.span) for name in names)
    for name, value, section in zip(names, results, m.derived, strict=True):
        shape, dtype = tuple(int(d) for d in value.type.shape), value.type.dtype.value
        m.computed.append(Space(name=name, kind="tensor", shape=shape, dtype=dtype, derived=True, span=section.span))
    label = "derived"
    while label in m.entries:
        label += "_"
    doc = "; ".join(line_of(section.span) for section in m.derived)
    function = entry_function(m, label, frame, frame.builder.block(*results), doc, m.derived[0].span)
    read = {v.id for n in walk(function.block) for v in n.inputs} | {v.id for v in results}
    kept = [(v, i) for v, i in zip(function.block.params, entry.inputs, strict=True) if i.role == "data" or v.id in read]
    block = replace(function.block, params=tuple(v for v, _ in kept))
    m.ev.functions[function.name] = replace(function, block=block)
    inputs = tuple(i for _, i in kept)
    m.entries[label] = Entry(name=label, role="condition", function=function.name, inputs=inputs, doc=doc, span=m.span)


def _condition(m: Model, frame: Frame, entry: EntryState, space: Any, value: Value) -> None:
    span = space.span
    if space.classes is not None:
        m.ev.classes[value.id] = space.classes + 1
        null = m.ev.spread(lift(space.classes, frame, span), frame, span)
        m.ev.classes[null.id] = space.classes + 1
    else:
        zero = lift(0.0, frame, span)
        zero = add(frame, span, Op.EXPAND, add(frame, span, Op.RESHAPE, zero, shape=(1,) * len(space.shape)), shape=space.shape)
        null = m.ev.spread(zero, frame, span)
    shown = value
    if entry.role == "objective" and space.drop:
        u = primitive(Op.UNIFORM, (), frame, span, False)
        shown = where(binary("<", u, space.drop, frame, span), null, value, frame, span)
        shown = frame.builder.name(shown, space.name)
        if space.classes is not None:
            m.ev.classes[shown.id] = space.classes + 1
    entry.conditions[space.name] = Condition(name=space.name, value=shown, null=null if space.drop else None)
    entry.bindings[space.name] = value if entry.role != "objective" else shown


def entry_function(m: Model, name: str, frame: Frame, block: Block, doc: str, span: Span, about: str = "") -> Function:
    if frame.entry is not None:
        m.used |= frame.entry.used
    made = Function(name=m.ev.unique(name), kind="entry", block=block, doc=doc, about=about, span=span)
    m.ev.functions[made.name] = made
    return made
