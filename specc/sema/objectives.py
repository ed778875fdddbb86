"""Losses as entries: what is minimised and updated, in the order of the text, and whose parameters are trained."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import replace

from specc.ir.liveness import felt, live
from specc.ir.ops import Op
from specc.ir.paths import parameters
from specc.ir.program import (
    Block,
    Entry,
    Step,
    chosen,
    walk,
)
from specc.sema import freezing, held, library, routine
from specc.sema.arithmetic import add
from specc.sema.frame import Around, EntryState, Event, Frame, ObjectiveDone, Walk
from specc.sema.inputs import entry_frame, entry_function
from specc.sema.model import Default, Model, line_of, mention, name_of, place, place_of
from specc.sema.report import choices, fail, foreign
from specc.sema.resolve import fits, partial, serves
from specc.sema.values import Instance, Partial
from specc.source import Span
from specc.syntax import tree


def objectives(m: Model) -> None:
    """One entry for each `minimize` of each loss."""
    found = m.found.get("loss", [])
    for section in m.found.get("freeze", []):
        m.attempt(section.span, freezing.declare, m, section)
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
    frame, entry = entry_frame(m, "objective")
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
    function = entry_function(m, _free_label(m, "start"), frame, block, doc, m.span)
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
    frame, entry = entry_frame(m, "objective")
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
    function = entry_function(m, label, frame, block, doc, span, instance.definition.summary if objective else "")
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
        paths = _paths(m, root, reached[root])
        if not any(chosen(path, (name,)) for path in paths):
            some = choices(list(paths)[:4])
            fail("E0505", event.span, f"no parameter of `{root}` has a path like {name!r}", help=f"there are {some}")
    whole = tuple(name for name in known if name in (event.over or reached))  # one order, as a set has none
    over = whole + tuple(name for name in event.over if name not in known)
    if not m.frozen:
        return over
    every = [path for root, function in reached.items() for path in _paths(m, root, function)]
    return freezing.left(m, {name: tuple(p for p in every if chosen(p, (name,))) for name in over}, event.span)


def _paths(m: Model, root: str, function: str | None) -> Iterable[str]:
    """The parameters of a network, or the one of that name."""
    return parameters(m.ev.functions, {root: function}) if function is not None else (root,)


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
