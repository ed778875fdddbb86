"""A model: its sections resolved, and the world of names that its losses, samplers and guidance share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from specc.diagnostics import Severity, SpecError
from specc.ir.program import Builder, Entry, Space, Step, Value
from specc.record import record
from specc.sema import library, statements
from specc.sema.artefacts import Generated
from specc.sema.evaluate import MOST_WORK, Evaluator
from specc.sema.frame import Frame
from specc.sema.report import choices, diagnostic, did_you_mean, fail, moved
from specc.sema.represent import Represented
from specc.sema.shape import check_shape
from specc.sema.values import (
    Captures,
    Env,
    Instance,
    Lazy,
    Partial,
    TypeRef,
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
    "freeze",
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
    frozen: dict[str, Span] = field(default_factory=dict)  # names and patterns of parameters that stay, and where that is said
    kept: set[str] = field(default_factory=set)  # those of them that some objective would train
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
            self.report("E0305", at or self.span, message, help=help)
            return None

    def report(
        self,
        code: str,
        span: Span,
        message: str,
        *,
        severity: Severity = "error",
        help: str = "",
        labels: tuple[tuple[Span, str], ...] = (),
    ) -> None:
        """Say what is wrong, and go on."""
        self.ev.diagnostics.append(diagnostic(code, span, message, severity=severity, help=help, labels=labels))


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
    if isinstance(item, tree.Bind) and isinstance(item.targets[0], tree.Name) and (kind := item.targets[0].id) in SECTIONS:
        help = f"a section has its name at once: `{kind} {' '.join(e.span.text for e in item.values) or 'NAME'}`"
        fail("E0203", item.targets[0].span, f"`{kind}` is a section, and not a name to be bound", help=help)
    if isinstance(item, tree.Bind) and item.draw:
        help = "draw it in the body that uses it, or say `latent a: vector(2) ~ normal`"
        fail("E0305", item.span, "nothing is drawn among the sections of a model", help=help)
    statements.run_statement(m.ev, item, m.env, m.top)
    names = [t.id for t in item.targets if isinstance(t, tree.Name)] if isinstance(item, tree.Bind) else []
    for name in (n for n in names if runtime(m.env.names.get(n))):
        value = m.env.names.pop(name)
        matrix = isinstance(value, Value) and value.type.rank == 2 and m.ev.constant(value, m.top) is not None
        if matrix and isinstance(item, tree.Bind) and len(names) == 1:
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
