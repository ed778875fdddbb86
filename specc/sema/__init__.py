"""Resolving, inferring and lowering: a syntax tree becomes programs and diagnostics."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from specc.diagnostics import Diagnostic, SpecError
from specc.ir.program import Program
from specc.sema import builtins, library
from specc.sema.checks import check_mathematics, check_model
from specc.sema.elaborator import Elaborator
from specc.sema.entries import elaborate_model
from specc.sema.model import ONCE, Default, Model
from specc.sema.report import diagnostic, did_you_mean, fail
from specc.sema.shape import check_shape
from specc.sema.values import Definition, Env
from specc.source import Source
from specc.syntax import tree
from specc.syntax.parser import parse, read

__all__ = ["Default", "Elaborated", "elaborate"]

DEEPEST_IMPORT = 20  # files that import each other
DEFINABLE = (
    "process", "predict", "source", "coupling", "times", "loss", "weight", "sampler", "query", "guidance", "grid", "network",
    "backbone", "bijection", "law", "reader", "optimizer", "decay", "interface",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Elaborated:
    """What a file means: its models' programs by name, what there is to say, and every resolved default."""

    programs: dict[str, Program]
    diagnostics: tuple[Diagnostic, ...]
    defaults: tuple[Default, ...]
    outline: str


def elaborate(file: tree.File, source: Source, model: str | None = None) -> Elaborated:
    """Every model of a file (or the one named) as a program at example level."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, 20_000))  # nesting is bounded by the evaluator itself
    try:
        return _elaborate(file, source, model)
    finally:
        sys.setrecursionlimit(before)


def _elaborate(file: tree.File, source: Source, model: str | None) -> Elaborated:
    found: list[Diagnostic] = []
    definitions: dict[tuple[str, str], Definition] = {}
    models: list[tree.Section] = []
    named: dict[str, tree.Section] = {}
    for item in file.items:
        try:
            _top(item, file, (source,), definitions, models, named)
        except SpecError as error:
            found.append(error.diagnostic)
    if not models and not found and not definitions:
        found.append(diagnostic("E0209", file.span, "there is no model here", help="write `model NAME { ... }`"))
    programs: dict[str, Program] = {}
    defaults: list[Default] = []
    for section in models:
        name = section.head.id if isinstance(section.head, tree.Name) else "model"
        if model is not None and name != model:
            continue
        world = Env({}, builtins.environment(), outer=True)
        ev = Elaborator(builtins=world.parent or world, world=world)
        env = Env({}, world, outer=True)
        ev.user = {key: (d, world) for key, d in definitions.items()}
        m = Model(name, section.body or tree.Block(span=section.span, items=()), section.span, ev, env)
        made = elaborate_model(m, _comment(source, section))
        check_mathematics(m)
        if made is not None:
            check_model(m, made)
            if not any(d.severity == "error" for d in ev.diagnostics):
                programs[name] = made
        found.extend(ev.diagnostics)
        defaults.extend(m.defaults)
    outline = "\n".join(f"{d.section:24} {d.knob:16} {d.value:24} {d.origin}" for d in defaults)
    return Elaborated(programs=programs, diagnostics=tuple(found), defaults=tuple(defaults), outline=outline)


def inherit(section: tree.Section, models: dict[str, tree.Section]) -> tree.Section:
    """`model b from a { ... }`: a's sections, with those that b says anew replaced."""
    parent = next((c for c in section.clauses if c.word == "from"), None)
    if parent is None:
        return section
    node = parent.values[0]
    name = node.id if isinstance(node, tree.Name) else node.span.text
    if name not in models:
        fail("E0203", node.span, f"there is no model `{name}` before this one", help=did_you_mean(name, models))
    base = models[name]
    own: dict[tuple[str, str], list[tree.Statement]] = {}
    for item in section.body.items if section.body else ():
        own.setdefault(_identity(item), []).append(item)
    items: list[tree.Statement] = []  # what is said anew stands where it stood: a condition may read an earlier one
    for item in base.body.items if base.body else ():
        items += own.get(_identity(item), [item])
    items += [item for again in own.values() for item in again]
    whole = tuple({id(item): item for item in items}.values())
    return replace(section, body=tree.Block(span=section.span, items=whole), clauses=())


def _identity(item: tree.Statement) -> tuple[str, str]:
    """What a section replaces: the one of its kind, or of its kind and name where there may be several."""
    if not isinstance(item, tree.Section):
        return ("", item.span.text)
    if item.kind in ONCE or item.kind == "loss":
        return (item.kind, "")
    head = item.head
    while isinstance(head, tree.Call):
        head = head.func
    return (item.kind, head.id if isinstance(head, tree.Name) else "")


def imported(item: tree.Import, chain: tuple[Source, ...]) -> tuple[tree.File, Source]:
    """The file that an import names, relative to the one that imports it: the last of the chain of files being read."""
    where = Path(chain[-1].name).parent / item.path
    if os.path.realpath(where) in {os.path.realpath(s.name) for s in chain}:
        through = f" through `{Path(chain[-1].name).name}`" if len(chain) > 1 else ""
        fail("E0210", item.span, f"`{Path(chain[0].name).name}` imports itself{through}", help="leave one of the imports out")
    if len(chain) > DEEPEST_IMPORT:
        fail("E0210", item.span, f"more than {DEEPEST_IMPORT} files import each other")
    found, diagnostics = read(where)
    if found is None:
        fail("E0210", item.span, f"`{item.path}` cannot be read", help=diagnostics[0].message)
    file, diagnostics = parse(found)
    if diagnostics:
        first = diagnostics[0]
        fail("E0210", item.span, f"`{item.path}` has errors of its own", labels=((first.span, first.message),))
    return file, found


def _top(
    item: tree.Statement,
    file: tree.File,
    chain: tuple[Source, ...],
    definitions: dict[tuple[str, str], Definition],
    models: list[tree.Section],
    named: dict[str, tree.Section],
) -> None:
    """One item of a file."""
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
            if any(isinstance(s.head, tree.Name) and s.head.id == item.head.id for s in models):
                fail("E0208", item.head.span, f"a second `model {item.head.id}`", help="give it another name")
            whole = inherit(item, named)
            models.append(whole)
            named[item.head.id] = whole
        case tree.Section() if item.kind in DEFINABLE:
            check_shape(item)
            made = library.define(item)
            if (item.kind, made.name) in definitions:
                fail("E0208", item.span, f"a second `{item.kind} {made.name}`")
            definitions[item.kind, made.name] = made
        case tree.Import():
            other, where = imported(item, chain)
            inner: dict[str, tree.Section] = {}
            for part in other.items:
                _top(part, other, (*chain, where), definitions, [], inner)
            named.update({f"{item.alias}.{k}" if item.alias else k: v for k, v in inner.items()})
        case tree.Section(kind="stage"):
            fail(
                "E0211",
                item.span,
                "`stage` is not supported yet",
                help="train the parent first, then its successor, in files of their own",
            )
        case tree.Section():
            fail(
                "E0202",
                item.kind_span,
                f"there is no `{item.kind}` at the top of a file",
                help=did_you_mean(item.kind, (*DEFINABLE, "model")) or "sections belong in a `model`",
            )
        case _:
            fail("E0202", item.span, "this belongs in a model or in a definition")


def _comment(source: Source, section: tree.Section) -> str:
    """The comment lines over a model, or at the top of the file."""
    return library._comment(source.text, section.span.start)
