"""Resolving, inferring and lowering: a syntax tree becomes programs and diagnostics."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace

from specc.diagnostics import Diagnostic, Label, SpecError
from specc.ir.digest import digest
from specc.ir.program import Program
from specc.ir.rounded import rounded
from specc.record import record
from specc.sema import builtins, library
from specc.sema.checks import check_model
from specc.sema.elaborator import Elaborator
from specc.sema.entries import elaborate_model
from specc.sema.imports import imported, same_place, unqualified
from specc.sema.model import Default, Model
from specc.sema.report import diagnostic, did_you_mean, fail
from specc.sema.schedules import check_mathematics
from specc.sema.shape import check_shape
from specc.sema.stages import Unit, Units, inherited, introduce, stages, unit
from specc.sema.values import Clock, Definition, Env, Namespace
from specc.source import Source, Span
from specc.syntax import tree

__all__ = ["Default", "Elaborated", "elaborate"]

DEFINABLE = (
    "process", "predict", "source", "coupling", "times", "loss", "weight", "sampler", "query", "guidance", "grid", "network",
    "backbone", "bijection", "law", "reader", "optimizer", "decay", "interface", "function",
)  # fmt: skip


@record(kw_only=True)
class Elaborated:
    """What a file means: its models' programs by name, what there is to say, and every resolved default."""

    programs: dict[str, Program]
    diagnostics: tuple[Diagnostic, ...]
    defaults: tuple[Default, ...]
    outline: str


@dataclass
class _Scope:
    """What a file brings: its models, and the definitions of all files that are read."""

    chain: tuple[Source, ...]  # of files, each imported by the one before; the last is this one
    definitions: dict[tuple[str, str], Definition]
    models: list[Unit] = field(default_factory=list)
    named: Units = field(default_factory=dict)  # its models, and imported ones, as it calls them
    defined: set[str] = field(default_factory=set)  # names of its definitions and of those it imports
    aliases: dict[str, frozenset[str]] = field(default_factory=dict)  # by the word behind `as`: what that file defines


