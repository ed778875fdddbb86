"""Which layers a program has, and where they stand between the inputs and the result of their network.

`first`: layers that the example reaches through no other layer. `last`: layers that reach the result through no other.
`clock`: layers that do not see the example, and that meet it only through further layers, such as the embedding of time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from specc.ir.formats import KINDS, PRODUCTS
from specc.ir.ops import Op
from specc.ir.program import Block, Function, Node, Program, Value, walk
from specc.ir.splice import turns
from specc.record import record

OPERANDS = {Op.LINEAR: (0, 1), Op.CONV: (0, 1), Op.CONV_TRANSPOSE: (0, 1), Op.TAKE: (1, 0)}  # places of operand and weight


def sites(block: Block) -> dict[int, str]:
    """Names for the products of two activations in a function, by their results: `attention`; of several `attention.0`, ..."""
    found: dict[Op, list[int]] = {}
    for node in walk(block):
        if KINDS.get(node.op) in PRODUCTS:
            found.setdefault(node.op, []).append(node.out.id)
    return {id: KINDS[op] if len(ids) == 1 else f"{KINDS[op]}.{i}" for op, ids in found.items() for i, id in enumerate(ids)}


def weight_of(node: Node) -> Value | None:
    """The value of a layer's weight; None for what is no layer."""
    if node.op not in OPERANDS:
        return None
    if node.op is Op.TAKE and (node["axis"] or node.get("batch", 0) or node.inputs[0].type.rank != 2):
        return None
    return node.inputs[OPERANDS[node.op][1]]


@record(kw_only=True)
class Layer:
    """A linear map, convolution or embedding over a parameter, by the path of its weight; or a product of two activations, of
    shape ()."""

    path: str
    root: str  # the network that it is in
    op: Op
    shape: tuple[int, ...]
    first: bool
    last: bool
    clock: bool
    rounds: str = ""  # the format that the program itself rounds the operands of a product to

    @property
    def operands(self) -> int:
        """How many operands a product has: queries, keys and values, or two matrices."""
        return 3 if self.op is Op.ATTENTION else 2

    @property
    def columns(self) -> int:
        """How many numbers a row of the weight has, as `specc.ir.coding.as_matrix` lays it out."""
        return math.prod(self.shape) // self.shape[1 if self.op is Op.CONV_TRANSPOSE else 0]

    def is_a(self, word: str) -> bool:
        return {"first": self.first, "last": self.last, "clock": self.clock}[word]


@dataclass(slots=True)
class _Found:
    """What is known of a layer while its network is read. `meets`: its result reaches the example or the end by itself."""

    node: Node
    path: str
    sees: bool
    first: bool = False
    last: bool = False
    meets: bool = False
    rounds: str = ""


@record
class _Mark:
    """Of a value: does it depend on the example, does it do so through no layer, and which layers reach it directly."""

    sees: bool = False
    bare: bool = False
    layers: frozenset[str] = frozenset()

    def __or__(self, other: _Mark) -> _Mark:
        return _Mark(self.sees or other.sees, self.bare or other.bare, self.layers | other.layers)


