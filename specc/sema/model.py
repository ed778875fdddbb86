"""A model: its sections resolved, and the world of names that its losses, samplers and guidance share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ParamSpec, TypeVar

from specc.diagnostics import SpecError
from specc.ir.program import Builder, Entry, Space, Step, Value
from specc.ir.types import DType, Type
from specc.record import record
from specc.sema import artefacts, held, interfaces, library, memory, sections, spaces, statements
from specc.sema.arithmetic import describe, settled, shown
from specc.sema.artefacts import Generated
from specc.sema.evaluate import MOST_WORK, Evaluator
from specc.sema.frame import Frame
from specc.sema.members import EQUATIONS, members
from specc.sema.report import choices, diagnostic, did_you_mean, fail, moved
from specc.sema.represent import Represented, represented
from specc.sema.rewrites import Patch
from specc.sema.shape import check_shape, overridden
from specc.sema.values import (
    Captures,
    Closure,
    Definition,
    Dynamic,
    Env,
    Instance,
    Lazy,
    Network,
    Partial,
    TypeRef,
    View,
    runtime,
)
from specc.source import Span
from specc.syntax import tree

P = ParamSpec("P")
T = TypeVar("T")

# What a section of a kind names: a definition of that kind (or of those in its place), used or given in place.
PARTS = ("process", "predict", "source", "coupling", "times", "guidance")
DEFAULTS = {"source": "standard_normal", "coupling": "independent", "times": "uniform"}
SECTIONS = (
    *PARTS,
    "dataset",
    "data",
    "condition",
    "field",
    "represent",
    "latent",
    "param",
    "state",
    "memory",
    "backbone",
    "network",
    "patch",
    "bijection",
    "loss",
    "sampler",
    "query",
    "train",
    "quantize",
    "decode",
    "evaluate",
)
LATER = (
    "plan",
    "fit",
    "environment",
    "target",
    "density",
    "carry",
    "adapter",
    "search",
    "choice",
)
ONCE = (*PARTS, "data", "represent", "backbone", "train", "decode")
# any number, each with a name of its own
NAMED = ("dataset", "condition", "field", "latent", "param", "state", "memory", "network", "patch", "bijection", "quantize")


@record
class Default:
    """A resolved setting and where it came from, for `specc check --explain`."""

    section: str
    knob: str
    value: str
    origin: str


@dataclass(slots=True)
class Model:
    """A model under elaboration."""

    name: str
    block: tree.Block
    span: Span
    ev: Evaluator
    env: Env  # names of the user's model, around its inline bodies
    found: dict[str, list[tree.Section]] = field(default_factory=dict)
    parts: dict[str, Instance] = field(default_factory=dict)
    defaults: list[Default] = field(default_factory=list)
    data: list[Any] = field(default_factory=list)
    generated: dict[str, Generated] = field(default_factory=dict)  # datasets that a parent's sampler makes
    represented: Represented | None = None
    conditions: list[tuple[Any, TypeRef]] = field(default_factory=list)
    entries: dict[str, Entry] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)
    quantize: list[Any] = field(default_factory=list)
    cache: bool = True
    evaluate: list[Any] = field(default_factory=list)
    derived: list[tree.Section] = field(default_factory=list)  # conditions computed from each example
    computed: list[Space] = field(default_factory=list)  # their spaces
    latents: list[tree.Section] = field(default_factory=list)
    samplers: dict[str, Partial] = field(default_factory=dict)  # by name, for stages that run them
    routine: list[Step] = field(default_factory=list)
    used: set[str] = field(default_factory=set)  # conditions that some entry reads
    promised: list[tree.Statement] = field(default_factory=list)  # what the interfaces of the process require
    anew: Callable[[str], bool] = lambda root: True  # whether a root starts here, and not where a parent left it
    top: Frame = field(init=False)

    def __post_init__(self) -> None:
        self.top = Frame(builder=Builder(self.ev.ids), kind="model", span=self.span)

    def attempt(self, at: Span | None, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """Do one construct, at a place in the model; an error in it is kept, and the others are still looked at."""
        try:
            return work(*args, **kwargs)
        except SpecError as error:
            self.ev.depth = 0
            if self.ev.work > MOST_WORK and any(d.code == "E0604" for d in self.ev.diagnostics):
                return None
            found = moved(error, at or self.span).diagnostic
            if found not in self.ev.diagnostics:
                self.ev.diagnostics.append(found)
            return None
        except Captures:
            self.ev.depth = 0
            message = "this needs a value that exists only while the program runs"
            help = "what is decided while compiling depends on numbers, knobs and shapes alone"
            self.ev.diagnostics.append(diagnostic("E0305", at or self.span, message, help=help))
            return None


def mention(section: tree.Section) -> Span:
    """Where a section names what it uses: what a message about that underlines."""
    if section.values:
        return section.values[0].span
    return section.head.span if section.head is not None else section.kind_span


def place_of(m: Model, kind: str) -> Span:
    """The section of a kind, or the name of the model where it is left to its default."""
    return mention(m.found[kind][0]) if m.found.get(kind) else m.span


def sort_sections(m: Model) -> None:
    """Sections by kind; what is unknown, misplaced or said twice is reported."""
    for item in m.block.items:
        if isinstance(item, (tree.Bind, tree.Method)):
            m.attempt(item.span, _number, m, item)
            continue
        if isinstance(item, tree.ExprStatement) and isinstance(item.value, tree.Name) and item.value.id in SECTIONS:
            bare = tree.Section(
                span=item.span, kind=item.value.id, kind_span=item.span, head=None, type=None, values=(), result=None,
                law=None, clauses=(), overrides=None, body=None,
            )  # fmt: skip
            m.attempt(item.span, _sort, m, bare)
            continue
        if not isinstance(item, tree.Section):
            m.attempt(None, fail, "E0202", item.span, "a model is made of sections", help=f"sections are {choices(SECTIONS)}")
            continue
        m.attempt(item.span, _sort, m, item)


def _number(m: Model, item: tree.Bind | tree.Method) -> None:
    """`scale = 3` among the sections: a name for the model's own bodies."""
    statements.run_statement(m.ev, item, m.env, m.top)
    if (name := library.declares(item)) is not None and runtime(m.env.names.get(name)):
        value = m.env.names.pop(name)
        matrix = isinstance(value, Value) and value.type.rank == 2 and m.ev.constant(value, m.top) is not None
        if matrix and isinstance(item, tree.Bind):
            m.env.names[name] = Lazy(item.values[0], m.env)  # a matrix of numbers, made anew in each body that reads it
            return
        fail("E0305", item.span, f"`{name}` is computed when the program runs", help="compute it in the body that uses it")


