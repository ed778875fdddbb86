"""Plain functions of a program, printed once each: what becomes process.py, and what others ask about them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache

from specc.backends.pytorch.choose import part
from specc.backends.pytorch.kinds import Kind
from specc.backends.pytorch.lines import exploded
from specc.backends.pytorch.manner import Manner
from specc.backends.pytorch.names import described, docstring, legal, snake
from specc.backends.pytorch.printer import Printed, print_block
from specc.backends.pytorch.source import top_names
from specc.backends.pytorch.values import extern_name

from specc.ir.ops import Op
from specc.ir.program import Block, Function, Node, Program, walk

PRINTED_INTO = ("averages", "generate", "query", "sample", "train")  # parts that functions of a program stand in, or go to
HOST = Kind(True, None, True)


@dataclass(slots=True)
class Plain:
    """A printed function. `numbers`: parameters that are given plain numbers somewhere."""

    name: str
    function: Function
    printed: Printed
    numbers: set[int] = field(default_factory=set)


class Library:
    """Prints plain functions on demand; two with the same text (a function of one time, and of a time per example) are one."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.bare = parameter_free(program)
        self.plain: dict[str, Plain] = {}  # by name in the IR
        self.texts: dict[tuple[str, str], str] = {}  # stem and text to printed name
        self.bodies: dict[tuple[str, tuple[bool, ...]], Printed] = {}
        self.used: set[str] = set(ours())
        self.externs: set[str] = set()

    def manner(self, block: Block, **changes: object) -> Manner:
        """The usual manner for a block: locals keep clear of the functions that it calls."""
        called = dict.fromkeys(
            n["function"] for n in walk(block) if n.op is Op.CALL and self.is_plain(n) and self.wrapped(n["function"]) is None
        )  # one order: they are named
        outside = {extern_name(n) for n in walk(block) if n.op is Op.EXTERN}
        names = frozenset({self.name_of(f) for f in called} | {snake(f.split(".")[0]) for f in called} | outside)
        return Manner(functions=self, taken=names, extern=self.extern, **changes)  # type: ignore[arg-type]

    def is_plain(self, node: Node) -> bool:
        """Whether a call is of a function rather than of a module: also where a network has no parameters."""
        return node.get("bundle") is None or node["function"] in self.bare

    def extern(self, name: str) -> str:
        self.externs.add(name)
        return name

    def body(self, name: str, hosts: tuple[bool, ...]) -> Printed:
        key = (name, hosts)
        if key not in self.bodies:
            function = self.program.functions[name]
            kinds = [HOST if h else Kind(False) for h in hosts]
            self.bodies[key] = print_block(function.block, self.manner(function.block), kinds)
        return self.bodies[key]

    def name_of(self, function: str) -> str:
        return self.get(function).name

    def get(self, name: str) -> Plain:
        if name not in self.plain:
            function = self.program.functions[name]
            printed = self.body(name, (False,) * len(function.block.params))
            stem = legal(snake(".".join(p for p in name.split(".") if not p.isdigit()).replace(".", "_")))
            text = "\n".join([", ".join(printed.params), *(re.sub(r"  # \(.*\)$", "", line) for line in printed.lines)])
            whole = legal(snake(name.split(".")[0]))
            stem = whole if (whole, text) in self.texts else stem
            if (stem, text) not in self.texts:
                shown = stem
                count = 2
                while shown in self.used:
                    shown, count = f"{stem}_{count}", count + 1
                self.used.add(shown)
                self.texts[stem, text] = shown
            self.plain[name] = Plain(self.texts[stem, text], function, printed)
        return self.plain[name]

    def wrapped(self, function: str) -> str | None:
        """A function that is one call of PyTorch's on its argument, as that call with a place for the argument."""
        printed = self.body(function, (False,) * len(self.program.functions[function].block.params))
        found = re.fullmatch(r"return (F\.\w+)\((\w+)((?:, [\w.=-]+)*)\)", printed.lines[0])
        return f"{found[1]}({{}}{found[3]})" if found and printed.params == [found[2]] and len(printed.lines) == 1 else None

    def call_kind(self, node: Node, kinds: list[Kind]) -> list[Kind] | None:
        """Kinds of the results, or None if the function wants tensors where it would be given numbers."""
        function = self.program.functions[node["function"]]
        hosts = tuple(k.host for k in kinds)
        usual = self.body(function.name, (False,) * len(kinds))
        if not any(hosts):
            return [Kind(r.host, r.number, r.indexed, r.whole) for r in usual.results]
        other = self.body(function.name, hosts)
        if other.lines != usual.lines or other.params != usual.params:
            return None
        plain = self.get(function.name)
        plain.numbers.update(i for i, h in enumerate(hosts) if h)
        return [Kind(r.host, r.number, True, r.whole) for r in other.results]

    def definitions(self, networks: bool = False) -> list[list[str]]:
        """Every function that was asked for, in the order of the program, as lines; or the networks without parameters."""
        out: list[list[str]] = []
        for name in self.program.functions:
            if (
                name in self.plain
                and (name in self.bare) == networks
                and not any(self.plain[name].name == p.name for p in self._before(name))
            ):
                out.append(self._definition(self.plain[name]))
        return out

    def _before(self, name: str) -> list[Plain]:
        names = list(self.program.functions)
        return [self.plain[n] for n in names[: names.index(name)] if n in self.plain]

    def _definition(self, plain: Plain) -> list[str]:
        same = [p for p in self.plain.values() if p.name == plain.name]
        numbers = set().union(*(p.numbers for p in same))
        params = [f"{p}: {'Tensor | float' if i in numbers else 'Tensor'}" for i, p in enumerate(plain.printed.params)]
        host = any(r.host for p in same for r in p.printed.results) or (bool(numbers) and len(plain.printed.results) == 1)
        count = len(plain.printed.results)
        single = "Tensor | float" if host else "Tensor"
        result = single if count == 1 else f"tuple[{', '.join(['Tensor'] * count)}]"
        head = exploded(f"def {plain.name}(", params, f") -> {result}:", 128)
        text = docstring(described(plain.function.about, plain.function.doc), 4) if plain.function.doc else []
        return [*head, *text, *(f"    {line}" for line in plain.printed.lines)]


@cache
def ours() -> frozenset[str]:
    """The names that these parts have for themselves."""
    return frozenset({"examples", "loss", "prepare"}.union(*(top_names(part(name)) for name in PRINTED_INTO)))


def parameter_free(program: Program) -> set[str]:
    """Networks without parameters anywhere below them, which need no class."""
    found: dict[str, bool] = {}

    def bare(name: str) -> bool:
        if name not in found:
            nodes = list(walk(program.functions[name].block))
            called = [n for n in nodes if n.op is Op.CALL and n.get("bundle") is not None]
            own = any(n.op in (Op.PARAM, Op.REPEAT) for n in nodes)
            found[name] = not own and all(bare(n["function"]) for n in called)
        return found[name]

    kinds = [n for n, f in program.functions.items() if f.kind == "network"]
    methods = {s.function for s in program.starts}
    return {n for n in kinds if bare(n) and n not in program.networks.values() and n not in methods}
