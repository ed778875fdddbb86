"""One step of a sampler's loop as an entry of its own.

Its inputs are those of the sampler, the number of the step and the carried values. Certificates feed the reference's values to
it, so that errors of earlier steps do not blur those of later ones; hosts without `Loop` can drive it themselves.
"""

from __future__ import annotations

from dataclasses import replace

from specc.ir.ops import Op
from specc.ir.program import Block, Entry, Function, Input, Node, Program
from specc.record import record

STATE = "state_"  # inputs for carried values: state_0, state_1, ...
INDEX = "step_index"


@record(kw_only=True)
class StepEntry:
    """`loop` is the number of the loop's first result, as in the reference's trace."""

    name: str
    loop: int
    carried: int


def with_steps(program: Program, entry: str) -> tuple[Program, tuple[StepEntry, ...]]:
    """The program with an entry `<entry>.step`, `<entry>.step1`, ... for each loop that the entry runs at its top level."""
    source = program.entries[entry]
    function = program.functions[source.function]
    functions, entries, steps = dict(program.functions), dict(program.entries), []
    for i, node in enumerate(function.block.nodes):
        if node.op is Op.FOR:
            name = f"{entry}.step{len(steps) or ''}"
            functions[name] = _step(function, i, node, name)
            entries[name] = _entry(source, node, name)
            steps.append(StepEntry(name=name, loop=node.outputs[0].id, carried=len(node.outputs)))
    return replace(program, functions=functions, entries=entries), tuple(steps)


def _step(function: Function, at: int, node: Node, name: str) -> Function:
    """What the loop's body may capture, and the body."""
    (body,) = node.regions
    before = function.block.nodes[:at]
    block = Block(params=function.block.params + body.params, nodes=before + body.nodes, results=body.results)
    return replace(function, name=name, block=block)


def _entry(source: Entry, node: Node, name: str) -> Entry:
    index, *carried = node.regions[0].params
    more = [Input(name=INDEX, role="argument", type=index.type)]
    more += [Input(name=f"{STATE}{i}", role="state", type=v.type) for i, v in enumerate(carried)]
    return replace(source, name=name, function=name, inputs=source.inputs + tuple(more), calls=0)
