"""Models for the tests of the elaborator, from a few lines of text."""

from __future__ import annotations

from specc.diagnostics import Diagnostic
from specc.ir.ops import Op
from specc.ir.program import Function, Node, Program, walk
from specc.ir.verify import verify
from specc.sema import Elaborated, elaborate
from specc.source import Source
from specc.syntax.parser import parse

LINES = {
    "data": "data x: vector(2) from gaussians(k = 3)",
    "process": "process linear",
    "backbone": "backbone mlp(width = 8)",
    "predict": "predict velocity",
    "sampler": "sampler euler(steps = 4)",
}


def text(*more: str, before: str = "", **replaced: str) -> str:
    """A spec with one model `m`: the usual sections, some of them replaced (or left out by ""), and more."""
    lines = [*(replaced.get(kind, line) for kind, line in LINES.items()), *more]
    return f"specc 1\n{before}\nmodel m {{\n" + "\n".join(line for line in lines if line) + "\n}\n"


def elaborated(spec: str, name: str = "m.spec") -> Elaborated:
    source = Source(name, spec)
    file, mistakes = parse(source)
    assert not mistakes, [str(d.span) + d.message for d in mistakes]
    return elaborate(file, source)


def errors(spec: str) -> list[Diagnostic]:
    return [d for d in elaborated(spec).diagnostics if d.severity == "error"]


def codes(spec: str) -> list[str]:
    return [d.code for d in elaborated(spec).diagnostics]


def program(spec: str, name: str = "m") -> Program:
    made = elaborated(spec)
    found = [d for d in made.diagnostics if d.severity == "error"]
    assert not found, [f"{d.code} {d.span}: {d.message}" for d in found]
    return verify(made.programs[name])


def model(*more: str, before: str = "", **replaced: str) -> Program:
    return program(text(*more, before=before, **replaced))


def entry(made: Program, name: str) -> Function:
    return made.functions[made.entries[name].function]


def nodes(function: Function, op: Op) -> list[Node]:
    return [n for n in walk(function.block) if n.op is op]


def ops(function: Function) -> list[Op]:
    return [n.op for n in walk(function.block)]


def network(body: str, head: str = "network mine(z: vector(n), t: scalar) -> like(z)", knobs: str = "mine") -> Program:
    """A model with a network of one's own."""
    return model(before=f"{head} {{\n{body}\n}}", backbone=f"backbone {knobs}")


def sampler(body: str, *more: str, **replaced: str) -> Program:
    return model(*more, sampler=f"sampler mine {{\n{body}\n}}", **replaced)


def loss(body: str, *more: str, **replaced: str) -> Program:
    return model(f"loss mine {{\n{body}\n}}", *more, **replaced)
