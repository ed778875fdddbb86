"""The world of a model: what library bodies see."""

from __future__ import annotations

from dataclasses import replace

from specc.ir.program import Space
from specc.ir.types import DType, Type
from specc.sema import artefacts, held, interfaces, library, memory, sections, spaces, statements
from specc.sema.arithmetic import describe
from specc.sema.members import EQUATIONS, members
from specc.sema.model import DEFAULTS, Model, line_of, mention, name_of, place_of
from specc.sema.provide import provide
from specc.sema.report import fail
from specc.sema.represent import represented
from specc.sema.resolve import interfaces_of, partial
from specc.sema.rewrites import Patch
from specc.sema.shape import check_shape
from specc.sema.values import (
    Closure,
    Definition,
    Dynamic,
    Instance,
    Lazy,
    Network,
    TypeRef,
    View,
)
from specc.syntax import tree


def build_world(m: Model) -> None:
    """Names that losses, samplers and guidance share: the interfaces' defaults, then what process and predict give."""
    world = m.ev.world
    m.ev.interfaces = ("bijection",) if "bijection" in m.found else ()
    for section in m.found.get("dataset", []):
        if (drawn := m.attempt(section.span, artefacts.declare, m.ev, section, m.env, m.top)) is not None:
            m.generated[drawn.name] = drawn
    for kind in ("data", "field", "condition"):
        for section in m.found.get(kind, []):
            m.attempt(mention(section), _data, m, section, kind)
    for section in m.found.get("represent", []):
        m.attempt(section.span, _represent, m, section)
    for kind in ("latent", "param", "state", "memory"):
        for section in m.found.get(kind, []):
            m.attempt(mention(section), _holding, m, section)
    for kind in ("source", "process"):
        m.attempt(place_of(m, kind), provide, m, kind)
    if "process" in m.parts:
        m.ev.interfaces += tuple(d.name for d in interfaces_of(m, m.parts["process"].definition))
        m.attempt(place_of(m, "process"), _times_of, m, m.parts["process"])
        m.attempt(place_of(m, "process"), _defaults, m, m.parts["process"].definition)
        world.names.update(m.parts["process"].members)
        m.attempt(place_of(m, "process"), _state, m)
        m.attempt(place_of(m, "process"), _end, m)
    elif "process" not in m.found:
        _direct(m)
    for kind in ("predict", "coupling", "times", "guidance"):
        if kind == "guidance":
            _networks(m)
        m.attempt(place_of(m, kind), provide, m, kind)
    if "predict" in m.parts:
        world.names.update(m.parts["predict"].members)
    for kind in ("source", "times"):
        if kind in m.parts:
            world.names[kind] = m.parts[kind]
    if "coupling" in m.parts:
        world.names.update(m.parts["coupling"].members)
    m.ev.guidance = m.parts.get("guidance")
    for kind, part in m.parts.items():
        for item in part.statements if kind in EQUATIONS else ():
            m.attempt(place_of(m, kind), statements.run_statement, m.ev, item, part.env, m.top)
    for item in m.promised:
        m.attempt(place_of(m, "process"), statements.run_statement, m.ev, item, world, m.top)


def _times_of(m: Model, process: Instance) -> None:
    clauses = {c.word: c for c in process.definition.section.clauses}
    if "over" not in clauses or "in" not in clauses:
        fail("E0209", process.definition.section.span, "a process says its range of times", help="write `over t in [0, 1]`")
    ends = m.ev.expr(clauses["in"].values[0], process.env, m.top)
    if not isinstance(ends, list) or len(ends) != 2 or not all(isinstance(e, (int, float)) for e in ends):
        fail("E0601", clauses["in"].span, "a range of times is written `[t_min, t_max]`")
    if not ends[0] < ends[1]:
        fail(
            "E0401",
            clauses["in"].span,
            f"time runs from data to noise: {ends[0]} is not below {ends[1]}",
            help="t_min is the end at the data, whatever the paper's convention",
        )
    m.ev.world.names.update(t_min=ends[0], t_max=ends[1])


def _end(m: Model) -> None:
    """Samplers stop within the range of times."""
    if "t_min" not in m.ev.world.names:
        return  # that has been said already
    low, high = m.ev.world.names["t_min"], m.ev.world.names["t_max"]
    end = m.ev.settle(m.ev.world.names["t_end"], m.top) if "t_end" in m.ev.world.names else low
    if isinstance(end, bool) or not isinstance(end, (int, float)) or not low <= end < high:
        said = f"{end:g}" if isinstance(end, (int, float)) else describe(end)
        message = f"samplers run from t_max = {high:g} down to t_end, and t_end is {said}"
        fail("E0403", place_of(m, "process"), message, help=f"t_end is a number from {low:g} up to, but below, {high:g}")