def _sort(m: Model, item: tree.Section) -> None:
    if item.kind in LATER:
        fail(
            "E0211",
            item.kind_span,
            f"`{item.kind}` is not supported yet",
            help=f"the sections that work are {choices(SECTIONS)}",
        )
    if item.kind not in SECTIONS:
        hint = did_you_mean(item.kind, SECTIONS) or f"sections are {choices(SECTIONS)}"
        fail("E0202", item.kind_span, f"there is no section `{item.kind}`", caption="unknown section", help=hint)
    check_shape(item)
    if item.head is None and item.body is None:
        known = {n for k in (item.kind, "network" if item.kind == "backbone" else item.kind) for n in library.names(k)}
        fail("E0203", item.kind_span, f"`{item.kind}` needs a name", help=f"known are {choices(known)}" if known else "")
    before = m.found.setdefault(item.kind, [])
    if before and item.kind in ONCE:
        fail("E0208", item.span, f"a second `{item.kind}`", labels=((before[0].span, "the first one"),), help="a model has one")
    same = [s for s in before if item.kind in NAMED and name_of(s) == name_of(item)]
    if same:
        label = ((same[0].span, "the first one"),)
        fail("E0208", item.span, f"a second `{item.kind} {name_of(item)}`", labels=label, help="give it another name")
    before.append(item)


def partial(m: Model, section: tree.Section, kinds: tuple[str, ...]) -> Partial:
    """The definition that a section uses or gives, with its arguments."""
    if section.body is not None and not section.values and section.kind not in ("train", "quantize"):
        return _overridden(m, Partial(library.define(section), span=section.span, env=m.env), section)
    node = section.values[0] if section.values else section.head
    if node is None:
        fail("E0203", section.span, f"`{section.kind}` needs a name", help=f"known are {choices(library.names(kinds[0]))}")
    return _overridden(m, use(m, node, kinds), section)


