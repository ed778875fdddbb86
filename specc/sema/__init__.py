"""Resolving, inferring and lowering: a syntax tree becomes programs and diagnostics."""

from __future__ import annotations

from dataclasses import dataclass

from specc.diagnostics import Diagnostic, SpecError
from specc.ir.program import Program
from specc.sema import builtins, library
from specc.sema.evaluate import Evaluator
from specc.sema.model import Default, Model, elaborate_model
from specc.sema.report import diagnostic, did_you_mean, fail
from specc.sema.values import Definition, Env
from specc.source import Source
from specc.syntax import tree

__all__ = ["Default", "Elaborated", "elaborate"]

DEFINABLE = (
    "process", "predict", "source", "coupling", "times", "loss", "weight", "sampler", "query", "guidance", "grid", "network", "backbone", "reader", "optimizer", "decay", "interface",
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
    found: list[Diagnostic] = []
    definitions: dict[tuple[str, str], Definition] = {}
    models: list[tree.Section] = []
    for item in file.items:
        try:
            _top(item, file, definitions, models)
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
        world = Env({}, builtins.environment())
        ev = Evaluator(builtins=world.parent or world, world=world)
        env = Env({}, world)
        ev.user = {key: (d, env) for key, d in definitions.items()}
        m = Model(name, section.body or tree.Block(span=section.span, items=()), section.span, ev, env)
        made = elaborate_model(m, _comment(source, section))
        if made is not None:
            from specc.sema.checks import check_model

            check_model(m, made)
            if not any(d.severity == "error" for d in ev.diagnostics):
                programs[name] = made
        found.extend(ev.diagnostics)
        defaults.extend(m.defaults)
    outline = "\n".join(f"{d.section:24} {d.knob:16} {d.value:24} {d.origin}" for d in defaults)
    return Elaborated(programs=programs, diagnostics=tuple(found), defaults=tuple(defaults), outline=outline)


def _top(
    item: tree.Statement, file: tree.File, definitions: dict[tuple[str, str], Definition], models: list[tree.Section]
) -> None:
    """One item of a file."""
    match item:
        case tree.Version(number=1):
            if item is not file.items[0]:
                fail("E0212", item.span, "the version belongs on the first line")
        case tree.Version():
            fail("E0212", item.span, f"this compiler reads version 1, not {item.number}", help="write `specc 1`")
        case tree.Section(kind="model"):
            if not isinstance(item.head, tree.Name):
                fail("E0203", item.span, "a model needs a name", help="write `model NAME { ... }`")
            if item.body is None:
                fail("E0209", item.span, f"the model `{item.head.id}` is empty", help="give it sections between braces")
            models.append(item)
        case tree.Section() if item.kind in DEFINABLE:
            made = library.define(item)
            if (item.kind, made.name) in definitions:
                fail("E0208", item.span, f"a second `{item.kind} {made.name}`")
            definitions[item.kind, made.name] = made
        case tree.Section(kind="stage") | tree.Import():
            what = "stage" if isinstance(item, tree.Section) else "import"
            fail("E0211", item.span, f"`{what}` is not supported yet", help="one file, one model, and the library")
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
