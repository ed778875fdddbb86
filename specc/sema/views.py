"""Models and networks as values: a parent's, frozen or copied, and averages of a model's own networks.

Code and parameters are apart. A view is the code of a model over parameters with other paths: its functions are evaluated in
that model's world, and the networks that they call are found under the mapped paths.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from specc.sema.arithmetic import describe
from specc.sema.frame import Frame
from specc.sema.report import did_you_mean, fail
from specc.sema.values import Ancestor, Bound, Builtin, Held, Lazy, View
from specc.source import Span

SHARED = ("ids", "functions", "memo", "networks", "classes", "used", "borrowed", "diagnostics", "depth", "work")


@dataclass(frozen=True, slots=True)
class Borrowed:
    """Where the weights below a path come from: `of` in a parent, or in the model itself for an average."""

    held: Held
    of: str


def place(held: tuple[Held, ...], bundle: str) -> tuple[str, Borrowed | None]:
    """The path of a network's parameters, and whose they are if not its model's own."""
    origin: Borrowed | None = None
    frozen = False
    for h in held:
        before, bundle = bundle, h.path(bundle)
        if bundle == before:
            continue
        origin = Borrowed(replace(h, kind="frozen") if frozen and h.kind == "copy" else h, before)
        frozen = frozen or h.kind == "frozen"
    return bundle, origin


def inside(ev: Any, view: View) -> Any:
    """The evaluator in a view's world that writes where this one writes."""
    own = view.held[-1].kind == "average"
    here = {name: getattr(ev, name) for name in SHARED}
    guidance = view.ev.guidance if own or view.guided else None
    return replace(view.ev, **here, held=(*view.held, *ev.held), guidance=guidance, touched=ev.touched if own else set())


def member(ev: Any, view: View, name: str, frame: Frame, span: Span) -> Any:
    """`teacher.denoise`: what a name means in the view's model."""
    if name == "guided" and view.ev.guidance is not None:
        return replace(view, guided=True)
    world = view.ev.world
    value = view.env.names.get(name, world.names.get(name))
    if value is None:
        known = {*view.env.names, *world.names}
        fail("E0201", span, f"this model has no `{name}`", help=did_you_mean(name, known))
    if isinstance(value, Lazy):
        return inside(ev, view).settle(value, frame, name)
    if isinstance(value, View):
        return replace(value, held=(*value.held, *view.held))
    return Bound(view, value) if not isinstance(value, (int, float, str, list, tuple)) else value


def call(ev: Any, bound: Bound, args: list[Any], kwargs: dict[str, Any], frame: Frame, span: Span, node: object) -> Any:
    """A function of a view's model on values of this one."""
    there, entry = inside(ev, bound.view), frame.entry
    if entry is None or not bound.view.guided:
        return there.call(bound.value, args, kwargs, frame, span, node)
    before = entry.guided, entry.inside_guidance
    entry.guided, entry.inside_guidance = True, False
    try:
        return there.call(bound.value, args, kwargs, frame, span, node)
    finally:
        entry.guided, entry.inside_guidance = before


def of_parent(kind: str) -> Builtin:
    """`frozen(a)`, `copy(a)`: a parent as a model whose weights stay, or are trained on under other paths."""

    def apply(ev: Any, frame: Frame, span: Span, args: list[Any], kwargs: dict[str, Any]) -> View:
        parent = args[0] if len(args) == 1 and not kwargs else None
        if not isinstance(parent, Ancestor):
            given = describe(args[0]) if len(args) == 1 else f"{len(args)} arguments"
            help = "a stage names its parents: `stage b from a { teacher = frozen(a) }`"
            fail("E0304", span, f"`{kind}` takes a parent of this stage, not {given}", help=help)
        name = parent.name.rpartition(".")[2]
        return View(parent.model.ev, parent.model.env, (Held(kind, name, of=parent.model, span=span),))

    return Builtin(kind, apply)
