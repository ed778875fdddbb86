"""What a model holds beside its networks: bare parameters, states, and latents that each entry draws for itself."""

from __future__ import annotations

from typing import Any

from specc.sema import networks
from specc.sema.arithmetic import describe, shown
from specc.sema.evaluate import Evaluator
from specc.sema.frame import EntryState, Frame
from specc.sema.report import fail
from specc.sema.values import Env, Held, TypeRef
from specc.syntax import tree


def declare(ev: Evaluator, item: tree.Section, env: Env, frame: Frame) -> Held:
    """`param w: vector(d) = normal(1) on sphere`, `state a: scalar = 0`: the same one each time its statement is run."""
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
    start = item.values[0] if item.values else None
    init = ("zeros",) if start is None else networks.initial(ev.expr(start, env, frame, symbols=True), start.span)
    through = constraint(ev, item, env, frame)
    made = Held(name, type_.type, init, item.kind == "param", item.span, through)
    ev.held_by[name] = made
    return made


def in_loss(ev: Evaluator, item: tree.Section, env: Env, frame: Frame) -> None:
    """A parameter or state that a loss brings along."""
    if frame.entry is None or frame.entry.role != "objective":
        help = "write it among the sections of the model, in a loss, or in a network"
        fail("E0309", item.span, f"`{item.kind}` does not belong here", help=help)
    held = declare(ev, item, env, frame)
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
    value = _drawn(ev, item.law, kind, env, frame)
    if value.type.shape != kind.type.shape or value.type.dtype != kind.type.dtype:
        message = f"this draws shape {shown(value.type.shape)}"
        fail("E0301", item.law.span, message, labels=((item.type.span, "promised here"),))
    value = frame.builder.name(value, item.head.id)
    if kind.classes is not None:
        ev.classes[value.id] = kind.classes + 1
    entry.bindings[item.head.id] = value


def _drawn(ev: Evaluator, node: tree.Expr, kind: TypeRef, env: Env, frame: Frame) -> Any:
    """One draw from a law, which takes the shape of the latent unless it says its own."""
    call = node if isinstance(node, tree.Call) else tree.Call(span=node.span, func=node, args=())
    scope = env
    if kind.classes is None and not any(a.name == "like" for a in call.args):
        scope = env.child(**{"its type": kind})
        like = tree.Arg(span=node.span, name="like", type=None, value=tree.Name(span=node.span, id="its type"))
        call = tree.Call(span=node.span, func=call.func, args=(*call.args, like))
    law = ev.expr(call, scope, frame)
    sample = getattr(law, "sample", None)
    if sample is None:
        fail("E0304", node.span, f"{describe(law)} is not a law to draw from")
    return sample(frame, node.span, False)