def _overridden(m: Model, made: Partial, section: tree.Section) -> Partial:
    """With members of its own, and over a range of times of its own, where the section says so."""
    times = tuple(c for c in section.clauses if c.word in ("over", "in"))
    if times and section.kind == "process" and made.definition.section is not section:
        kept = tuple(c for c in made.definition.section.clauses if c.word not in ("over", "in"))
        again = replace(made.definition.section, clauses=(*kept, *times))
        made = replace(made, definition=replace(made.definition, section=again))
    if section.overrides is None:
        return made
    own = made.definition.kind in ("process", "predict")
    found = library.find("interface", made.definition.kind)
    declared = _interfaces(m, made.definition) if own else [found] if found is not None else []
    return overridden(made, section, interfaces.given(declared))


def use(m: Model, node: tree.Expr, kinds: tuple[str, ...]) -> Partial:
    """`vp(beta_max = 20)` as a definition of one of these kinds with its arguments."""
    if isinstance(node, tree.Paren):
        return use(m, node.value, kinds)
    func = node.func if isinstance(node, tree.Call) else node
    if isinstance(func, tree.Attribute) and isinstance(view := m.ev.expr(func.value, m.env, m.top), View):
        return _through_view(m, node, func, view, kinds)
    if not isinstance(func, tree.Name):
        fail("E0203", node.span, f"the name of a {kinds[0]} is needed here")
    found = next((d for k in kinds if (d := m.ev.definition(k, func.id)) is not None), None)
    if found is None:
        known = set().union(*(library.names(k) | {n for kk, n in m.ev.user if kk == k} for k in kinds))
        help = did_you_mean(func.id, known) or f"known are {choices(known)}"
        fail("E0203", func.span, f"there is no {kinds[0]} `{func.id}`", caption="unknown name", help=help)
    args: list[Any] = []
    kwargs: list[tuple[str, Any]] = []
    for place, a in enumerate(node.args if isinstance(node, tree.Call) else ()):
        if a.value is None:
            fail("E0206", a.span, "an argument needs a value")
        if (part := _argument_part(m, found[0], place, a)) is not None:
            kwargs.append((a.name, part)) if a.name else args.append(part)
            continue
        named = m.ev.world.names.get(a.value.id) if isinstance(a.value, tree.Name) else None
        value = named if isinstance(named, Dynamic) else m.ev.expr(a.value, m.env, m.top, symbols=True)
        _finite(value, a)
        settled(value, a.span)
        if a.name is None:
            args.append(value)
        else:
            if a.name not in {p.name for p in found[0].params}:
                known = {p.name or "" for p in found[0].params}
                help = did_you_mean(a.name, known) or (f"its knobs are {choices(known)}" if known else "it has none")
                fail(
                    "E0205",
                    a.span,
                    f"`{func.id}` has no knob `{a.name}`",
                    caption=f"`{a.name}` is not used by anything",
                    help=help,
                )
            if a.name in dict(kwargs):
                fail("E0206", a.span, f"`{func.id}` is given `{a.name}` twice")
            kwargs.append((a.name, value))
    return Partial(found[0], tuple(args), tuple(kwargs), node.span, found[1])


def _through_view(m: Model, node: tree.Expr, func: tree.Attribute, view: View, kinds: tuple[str, ...]) -> Partial:
    """`better.ddim(steps = 20)`: a definition that means that view's functions and networks."""
    name = tree.Name(span=func.span, id=func.name)
    plain = use(m, replace(node, func=name) if isinstance(node, tree.Call) else name, kinds)
    env = next((found[1] for k in kinds if (found := view.ev.definition(k, func.name)) is not None), None)
    return replace(plain, env=env, view=view)


def _argument_part(m: Model, definition: Definition, place: int, arg: tree.Arg) -> Partial | None:
    """`spacing = uniform(high = 0.9)` for a knob of kind `grid`: the grid of that name, though a law is called so too."""
    node = arg.value
    wanted = definition.params[place : place + 1] if arg.name is None else [p for p in definition.params if p.name == arg.name]
    kinds = [p.type.id for p in wanted if isinstance(p.type, tree.Name)]
    if not kinds or not isinstance(node, tree.Call) or not isinstance(node.func, tree.Name):
        return None
    return use(m, node, (kinds[0],)) if m.ev.definition(kinds[0], node.func.id) is not None else None


def _finite(value: Any, arg: tree.Arg) -> None:
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        fail("E0601", arg.span, f"`{arg.name}` is {value}: a finite number is needed")


