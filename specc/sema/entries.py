"""The entries of a model: its objectives, samplers and queries as functions, and the program that holds them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from specc.ir.liveness import live
from specc.ir.ops import Op
from specc.ir.paths import parameters
from specc.ir.program import (
    Average,
    Bare,
    Entry,
    Function,
    Input,
    Program,
    Quantization,
    Setting,
    Step,
    Value,
    walk,
)
from specc.ir.types import EXAMPLE, Type
from specc.sema import artefacts, freezing, represent, sections, views
from specc.sema.arithmetic import describe
from specc.sema.decoding import caching
from specc.sema.evaluation import Judged, evaluation
from specc.sema.frame import EntryState, Frame
from specc.sema.inputs import conditions, counted, entry_frame, entry_function
from specc.sema.model import Default, Model, line_of, mention, name_of, sort_sections
from specc.sema.objectives import begin, objectives
from specc.sema.provide import show
from specc.sema.quantization import quantization
from specc.sema.report import choices, did_you_mean, fail
from specc.sema.resolve import fits, partial
from specc.sema.values import Definition, Dynamic, TypeRef
from specc.sema.world import build_world
from specc.syntax import tree


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
        frame, entry = entry_frame(m, "sampler")
        drawn = artefacts.results(made, m.ev, frame, m.data[0].space, m.data[0].fields)
        doc = line_of(made.span)
        function = entry_function(m, name, frame, frame.builder.block(*drawn), doc, made.span)
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
    frame, entry = entry_frame(m, role)
    if section.body is not None and not section.values:
        p = replace(p, kwargs=tuple(_own_inputs(m, p.definition, frame, entry)))
        asked = next((v for _, v in p.kwargs if isinstance(v, Value)), None)
        if asked is not None and any(i.role == "index" for i in entry.inputs):
            counted(entry, asked)
    ev = m.ev if p.view is None else views.inside(m.ev, p.view)
    instance = ev.instantiate(p, frame)
    value = ev.run(instance, frame, section.span)
    results = tuple(value) if isinstance(value, tuple) else (value,)
    if role == "sampler" and m.represented is not None and isinstance(results[0], Value):
        results = (represent.leave(m.ev, m.represented, results[0], frame), *results[1:])
    if not all(isinstance(v, Value) for v in results):
        gives = "returns nothing" if value is None else f"returns {describe(value)}"
        help = "end it with `return`" if value is None else "draw or compute what it returns: `z ~ prior()`"
        fail("E0209" if value is None else "E0304", mention(section), f"`{name}` {gives}", help=help)
    if role == "sampler" and m.data:
        results = tuple(m.ev.spread(v, frame, section.span) for v in results)
        shape = m.data[0].space.shape
        if results[0].type.shape != shape:
            shapes = [f"({', '.join(map(str, s))})" for s in (results[0].type.shape, shape)]
            fail("E0301", mention(section), f"`{name}` returns shape {shapes[0]}, and the data have {shapes[1]}")
        if (kind := results[0].type.dtype.value) != m.data[0].space.dtype:
            fail("E0301", mention(section), f"`{name}` returns {kind}s, and the data are {m.data[0].space.dtype}s")
    doc = line_of(section.span)
    function = entry_function(m, name, frame, frame.builder.block(*results), doc, section.span, p.definition.summary)
    inputs = _needed(m, function, tuple(entry.inputs))
    m.entries[name] = Entry(
        name=name, role=role, function=function.name, inputs=inputs, groups=entry.groups, doc=doc, span=section.span
    )
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
    """The inputs of an entry without the derived conditions that it does not read, and of a query that asks of an example
    without any condition or seed, nor, where it reads other examples, the number that only counts them."""
    needed = live(function.block)
    read = {v.id for n in walk(needed) for v in n.inputs} | {v.id for v in needed.results}
    given = list(zip(function.block.params, inputs, strict=True))
    spared = {("condition", name_of(section)) for section in m.derived}
    if any(i.role in ("data", "index") for i in inputs):
        spared |= {("seed", "seed"), *(("condition", space.name) for space, _ in m.conditions)}
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
    return evaluation(m.ev, section, m.env, m.top, _judged(m))


def _judged(m: Model) -> Judged:
    samplers, queries = ([name_of(s) for s in m.found.get(kind, [])] for kind in ("sampler", "query"))
    space = m.data[0].space if m.data else None
    return Judged(samplers, queries, labelled=any(s.classes for s, _ in m.conditions), space=space)


def _quantization(m: Model, section: tree.Section) -> Quantization:
    made = quantization(m.ev, section, m.ev.builtins, m.top, _judged(m))
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
    if own and not m.span.holds(section.span):  # a parent's settings: those of whoever trains here too
        own = {name: made for name, made in own.items() if any(name in {p.split(".")[0] for p in t} for t in teams)}
        m.train["optimizers"] = tuple(own.items())
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
    m.attempt(None, freezing.settled, m)
    m.attempt(None, begin, m)
    samplers(m)
    m.attempt(None, generators, m)
    if m.derived:
        m.attempt(m.derived[0].span, conditions, m)
    settings(m)
    if any(d.severity == "error" for d in m.ev.diagnostics):
        return None
    return m.attempt(None, program, m, doc)
