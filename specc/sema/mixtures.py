"""Laws made of laws: mixtures, and a law pushed through a function."""

from __future__ import annotations

from typing import Any

from specc.ir.derivatives import forward
from specc.ir.inverse import undo
from specc.ir.ops import OPS, Lift, Op
from specc.ir.program import Value
from specc.ir.types import DType
from specc.sema import densities
from specc.sema.arithmetic import add, binary, describe, lift, shown, where
from specc.sema.evaluate import Evaluator
from specc.sema.frame import Frame
from specc.sema.laws import gumbel, primitive
from specc.sema.report import fail
from specc.sema.values import Builtin, Closure, Definition, Law, Namespace, Network, Partial
from specc.source import Span

Args = list[Any]
Knobs = dict[str, Any]


def mixture(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Law:
    """mixture(logits, part): `part` draws (k, *s), its k components first, and logits (k, *t) weigh them: one choice for an
    example when t is (), or one for each place of the first axes of s."""
    if len(args) != 2 or kwargs or not isinstance(args[1], Law):
        fail("E0206", span, "`mixture` takes logits and a law", help="as in `mixture(logits, normal(means, stds))`")
    logits, part = lift(args[0], frame, span, DType.FLOAT), args[1]
    k, *places = logits.type.shape or (None,)
    if not part.shape or part.shape[0] != k or tuple(places) != tuple(part.shape[1 : 1 + len(places)]):
        message = f"logits of shape {shown(logits.type.shape)} do not weigh components of shape {shown(part.shape)}"
        fail("E0302", span, message, help="components come first in both")
    whole = tuple(part.shape)

    def spread(v: Value, f: Frame, s: Span) -> Value:
        """(k, *t) as (k, *s)."""
        if v.type.shape == whole:
            return v
        v = add(f, s, Op.RESHAPE, v, shape=(*v.type.shape, *(1,) * (len(whole) - v.type.rank)))
        return add(f, s, Op.EXPAND, v, shape=whole)

    def logp(ev: Evaluator, f: Frame, s: Span, args: Args, kwargs: Knobs) -> Any:
        v = add(f, s, Op.EXPAND, add(f, s, Op.RESHAPE, args[0], shape=(1, *whole[1:])), shape=whole)
        each = densities.logp(ev, part, [v], {"axis": []}, f, s)
        if (inner := tuple(range(1 + len(places), len(whole)))) != ():
            each = add(f, s, Op.SUM, each, axes=inner)
        total = add(f, s, Op.LOGSUMEXP, logits, axes=(0,))
        weighed = add(f, s, Op.LOGSUMEXP, lift(binary("+", logits, each, f, s), f, s), axes=(0,))
        return binary("-", weighed, total, f, s)

    def mean(f: Frame, s: Span) -> Any:
        share = spread(add(f, s, Op.SOFTMAX, logits, axis=0), f, s)
        return add(f, s, Op.SUM, lift(binary("*", share, densities.member(ev, part, "mean", f, s), f, s), f, s), axes=(0,))

    def sample(f: Frame, s: Span, per_batch: bool) -> Any:
        noise = gumbel(primitive(Op.UNIFORM, logits.type.shape, f, s, per_batch), f, s)
        chosen = add(f, s, Op.ARGMAX, lift(binary("+", logits, noise, f, s), f, s), axis=0)
        at = add(f, s, Op.EXPAND, add(f, s, Op.RESHAPE, chosen, shape=(1, *places)), shape=(k, *places))
        index = add(f, s, Op.RESHAPE, add(f, s, Op.IOTA, n=k), shape=(k, *(1,) * len(places)))
        here = add(f, s, Op.EQ, at, add(f, s, Op.EXPAND, index, shape=(k, *places)))
        drawn = lift(part.sample(f, s, per_batch), f, s)
        return add(f, s, Op.SUM, where(spread(here, f, s), drawn, 0.0, f, s), axes=(0,))

    members = {"logp": Builtin("logp", logp), "mean": densities.Computed(mean)}
    return Law("mixture", sample, {"logits": logits}, whole[1:], reparameterised=False, density=Namespace("mixture", members))


def pushforward(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Law:
    """pushforward(q, f): the law of f(u) for u ~ q. Its density at v is that of q at the inverse, over the change of volume: f
    is a bijection, or a function of one number whose steps can be read backwards."""
    if len(args) != 2 or kwargs or not isinstance(args[0], Law):
        fail("E0206", span, "`pushforward` takes a law and a function", help="as in `pushforward(normal(), u => exp(u))`")
    q, f = args

    def sample(frame: Frame, span: Span, per_batch: bool) -> Any:
        out = ev.call(f, [q.sample(frame, span, per_batch)], {}, frame, span)
        return out[0] if isinstance(out, tuple) else out

    def through_bijection(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Any:
        u = ev.call(ev.towards(f, "inverse", frame, span), args, {}, frame, span)
        logdet = ev.call(f, [u], {}, frame, span)[1]
        return binary("-", densities.logp(ev, q, [u], {}, frame, span), logdet, frame, span)

    def number_by_number(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Any:
        u = _undone(ev, f, args[0], frame, span)
        there = lift(ev.call(f, [u], {}, frame, span), frame, span)
        slope = forward(frame.builder, [there], [(u, _one(u, frame, span))], ev.functions)[0]
        each = densities.logp(ev, q, [u], {"axis": []}, frame, span)
        if slope is None:
            fail("E0521", span, "this function is constant, and what it gives has no density")
        change = add(frame, span, Op.LOG, add(frame, span, Op.ABS, slope))
        return binary("-", each, change, frame, span)

    match f:
        case Network(partial=Partial(definition=Definition(kind="bijection"))):
            logp: Any = through_bijection
        case Closure():
            logp = number_by_number
        case _:
            fail("E0304", span, f"a law is pushed through a bijection or a function, not through {describe(f)}")
    return Law("pushforward", sample, {}, q.shape, q.reparameterised, Namespace("pushforward", {"logp": Builtin("logp", logp)}))


def _one(u: Value, frame: Frame, span: Span) -> Value:
    """1 in the shape of u."""
    one = lift(1.0, frame, span)
    if not u.type.shape:
        return one
    return add(frame, span, Op.EXPAND, add(frame, span, Op.RESHAPE, one, shape=(1,) * u.type.rank), shape=u.type.shape)


def _undone(ev: Evaluator, f: Closure, v: Value, frame: Frame, span: Span) -> Value:
    """u with f(u) = v."""
    inside = frame.inside()
    u = inside.builder.param(v.type, "u")
    out = lift(ev.call(f, [u], {}, inside, span), inside, span)
    nodes = inside.builder.nodes
    moving = {u.id}
    for node in nodes:
        if any(w.id in moving for w in node.inputs):
            moving |= {w.id for w in node.outputs if OPS[node.op].lift is Lift.ALIGN}
    if out.id not in moving or out.type != v.type:
        fail("E0521", span, "this function does not work number by number", help="write a `bijection` with its `logdet`")
    found = undo(frame.builder, nodes, u, out, v)
    if found is None:
        fail("E0423", span, "no inverse of this function can be derived", help="write a `bijection` with its `inverse`")
    return found


FUNCTIONS = {"mixture": mixture, "pushforward": pushforward}
