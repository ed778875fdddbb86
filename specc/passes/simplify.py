"""Constants folded, identities taken, equal nodes made one, scalars shortened, dead nodes left out.

`fold` keeps scalar formulas in their author's form and does the rest; `simplify` does it all. Author's names stay on values.
"""

from __future__ import annotations

from dataclasses import replace

from specc.ir.liveness import live
from specc.ir.program import Program
from specc.ir.rewrite import canonical, ids_after, map_functions
from specc.ir.simplifier import Simplifier
from specc.passes.inline import pruned


def simplify(program: Program) -> Program:
    """Every function, with scalar formulas rewritten where that takes fewer operations."""
    return _with(program, algebra=True)


def fold(program: Program) -> Program:
    """Every function, with scalar formulas as their author wrote them."""
    return _with(program, algebra=False)


def eliminate(program: Program) -> Program:
    """Without nodes that no result needs and functions that nothing calls. An EXTERN whose results are unused goes as well."""
    return pruned(map_functions(program, lambda f: replace(f, block=canonical(live(f.block)))))


def _with(program: Program, algebra: bool) -> Program:
    simplifier = Simplifier(ids_after(program), algebra)
    return eliminate(map_functions(program, lambda f: replace(f, block=simplifier.block(f.block))))
