"""What a model costs, counted on the program: parameters, multiplications, network calls.

A multiply-accumulate (MAC) is counted where a weight or an attention score meets an element; FLOPs are two for each. Other
work (activations, norms, the sampler's own arithmetic) is not counted.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from specc.ir import paths
from specc.ir.calc import Calc
from specc.ir.ops import Op
from specc.ir.program import Block, Builder, Ids, Node, Program, Value
from specc.ir.types import BATCH, Shape
from specc.record import record


@record
class Calls:
    """calls: runs of a network's code, lanes together. evaluations: runs for one example, lanes apart."""

    calls: int
    evaluations: int


def parameters(program: Program) -> dict[str, Shape]:
    """Every parameter of every network, by its path in a checkpoint, in order of use; then what belongs to no network."""
    return paths.parameters(program.functions, program.networks) | {b.path: b.shape for b in program.bare}


def parameter_count(program: Program) -> int:
    return sum(prod(int(d) for d in shape) for shape in parameters(program).values())


def macs(program: Program, function: str) -> int | None:
    """Multiply-accumulates of one evaluation for one example; None when a loop's length is not known."""
    return _Counter(program, _macs, True).block(program.functions[function].block)


def flops(program: Program, function: str) -> int | None:
    """Floating-point operations of one evaluation for one example: two for each multiply-accumulate."""
    total = macs(program, function)
    return None if total is None else 2 * total


def network_calls(program: Program, entry: str) -> Calls | None:
    """The calls of networks that an entry makes; None when their number depends on the data or on an input."""
    block = program.functions[program.entries[entry].function].block
    calls = _Counter(program, _runs, False).block(block)
    evaluations = _Counter(program, _lanes, False).block(block)
    if calls is None or evaluations is None:
        return None
    hidden = program.entries[entry].hidden
    return Calls(calls + hidden[0], evaluations + hidden[1])


def _runs(node: Node) -> int:
    return node["count"] if node.op is Op.REPEAT else 1


def _lanes(node: Node) -> int:
    return node["count"] if node.op is Op.REPEAT else node.get("lanes", 1)


class _Counter:
    """Sums a weight over the nodes that run. inside: networks are entered, to weigh their ops; else their calls are."""

    def __init__(self, program: Program, weight: Callable[[Node], int], inside: bool) -> None:
        self.program = program
        self.weight = weight
        self.inside = inside

    def block(self, block: Block, around: Builder | None = None) -> int | None:
        """around: the blocks outside, where constants may stand."""
        builder = Builder(Ids()) if around is None else around.child()
        total = 0
        for node in block.nodes:
            builder.push(node)
            n = self.node(node, builder)
            if n is None:
                return None
            total += n
        return total

    def part(self, node: Node) -> bool:
        """A call of a network's part, as stands in a network's copy that a gradient was taken through: no call of a network."""
        bundle = node.get("bundle") or ""
        return "." in bundle and bundle not in self.program.networks

    def node(self, node: Node, builder: Builder) -> int | None:
        match node.op:
            case Op.CALL | Op.REPEAT:
                plain = node.op is Op.CALL and node.get("bundle") is None
                if not plain and not self.inside:
                    return 0 if self.part(node) else self.weight(node)
                n = self.block(self.program.functions[node["function"]].block)
                return None if n is None else n * _lanes(node)
            case Op.FOR:
                n, count = self.block(node.regions[0], builder), Calc(builder).uniform(node.inputs[0])
                return 0 if n == 0 else None if n is None or count is None else n * int(count)
            case Op.WHILE:
                parts = [self.block(r, builder) for r in node.regions]
                return 0 if parts == [0, 0] else None
            case Op.IF:
                parts = [self.block(r, builder) for r in node.regions]
                return parts[0] if parts[0] == parts[1] else None
            case Op.PARTS:
                runs = [self.block(r, builder) for r in node.regions]
                return None if None in runs else sum(n for n in runs if n)
            case _:
                return self.weight(node) if self.inside else 0


def _macs(node: Node) -> int:
    """Of one node for one example."""
    if node.op not in MULTIPLYING:
        return 0
    x, y = node.inputs[:2]
    out = _size(node.out)
    match node.op:
        case Op.LINEAR | Op.MATMUL:
            return out * int(x.type.shape[-1])
        case Op.CONV:
            return out * prod(int(d) for d in y.type.shape[1:])
        case Op.CONV_TRANSPOSE:
            return _size(x) * prod(int(d) for d in y.type.shape[1:])
        case _:  # ATTENTION: the scores, and their products with the values
            keys = int(y.type.shape[-2])
            return _size(x) * keys + out * keys


MULTIPLYING = {Op.LINEAR, Op.MATMUL, Op.CONV, Op.CONV_TRANSPOSE, Op.ATTENTION}


def _size(value: Value) -> int:
    """Elements for one example: the size of the batch, where it stands in the shape, is left out."""
    return prod(int(d) for d in value.type.shape if d != BATCH)
