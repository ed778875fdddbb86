"""What a model costs, counted on the program: parameters, multiplications, network calls.

A multiply-accumulate (MAC) is counted where a weight or an attention score meets an element; FLOPs are two for each. Other
work (activations, norms, the sampler's own arithmetic) is not counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from specc.ir.calc import Calc
from specc.ir.ops import Op
from specc.ir.program import Block, Builder, Ids, Node, Program, Value, walk
from specc.ir.splice import join
from specc.ir.types import BATCH, Shape


@dataclass(frozen=True, slots=True)
class Calls:
    """calls: runs of a network's code, lanes together. evaluations: runs for one example, lanes apart."""

    calls: int
    evaluations: int


def parameters(program: Program) -> dict[str, Shape]:
    """Every parameter of every network, by its path in a checkpoint, in order of use."""
    found: dict[str, Shape] = {}

    def visit(function: str, bundle: str) -> None:
        for node in walk(program.functions[function].block):
            match node.op:
                case Op.PARAM:
                    found.setdefault(join(bundle, node["path"]), tuple(node["shape"]))
                case Op.CALL:
                    visit(node["function"], join(bundle, node.get("bundle") or ""))
                case Op.REPEAT:
                    for i in range(node["count"]):
                        visit(node["function"], join(bundle, f"{node['bundle']}.{i}"))
                case _:
                    pass

    for root, function in program.networks.items():
        visit(function, root)
    return found


def parameter_count(program: Program) -> int:
    return sum(prod(int(d) for d in shape) for shape in parameters(program).values())


def macs(program: Program, function: str) -> int | None:
    """Multiply-accumulates of one evaluation for one example; None when a loop's length is not known."""
    return _over(program, program.functions[function].block, lambda node: _macs(node, program.level))


def flops(program: Program, function: str) -> int | None:
    """Floating-point operations of one evaluation for one example: two for each multiply-accumulate."""
    total = macs(program, function)
    return None if total is None else 2 * total


def network_calls(program: Program, entry: str) -> Calls | None:
    """The calls of networks (roots of `Program.networks`) in an entry; None when their number depends on the data."""
    block = program.functions[program.entries[entry].function].block
    counted = [_over(program, block, weight, networks=False) for weight in (_one, lambda node: node.get("lanes", 1))]
    return None if None in counted else Calls(*(n for n in counted if n is not None))


def _one(node: Node) -> int:
    return 1


def _over(program: Program, block: Block, weight: object, networks: bool = True) -> int | None:
    return _Counter(program, weight, networks).block(block)


class _Counter:
    """Sums a weight over the nodes that run. networks: whether to enter them (MACs) or to weigh their calls (NFE)."""

    def __init__(self, program: Program, weight: object, networks: bool) -> None:
        self.program = program
        self.weight = weight
        self.networks = networks
