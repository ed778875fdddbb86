"""The least values of inputs that say how often a loop turns: none of no turn makes a sample."""

from __future__ import annotations

from collections.abc import Sequence

from specc.ir.ops import Op
from specc.ir.program import Block, Entry, Program, walk
from specc.record import record


@record
class _Known:
    """A whole number; of an input, that input and what is added to it."""

    input: str | None
    plus: int


def least(program: Program, entry: Entry) -> dict[str, int]:
    """By name, the arguments that count the turns of a loop: 1 or more, and as many as leave no fewer than no turn.

    A default is the author's word that it makes sense, whatever it is.
    """
    found: dict[str, int] = {}
    arguments = [_Known(i.name, 0) if i.role == "argument" else None for i in entry.inputs]
    _visit(program, program.functions[entry.function].block, arguments, found)
    defaults = {i.name: int(i.default) for i in entry.inputs if i.default is not None}
    return {name: min(number, defaults.get(name, number)) for name, number in found.items()}


def _visit(program: Program, block: Block, given: Sequence[_Known | None], found: dict[str, int]) -> list[_Known | None]:
    """Note what loops count by; what is known of the results."""
    known: dict[int, _Known | None] = {v.id: k for v, k in zip(block.params, given, strict=True)}
    for node in walk(block):
        inputs = [known.get(v.id) for v in node.inputs]
        match node.op:
            case Op.CONST if not node["shape"] and isinstance(node["value"], int):
                known[node.out.id] = _Known(None, node["value"])
            case Op.ADD | Op.SUB:
                a, b = inputs
                known[node.out.id] = _sum(a, b, 1 if node.op is Op.ADD else -1)
            case Op.CALL if any(inputs):
                results = _visit(program, program.functions[node["function"]].block, inputs, found)
                known |= {v.id: k for v, k in zip(node.outputs, results, strict=True)}
            case Op.FOR if (count := inputs[0]) is not None and count.input is not None:
                found[count.input] = max(found.get(count.input, 1), -count.plus)
            case _:
                pass
    return [known.get(v.id) for v in block.results]


def _sum(a: _Known | None, b: _Known | None, sign: int) -> _Known | None:
    """The first and so many times the second, which is a plain number unless it is added to one."""
    if a is None or b is None or (b.input is not None and (a.input is not None or sign < 0)):
        return None
    return _Known(a.input or b.input, a.plus + sign * b.plus)
