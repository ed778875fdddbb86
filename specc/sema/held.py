"""What a model holds beside its networks: bare parameters, states, and latents that each entry draws for itself."""

from __future__ import annotations

from typing import Any

from specc.diagnostics import SpecError
from specc.ir.program import Value
from specc.ir.types import EXAMPLE, Type
from specc.sema import parameters
from specc.sema.arithmetic import describe, lift, shown
from specc.sema.evaluate import Evaluator
from specc.sema.frame import EntryState, Frame
from specc.sema.report import fail
from specc.sema.values import Captures, Env, Held, TypeRef, runtime
from specc.source import Span
from specc.syntax import tree


def declare(ev: Evaluator, item: tree.Section, env: Env, frame: Frame, within: Env | None = None) -> Held:
    """`param w: vector(d) = normal(1) on sphere`, `state a: scalar = 0`: the same one each time its statement is run.
    within: the names for a start that is computed, where x is an example and not its type."""
    if not isinstance(item.head, tree.Name) or item.type is None:
        fail("E0304", item.span, f"it is written `{item.kind} NAME: TYPE = START`", help="as in `state a: scalar = 0`")
    name = item.head.id
    known = ev.held_by.get(name)
    if known is not None and known.span != item.span:
        label = ((known.span, "the first one"),)
        fail("E0208", item.head.span, f"a second `{name}`", labels=label, help="give it another name")
    if known is not None:
        return known
    type_ = type_of(ev, item.type, env, frame)
    init, start = _start(ev, item, within or env, frame)
    through = constraint(ev, item, env, frame)
    made = Held(name, type_.type, init, item.kind == "param", item.span, through, start)
    ev.held_by[name] = made
    return made


def _start(
    ev: Evaluator, item: tree.Section, env: Env, frame: Frame
) -> tuple[tuple[Any, ...], tuple[tree.Expr, Env, bool] | None]:
    """What a tensor starts from: as the IR writes it where that is said, and zeros before a start that is computed."""
    if item.law is not None:
        return ("zeros",), (item.law, env, True)
    if not item.values:
        return ("zeros",), None
    node, depth = item.values[0], ev.depth
    try:
        value = ev.expr(node, env, frame, symbols=True)
    except (Captures, SpecError):  # of values that exist in an entry; a mistake is said there
        ev.depth, value = depth, []
    if runtime(value) or isinstance(value, (Held, list)):
        return ("zeros",), (node, env, False)
    return parameters.initial(value, node.span), None


def begin(ev: Evaluator, held: Held, frame: Frame) -> Value:
    """The computed start of a tensor, in the entry that is being written for it."""
    assert held.start is not None
    node, env, drawn = held.start
    kind = TypeRef(held.type, "tensor")
    value = _drawn(ev, node, kind, env, frame, True) if drawn else ev.expr(node, env, frame)
    return fitting(lift(value, frame, node.span, held.type.dtype), held, node.span)


def fitting(value: Value, held: Held, span: Span) -> Value:
    """A new value of a parameter or state, which is one for all examples and of its type."""
    what = "parameter" if held.trainable else "state"
    if EXAMPLE in value.type.axes:
        message = f"`{held.path}` is one for all examples, and this is another for each"
        fail("E0301", span, message, help="say `batch.mean(...)`", labels=((held.span, f"the {what}"),))
    if value.type != Type(held.type.dtype, held.type.shape):
        message = f"`{held.path}` is {Type(held.type.dtype, held.type.shape)}, and this is {value.type}"
        fail("E0301", span, message, labels=((held.span, f"the {what}"),))
    return value


def in_loss(ev: Evaluator, item: tree.Section, env: Env, frame: Frame) -> None:
    """A parameter or state that a loss brings along."""
    if frame.entry is None or frame.entry.role != "objective":
        help = "write it among the sections of the model, in a loss, or in a network"
        fail("E0309", item.span, f"`{item.kind}` does not belong here", help=help)
    held = declare(ev, item, env, frame)
    if held.start is not None:
        help = "write it among the sections of the model"
        fail("E0305", item.span, "what a loss brings along starts from numbers that are known while compiling", help=help)
    env.names[held.path] = held


def constraint(ev: Evaluator, item: tree.Section, env: Env, frame: Frame) -> Any:
    """`on sphere`: the function that a parameter goes through where it is read."""
    clause = next((c for c in item.clauses if c.word == "on"), None)
    if clause is None:
        return None
    if item.kind == "state":
        fail("E0204", clause.span, "a state is what its updates say", help="write the function in the `update`")
    return ev.expr(clause.values[0], env, frame)


def type_of(ev: Evaluator, node: tree.Expr, env: Env, frame: Frame) -> TypeRef:
    kind = ev.expr(node, env, frame)
    if not isinstance(kind, TypeRef):
        fail("E0304", node.span, f"{describe(kind)} is not a type")
    return kind


def latent(ev: Evaluator, item: tree.Section, env: Env, frame: Frame, entry: EntryState) -> None:
    """`latent z: vector(32) ~ normal`: a draw for each example, fresh in each entry."""
    assert isinstance(item.head, tree.Name)
    if item.type is None or item.law is None:
        fail("E0304", item.span, "a latent is written `latent NAME: TYPE ~ LAW`", help="as in `latent z: vector(32) ~ normal`")
    kind = type_of(ev, item.type, env, frame)
    value = _drawn(ev, item.law, kind, env, frame, False)
    if value.type.shape != kind.type.shape or value.type.dtype != kind.type.dtype:
        message = f"this draws shape {shown(value.type.shape)}"
        fail("E0301", item.law.span, message, labels=((item.type.span, "promised here"),))
    value = frame.builder.name(value, item.head.id)
    if kind.classes is not None:
        ev.classes[value.id] = kind.classes + 1
    entry.bindings[item.head.id] = value


def _drawn(ev: Evaluator, node: tree.Expr, kind: TypeRef, env: Env, frame: Frame, per_batch: bool) -> Any:
    """One draw from a law, which takes the shape of the latent unless it says its own, or of a function that draws."""
    call = node if isinstance(node, tree.Call) else tree.Call(span=node.span, func=node, args=())
    scope = env
    function = ev.definition("function", call.func.id) if isinstance(call.func, tree.Name) else None
    shaped = function is None or any(p.name == "like" for p in function[0].params)
    if shaped and kind.classes is None and not any(a.name == "like" for a in call.args):
        scope = env.child(**{"its type": kind})
        like = tree.Arg(span=node.span, name="like", type=None, value=tree.Name(span=node.span, id="its type"))
        call = tree.Call(span=node.span, func=call.func, args=(*call.args, like))
    law = ev.expr(call, scope, frame)
    if isinstance(law, Value):
        return law
    sample = getattr(law, "sample", None)
    if sample is None:
        fail("E0304", node.span, f"{describe(law)} is not a law to draw from")
    return sample(frame, node.span, per_batch)
