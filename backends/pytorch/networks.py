"""model.py: one class for each network of a program, callee first, and `Model`, which holds those that are trained.

Networks that differ only in sizes (the residual blocks of a U-Net) become one class with these sizes as arguments.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field

from specc.backends.pytorch.families import Draft, Family, dimensions, merge
from specc.backends.pytorch.library import Library
from specc.backends.pytorch.lines import exploded, fit
from specc.backends.pytorch.modules import Layout, layout, reached, registered, submodule
from specc.backends.pytorch.names import camel, described, docstring, legal, snake, strings
from specc.backends.pytorch.printer import print_block
from specc.backends.pytorch.tables import with_tables

from specc.ir.ops import Op
from specc.ir.program import Function, Node, Program, walk
from specc.ir.types import Shape

SPELLED = 8  # results whose types are listed one by one
SLICE = re.compile(r"(?<=[\[ ])(self\.\w+):(?=[-\w])")  # `self.size : -1`, as a formatter has slices
SHAPES = re.compile(r"  # \(.*\)$")
DOC = re.compile(r'^ *"""')


@dataclass(slots=True)
class Networks:
    """The classes of a program. `made` says how an instance of a function's network is written."""

    program: Program
    library: Library
    made: dict[str, str] = field(default_factory=dict)  # function to constructor call
    method: dict[str, str] = field(default_factory=dict)  # function to method, "" for forward
    families: list[Family] = field(default_factory=list)

    def build(self) -> Networks:
        groups = self._groups()
        for group in groups:
            for k, name in enumerate(group):
                self.method[name] = "" if k == 0 else _method_name(name, {self.method[n] for n in group[:k]})
        taken: set[str] = {"Model", "Tensor"}
        for level in _levels(self.library, groups):
            drafts = [self._draft([self.program.functions[n] for n in group]) for group in level]
            for family in merge(drafts, taken):
                self.families.append(family)
                for draft, constructor in zip(family.members, family.constructors, strict=True):
                    self.made.update(dict.fromkeys(draft.functions, constructor))
        return self

    def _groups(self) -> list[list[str]]:
        """Functions over the same parameters share a class: the network itself first, then its variants."""
        parent = {n: n for n, f in self.program.functions.items() if f.kind == "network" and n not in self.library.bare}

        def root(n: str) -> str:
            while parent[n] != n:
                n = parent[n]
            return n

        def join(a: str, b: str) -> None:
            parent[root(b)] = root(a)

        for start in self.program.starts:
            join(start.network, start.function)
        before = 0
        while (now := len({root(n) for n in parent})) != before:  # joined owners bring what they call together
            before = now
            seen: dict[tuple[str, str], str] = {("", r): f for r, f in self.program.networks.items()}
            for name, function in self.program.functions.items():
                for node in walk(function.block):
                    if node.op in (Op.CALL, Op.REPEAT) and not self.library.is_plain(node):
                        owner = root(name) if name in parent else ""
                        for place in turns(node):
                            join(seen.setdefault((owner, place), node["function"]), node["function"])
        main = set(self.program.networks.values())
        groups: dict[str, list[str]] = defaultdict(list)
        for name in sorted(parent, key=lambda n: n not in main):
            groups[root(name)].append(name)
        return list(groups.values())

    def _draft(self, functions: list[Function]) -> Draft:
        functions = with_tables(functions)
        place = layout(functions, self.made, self.library.is_plain)
        methods: list[str] = []
        known: dict[tuple[str, ...], str] = {}
        for f in functions:
            lines = self._method(f, place)
            text = tuple(SHAPES.sub("", line) for line in lines[1:] if not DOC.match(line))
            same = known.setdefault(text, f.name)
            self.method[f.name] = self.method[same]
            methods += ["", *lines] if same == f.name else []
        first = functions[0]
        stem = first.name.split(".")[0]
        return Draft(
            name=camel(re.sub(r"^([a-z_]*[a-z])_?\d+$", r"\1", stem)),
            doc=first.doc,
            about=first.about,
            functions=tuple(f.name for f in functions),
            registrations=place.registrations(),
            methods=methods[1:],
            sizes=dimensions(first.block.params[0].type.shape) if first.block.params else {},
        )

    def _method(self, function: Function, place: Layout) -> list[str]:
        variables = {n["bundle"]: _item(n["bundle"]) for n in walk(function.block) if n.op is Op.REPEAT}

        def network(bundle: str, callee: str) -> str:
            method = f".{self.method[callee]}" if callee and self.method[callee] else ""
            if bundle.endswith(".*"):
                return variables[bundle[:-2]] + method
            return place.reach(bundle) + method

        def layer(node: Node) -> str | None:
            return place.reach(place.layers[node]) if node in place.layers and node.op is not Op.PARAM else None

        manner = self.library.manner(
            function.block, network=network, layer=layer, param=lambda node: place.reach(place.layers.get(node, node["path"]))
        )
        manner.taken |= frozenset(variables.values())
        if any(n.get("cut") for n in walk(function.block)):
            manner.taken |= {"parts", "cut", "kept"}
        printed = print_block(function.block, manner, indent=8)
        params = ["self", *(f"{p}: Tensor" for p in printed.params)]
        count = len(function.block.results)
        result = (
            "Tensor" if count == 1 else f"tuple[{', '.join(['Tensor'] * count if count <= SPELLED else ['Tensor', '...'])}]"
        )
        name = self.method[function.name] or "forward"
        start = next((s for s in self.program.starts if s.function == function.name), None)
        if start is not None and count == 1:
            printed.lines[-1] += ","
            result = "tuple[Tensor]"
        shapes = [f"{p}: {show(v.type.shape)}" for p, v in zip(printed.params, function.block.params, strict=True)]
        out = ", ".join(show(v.type.shape) for v in function.block.results)
        head = exploded(f"def {name}(", params, f") -> {result}:", 124)
        doc = docstring(f"{', '.join(shapes)}. Returns {out}.", 4)
        return [*head, *doc, *(f"    {line}" for line in printed.lines)]

    def classes(self) -> list[list[str]]:
        """Every class, as lines, callee first."""
        out = []
        for family in self.families:
            params = ["self", *(f"{name}: int" for name in family.params)]
            lines = [f"class {family.name}(nn.Module):", *docstring(described(family.about, family.doc or family.name), 4), ""]
            lines += self._starts(family)
            if family.registrations or family.attributes:
                lines += [f"    {part}" for part in exploded("def __init__(", params, ") -> None:", 124)]
                body = ["super().__init__()", *(f"self.{a} = {a}" for a in family.attributes), *family.registrations]
                lines += [f"        {part}" for line in body for part in fit(line, 120)]
                lines += [""]
            methods = [SLICE.sub(r"\1 : ", line) for line in family.methods]
            out.append([*lines, *(f"    {line}" if line else "" for line in methods)])
        return out

    def _starts(self, family: Family) -> list[str]:
        """The parameters that the method `start` gives."""
        functions = {name for draft in family.members for name in draft.functions}
        start = next((s for s in self.program.starts if s.function in functions), None)
        return [] if start is None else [f"    starts = {strings(start.paths)}  # what the first batch decides", ""]

    def model(self) -> list[str]:
        """The class that holds the networks under their names."""
        what = "The network" if len(self.program.networks) == 1 and not self.program.bare else "The networks"
        lines = ["class Model(nn.Module):", *docstring(f"{what} of {self.program.name}, by name.", 4), ""]
        lines += ["    def __init__(self) -> None:", "        super().__init__()"]
        place = Layout()
        for root, name in self.program.networks.items():
            place.at(root).make = self.made[name]
        for root in self.program.networks:
            if all(self.program.untrained(r) for r in self.program.networks if r.partition(".")[0] == root.partition(".")[0]):
                place.keep(root)
        lines += [f"        {part}" for line in place.registrations() for part in fit(line, 120)]
        return [*lines, *(f"        {registered(b)}" for b in self.program.bare)]

    def param(self, node: Node) -> str:
        """A bare parameter or a state as an objective or sampler reads it."""
        found = next((b for b in self.program.bare if b.path == node["path"]), None)
        return node["path"] if found is None else reached(found)

    def is_state(self, node: Node) -> bool:
        """Whether what a node reads is a state, which no objective trains."""
        return any(b.path == node["path"] and not b.trainable for b in self.program.bare)

    def reach(self, bundle: str, function: str) -> str:
        """A network as an objective or sampler calls it."""
        method = self.method[function] if function else ""
        return submodule(bundle) + (f".{method}" if method else "")

    def parameters(self, function: str) -> int:
        """How many numbers a network has, each path once."""
        return sum(self._sizes(function).values())

    def _sizes(self, function: str) -> dict[str, int]:
        found: dict[str, int] = {}
        for node in walk(self.program.functions[function].block):
            if node.op is Op.PARAM:
                total = 1
                for d in node["shape"]:
                    total *= d
                found[node["path"]] = total
            elif node.op in (Op.CALL, Op.REPEAT) and node.get("bundle") is not None:
                places = [node["bundle"]]
                if node.op is Op.REPEAT:
                    places = [f"{node['bundle']}.{i}" for i in range(node["count"])]
                inner = self._sizes(node["function"])
                found.update({f"{p}.{path}": n for p in places for path, n in inner.items()})
        return found


