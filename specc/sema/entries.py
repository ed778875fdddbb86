"""The entries of a model: its objectives, samplers and queries as functions, and the program that holds them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from specc.ir.liveness import felt, live
from specc.ir.ops import Op
from specc.ir.paths import parameters
from specc.ir.program import (
    Average,
    Bare,
    Block,
    Builder,
    Entry,
    Function,
    Input,
    Program,
    Quantization,
    Setting,
    Space,
    Step,
    Value,
    chosen,
    walk,
)
from specc.ir.types import EXAMPLE, DType, Type
from specc.sema import artefacts, held, library, represent, routine, sections, views
from specc.sema.arithmetic import add, binary, describe, lift, where
from specc.sema.decoding import caching
from specc.sema.evaluation import Judged, evaluation
from specc.sema.frame import Around, Condition, EntryState, Event, Frame, ObjectiveDone, Walk
from specc.sema.laws import primitive
from specc.sema.model import Default, Model, line_of, mention, name_of, place, place_of, sort_sections
from specc.sema.provide import show
from specc.sema.quantization import quantization
from specc.sema.report import choices, did_you_mean, fail, foreign
from specc.sema.resolve import fits, partial, serves
from specc.sema.values import Definition, Dynamic, Instance, Partial, TypeRef
from specc.sema.world import build_world
from specc.source import Span
from specc.syntax import tree

PLACES = 2**20  # the draws of derived conditions are apart from those of the samplers that are given the same seeds


def _start(m: Model, role: str) -> tuple[Frame, EntryState]:
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
    _counted(entry, like)
    return frame, entry


def _counted(entry: EntryState, like: Value) -> None:
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
    _, state = _start(m, "objective")
    found: Type = state.bindings[name].type
    return found.over(EXAMPLE)


def conditions(m: Model) -> None:
    """The entry that computes the derived conditions of an example: samplers outside of training take held-out ones."""
    frame, entry = _start(m, "condition")
    names = [name_of(section) for section in m.derived]
    results = tuple(m.ev.spread(entry.bindings[name], frame, m.span) for name in names)
    for name, value, section in zip(names, results, m.derived, strict=True):
        shape, dtype = tuple(int(d) for d in value.type.shape), value.type.dtype.value
        m.computed.append(Space(name=name, kind="tensor", shape=shape, dtype=dtype, derived=True, span=section.span))
    label = "derived"
    while label in m.entries:
        label += "_"
    doc = "; ".join(line_of(section.span) for section in m.derived)
    function = _entry_function(m, label, frame, frame.builder.block(*results), doc, m.derived[0].span)
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


def objectives(m: Model) -> None:
    """One entry for each `minimize` of each loss."""
    found = m.found.get("loss", [])
    for section in found:
        m.attempt(mention(section), _objective, m, section)
    if not found and "predict" in m.parts and "backbone" in m.ev.world.names:
        mse = library.find("loss", "mse")
        assert mse is not None
        if not serves(m, mse):
            return
        default = Partial(mse, span=m.span, env=m.ev.world)
        m.attempt(place_of(m, "predict"), _loss, m, default, "mse", "loss mse  [default]", m.span)
        if "mse" not in m.entries:
            return
        if not any(n.op is Op.PARAM for f in m.ev.functions.values() if f.kind == "network" for n in walk(f.block)):
            del m.entries["mse"]
            m.routine.clear()  # an exact network in the backbone's place: there is nothing to train
            return
        m.defaults.append(Default("loss", "", "mse", "default"))


def begin(m: Model) -> None:
    """The entry that computes what parameters and states start from, on the first batch; each sees those before it."""
    order = [item.span for item in m.block.items]
    starting = [h for h in m.ev.held_by.values() if h.start and h.span in order and m.anew(h.path)]
    found = sorted(starting, key=lambda h: order.index(h.span))
    if not found:
        return
    frame, entry = _start(m, "objective")
    frame.per_batch = True
    for one in found:
        if (value := m.attempt(one.span, held.begin, m.ev, one, frame)) is not None:
            entry.walk.states[one.path] = add(frame, one.span, Op.STOP, value)
    writes = tuple(entry.walk.states)
    block = _read(entry, frame.builder.block(*entry.walk.states.values()))
    early = next((h for n in walk(block) for h in found if n.op is Op.PARAM and n["path"] == h.path), None)
    if early is not None:
        fail("E0305", early.span, f"a start before this one reads `{early.path}`", help="let this one stand first")
    doc = f"what {', '.join(writes)} start{'s' * (len(writes) == 1)} from, on the first batch"
    function = _entry_function(m, _free_label(m, "start"), frame, block, doc, m.span)
    inputs = tuple(entry.inputs)
    made = Entry(name=function.name, role="start", function=function.name, inputs=inputs, writes=writes, doc=doc, span=m.span)
    m.entries[made.name] = made


def _objective(m: Model, section: tree.Section) -> None:
    p = partial(m, section, ("loss",))
    fits(m, p, section)
    name = p.definition.name if not section.values else name_of(section)
    if name in {name_of(s) for kind in ("sampler", "query") for s in m.found.get(kind, [])}:
        name = f"{name}_loss"
    _loss(m, p, name, line_of(section.span), section.span)


def _loss(m: Model, p: Partial, name: str, doc: str, span: Span) -> None:
    """The entries of a loss, and when they are done."""
    instance = m.ev.instantiate(p, m.top)
    _, entry = _walked(m, instance, span, Walk())
    found = routine.units(entry.walk.events)
    if not found:
        help = "end it with `minimize EXPRESSION over NETWORK`, or with an `update`"
        fail("E0209", span, f"the loss `{name}` minimises nothing", help=help)
    several = sum(u.event.sort == "minimize" for u in found) > 1
    parts: list[tuple[tuple[Around, ...], Step]] = []
    for unit in found:
        e = unit.event
        if e.sort == "map":
            done = Step(maps=e.maps, over=e.over, beside=e.beside, every=e.every, when=e.when, doc=line_of(e.span))
            parts.append((e.around, done))
            continue
        made = _training_entry(m, instance, name, doc, span, unit, several)
        parts.append((e.around, Step(entries=(made.name,), every=e.every, when=e.when)))
    m.routine += routine.nested(parts)


def _walked(m: Model, instance: Instance, span: Span, walk_: Walk) -> tuple[Frame, EntryState]:
    frame, entry = _start(m, "objective")
    entry.walk = walk_
    with contextlib.suppress(ObjectiveDone):
        m.ev.run(instance, frame, instance.span or m.span)
    return frame, entry


def _training_entry(m: Model, instance: Instance, name: str, doc: str, span: Span, unit: routine.Unit, several: bool) -> Entry:
    """An objective with the states that are updated beside it, or updates alone."""
    objective = unit.event.sort == "minimize"
    frame, entry = _walked(m, instance, span, Walk(unit.wanted, joined=objective))
    values = (entry.bindings["minimize"],) if objective else ()
    results = (*values, *entry.walk.states.values())
    block = _read(entry, frame.builder.block(*results))
    over = _trained(m, block, unit.event) if objective else ()
    label = (f"{name}_{routine.player(over)}" if several else name) if objective else f"{name}_update"
    label = _free_label(m, label)
    doc = doc if objective else line_of(unit.event.span)
    if several and objective:
        at = unit.event.span if not foreign(unit.event.span) else span
        doc = f"{doc.rpartition('  [')[0]}, over {', '.join(over)}  [{place(at)}]"
    function = _entry_function(m, label, frame, block, doc, span, instance.definition.summary if objective else "")
    made = Entry(
        name=label,
        role="objective" if objective else "update",
        function=function.name,
        inputs=tuple(entry.inputs),
        over=over,
        writes=tuple(entry.walk.states),
        doc=function.doc,
        span=span,
    )
    m.entries[label] = made
    return made


def _read(entry: EntryState, block: Block) -> Block:
    """What the results of an entry need. A `step` that only a statement of another entry asked for is no input of it."""
    block = live(block)
    read = {v.id for n in walk(block) for v in n.inputs} | {v.id for v in block.results}
    left = {v.id for v in entry.clock.values()} - read
    entry.inputs[:] = [i for i, v in zip(entry.inputs, block.params, strict=True) if v.id not in left]
    return replace(block, params=tuple(v for v in block.params if v.id not in left))


def _free_label(m: Model, label: str) -> str:
    name, k = label, 1
    while name in m.entries:
        k += 1
        name = f"{label}_{k}"
    return name


def _trained(m: Model, block: Block, event: Event) -> tuple[str, ...]:
    """The parameters that an objective is for: those it names, or all that it reaches."""
    known = [*m.ev.networks, *(path for path, held in m.ev.held_by.items() if held.trainable)]
    reached = {root: function for root, function in _reached(block).items() if root in known}  # not a teacher, nor an average
    if not reached:
        help = "use one that is to be trained, such as `out(z, t)`, with no `stop` around it"
        fail("E0501", event.span, "the objective reaches no network", help=help)
    for name in event.over:
        root = next((r for r in reached if name == r or name.startswith(f"{r}.")), None)
        if root is None:
            message = f"the objective does not reach the parameters of `{name.split('.*')[0]}`"
            help = "its gradient there is zero: use the network in the objective, or leave it out of `over`"
            fail("E0501", event.span, message, help=help)
        function = reached[root]
        paths = parameters(m.ev.functions, {root: function}) if function is not None else {root}
        if not any(chosen(path, (name,)) for path in paths):
            some = choices(list(paths)[:4])
            fail("E0505", event.span, f"no parameter of `{root}` has a path like {name!r}", help=f"there are {some}")
    whole = tuple(name for name in known if name in (event.over or reached))  # one order, as a set has none
    return whole + tuple(name for name in event.over if name not in known)


def _reached(block: Block) -> dict[str, str | None]:
    """What the objective, the first result of a block, depends on through differentiable nodes: root bundles with their
    functions, and bare parameters."""
    found: dict[str, str | None] = {}
    for node in felt(block, {block.results[0].id}):
        if node.op is Op.CALL and node["bundle"] is not None:
            found[node["bundle"]] = node["function"]
        elif node.op is Op.PARAM:
            found[node["path"]] = None
    return found


def _entry_function(m: Model, name: str, frame: Frame, block: Block, doc: str, span: Span, about: str = "") -> Function:
    if frame.entry is not None:
        m.used |= frame.entry.used
    made = Function(name=m.ev.unique(name), kind="entry", block=block, doc=doc, about=about, span=span)
    m.ev.functions[made.name] = made
    return made


def samplers(m: Model) -> None:
    for kind in ("sampler", "query"):
        for section in m.found.get(kind, []):
            m.attempt(mention(section), _program, m, section, kind)


def generators(m: Model) -> None:
    """The entry that draws the data of a stage from a parent: the sample, then its fields."""
    used = m.data[0].reader.get("name") if m.data and m.data[0].reader.name == "generated" else None
    for name, made in m.generated.items():
        if name != used:
            fail("E0205", made.span, f"no data come from `{name}`", help=f"say `data x: SPACE from {name}`, or leave it out")
        if name in m.entries:
            fail("E0208", made.span, f"a second `{name}`", help="give the dataset another name")
        if m.represented is not None:
            fail("E0211", made.span, "data that are generated are not represented yet")
        frame, entry = _start(m, "sampler")
        drawn = artefacts.results(made, m.ev, frame, m.data[0].space, m.data[0].fields)
        doc = line_of(made.span)
        function = _entry_function(m, name, frame, frame.builder.block(*drawn), doc, made.span)
        inputs = _needed(m, function, tuple(entry.inputs))
        whole = Entry(name=name, role="generate", function=function.name, inputs=inputs, doc=doc, span=made.span)
        m.entries[name] = artefacts.entry_of(made, whole)


def _own_inputs(m: Model, definition: Definition, frame: Frame, entry: EntryState) -> Iterator[tuple[str, Any]]:
    """The inputs in the head of a sampler or query given in place: the example, a condition, or a value with its type."""
    for a in definition.params:
        assert a.name is not None
        known = m.ev.world.names.get(a.name)
        if a.value is not None:
            continue
        if a.type is None and isinstance(known, Dynamic):
            yield a.name, known
            continue
        if a.type is None:
            fail("E0304", a.span, f"what is `{a.name}`?", help=f"give it a type, as in `{a.name}: vector(2)`, or a default")
        kind = m.ev.expr(a.type, m.env, frame)
        if not isinstance(kind, TypeRef):
            fail("E0304", a.type.span, f"{describe(kind)} is not a type")
        type_ = Type(kind.type.dtype, kind.type.shape, frozenset({EXAMPLE}))
        value = entry.builder.param(type_, a.name)
        classes = None if kind.type.shape else kind.classes  # of one class, not of many integers
        entry.inputs.append(Input(name=a.name, role="condition", type=type_, classes=classes))
        yield a.name, value


def _program(m: Model, section: tree.Section, role: str) -> None:
    p = partial(m, section, (role,))
    fits(m, p, section)
    name = name_of(section)
    if name in m.entries:
        fail("E0208", section.span, f"a second `{name}`", help=f"name it: `{role} NAME = ...`")
    if role == "sampler":
        m.samplers[name] = p
    frame, entry = _start(m, role)
    if section.body is not None and not section.values:
        p = replace(p, kwargs=tuple(_own_inputs(m, p.definition, frame, entry)))
        asked = next((v for _, v in p.kwargs if isinstance(v, Value)), None)
        if asked is not None and any(i.role == "index" for i in entry.inputs):
            _counted(entry, asked)
    ev = m.ev if p.view is None else views.inside(m.ev, p.view)
    instance = ev.instantiate(p, frame)
    value = ev.run(instance, frame, section.span)
    results = tuple(value) if isinstance(value, tuple) else (value,)
    if role == "sampler" and m.represented is not None and isinstance(results[0], Value):
        results = (represent.leave(m.ev, m.represented, results[0], frame), *results[1:])
    if not all(isinstance(v, Value) for v in results):
        gives = "returns nothing" if value is None else f"returns {describe(value)}"
        fail("E0209" if value is None else "E0304", mention(section), f"`{name}` {gives}", help="end it with `return`")
    if role == "sampler" and m.data:
        results = tuple(m.ev.spread(v, frame, section.span) for v in results)
        shape = m.data[0].space.shape
        if results[0].type.shape != shape:
            shapes = [f"({', '.join(map(str, s))})" for s in (results[0].type.shape, shape)]
            fail("E0301", mention(section), f"`{name}` returns shape {shapes[0]}, and the data have {shapes[1]}")
        if (kind := results[0].type.dtype.value) != m.data[0].space.dtype:
            fail("E0301", mention(section), f"`{name}` returns {kind}s, and the data are {m.data[0].space.dtype}s")
    doc = line_of(section.span)
    function = _entry_function(m, name, frame, frame.builder.block(*results), doc, section.span, p.definition.summary)
    inputs = _needed(m, function, tuple(entry.inputs))
    m.entries[name] = Entry(name=name, role=role, function=function.name, inputs=inputs, doc=doc, span=section.span)
    given = dict(p.kwargs)
    for a in p.definition.params:
        if a.name:
            m.defaults.append(
                Default(
                    f"{role} {name}",
                    a.name,
                    show(instance.env.names[a.name]),
                    str(section.span) if a.name in given else f"default of `{p.definition.name}`",
                )
            )


def _needed(m: Model, function: Function, inputs: tuple[Input, ...]) -> tuple[Input, ...]:
    """The inputs of an entry without derived conditions and seeds of a query that it does not read, nor, where it reads other
    examples, the number that only counts them."""
    needed = live(function.block)
    read = {v.id for n in walk(needed) for v in n.inputs} | {v.id for v in needed.results}
    given = list(zip(function.block.params, inputs, strict=True))
    spared = {("condition", name_of(section)) for section in m.derived}
    if any(i.role in ("data", "index") for i in inputs):
        spared.add(("seed", "seed"))
    if any(v.id in read and i.role != "index" and EXAMPLE in v.type.axes for v, i in given):
        spared.add(("index", "index"))
    kept = [(v, i) for v, i in given if v.id in read or (i.role, i.name) not in spared]
    if len(kept) == len(given):
        return inputs
    block = replace(needed, params=tuple(v for v, _ in kept))
    m.ev.functions[function.name] = replace(function, block=block)
    return tuple(i for _, i in kept)


def settings(m: Model) -> None:
    """train, quantize, evaluate."""
    for section in m.found.get("train", []):
        m.train = m.attempt(section.span, sections.train, m.ev, section, m.env, m.top) or {}
        m.attempt(section.span, _players, m, section)
        m.attempt(section.span, _memories, m)
    for key, knob in sections.TRAIN.items():
        value = m.train.setdefault(key, knob.default)
        said = value is not knob.default
        text = value.name if isinstance(value, Setting) else str(value)
        m.defaults.append(Default("train", key, text, "spec" if said else f"default ({knob.doc})"))
    for section in m.found.get("quantize", []):
        if (made := m.attempt(section.span, _quantization, m, section)) is not None:
            m.quantize.append(made)
    for section in m.found.get("decode", []):
        m.cache = m.attempt(section.span, caching, m, section) is not False
    for section in m.found.get("evaluate", []):
        m.evaluate.extend(m.attempt(section.span, _evaluation, m, section) or [])


def _evaluation(m: Model, section: tree.Section) -> list[Setting]:
    samplers, queries = ([name_of(s) for s in m.found.get(kind, [])] for kind in ("sampler", "query"))
    judged = Judged(samplers, queries, labelled=any(s.classes for s, _ in m.conditions))
    return evaluation(m.ev, section, m.env, m.top, judged)


def _quantization(m: Model, section: tree.Section) -> Quantization:
    labelled, queries = any(s.classes for s, _ in m.conditions), [name_of(s) for s in m.found.get("query", [])]
    made = quantization(m.ev, section, m.ev.builtins, m.top, labelled=labelled, queries=queries)
    if made.trained and any(q.trained for q in m.quantize):
        fail(
            "E0208", section.span, "the model is trained with one set of formats", help="leave `train = qat` out of the others"
        )
    return made


def _memories(m: Model) -> None:
    """The examples of a batch have rows of their own."""
    for section in m.found.get("memory", []):
        rows = m.ev.held_by.get(name_of(section))
        if rows is not None and rows.type.shape[0] < m.train.get("batch", sections.TRAIN["batch"].default):
            message = f"`{rows.path}` has fewer rows than a batch has examples"
            fail("E0601", section.span, message, help="make it larger: each example of a batch has a row of its own")


def _players(m: Model, section: tree.Section) -> None:
    """Each optimizer that is named is of somebody who trains, and those who are trained together have one kind."""
    own = dict(m.train.get("optimizers", ()))
    teams = {e.over for e in m.entries.values() if e.role == "objective"}
    items = section.body.items if section.body is not None else ()
    spans = {i.head.id: i.span for i in items if isinstance(i, tree.Section) and isinstance(i.head, tree.Name)}
    for name in own:
        mine = [t for t in teams if name in {p.split(".")[0] for p in t}]
        if not mine and teams:
            help = did_you_mean(name, {p for t in teams for p in t}) or f"players are {choices({', '.join(t) for t in teams})}"
            fail("E0203", spans[name], f"no objective trains `{name}`", help=help)
        for team in mine:
            usual = m.train.get("optimizer", sections.TRAIN["optimizer"].default)
            kinds = {root: own.get(root, usual).name for root in (p.split(".")[0] for p in team)}
            other = next((root for root, kind in kinds.items() if kind != own[name].name), None)
            if other is not None:
                message = f"`{name}` and `{other}` are trained by the same objectives, with {own[name].name} and {kinds[other]}"
                labels = ((spans[other], "the other one"),) if other in spans else ()
                fail("E0208", spans[name], message, labels=labels, help="take one of them, with options for each")
    for name, made in own.items():
        m.defaults.append(Default("train", f"optimizer {name}", made.name, "spec"))


def program(m: Model, doc: str) -> Program:
    """The whole model as a program at example level."""
    networks: dict[str, str] = {}
    for e in m.entries.values():
        for node in walk(m.ev.functions[e.function].block):
            if node.op is Op.CALL and node["bundle"] is not None:
                primary = m.ev.family.get(node["function"], node["function"])
                known = networks.setdefault(node["bundle"], primary)
                weights = [parameters(m.ev.functions, {"": f}) for f in (known, primary)]
                if weights[0] != weights[1]:
                    message = f"`{node['bundle']}` has other parameters for inputs of these types"
                    fail("E0310", e.span or m.span, message, help="give the network inputs that its parameters fit")
    return Program(
        name=m.name,
        level="example",
        spec=m.span.source.name.rsplit("/", 1)[-1],
        digest="",
        functions=dict(m.ev.functions),
        networks=networks,
        entries=dict(m.entries),
        bare=_bare(m),
        routine=_routine(m),
        data=tuple(m.data),
        starts=tuple(m.ev.starts),
        conditions=(*(s for s, _ in m.conditions), *m.computed),
        train=tuple(m.train.items()),
        quantize=tuple(m.quantize),
        evaluate=tuple(m.evaluate),
        averages=_averages(m, networks),
        cache=m.cache,
        groups=math.lcm(*(many for (role, _), many in m.ev.groups.items() if role == "objective")),
        doc=doc,
    )


def _averages(m: Model, networks: dict[str, str]) -> tuple[Average, ...]:
    """The networks that follow others, each of which is one of the program."""
    kept = {path: b for path, b in m.ev.borrowed.items() if b.bundles.kind == "average" and path in networks}
    for path, b in kept.items():
        if b.of not in networks:
            at = b.bundles.span or m.span
            fail("E0501", at, f"`{path}` follows `{b.of}`, which nothing trains", help="use that network in a loss")
    return tuple(Average(path=path, of=b.of, decay=b.bundles.decay) for path, b in kept.items())


def _bare(m: Model) -> tuple[Bare, ...]:
    return tuple(
        Bare(path=h.path, shape=tuple(map(int, h.type.shape)), dtype=h.type.dtype.value, init=h.init, trainable=h.trainable)
        for h in m.ev.held_by.values()
    )


def _routine(m: Model) -> tuple[Step, ...]:
    """Empty when it only does each objective in turn."""
    plain = all(
        s == Step(entries=s.entries) and len(s.entries) == 1 and m.entries[s.entries[0]].role == "objective" for s in m.routine
    )
    return () if plain else tuple(m.routine)


def elaborate_model(m: Model, doc: str) -> Program | None:
    """Run the stages of one model; None when it has errors."""
    sort_sections(m)
    m.attempt(None, build_world, m)
    if any(d.severity == "error" for d in m.ev.diagnostics):
        settings(m)
        return None
    if not any(k in m.found for k in ("loss", "sampler", "backbone", "query")):
        m.attempt(
            None,
            fail,
            "E0209",
            m.span,
            "this model has nothing to train or to run",
            help="add a `backbone` with `predict` and a `sampler`",
        )
    m.attempt(None, objectives, m)
    m.attempt(None, begin, m)
    samplers(m)
    m.attempt(None, generators, m)
    if m.derived:
        m.attempt(m.derived[0].span, conditions, m)
    settings(m)
    if any(d.severity == "error" for d in m.ev.diagnostics):
        return None
    return m.attempt(None, program, m, doc)
