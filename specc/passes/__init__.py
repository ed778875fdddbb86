"""Program to program, one pass a file. A pipeline is a list that `run` goes through from left to right."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from specc.ir.program import Program
from specc.passes.batch import batch
from specc.passes.expand_grad import expand_grad
from specc.passes.hoist import hoist
from specc.passes.incremental.decode import decode, decode_for_readers
from specc.passes.inline import inline
from specc.passes.merge_calls import merge_calls
from specc.passes.merge_grads import merge_grads
from specc.passes.simplify import fold, simplify

Pass = Callable[[Program], Program]

# For code that people read: formulas and plain functions as their author wrote them.
PYTORCH: list[Pass] = [decode_for_readers, fold, merge_grads, merge_calls, batch]

# For graphs: one function an entry, gradients written out, nothing computed twice.
GRAPH: list[Pass] = [inline, merge_grads, expand_grad, simplify, decode, merge_calls, simplify, hoist, batch]


def run(program: Program, pipeline: Sequence[Pass]) -> Program:
    for step in pipeline:
        program = step(program)
    return program