def elaborate(file: tree.File, source: Source, model: str | None = None, torn: bool = False) -> Elaborated:
    """Every model of a file (or the one named) as a program at example level. torn: parts of the text did not parse."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, 20_000))  # nesting is bounded by the evaluator itself
    try:
        return _elaborate(file, source, model, torn)
    finally:
        sys.setrecursionlimit(before)


def _elaborate(file: tree.File, source: Source, model: str | None, torn: bool) -> Elaborated:
    found: list[Diagnostic] = []
    scope = _Scope((source,), {})
    for item in file.items:
        try:
            _top(item, scope)
        except SpecError as error:
            found.append(error.diagnostic)
    if not (torn or scope.models or found or scope.definitions):
        found.append(diagnostic("E0209", file.span, "there is no model here", help="write `model NAME { ... }`"))
    programs: dict[str, Program] = {}
    defaults: list[Default] = []
    for one in scope.models:
        if model is not None and one.name != model:
            continue
        place = one.section.head.span if one.section.head is not None else one.section.span
        found.extend(_at_home(d, place) for d in _made(one, scope))
        assert one.model is not None
        defaults.extend(one.model.defaults)
        if one.program is not None:
            programs[one.name] = one.program
    outline = "\n".join(f"{d.section:24} {d.knob:16} {d.value:24} {d.origin}" for d in defaults)
    return Elaborated(programs=programs, diagnostics=tuple(found), defaults=tuple(defaults), outline=outline)


def _at_home(d: Diagnostic, place: Span) -> Diagnostic:
    """The same at a place of this file, where it is about a line of another one."""
    if d.span.source.name == place.source.name:
        return d
    return replace(d, span=place, caption="", labels=(Label(span=d.span, text=d.caption or "in the imported file"), *d.labels))


def _made(one: Unit, scope: _Scope) -> list[Diagnostic]:
    """Elaborate a model after its parents; what there is to say of it, or of a parent with errors."""
    if one.model is not None:
        return one.model.ev.diagnostics
    for _, parent in one.parents:
        said = _made(parent, scope)
        if parent.program is None:
            one.model = parent.model
            return said
    section = one.section
    imports = {alias: Namespace(alias, dict.fromkeys(names)) for alias, names in scope.aliases.items()}
    world = Env(dict(imports), builtins.environment(), outer=True)
    ev = Elaborator(builtins=world.parent or world, world=world)
    ev.user = {key: (d, world) for key, d in scope.definitions.items()}
    body = section.body or tree.Block(span=section.span, items=())
    one.model = m = Model(one.name, body, section.span, ev, Env({}, world, outer=True))
    introduce(m, one)
    made = elaborate_model(m, _comment(section.span.source, section))
    check_mathematics(m)
    if made is not None and one.parents:
        made = m.attempt(section.kind_span, inherited, one, m, made)
    if made is not None:
        check_model(m, made)
        if not any(d.severity == "error" for d in ev.diagnostics):
            made = next((rounded(made, q) for q in made.quantize if q.trained), made)
            one.program = replace(made, digest=digest(made))
    return ev.diagnostics


def _top(item: tree.Statement, scope: _Scope) -> None:
    """One item of a file."""
    item = unqualified(item, scope.aliases)
    match item:
        case tree.Version(number=1):
            pass  # where it stands is the parser's to say
        case tree.Version():
            fail("E0212", item.span, f"this compiler reads version 1, not {item.number}", help="write `specc 1`")
        case tree.Section(kind="model"):
            check_shape(item)
            if not isinstance(item.head, tree.Name):
                fail("E0203", item.span, "a model needs a name", help="write `model NAME { ... }`")
            if item.body is None:
                fail("E0209", item.span, f"the model `{item.head.id}` is empty", help="give it sections between braces")
            _add(item, [unit(item, scope.named)], scope)
        case tree.Section(kind="stage"):
            check_shape(item)
            _add(item, stages(item, scope.named), scope)
        case tree.Section() if item.kind in DEFINABLE:
            check_shape(item)
            made = library.define(item)
            word = builtins.environment().names.get(made.name)
            if (item.kind == "function" and word is not None) or (item.kind in library.CALLABLE and isinstance(word, Clock)):
                what = "count" if isinstance(word, Clock) else "function"
                message = f"the language has a {what} `{made.name}` of its own, which is what the word means in a body"
                fail("E0208", item.head.span if item.head else item.span, message, help="give this one another name")
            known = scope.definitions.setdefault((item.kind, made.name), made)
            if known is not made and not same_place(known.section.span, item.span):
                fail("E0208", item.span, f"a second `{item.kind} {made.name}`", labels=((known.section.span, "the first"),))
            scope.defined.add(made.name)
        case tree.Import():
            other, where = imported(item, scope.chain)
            inner = _Scope((*scope.chain, where), scope.definitions)
            for part in other.items:
                try:
                    _top(part, inner)
                except SpecError as error:
                    raise SpecError(_at_home(error.diagnostic, item.span)) from None
            scope.named.update({f"{item.alias}.{k}" if item.alias else k: v for k, v in inner.named.items()})
            scope.defined |= inner.defined
            if item.alias:
                scope.aliases[item.alias] = frozenset(inner.defined - inner.named.keys())  # a model is meant first
        case tree.Section():
            fail(
                "E0202",
                item.kind_span,
                f"there is no `{item.kind}` at the top of a file",
                help=did_you_mean(item.kind, (*DEFINABLE, "model", "stage")) or "sections belong in a `model`",
            )
        case _:
            fail("E0202", item.span, "this belongs in a model or in a definition")


def _add(item: tree.Section, made: list[Unit], scope: _Scope) -> None:
    for one in made:
        if any(other.name == one.name for other in scope.models):
            assert item.head is not None
            fail("E0208", item.head.span, f"a second `{item.kind} {one.name}`", help="give it another name")
        scope.models.append(one)
        scope.named[one.name] = one


def _comment(source: Source, section: tree.Section) -> str:
    """The comment lines over a model, or else at the top of the file."""
    top = source.text.split("\n\n")[0] + "\n"
    return library.comment(source.text, section.span.start) or library.comment(top, len(top))