def _part(m: Model, kind: str) -> None:
    """Resolve one of PARTS, or its default."""
    if kind in m.found:
        section = m.found[kind][0]
        p = partial(m, section, (kind,))
        changing = [v.name for v in (*p.args, *dict(p.kwargs).values()) if isinstance(v, Dynamic)]
        if changing and kind in ("process", "predict", "times"):
            message = f"the knobs of a {kind} are known while compiling, and `{changing[0]}` is another for each example"
            fail("E0305", mention(section), message)
        origin = f"{section.span}"
    elif kind in DEFAULTS and "process" in m.found:
        p = Partial(library.find(kind, DEFAULTS[kind]) or _missing(kind), span=m.span, env=m.ev.world)
        origin = "default"
    else:
        return
    if kind in m.found and kind != "process" and not any(d.severity == "error" for d in m.ev.diagnostics):
        fits(m, p, m.found[kind][0])
    instance = m.ev.instantiate(p, m.top)
    if kind == "times" and kind in m.found and m.found[kind][0].type is not None:
        instance = replace(instance, each=_each(m, m.found[kind][0]))
    _interface(m, instance)
    m.parts[kind] = instance
    m.defaults.append(Default(kind, "", p.definition.name, origin))
    given = {*dict(p.kwargs), *(a.name for a, _ in zip(p.definition.params, p.args, strict=False))}
    for a in p.definition.params:
        if a.name:
            m.defaults.append(
                Default(
                    kind,
                    a.name,
                    show(instance.env.names[a.name]),
                    origin if a.name in given else f"default of `{p.definition.name}`",
                )
            )


def _each(m: Model, section: tree.Section) -> tuple[int, ...]:
    """`times t: vector(16) = uniform`: one time for each of the leading elements of an example."""
    assert section.type is not None
    kind = m.ev.expr(section.type, m.env, m.top)
    if not isinstance(kind, TypeRef):
        fail("E0304", section.type.span, f"{describe(kind)} is not a type")
    shape = kind.type.shape
    whole = m.data[0].space.shape if m.data else shape
    if shape != whole[: len(shape)]:
        message = f"times of shape {shown(shape)} do not lie along the leading axes of examples of shape {shown(whole)}"
        fail("E0301", section.type.span, message, help="as in `times t: vector(16) = uniform` beside `video(16, 1, 8, 8)`")
    return tuple(map(int, shape))


def _missing(kind: str) -> Definition:
    raise AssertionError(f"the library has no default {kind}")


def _interface(m: Model, instance: Instance) -> None:
    """A process and a prediction give what their interfaces declare, by an equation or by a knob that is a function."""
    definition = instance.definition
    if definition.kind not in ("process", "predict"):
        return
    if definition.interface is None and definition.kind == "process":
        fail(
            "E0209",
            definition.section.span,
            f"`process {definition.name}` does not say what it is for",
            help="write `process ... for gaussian over t in [0, 1]`",
        )
    declared = _interfaces(m, definition)
    for name in interfaces.given(declared) - instance.members.keys():
        if isinstance(knob := instance.env.names.get(name), Closure):
            label = f"{name}: {knob.span.text}  [{definition.kind} {definition.name}]"
            instance.members[name] = replace(knob, name=name, key=(instance.key, name), outline=True, label=label)
            instance.env.names[name] = instance.members[name]
    defaults = set().union(*(members(d, m.ev.world, d.name)[0] for d in declared))
    for item in (i for d in declared if d.body is not None for i in d.body.items):
        if isinstance(item, tree.ExprStatement) and library.declares(item) not in instance.members.keys() | defaults:
            fail(
                "E0209",
                definition.section.span,
                f"`{definition.kind} {definition.name}` does not give `{item.value.span.text}`",
                help=f"add an equation: `{item.value.span.text} = ...`",
            )
        _agrees(instance, item)


def _interfaces(m: Model, definition: Definition) -> list[Definition]:
    """The interfaces of a process or of a prediction under the model's process, the most special first."""
    if definition.kind == "process":
        return interfaces.line(m.ev, definition.interface or "", definition.section.span)
    process = m.parts.get("process")
    return interfaces.beside(m.ev, definition.kind, _interfaces(m, process.definition)) if process is not None else []


