"""Independent calls of one network over one bundle become one call with lanes: guidance runs as one batch.

Equal calls are one call first. Nodes move only as far as the arguments of a merged call must exist before it and its results
after it. A call inside the reach of a gradient stays alone: its gradient would run through the other lanes for nothing. So does
a call of a network in which examples meet: they would meet those of the other lanes.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from itertools import pairwise

from specc.ir.ops import Op
from specc.ir.program import Block, Builder, Ids, Node, Program, walk
from specc.ir.rewrite import canonical, ids_after, map_functions, reads
from specc.ir.splice import Splicer

Group = list[int]  # places of calls in a block


def merge_calls(program: Program) -> Program:
    """Every block of every function. Plain functions hide the calls inside them: `inline` first to merge across those."""
    ids, alone = ids_after(program), _mixing(program)
    return map_functions(program, lambda f: replace(f, block=_merged(canonical(_shared(f.block, ids)), alone)))


def _mixing(program: Program) -> set[str]:
    """The functions in which a value of one example depends on the batch, by themselves or by what they call."""

    def mixes(node: Node) -> bool:
        return node.op.value.startswith("batch_") or (node.op is Op.CALL and node["function"] in found)

    found: set[str] = set()
    while more := {f.name for f in program.functions.values() if f.name not in found and any(map(mixes, walk(f.block)))}:
        found |= more
    return found


def _shared(block: Block, ids: Ids) -> Block:
    """Equal pure nodes, calls among them, made one."""
    return Splicer({}, ids).region(Builder(ids), block, {}, "", fresh=False)


def _merged(block: Block, alone: set[str]) -> Block:
    nodes = [replace(n, regions=tuple(_merged(r, alone) for r in n.regions)) if n.regions else n for n in block.nodes]
    before = _dependencies(nodes)
    groups: list[Group] = []
    for i in _mergeable(nodes, before, alone):
        for group in groups:
            trial = [[*g, i] if g is group else g for g in groups]
            if _key(nodes[group[0]]) == _key(nodes[i]) and _order(len(nodes), before, trial) is not None:
                group.append(i)
                break
        else:
            groups.append([i])
    groups = [g for g in groups if len(g) > 1]
    order = _order(len(nodes), before, groups)
    assert order is not None
    return replace(block, nodes=tuple(_lanes([nodes[i] for i in places]) for places in order))


def _key(node: Node) -> Hashable:
    return node["function"], node["bundle"]


def _dependencies(nodes: list[Node]) -> list[set[int]]:
    """For each node, the places of those it reads from; functions of the host's keep their order."""
    maker = {v.id: i for i, n in enumerate(nodes) for v in n.outputs}
    before = [{maker[v.id] for v in reads(n) if v.id in maker} for n in nodes]
    hosts = [i for i, n in enumerate(nodes) if n.op is Op.EXTERN]
    for earlier, later in pairwise(hosts):
        before[later].add(earlier)
    return before


def _mergeable(nodes: list[Node], before: list[set[int]], alone: set[str]) -> list[int]:
    differentiated: set[int] = set()
    for i in reversed(range(len(nodes))):
        if nodes[i].op is Op.GRAD or i in differentiated:
            differentiated |= before[i]
    calls = [i for i, n in enumerate(nodes) if n.op is Op.CALL and n.get("bundle") is not None]
    return [i for i in calls if i not in differentiated and nodes[i]["function"] not in alone]


def _order(count: int, before: list[set[int]], groups: list[Group]) -> list[Group] | None:
    """An order of the nodes with the groups together, as near to the given one as can be; None where there is none."""
    places: dict[int, Group] = {i: [i] for i in range(count)} | {i: g for g in groups for i in g}
    done: set[int] = set()
    open_: set[int] = set()
    order: list[Group] = []
    for start in range(count):
        waiting = [places[start]]
        while waiting:
            here = waiting[-1]
            if here[0] in done:
                waiting.pop()
                continue
            missing = [places[k] for i in here for k in sorted(before[i]) if places[k][0] not in done]
            if any(m[0] in open_ or m is here for m in missing):
                return None
            if missing:
                open_.add(here[0])
                waiting.append(missing[0])
                continue
            waiting.pop()
            open_.discard(here[0])
            done.update(here)
            order.append(here)
    return order


def _lanes(calls: list[Node]) -> Node:
    """One call for several; a single node stays."""
    if len(calls) == 1:
        return calls[0]
    lanes = sum(n.get("lanes", 1) for n in calls)
    attrs = tuple(sorted((dict(calls[0].attrs) | {"lanes": lanes}).items()))
    inputs = tuple(v for n in calls for v in n.inputs)
    return replace(calls[0], inputs=inputs, outputs=tuple(v for n in calls for v in n.outputs), attrs=attrs)