@dataclass(slots=True)
class _Reader:
    program: Program
    found: dict[str, _Found] = field(default_factory=dict)
    rounded: dict[int, str] = field(default_factory=dict)  # what was rounded, to which format

    def apply(self, function: Function, bundle: str, marks: list[_Mark]) -> list[_Mark]:
        env = {p.id: m for p, m in zip(function.block.params, marks, strict=True)}
        self.block(function.block, bundle, env, {id: f"{bundle}.{name}" for id, name in sites(function.block).items()})
        return [env.get(v.id, _Mark()) for v in function.block.results]

    def block(self, block: Block, bundle: str, env: dict[int, _Mark], paths: dict[int, str]) -> None:
        for node in block.nodes:
            marks = [env.get(v.id, _Mark()) for v in node.inputs]
            if node.op is Op.PARAM:
                paths[node.out.id] = f"{bundle}.{node['path']}"
            elif (weight := weight_of(node)) is not None and weight.id in paths:
                env[node.out.id] = self.layer(node, paths[weight.id], marks[OPERANDS[node.op][0]])
            elif node.op in (Op.CALL, Op.REPEAT):
                self.call(node, bundle, marks, env)
            else:
                if node.op is Op.ROUND_TO:
                    self.rounded[node.out.id] = node["format"]
                if node.outputs and node.out.id in paths:
                    rounds = self.rounded.get(node.inputs[0].id, "")
                    self.found.setdefault(paths[node.out.id], _Found(node, paths[node.out.id], sees=True, rounds=rounds))
                self.plain(node, bundle, marks, env, paths)

    def layer(self, node: Node, path: str, x: _Mark) -> _Mark:
        known = self.found.setdefault(path, _Found(node, path, x.sees))
        known.sees |= x.sees
        known.first |= x.bare
        return _Mark(sees=x.sees, layers=frozenset({path}))

    def plain(self, node: Node, bundle: str, marks: list[_Mark], env: dict[int, _Mark], paths: dict[int, str]) -> None:
        total = _union(marks)
        for region in node.regions:
            inner = ([_Mark()] * len(region.params) + marks)[-len(region.params) :] if region.params else []
            env.update({p.id: m for p, m in zip(region.params, inner, strict=True)})
            self.block(region, bundle, env, paths)
            total |= _union([env.get(v.id, _Mark()) for v in region.results])
        if total.sees:
            for path in total.layers:
                self.found[path].meets |= not self.found[path].sees
        env.update({v.id: total for v in node.outputs})

    def call(self, node: Node, bundle: str, marks: list[_Mark], env: dict[int, _Mark]) -> None:
        function = self.program.functions[node["function"]]
        below = bundle if node.get("bundle") is None else f"{bundle}.{node['bundle']}"
        if node.op is Op.REPEAT:
            carried = node["carried"]
            for i in turns(node):
                given = self.apply(function, f"{below}.{i}", marks)
                marks[:carried], kept = given[:carried], given[carried:]
                first = len(marks) - len(kept)
                marks[first:] = [a | b for a, b in zip(marks[first:], kept, strict=True)]
            results = marks[:carried] + marks[len(marks) - len(node.get("cut", ())) :]
        else:
            n = len(function.block.params)
            lanes = [marks[i : i + n] for i in range(0, len(marks), n)]
            results = [m for lane in lanes for m in self.apply(function, below, lane)]
        env.update({v.id: m for v, m in zip(node.outputs, results, strict=True)})


def _union(marks: list[_Mark]) -> _Mark:
    total = _Mark()
    for m in marks:
        total |= m
    return total


def layers(program: Program, entry: str) -> tuple[Layer, ...]:
    """The layers of every network that an entry calls, in the order in which they run."""
    return tuple(layer for root in roots(program, entry) for layer in layers_of(program, root))


def layers_of(program: Program, root: str) -> list[Layer]:
    """The layers of a network, in the order in which they run."""
    out: list[Layer] = []
    function = program.functions[program.networks[root]]
    reader = _Reader(program)
    marks = [_Mark(sees=i == 0, bare=i == 0) for i in range(len(function.block.params))]
    for path in _union(reader.apply(function, root, marks)).layers:
        reader.found[path].last = True
    for f in reader.found.values():
        weight = weight_of(f.node)
        shape = () if weight is None else tuple(int(d) for d in weight.type.shape)
        clock = not f.sees and not f.meets and not f.last
        places = {"first": f.first, "last": f.last, "clock": clock}
        out.append(Layer(path=f.path, root=root, op=f.node.op, shape=shape, rounds=f.rounds, **places))
    return out


def roots(program: Program, entry: str) -> list[str]:
    """The networks that an entry calls."""
    seen: list[str] = []
    waiting = [program.entries[entry].function]
    while waiting:
        for node in walk(program.functions[waiting.pop()].block):
            if node.op is Op.CALL and node["bundle"] is None:
                waiting.append(node["function"])
            elif node.op is Op.CALL and node["bundle"] in program.networks and node["bundle"] not in seen:
                seen.append(node["bundle"])
    return seen