def _defaults(m: Model, process: Definition) -> None:
    """What the interfaces of the process, and of predictions under it, say where a definition says nothing."""
    own = interfaces_of(m, process)
    for definition in (*reversed(own), *reversed(interfaces.beside(m.ev, "predict", own))):
        found, conditions = members(definition, m.ev.world, ("interface", definition.name))
        m.ev.world.names.update(found)
        m.promised.extend(conditions)


def _direct(m: Model) -> None:
    """Without a process networks see examples as they are, and their answer is what guidance changes."""
    definition = library.find("interface", "direct")
    assert definition is not None
    m.ev.interfaces += (definition.name,)
    m.ev.world.names.update(members(definition, m.ev.world, ("interface", definition.name))[0])
    m.ev.state = _example(m) if m.data else None


def _example(m: Model) -> TypeRef:
    """The type of x: of the data, or of what they are represented by."""
    if m.represented is not None:
        return m.represented.type
    return _type_of(m.data[0].space)


def _type_of(space: Space) -> TypeRef:
    return TypeRef(Type(DType(space.dtype), space.shape), space.kind, space.classes)


def _represent(m: Model, section: tree.Section) -> None:
    if not m.data:
        fail("E0209", section.span, "there are no data to represent", help="add `data x: SPACE from READER`")
    held = m.represented = represented(m.ev, section, m.env, m.top)
    shape = tuple(int(d) for d in held.type.type.shape)
    m.ev.world.names.update(spaces.dimensions(held.type.kind, shape, held.type.classes))
    m.ev.world.names.update(encode=held.encode, decode=held.decode)


def _state(m: Model) -> None:
    """The type of what the process turns examples into, under its name."""
    process = m.parts["process"].definition
    bodies = [d.body.items for d in (process, *interfaces_of(m, process)) if d.body is not None]
    names = [library.declares(i) for items in bodies for i in items if isinstance(i, tree.Section)]
    declared = m.ev.world.names.get(names[0] or "") if names and m.data else None
    if not isinstance(declared, Lazy):
        return
    kind = m.ev.expr(declared.value, declared.env.child(x=_example(m)), m.top)
    if not isinstance(kind, TypeRef):
        fail("E0304", declared.value.span, f"{describe(kind)} is not a type", help="as in `state z: like(x)`")
    m.ev.world.names[names[0] or ""] = m.ev.state = kind


def _data(m: Model, section: tree.Section, kind: str) -> None:
    doc = line_of(section.span)
    if kind == "data":
        made = sections.dataset(m.ev, section, m.env, m.top, doc, {name: g.reader for name, g in m.generated.items()})
        m.data.append(made)
        _free(m, made.space.name, section)
        m.ev.world.names.update({"x": Dynamic("x"), made.space.name: Dynamic("x")})
        return
    if section.values:
        if not isinstance(section.head, tree.Name):
            fail("E0304", section.span, "a derived condition is written `condition NAME = EXPRESSION`")
        _free(m, section.head.id, section)
        m.derived.append(section)
        m.ev.world.names[section.head.id] = Dynamic(section.head.id)
        return
    space, type_ = sections.data_space(m.ev, section, m.env, m.top)
    _free(m, space.name, section)
    if kind == "condition":
        m.conditions.append((space, type_))
    elif m.data:
        m.data[0] = replace(m.data[0], fields=(*m.data[0].fields, space))
    m.ev.world.names[space.name] = Dynamic(space.name)


def _holding(m: Model, section: tree.Section) -> None:
    """`latent z: vector(32) ~ normal`, `param w: vector(3) = 0`, `state a: scalar = 0`"""
    _free(m, name_of(section), section)
    if section.kind == "latent":
        m.latents.append(section)
        m.ev.world.names[name_of(section)] = Dynamic(name_of(section))
        return
    examples = {d.space.name: _type_of(d.space) for d in m.data} | ({"x": _example(m)} if m.data else {})
    scope = m.env.child(**examples, **{space.name: kind for space, kind in m.conditions})
    if section.kind == "memory":
        m.ev.world.names[name_of(section)] = memory.declare(m.ev, section, scope, m.top)
        return
    made = held.declare(m.ev, section, scope, m.top, m.env)
    m.ev.world.names[made.path] = made


def _free(m: Model, name: str, section: tree.Section) -> None:
    """A name that the library's losses and samplers do not use for something else."""
    taken = {"x"} if m.data and section.kind != "data" else set()
    if "process" in m.found:
        taken |= {"t_min", "t_max", "pair", *DEFAULTS}
        taken |= interfaces.given(library.interfaces("process", "predict", naming=name))
    if name in taken:
        at = section.head.span if section.head is not None else section.span
        message = f"`{name}` means something else to losses and samplers"
        fail("E0208", at, message, help="give it another name")


