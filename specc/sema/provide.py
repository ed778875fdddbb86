"""Parts of a model: what a process, a prediction and the rest must give, and what they give."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from specc.sema import interfaces, library
from specc.sema.arithmetic import describe, shown
from specc.sema.members import members
from specc.sema.model import DEFAULTS, Default, Model, mention
from specc.sema.report import fail
from specc.sema.resolve import fits, interfaces_of, partial
from specc.sema.values import (
    Closure,
    Definition,
    Dynamic,
    Instance,
    Lazy,
    Partial,
    TypeRef,
)
from specc.syntax import tree


def provide(m: Model, kind: str) -> None:
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
    declared = interfaces_of(m, definition)
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
