"""One step of a sampler's loop as an entry of its own.

Its inputs are those of the sampler, the number of the step and the carried values. Certificates feed the reference's
values to it, so that errors of earlier steps do not blur those of later ones; hosts without `Loop` can drive it themselves.
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


@record(kw_only=True)
class Parts:
    """Entries that a host runs in place of a sampler with one loop: `start` gives the count and the carried values, `step` the
    next ones, `finish` the sampler's results from the last. `shown`: the carried value that is like a sample, if one is."""

    start: str
    step: str
    finish: str
    carried: int
    shown: int | None


def with_parts(program: Program, entry: str) -> tuple[Program, Parts] | None:
    """The program with those entries; None for a sampler that is not one loop whose rounds are counted before it."""
    source = program.entries[entry]
    function = program.functions[source.function]
    nodes = function.block.nodes
    loops = [i for i, node in enumerate(nodes) if node.op in (Op.FOR, Op.WHILE)]
    if len(loops) != 1 or nodes[loops[0]].op is not Op.FOR:
        return None
    at, loop = loops[0], nodes[loops[0]]
    program, (step,) = with_steps(program, entry)
    params, before = function.block.params, nodes[:at]
    blocks = {
        "start": Block(params=params, nodes=before, results=loop.inputs),
        "finish": Block(params=params + loop.outputs, nodes=before + nodes[at + 1 :], results=function.block.results),
    }
    states = tuple(Input(name=f"{STATE}{i}", role="state", type=v.type) for i, v in enumerate(loop.outputs))
    functions, entries = dict(program.functions), dict(program.entries)
    for part, block in blocks.items():
        name = f"{entry}.{part}"
        functions[name] = replace(function, name=name, block=block)
        inputs = source.inputs + (states if part == "finish" else ())
        entries[name] = replace(source, name=name, function=name, inputs=inputs, calls=0)
    wanted = function.block.results[0].type
    shown = next((i for i, v in enumerate(loop.outputs) if v.type == wanted), None)
    parts = Parts(start=f"{entry}.start", step=step.name, finish=f"{entry}.finish", carried=step.carried, shown=shown)
    return replace(program, functions=functions, entries=entries), parts


def without_defaults(program: Program, entry: str) -> Program:
    """The program whose entry must be told all its arguments, for runtimes that cannot override a default."""
    source = program.entries[entry]
    inputs = tuple(replace(i, default=None) for i in source.inputs)
    return replace(program, entries={**program.entries, entry: replace(source, inputs=inputs)})
