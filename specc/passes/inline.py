"""Function bodies in place of calls: plain functions into their callers, and whole networks into one flat graph.

`inline` removes plain functions (schedules, conversions between parameterisations) and leaves networks. `flatten` gives one
entry as a function without any call, whose PARAM nodes carry the paths of the checkpoint (`backbone.block.0.qkv.weight`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from specc.ir.ops import Op
from specc.ir.program import Function, Node, Program, all_steps
from specc.ir.rewrite import ids_after, reachable
from specc.ir.splice import Splicer, never


def inline(program: Program, only: Collection[str] | None = None, networks: bool = False) -> Program:
    """Plain functions (all, or those named in `only`) go into their callers; with `networks`, networks as well.

    Functions that nothing calls any more are left out, and so, with `networks`, are the networks.
    """

    def inside(node: Node) -> bool:
        plain = node.op is Op.CALL and node.get("bundle") is None
        return (plain or networks) and (only is None or node["function"] in only)

    everywhere, nowhere = (Splicer(program.functions, ids_after(program), choice) for choice in (inside, never))
    functions = {
        name: replace(f, block=(nowhere if networks and f.kind == "network" else everywhere).rewritten(f.block))
        for name, f in program.functions.items()
    }
    return pruned(replace(program, functions=functions, networks={} if networks else program.networks))


def flatten(program: Program, entry: str) -> Function:
    """An entry without calls, at either level; each lane of a call is written out. Loops of the entry stay rolled."""
    source = program.functions[program.entries[entry].function]
    splicer = Splicer(program.functions, ids_after(program), lambda node: True)
    return replace(source, block=splicer.rewritten(source.block))


def pruned(program: Program) -> Program:
    """Without the functions that no entry, network, average or step of training reaches."""
    own = [f for s in all_steps(program.routine) for f in (s.maps, s.when) if f is not None]
    own += [a.decay for a in program.averages if isinstance(a.decay, str)]
    roots = [*program.networks.values(), *(e.function for e in program.entries.values()), *own]
    kept = reachable(program.functions, roots)
    starts = tuple(s for s in program.starts if s.network in kept)
    kept |= reachable(program.functions, [s.function for s in starts])
    return replace(program, functions={name: f for name, f in program.functions.items() if name in kept}, starts=starts)
