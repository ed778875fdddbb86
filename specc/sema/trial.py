"""Equations with parameters, such as a learnt schedule, tried out at random weights: what is asked of them must hold at all."""

from __future__ import annotations

import numpy as np

from specc.ir.ops import Op
from specc.ir.program import Builder, Function, walk
from specc.ir.types import EXAMPLE, FLOAT
from specc.reference.machine import Cell, Machine
from specc.sema.arithmetic import lift
from specc.sema.evaluate import Evaluator
from specc.sema.frame import EntryState, Frame
from specc.sema.prove import random_weights
from specc.sema.values import Closure

SPREAD = 0.3  # of random weights around where they start


def tried(ev: Evaluator, f: Closure, seed: int, *args: np.ndarray) -> np.ndarray | None:
    """A function of numbers, at stacks of them; None where it takes gradients. The weights are kept in `ev.tried`."""
    b = Builder(ev.ids)
    given = [b.param(FLOAT.over(EXAMPLE), p.name) for p, _ in zip(f.params, args, strict=False)]
    entry = EntryState(role="query", builder=b, like=given[0])
    frame = Frame(builder=b, kind="entry", entry=entry, like=given[0], span=f.span)
    made = Function(
        name="tried out", kind="entry", block=b.block(lift(ev.call(f, list(given), {}, frame, f.span), frame, f.span))
    )
    if any(n.op is Op.GRAD for n in walk(made.block)):
        return None
    functions = {**ev.functions, made.name: made}
    weights = dict(random_weights(functions, made.name, "", SPREAD, np.random.default_rng(seed)))
    ev.tried.update(weights)
    machine = Machine(
        functions=functions, params=weights, level="example", float_type=np.float64, batch=len(args[0]), strict=False
    )
    with np.errstate(all="ignore"):
        defaults = [Cell(np.asarray(i.default), False) for i in entry.inputs]  # of the `input(...)` it reads
        (out,) = machine.apply(made, "", [*(Cell(a, True) for a in args), *defaults])
    return machine.stacked(out)
