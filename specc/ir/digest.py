"""The identity of a program: what its weights and samples depend on, and nothing else.

Comments, layout, files, names of local values and lines of the spec do not count, and neither do `evaluate` and `quantize`,
which ask something of a trained model. What a spec imports and what it uses of the library counts as it was elaborated.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace

from specc.ir.program import Block, Entry, Function, Program


def digest(program: Program) -> str:
    """sha256 in hexadecimal, of a program at example level."""
    found = hashlib.sha256()
    for line in _program(program):
        found.update(f"{line}\n".encode())
    return found.hexdigest()


def _program(p: Program) -> Iterator[str]:
    yield p.name
    for data in p.data:
        yield repr(replace(data, space=replace(data.space, span=None), doc=""))
    for space in p.conditions:
        yield repr(replace(space, span=None))
    yield repr(p.train)
    yield repr(list(p.networks.items()))
    for entry in p.entries.values():
        yield _entry(entry)
    for function in p.functions.values():
        yield from _function(function)


def _entry(e: Entry) -> str:
    return repr(replace(e, calls=None, doc="", span=None))


def _function(f: Function) -> Iterator[str]:
    numbers: dict[int, int] = {}
    yield f"{f.kind} {f.name}"
    yield from _block(f.block, numbers)


def _block(block: Block, numbers: dict[int, int]) -> Iterator[str]:
    """Its lines; values go by the order in which they are defined."""
    for value in block.params:
        numbers[value.id] = len(numbers)
        yield f"{numbers[value.id]} {value.type}"
    for node in block.nodes:
        inputs = [numbers[v.id] for v in node.inputs]
        for value in node.outputs:
            numbers[value.id] = len(numbers)
        yield f"{node.op.value} {inputs} {node.attrs!r} {[(numbers[v.id], str(v.type)) for v in node.outputs]}"
        for region in node.regions:
            yield from _block(region, numbers)
    yield f"return {[numbers[v.id] for v in block.results]}"
