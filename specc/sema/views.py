"""Models and networks as values: a parent's, frozen or copied, and averages of a model's own networks.

Code and parameters are apart. A view is the code of a model over parameters with other paths: its functions are evaluated in
that model's world, and the networks that they call are found under the mapped paths.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from specc.ir.ops import OPS, Op
from specc.ir.program import Builder, Function, Value
from specc.ir.types import FLOAT, INT
from specc.record import record
from specc.sema.arithmetic import describe, lift
from specc.sema.frame import Frame
from specc.sema.report import did_you_mean, fail
from specc.sema.values import Ancestor, Bound, Builtin, Bundles, Env, Held, Lazy, Network, View, word_of
from specc.source import Span

SHARED = (
    "ids",
    "functions",
    "memo",
    "family",
    "marks",
    "networks",
    "classes",
    "held_by",
    "used",
    "borrowed",
    "diagnostics",
    "depth",
    "work",
)
DECAY = 0.999  # of an average, unless the spec says another


@record
class Borrowed:
    """Where the weights below a path come from: `of` in a parent, or in the model itself for an average."""

    bundles: Bundles
    of: str


def place(bundles: tuple[Bundles, ...], path: str) -> tuple[str, Borrowed | None]:
    """The path of a network's parameters, and whose they are if not its model's own."""
    origin: Borrowed | None = None
    frozen = False
    for b in bundles:
        before, path = path, b.path(path)
        if b.only not in (None, before):
            continue
        origin = Borrowed(replace(b, kind="frozen") if frozen and b.kind == "copy" else b, before)
        frozen = frozen or b.kind != "copy"
    return path, origin


def bare(ev: Any, path: str, origin: Borrowed) -> str:
    """The path of a tensor that is read through a view. It belongs to no network, so that it has one name, here and there,
    and one that is not the model's own."""
    path, of = path.replace(".", "_"), origin.of.replace(".", "_")

    def free() -> bool:
        known = ev.borrowed.get(path)
        if known is None:
            return path not in ev.held_by and path not in ev.networks
        same = known.bundles.of is origin.bundles.of and known.bundles.kind == origin.bundles.kind
        return bool(same and known.of == of)

    while not free():
        path += "_"
    ev.borrowed[path] = replace(origin, of=of)
    return path


def inside(ev: Any, view: View) -> Any:
    """The evaluator in a view's world that writes where this one writes."""
    own = all(b.kind == "average" for b in view.bundles)
    here = {name: getattr(ev, name) for name in SHARED}
    guidance = view.ev.guidance if own or view.guided else None
    touched = ev.touched if own else set()
    through, instead = (*view.bundles, *ev.through), (*view.instead, *ev.instead)
    return replace(view.ev, **here, through=through, instead=instead, guidance=guidance, touched=touched)


def member(ev: Any, view: View, name: str, frame: Frame, span: Span) -> Any:
    """`teacher.denoise`: what a name means in the view's model."""
    if name == "guided" and view.ev.guidance is not None:
        return replace(view, guided=True)
    world = view.ev.world
    value = view.env.names.get(name, world.names.get(name))
    parent = view.bundles[0].of if view.bundles else None
    if value is None and parent is not None and name in parent.samplers:
        return _sampler(view, parent, name)
    if value is None:
        known = {*view.env.names, *world.names, *(parent.samplers if parent is not None else ())}
        fail("E0201", span, f"this model has no `{name}`", help=did_you_mean(name, known))
    if isinstance(value, (Lazy, Held)):
        return inside(ev, view).settle(value, frame, name)
    if isinstance(value, View):
        return replace(value, bundles=(*value.bundles, *view.bundles))
    return Bound(view, value) if not isinstance(value, (int, float, str, list, tuple)) else value


def _sampler(view: View, parent: Any, name: str) -> Bound:
    """A sampler of a parent as a function: what its body returns, with the parent's guidance, of draws of this entry."""
    section = parent.samplers[name]
    if section.view is None:
        return Bound(replace(view, guided=True), section)
    inner = replace(section.view, bundles=(*section.view.bundles, *view.bundles))
    return Bound(inner, replace(section, view=None))


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