def _agrees(instance: Instance, item: tree.Statement) -> None:
    """What a definition gives has the arguments that its interface says."""
    wanted: int | None
    match item:
        case tree.ExprStatement(value=tree.Call() as head) | tree.Bind(targets=(tree.Call() as head,)):
            wanted, said = len(head.args), head.span.text
        case tree.Method(name=name, params=params):
            wanted, said = len(params), f"{name}({', '.join(p.span.text for p in params)})"
        case _:
            wanted, said = None, library.declares(item) or ""
    given = instance.members.get(library.declares(item) or "")
    have = sum(p.value is None for p in given.params) if isinstance(given, Closure) else None  # more may have defaults
    if given is not None and have != wanted:
        span = given.span if isinstance(given, Closure) else instance.definition.section.span
        if isinstance(given, Lazy):
            span = given.value.span
        fail("E0206", span, f"`{library.declares(item)}` is to be given as `{said} = ...`", help="the interface says so")


def show(value: Any) -> str:
    match value:
        case Partial():
            return value.definition.name
        case Closure():
            return value.span.text
        case bool():
            return "true" if value else "false"
        case int() | float() | str():
            return str(value)
        case None:
            return "none"
        case list():
            return "[" + ", ".join(show(v) for v in value) + "]"
        case _:
            return getattr(value, "id", None) or getattr(value, "name", None) or describe(value)


# The world: what library bodies see -----------------------------------------------------------------------------------


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
        m.attempt(place_of(m, kind), _part, m, kind)
    if "process" in m.parts:
        m.ev.interfaces += tuple(d.name for d in _interfaces(m, m.parts["process"].definition))
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
        m.attempt(place_of(m, kind), _part, m, kind)
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
    own = _interfaces(m, process)
    for definition in (*reversed(own), *reversed(interfaces.beside(m.ev, "predict", own))):
        found, conditions = members(definition, m.ev.world, ("interface", definition.name))
        m.ev.world.names.update(found)
        m.promised.extend(conditions)


def _direct(m: Model) -> None:
    """Without a process networks see examples as they are, and their answer is what guidance changes."""
    definition = library.find("interface", "direct")
    assert definition is not None
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
    bodies = [d.body.items for d in (process, *_interfaces(m, process)) if d.body is not None]
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
    if "process" not in m.found:
        return
    taken = {"t_min", "t_max", "pair", *DEFAULTS, *(("x",) if section.kind != "data" else ())}
    if name in taken | interfaces.given(library.interfaces("process", "predict", naming=name)):
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


def line_of(span: Span) -> str:
    """The first line of a construct, with its place."""
    first = " ".join(span.text.split("{")[0].split())
    return f"{first}  [{place(span)}]"


def place(span: Span) -> str:
    return f"{span.source.name.rsplit('/', 1)[-1]}:{span.line}"


def name_of(section: tree.Section) -> str:
    head = section.head
    while isinstance(head, tree.Call):
        head = head.func
    if not isinstance(head, tree.Name):
        fail("E0203", section.span, f"`{section.kind}` needs a name")
    return head.id


def serves(m: Model, definition: Definition) -> bool:
    """Whether the model's process is for the interface that a definition is for, or for one that builds on it."""
    process, wanted = m.parts.get("process"), definition.interface
    if wanted is None:
        return True
    return process is not None and wanted in {d.name for d in _interfaces(m, process.definition)}


def fits(m: Model, p: Partial, section: tree.Section) -> None:
    """A definition `for gaussian` needs a process for that interface, or for one that builds on it; or a bijection."""
    wanted, name = p.definition.interface, p.definition.name
    if wanted is None:
        return
    process = m.parts.get("process")
    at = mention(section)
    if wanted == "bijection":
        if "bijection" not in m.found:
            help = "add one, such as `bijection f = chain(...)`"
            fail("E0307", at, f"`{p.definition.name}` is for a model with a bijection, and this one has none", help=help)
        return
    if process is None:
        message = f"`{name}` is for a {wanted} process, and this model has no process"
        fail("E0307", at, message, help="add one, such as `process vp`")
    if serves(m, p.definition):
        return
    own = _interfaces(m, process.definition)
    missing = interfaces.lacking(m.ev, p.definition, own, at)
    message = f"`{name}` is for a {wanted} process, and this one is for {own[0].name}"
    if missing is not None:
        message = f"`{name}` needs `{missing}`, and a process for {own[0].name} has none"
    label = ((place_of(m, "process"), own[0].summary or f"a process for {own[0].name}"),)
    others = interfaces.users(m.ev, p.definition.kind, own)
    help = f"use {choices(others)}, or a {wanted} process" if others else f"take a {wanted} process"
    fail("E0307", at, message, labels=label, help=help)
