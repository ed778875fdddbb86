"""sample.py and query.py: samplers and queries as functions of a model, and the commands around them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from specc.backends.pytorch.choose import part
from specc.backends.pytorch.kinds import Kind
from specc.backends.pytorch.library import Library, ours
from specc.backends.pytorch.lines import exploded
from specc.backends.pytorch.names import described, docstring, legal, snake
from specc.backends.pytorch.networks import Networks, show
from specc.backends.pytorch.numbers import literal
from specc.backends.pytorch.printer import print_block

from specc.ir.least import least
from specc.ir.program import Entry, Input, Program
from specc.ir.types import DType


@dataclass(slots=True)
class Way:
    """A printed sampler or query. params: what its inputs are called there."""

    entry: Entry
    name: str
    lines: list[str]
    params: dict[str, str]


def ways(program: Program, role: str, library: Library, networks: Networks) -> list[Way]:
    """The functions for all entries of a role."""
    taken = {p.name for p in library.plain.values()} | ours()
    return [_way(program, e, legal(snake(e.name), taken), library, networks) for e in program.by_role(role)]


def _way(program: Program, entry: Entry, name: str, library: Library, networks: Networks) -> Way:
    function = program.functions[entry.function]
    manner = library.manner(function.block, gradients="off", network=networks.reach, param=networks.param)
    manner.taken |= {name}
    manner.copied = lambda node: True
    numbers = [i.role == "argument" and not i.type.shape for i in entry.inputs]
    kinds = [Kind(n) for n in numbers]
    printed = print_block(function.block, manner, kinds)
    params = ["model: Model"]
    for p, i, number in zip(printed.params, entry.inputs, numbers, strict=True):
        kind = "int" if i.type.dtype is DType.INT else "float"
        params.append(f"{p}: {kind}{default(i)}" if number else f"{p}: Tensor")
    results = ["Tensor"] * len(function.block.results)
    result = results[0] if len(results) == 1 else f"tuple[{', '.join(results)}]"
    shapes = [f"{p}: {show(i.type.shape)}" for p, i, n in zip(printed.params, entry.inputs, numbers, strict=True) if not n]
    out = ", ".join(show(v.type.shape) for v in function.block.results)
    calls = f" Calls the network {entry.calls} times." if entry.calls and entry.calls > 1 else ""
    doc = described(function.about, entry.doc or f"{entry.role} {entry.name}")
    text = docstring(doc, 4, f"{', '.join(shapes)}. Returns {out}.{calls}")
    head = exploded(f"def {name}(", params, f") -> {result}:", 128)
    lines = ["@torch.no_grad()", *head, *text, *(f"    {line}" for line in printed.lines)]
    return Way(entry, name, lines, {i.name: p for i, p in zip(entry.inputs, printed.params, strict=True)})


@cache
def own_options() -> frozenset[str]:
    """The options that sample.py has in every project."""
    return frozenset({"help", "n"} | set(re.findall(r'add_argument\("(?:--)?(\w+)"', part("sample"))))


def option(name: str) -> str:
    """The option of sample.py that gives an input, without its dashes."""
    return legal(name, own_options())


def default(i: Input) -> str:
    if i.default is None:
        return ""
    text = literal(i.default)
    return f" = {text}.0" if i.type.dtype is DType.FLOAT and text.lstrip("-").isdigit() else f" = {text}"


def arguments(ways: list[Way]) -> dict[str, tuple[str, Input]]:
    """Inputs of all samplers beside seeds and conditions, by option, and what their functions call them."""
    found: dict[str, tuple[str, Input]] = {}
    for way in ways:
        for i in way.entry.inputs:
            if i.role == "argument" and not i.type.shape:
                param, name = way.params[i.name], option(i.name)
                known = found.setdefault(name, (param, i))[0]
                if known != param:  # another sampler calls it otherwise
                    found[option(param)] = (param, i)
    return found


def leasts(program: Program, ways: list[Way], named: dict[str, tuple[str, Input]]) -> list[dict[str, int]]:
    """For each sampler, the least values of its options, where they have one."""
    options = {param: name for name, (param, _) in named.items()}
    return [{options[w.params[name]]: low for name, low in least(program, w.entry).items()} for w in ways]
