"""Which definition a section of a model names or gives, with its arguments, and whether it fits the process."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from specc.sema import interfaces, library
from specc.sema.arithmetic import settled
from specc.sema.given import argument
from specc.sema.model import Model, mention, place_of
from specc.sema.report import choices, did_you_mean, fail
from specc.sema.shape import overridden
from specc.sema.values import (
    Definition,
    Dynamic,
    Partial,
    View,
)
from specc.syntax import tree


def partial(m: Model, section: tree.Section, kinds: tuple[str, ...]) -> Partial:
    """The definition that a section uses or gives, with its arguments."""
    section = of_parent(m, section)
    if section.body is not None and not section.values and section.kind not in ("train", "quantize"):
        return _overridden(m, Partial(library.define(section), span=section.span, env=m.env), section)
    node = section.values[0] if section.values else section.head
    if node is None:
        fail("E0203", section.span, f"`{section.kind}` needs a name", help=f"known are {choices(library.names(kinds[0]))}")
    return _overridden(m, use(m, node, kinds), section)


def of_parent(m: Model, section: tree.Section) -> tree.Section:
    """`sampler s = teacher.fast(steps = 2)`, where the parent has a sampler `fast`: a sampler that returns what that draws."""
    node = section.values[0] if section.kind == "sampler" and section.values else None
    func = node.func if isinstance(node, tree.Call) else node
    if node is None or not isinstance(func, tree.Attribute) or m.ev.definition("sampler", func.name) is not None:
        return section
    view = m.ev.expr(func.value, m.env, m.top)
    of = view.bundles[-1].of if isinstance(view, View) and view.bundles else None
    if not isinstance(of, Model) or func.name not in of.samplers:
        return section
    call = node if isinstance(node, tree.Call) else tree.Call(span=node.span, func=node, args=())
    body = tree.Block(span=node.span, items=(tree.Return(span=node.span, values=(call,)),))
    return replace(section, values=(), body=body)


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
    declared = interfaces_of(m, made.definition) if own else [found] if found is not None else []
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
        given = argument(a)
        if (part := _argument_part(m, found[0], place, a)) is not None:
            kwargs.append((a.name, part)) if a.name else args.append(part)
            continue
        named = m.ev.world.names.get(given.id) if isinstance(given, tree.Name) else None
        value = named if isinstance(named, Dynamic) else m.ev.expr(given, m.env, m.top, symbols=True)
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


def interfaces_of(m: Model, definition: Definition) -> list[Definition]:
    """The interfaces of a process or of a prediction under the model's process, the most special first."""
    if definition.kind == "process":
        return interfaces.line(m.ev, definition.interface or "", definition.section.span)
    process = m.parts.get("process")
    return interfaces.beside(m.ev, definition.kind, interfaces_of(m, process.definition)) if process is not None else []


def serves(m: Model, definition: Definition) -> bool:
    """Whether the model has what a definition is for: a process for its interface or for one that builds on it, a bijection."""
    return definition.interface is None or definition.interface in m.ev.interfaces


def fits(m: Model, p: Partial, section: tree.Section) -> None:
    """A definition `for gaussian` needs a process for that interface, or for one that builds on it; or a bijection."""
    wanted, name = p.definition.interface, p.definition.name
    if wanted is None or serves(m, p.definition):
        return
    process = m.parts.get("process")
    at = mention(section)
    if wanted == "bijection":
        help = "add one, such as `bijection f = chain(...)`"
        fail("E0307", at, f"`{name}` is for a model with a bijection, and this one has none", help=help)
    if process is None:
        message = f"`{name}` is for a {wanted} process, and this model has no process"
        fail("E0307", at, message, help="add one, such as `process vp`")
    own = interfaces_of(m, process.definition)
    missing = interfaces.lacking(m.ev, p.definition, own, at)
    message = f"`{name}` is for a {wanted} process, and this one is for {own[0].name}"
    if missing is not None:
        message = f"`{name}` needs `{missing}`, and a process for {own[0].name} has none"
    label = ((place_of(m, "process"), own[0].summary or f"a process for {own[0].name}"),)
    others = interfaces.users(m.ev, p.definition.kind, own)
    help = f"use {choices(others)}, or a {wanted} process" if others else f"take a {wanted} process"
    fail("E0307", at, message, labels=label, help=help)
