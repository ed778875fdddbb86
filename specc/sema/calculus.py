"""Derivatives as functions of the language: gradients, products with Jacobians, divergences."""

from __future__ import annotations

from typing import Any

from specc.ir.engine import REFUSED
from specc.ir.liveness import felt
from specc.ir.obstacles import obstacle
from specc.ir.ops import Op
from specc.ir.program import Value
from specc.sema.arguments import Args, Knobs, exactly
from specc.sema.arithmetic import add, binary, describe, lift, shown
from specc.sema.evaluate import Evaluator
from specc.sema.frame import Frame
from specc.sema.report import fail
from specc.source import Span


def stop(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Any:
    (x,) = exactly("stop", args, kwargs, 1, span)
    return add(frame, span, Op.STOP, x) if isinstance(x, Value) else x


def grad(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Value:
    e, v = exactly("grad", args, kwargs, 2, span)
    if not isinstance(e, Value) or not isinstance(v, Value):
        fail(
            "E0502",
            span,
            "the gradient of a constant is zero",
            help="`grad(e, v)` is the gradient of e in the value bound to v",
        )
    total = add(frame, span, Op.SUM, e, axes=tuple(range(e.type.rank))) if e.type.shape else e
    _goes_back(ev, frame, total, v, span)
    if not depends(frame, total, v):
        fail("E0502", span, "this gradient is zero everywhere: the first argument does not depend on the second")
    return add(frame, span, Op.GRAD, total, v)


def _goes_back(ev: Evaluator, frame: Frame, e: Value, v: Value, span: Span) -> None:
    """Samplers and queries become graphs, in which a gradient is written out; those of losses are PyTorch's."""
    if frame.entry is None or frame.entry.role not in ("sampler", "query"):
        return
    node = obstacle(ev.functions, frame.builder.made_by, e, v, crossed=ev.fixed)
    if node is not None:
        counted, stopped = "count the rounds: `for k in 0..n { }`", f"`stop(...)` around what comes out of `{node.op.value}`"
        fail(
            "E0506",
            span,
            f"no gradient goes back through `{node.op.value}` in a {frame.entry.role}: {REFUSED[node.op]}",
            help=counted if node.op is Op.WHILE else f"stop it: {stopped}",
            labels=() if node.span is None else ((node.span, "here"),),
        )


def _product(a: Value, b: Value, frame: Frame, span: Span) -> Value:
    """The inner product over all axes of one example."""
    both = add(frame, span, Op.MUL, a, b)
    return add(frame, span, Op.SUM, both, axes=tuple(range(both.type.rank))) if both.type.rank else both


def vjp(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Value:
    """vjp(f, v, u): u times the Jacobian of f at v."""
    f, v, u = exactly("vjp", args, kwargs, 3, span)
    out = lift(ev.call(f, [v], {}, frame, span), frame, span)
    return grad(ev, frame, span, [_product(out, lift(u, frame, span), frame, span), v], {})


def jvp(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Value:
    """jvp(f, v, u): the Jacobian of f at v times u, as the gradient of u's product with a vector-Jacobian product."""
    f, v, u = exactly("jvp", args, kwargs, 3, span)
    out = lift(ev.call(f, [v], {}, frame, span), frame, span)
    w = add(frame, span, Op.STOP, out)
    back = grad(ev, frame, span, [_product(out, w, frame, span), v], {})
    return grad(ev, frame, span, [_product(back, lift(u, frame, span), frame, span), w], {})


def divergence(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Value:
    """divergence(f, v, probe = none): the trace of the Jacobian of f at v; exact, or with a probe e its estimate e' J e."""
    f, v, probe = exactly("divergence", args, kwargs, 2, span, probe=None)
    if not isinstance(v, Value):
        fail("E0304", span, f"`divergence` is taken at a value, not at {describe(v)}")
    out = lift(ev.call(f, [v], {}, frame, span), frame, span)
    if probe is not None:
        e = lift(probe, frame, span)
        back = grad(ev, frame, span, [_product(out, e, frame, span), v], {})
        return _product(back, e, frame, span)
    if v.type.rank != 1 or not isinstance(v.type.shape[0], int):
        fail(
            "E0301",
            span,
            f"the exact trace is taken of a vector, not of shape {shown(v.type.shape)}",
            help="give a probe: `divergence(f, v, probe = e)`",
        )
    total: Any = 0
    for i in range(v.type.shape[0]):
        part = add(frame, span, Op.RESHAPE, add(frame, span, Op.SLICE, out, axis=0, start=i, stop=i + 1, step=1), shape=())
        row = grad(ev, frame, span, [part, v], {})
        entry = add(frame, span, Op.RESHAPE, add(frame, span, Op.SLICE, row, axis=0, start=i, stop=i + 1, step=1), shape=())
        total = binary("+", total, entry, frame, span)
    return lift(total, frame, span)


def depends(frame: Frame, value: Value, on: Value) -> bool:
    """Whether a value is computed from another through differentiable nodes of the block at hand or those around it."""
    seen: set[int] = set()
    stack = [value]
    while stack:
        v = stack.pop()
        if v.id == on.id:
            return True
        if v.id in seen:
            continue
        seen.add(v.id)
        node = frame.builder.made_by(v)
        if node is not None and node.op is not Op.STOP:
            stack.extend(node.inputs)
            inside = (n for region in node.regions for n in felt(region, {r.id for r in region.results}))
            stack.extend(w for n in inside for w in n.inputs)  # what regions capture
            stack.extend(r for region in node.regions for r in region.results)
    return False


DERIVATIVES: dict[str, Any] = {"stop": stop, "grad": grad, "vjp": vjp, "jvp": jvp, "divergence": divergence}
