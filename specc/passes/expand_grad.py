"""Gradients as nodes: every GRAD becomes the reverse pass that `specc.ir.derivatives` writes."""

from __future__ import annotations

from dataclasses import replace

from specc.ir.engine import Engine
from specc.ir.ops import Op
from specc.ir.program import Block, Builder, Program, walk
from specc.ir.rewrite import ids_after, map_functions
from specc.ir.splice import Splicer


def expand_grad(program: Program) -> Program:
    """The program without GRAD nodes. A gradient through a network copies the network's nodes to where it stands, so
    entries come to hold PARAM nodes with whole paths. Raises ValueError where an op has no derivative."""
    if not any(node.op is Op.GRAD for f in program.functions.values() for node in walk(f.block)):
        return program
    splicer = Splicer(program.functions, ids_after(program), gradient=Engine(program.functions).whole_gradient)

    def expanded(block: Block) -> Block:
        return splicer.region(Builder(splicer.ids), block, {}, "", fresh=False)

    return map_functions(program, lambda f: replace(f, block=expanded(f.block)))