def turns(node: Node) -> list[str]:
    """The bundles that a node calls its function over, one after another."""
    return [f"{node['bundle']}.{i}" for i in range(node["count"])] if node.op is Op.REPEAT else [node["bundle"]]


def _levels(library: Library, groups: list[list[str]]) -> list[list[list[str]]]:
    """Groups by the height of the networks below them: those without any first."""
    owner = {name: i for i, group in enumerate(groups) for name in group}
    heights: dict[int, int] = {}

    def height(i: int) -> int:
        if i not in heights:
            below = {
                owner[n["function"]]
                for name in groups[i]
                for n in walk(library.program.functions[name].block)
                if n.op in (Op.CALL, Op.REPEAT) and not library.is_plain(n)
            }
            heights[i] = 1 + max((height(j) for j in below), default=-1)
        return heights[i]

    levels: dict[int, list[list[str]]] = defaultdict(list)
    for i, group in enumerate(groups):
        levels[height(i)].append(group)
    return [levels[h] for h in sorted(levels)]


def _method_name(function: str, taken: set[str]) -> str:
    """`inverse` for `coupling.inverse` and for `coupling.inverse.2`; the whole name of a function that is not so called."""
    _, _, rest = function.partition(".")
    word = rest.split(".")[0]
    name = legal(snake(function if not word or word.isdigit() else word))
    while name in taken:
        name += "_too"
    return name


def _item(bundle: str) -> str:
    """The variable of a loop over modules: `block` for each of `block2`."""
    name = re.sub(r"\W", "_", bundle.rpartition(".")[2])
    return legal(re.sub(r"(?<=[a-z])\d+$", "", name) or "item")


def show(shape: Shape) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
