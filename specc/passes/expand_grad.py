"""Gradients as nodes: every GRAD becomes the reverse pass that `specc.ir.derivatives` writes."""

from __future__ import annotations

from dataclasses import replace

from specc.ir.engine import Engine
from specc.ir.ops import Op
from specc.ir.program import Block, Builder, Function, Program, walk
from specc.ir.rewrite import ids_after, map_functions
from specc.ir.splice import Splicer
from specc.passes.count import network_calls


def expand_grad(program: Program) -> Program:
    """The program without GRAD nodes. A gradient through a network copies the network's nodes to where it stands, so
    entries come to hold PARAM nodes with whole paths. Raises ValueError where an op has no derivative."""
    if not any(node.op is Op.GRAD for f in program.functions.values() for node in walk(f.block)):
        return program
    program = written_out(program)
    splicer = Splicer(program.functions, ids_after(program), gradient=Engine(program.functions).whole_gradient)

    def expanded(block: Block) -> Block:
        return splicer.region(Builder(splicer.ids), block, {}, "", fresh=False)

    return map_functions(program, lambda f: replace(f, block=expanded(f.block)))


def written_out(program: Program) -> Program:
    """The program with the networks that gradients go through in their callers, so that both share one forward pass.

    Entries keep count of the calls that they no longer show. Where their number depends on the data nothing changes, since
    the file itself counts them.
    """
    ids, functions = ids_after(program), dict(program.functions)
    for name, f in program.functions.items():
        under = differentiated(f.block)
        if under:
            functions[name] = _inlined(f, under, Splicer(program.functions, ids))
    made = replace(program, functions=functions)
    entries = dict(program.entries)
    for name, entry in program.entries.items():
        if functions[entry.function] is program.functions[entry.function]:
            continue
        before, after = network_calls(program, name), network_calls(made, name)
        if before is None or after is None:
            functions[entry.function] = program.functions[entry.function]
        else:
            hidden = (before.calls - after.calls, before.evaluations - after.evaluations)
            entries[name] = replace(entry, hidden=(entry.hidden[0] + hidden[0], entry.hidden[1] + hidden[1]))
    return replace(program, functions=functions, entries=entries)


def differentiated(block: Block) -> set[int]:
    """Calls of networks that lie between a gradient and what it is taken in, in one block, by their identity."""
    found: set[int] = set()
    for node in block.nodes:
        for region in node.regions:
            found |= differentiated(region)
        if node.op is not Op.GRAD:
            continue
        active = {v.id for v in node.inputs[1:]}
        for other in block.nodes:
            if any(v.id in active for v in other.inputs):
                active.update(v.id for v in other.outputs)
        needed = {node.inputs[0].id}
        for other in reversed(block.nodes):
            if any(v.id in needed for v in other.outputs):
                needed.update(v.id for v in other.inputs)
                if other.op in (Op.CALL, Op.REPEAT) and any(v.id in active for v in other.inputs):
                    found.add(id(other))
    return found


def _inlined(f: Function, under: set[int], splicer: Splicer) -> Function:
    """The function with these calls written out, and whatever those call."""
    own = {id(node) for node in walk(f.block)}
    splicer.inside = lambda node: id(node) in under or id(node) not in own
    return replace(f, block=splicer.rewritten(f.block))