# The functions of the language that make views ------------------------------------------------------------------------


OF_PARENTS = ("frozen", "copy")  # what takes a parent by its name


def of_parent(kind: str) -> Builtin:
    """`frozen(a)`, `copy(a)`: a parent as a model whose weights stay, or are trained on under other paths."""

    def apply(ev: Any, frame: Frame, span: Span, args: list[Any], kwargs: dict[str, Any]) -> View:
        parent = args[0] if len(args) == 1 and not kwargs else None
        if not isinstance(parent, Ancestor):
            given = describe(args[0]) if len(args) == 1 else f"{len(args)} arguments"
            help = did_you_mean(word_of(parent) or "", ev.parents)
            help = help or "a stage names its parents: `stage b from a { teacher = frozen(a) }`"
            fail("E0304", span, f"`{kind}` takes a parent of this stage, not {given}", help=help)
        name = parent.name.rpartition(".")[2]
        return View(parent.model.ev, parent.model.env, (Bundles(kind, name, of=parent.model, span=span),))

    return Builtin(kind, apply)


def ema(ev: Any, frame: Frame, span: Span, args: list[Any], kwargs: dict[str, Any]) -> View:
    """ema(net, decay): the network over an average of its weights, which follows them from step to step of the training."""
    given = dict(zip(("net", "decay"), args, strict=False)) | kwargs
    net = given.pop("net", None)
    decay = given.pop("decay", DECAY)
    view = net.view if isinstance(net, Bound) else View(ev, Env(), ())
    network = net.value if isinstance(net, Bound) else net
    if given or not isinstance(network, Network):
        fail(
            "E0304",
            span,
            f"`ema` takes a network and the decay of its average, not {describe(net)}",
            help="as in `ema(backbone, 0.999)`",
        )
    if isinstance(decay, Value):
        decay = _over_time(ev, decay, frame, span)
    elif isinstance(decay, bool) or not isinstance(decay, (int, float)) or not 0 <= decay < 1:
        fail("E0601", span, f"the decay of an average is a number from 0 up to, but below, 1, not {describe(decay)}")
    path = place(view.bundles, network.bundle)[0]
    average = Bundles("average", f"average_of_{path.replace('.', '_')}", only=path, decay=decay, span=span)
    return replace(view, bundles=(*view.bundles, average), network=network)


def _over_time(ev: Any, value: Value, frame: Frame, span: Span) -> str:
    """A number that depends on `step` and `progress` alone, as a plain function of the two."""
    builder = Builder(ev.ids)
    clocks = {name: builder.param(type_, name) for name, type_ in (("step", INT), ("progress", FLOAT))}
    entry = frame.entry
    here = {entry.clock[n].id: v for n, v in clocks.items() if n in entry.clock} if entry is not None else {}

    def written(v: Value) -> Value:
        if v.id not in here:
            node = frame.builder.made_by(v)
            if node is None or node.regions or not OPS[node.op].pure or node.op is Op.PARAM or node.get("bundle") is not None:
                help = "let it depend on `step` and `progress` alone"
                fail("E0305", span, "the decay of an average is one number at each step of the training", help=help)
            made = builder.add_many(
                node.op, *map(written, node.inputs), types=tuple(o.type for o in node.outputs), **dict(node.attrs)
            )
            here.update(
                (old.id, builder.name(new, old.name) if old.name else new) for old, new in zip(node.outputs, made, strict=True)
            )
        return here[v.id]

    result = lift(written(value), frame, span)
    if result.type != FLOAT:
        fail("E0305", span, f"the decay of an average is one number, not {describe(result)}")
    made = Function(name=ev.unique("decay"), kind="function", block=builder.block(result), doc=span.text, span=span)
    ev.functions[made.name] = made
    return made.name
