"""The identity of a program: what its weights and samples depend on, and nothing else.

Comments, layout, files, names of local values and lines of the spec do not count, and neither do `evaluate` and `quantize`,
which ask something of a trained model. What a spec imports and what it uses of the library counts as it was elaborated.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from specc.ir.program import Block, Function, Program

APART = {"spec", "digest", "level", "functions", "quantize", "evaluate", "cache", "groups", "doc"}  # fields of a program
# Of its parts: what its equations say already, where it is written, and the code that only reads data.
SAID = {"span", "doc", "about", "groups", "code"}


def digest(program: Program) -> str:
    """sha256 in hexadecimal, of a program at example level."""
    found = hashlib.sha256()
    for line in _program(program):
        found.update(f"{line}\n".encode())
    return found.hexdigest()


def _program(p: Program) -> Iterator[str]:
    for field in fields(p):
        if field.name not in APART:
            yield f"{field.name} {_plain(getattr(p, field.name))}"
    for function in p.functions.values():
        yield from _function(function)


def _plain(value: Any) -> str:
    """A value of the document, whole but for where it is written."""
    match value:
        case dict():
            return f"{{{', '.join(f'{k!r}: {_plain(v)}' for k, v in value.items())}}}"
        case list() | tuple():
            return f"[{', '.join(map(_plain, value))}]"
        case _ if is_dataclass(value):
            inside = (f"{f.name}={_plain(getattr(value, f.name))}" for f in fields(value) if f.name not in SAID)
            return f"{type(value).__name__}({', '.join(inside)})"
        case frozenset():
            return repr(sorted(value))
        case _:
            return repr(value)


def _function(f: Function) -> Iterator[str]:
    yield f"{f.kind} {f.name}"
    yield from _block(f.block, {})


def _block(block: Block, numbers: dict[int, int]) -> Iterator[str]:
    """Its lines; values go by the order in which they are defined."""
    for value in block.params:
        numbers[value.id] = len(numbers)
        yield f"{numbers[value.id]} {value.type}"
    for node in block.nodes:
        inputs = [numbers[v.id] for v in node.inputs]
        for value in node.outputs:
            numbers[value.id] = len(numbers)
        outputs = [f"{numbers[v.id]} {v.type}" for v in node.outputs]
        yield f"{node.op.value} {inputs} {_plain(node.attrs)} {outputs}"
        for region in node.regions:
            yield from _block(region, numbers)
    yield f"return {[numbers[v.id] for v in block.results]}"
