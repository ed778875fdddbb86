"""`batch`: what mixes the examples of a batch."""

from __future__ import annotations

from typing import Any

from specc.ir.ops import Op
from specc.ir.program import Value
from specc.ir.types import EXAMPLE, DType, Type
from specc.sema import parts
from specc.sema.arguments import Args, Knobs, exactly
from specc.sema.arithmetic import add, describe, lift
from specc.sema.evaluate import Evaluator
from specc.sema.frame import Frame
from specc.sema.report import choices, did_you_mean, fail
from specc.sema.values import (
    Builtin,
    Captures,
    Dynamic,
    Partial,
    Symbol,
    word_of,
)
from specc.source import Span

SOLVERS = ("exact", "stable")
COSTS = ("sqdist", "dist")


def _batch_cost(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Value:
    a, b, cost = exactly("batch.cost", args, kwargs, 3, span)
    if (word := word_of(cost)) not in COSTS:
        fail("E0203", span, "a cost is needed", help=f"costs are {choices(COSTS)}")
    return add(frame, span, Op.BATCH_COST, lift(a, frame, span), lift(b, frame, span), cost=word)


def _batch_assign(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Value:
    """batch.assign(cost, solver = exact, within = none): partners, in groups of `within` consecutive examples when given."""
    cost, solver, within = exactly("batch.assign", args, kwargs, 1, span, solver=Symbol("exact", span), within=None)
    if (known := word_of(solver)) not in SOLVERS:
        word = known or describe(solver)
        at = solver.span if isinstance(solver, Symbol) else span
        fail("E0203", at, f"there is no solver `{word}`", help=did_you_mean(word, SOLVERS) or f"solvers are {choices(SOLVERS)}")
    if within is not None and (isinstance(within, bool) or not isinstance(within, int) or within < 1):
        fail("E0601", span, f"`within` is the size of a group of examples, 1 or more, not {describe(within)}")
    if frame.kind == "function":
        raise Captures
    index = Type(DType.INT, (), frozenset({EXAMPLE}))
    options = (("solver", known), *((("within", within),) if within is not None else ()))
    return add(frame, span, Op.EXTERN, lift(cost, frame, span), name="assign", options=options, types=(index,))


def _batch(op: Op, count: int = 1) -> Any:
    def apply(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Value:
        values = exactly(op.value, args, kwargs, count, span)
        return add(frame, span, op, *(lift(v, frame, span) for v in values))

    return apply


def _each(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Value:
    """batch.each(v): a shared value, one for each example."""
    (x,) = exactly("batch.each", args, kwargs, 1, span)
    return ev.spread(lift(x, frame, span, DType.FLOAT), frame, span)


def written(name: str, function: str, *first: Any) -> Builtin:
    """A function of the library's under a name of its own."""

    def apply(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Any:
        found = ev.definition("function", function)
        assert found is not None
        return ev.call(Partial(found[0], span=span, env=found[1]), [*first, *args], kwargs, frame, span)

    return Builtin(name, apply)


BATCH: dict[str, Any] = {
    "cost": Builtin("batch.cost", _batch_cost),
    "assign": Builtin("batch.assign", _batch_assign),
    "take": Builtin("batch.take", _batch(Op.BATCH_TAKE, 2)),
    "mean": Builtin("batch.mean", _batch(Op.BATCH_MEAN)),
    "sum": Builtin("batch.sum", _batch(Op.BATCH_SUM)),
    "std": written("batch.std", "batch_std"),
    "permute": written("batch.permute", "batch_permute"),
    "join": Builtin("batch.join", _batch(Op.BATCH_GATHER)),
    "split": Builtin("batch.split", _batch(Op.BATCH_SCATTER)),
    "each": Builtin("batch.each", _each),
    "part": Builtin("batch.part", parts.part),
    "groups": Builtin("batch.groups", parts.groups),
    "index": Dynamic("batch.index"),
    "size": Dynamic("batch.size"),
}