def _networks(m: Model) -> None:
    for section in m.found.get("backbone", []):
        m.attempt(mention(section), _network, m, section, "backbone")
    for kind in ("network", "bijection"):
        for section in m.found.get(kind, []):
            m.attempt(mention(section), _network, m, section, None)
    for section in m.found.get("patch", []):
        m.attempt(mention(section), _patch, m, section)
    if "bijection" in m.found:
        m.attempt(mention(m.found["bijection"][0]), _bijections, m)


def _bijections(m: Model) -> None:
    """What the model's bijections map; the first one is what losses and samplers for a bijection mean by that name."""
    for section in m.found["bijection"]:
        given = section.head.args[0].type if isinstance(section.head, tree.Call) and section.head.args else None
        kind = m.ev.expr(given, m.env, m.top) if given is not None else None
        space = m.data[0].space if m.data else None
        usual = TypeRef(Type(DType.FLOAT, space.shape), space.kind) if space is not None else None
        known = kind if isinstance(kind, TypeRef) else usual
        if known is not None:
            m.ev.types[name_of(section)] = known
    if (first := m.ev.world.names.get(name_of(m.found["bijection"][0]))) is not None:
        m.ev.world.names["bijection"] = first


def _network(m: Model, section: tree.Section, name: str | None) -> None:
    """`backbone mlp(width = 64)`, `network D(x) -> scalar = mlp(width = 64)`, `network D(x) -> scalar { ... }`"""
    call = section.head if isinstance(section.head, tree.Call) else None
    head = call.func if call is not None else section.head
    p = partial(m, section, ("bijection",) if section.kind == "bijection" else ("backbone", "network"))
    inputs: tuple[str, ...] = ()
    if name is None:
        if not isinstance(head, tree.Name):
            fail("E0203", section.span, "a network needs a name", help="write `network D(x) -> scalar = mlp(width = 64)`")
        name = head.id
        _free(m, name, section)
        if section.values:
            inputs = tuple(library.parameter(a).name or "" for a in call.args) if call is not None else ()
        elif not p.definition.inputs and all(a.value is None for a in p.definition.params):
            p = replace(p, definition=replace(p.definition, params=(), inputs=p.definition.params))
    promise = section.result if section.values or not _typed(p.definition) else None  # else its own header says it
    asks = name == "backbone" or _asks(m, section)
    net = Network(p, name, root=True, conditioned=asks, inputs=inputs, promise=promise, env=m.env)
    m.ev.world.names[name] = m.env.names[name] = net


def _patch(m: Model, section: tree.Section) -> None:
    """`patch better from backbone { at "up.*.skip"(h) = 0.8 * h }`: the network with values changed at places inside it."""
    name, of = name_of(section), next((c.values[0] for c in section.clauses if c.word == "from"), None)
    if of is None or section.body is None:
        fail(
            "E0209",
            section.span,
            f"the patch `{name}` needs a network and a body",
            help="write `patch NAME from NETWORK { ... }`",
        )
    net = m.ev.expr(of, m.env, m.top)
    if not isinstance(net, Network):
        fail("E0304", of.span, f"a patch is of a network of this model, not of {describe(net)}")
    _free(m, name, section)
    rules = tuple(_rule(m, item) for item in section.body.items)
    patched = replace(net, rewrites=(*net.rewrites, Patch(name, rules)))
    view = View(m.ev, m.env, (), patched, named=True, instead=((net.bundle, patched),))
    m.ev.world.names[name] = m.env.names[name] = view


def _rule(m: Model, item: tree.Statement) -> tuple[str, Closure]:
    """`at "up.*.skip"(h) = 0.8 * h`"""
    head = item.head if isinstance(item, tree.Section) and item.kind == "at" else None
    if not isinstance(item, tree.Section) or not isinstance(head, tree.Call) or len(head.args) != 1:
        fail("E0202", item.span, "a patch says what happens at places", help='write `at "up.*.skip"(h) = 0.8 * h`')
    check_shape(item)
    body = item.values[0] if item.values else item.body
    pattern = m.ev.expr(head.func, m.env, m.top)
    if not isinstance(pattern, str) or body is None:
        fail("E0202", item.span, "a place is named by a text", help='write `at "up.*.skip"(h) = 0.8 * h`')
    params = tuple(library.parameter(a) for a in head.args)
    return pattern, Closure("", params, body, m.env, id(item), item.span)


def _typed(definition: Definition) -> bool:
    """Whether the header of a network gives types, so that its result is said in terms of them."""
    return any(a.type is not None for a in definition.inputs)


def _asks(m: Model, section: tree.Section) -> bool:
    """Whether the head of a network names a condition: `network f(z, t, s, y) -> like(z) = mlp(width = 64)`."""
    said = {a.name or (a.value.id if isinstance(a.value, tree.Name) else "") for a in _inputs(section)}
    return not said.isdisjoint({*(space.name for space, _ in m.conditions), *(name_of(s) for s in m.derived)})


def _inputs(section: tree.Section) -> tuple[tree.Arg, ...]:
    return section.head.args if isinstance(section.head, tree.Call) else ()
