"""Programs: nodes, blocks, functions, and the builder that makes them.

A function over named parameters holds a block of nodes in single-assignment form; loops and branches are nodes with
regions that capture from outside. Parameters are read by path, relative to the bundle that a call names, so that code and
parameters stay separate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from specc.ir.ops import OPS, Op
from specc.ir.types import Type
from specc.record import record
from specc.source import Span

Attrs = tuple[tuple[str, Any], ...]


@record(eq=False)
class Value:
    """One result of a node, or a parameter of a block. `name` is what the author called it, if anything."""

    id: int
    type: Type
    name: str | None = None

    def __repr__(self) -> str:
        return f"%{self.id}{'.' + self.name if self.name else ''}"


@record(kw_only=True, eq=False)
class Node:
    """An operation. `node["axis"]` reads an attribute; `node.get("axis")` gives None where it has none."""

    op: Op
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    attrs: Attrs = ()
    regions: tuple[Block, ...] = ()
    span: Span | None = None

    def __getitem__(self, key: str) -> Any:
        for k, v in self.attrs:
            if k == key:
                return v
        raise KeyError(f"{self.op.value} has no attribute {key}")

    def get(self, key: str, default: Any = None) -> Any:
        return next((v for k, v in self.attrs if k == key), default)

    @property
    def out(self) -> Value:
        (value,) = self.outputs
        return value


@record(kw_only=True, eq=False)
class Block:
    params: tuple[Value, ...]
    nodes: tuple[Node, ...]
    results: tuple[Value, ...]


@record(kw_only=True, eq=False)
class Function:
    """A function of values and, for a network, of a bundle of parameters with paths relative to it.

    kind: "network" (has parameters, printed as a module), "function" (plain), "entry" (an objective, sampler or query).
    doc: the line of the spec that it comes from, as a reader would like to see it. about: the comment over its definition.
    """

    name: str
    kind: str
    block: Block
    doc: str = ""
    about: str = ""
    span: Span | None = None


@record(kw_only=True)
class Input:
    """An input of an entry, in the order of its function's block parameters.

    role: "data" (the example x, then its fields), "index" (int64, the example's number, where a model has no data),
    "condition", "seed" (int64 per example), "argument" (an `input(...)` with its default), "step" (int, steps of training so
    far), "progress" (float, their share of all steps).
    """

    name: str
    role: str
    type: Type
    default: float | int | None = None
    classes: int | None = None  # for a class condition: how many; index `classes` itself is the null value


@record(kw_only=True)
class Entry:
    """A way into the program. role: "objective", "update", "start", "sampler", "query", "generate": what draws the data of
    a stage, x and then its fields; or "condition": what computes the derived conditions of an example, in the order of
    `Program.conditions`.

    For an objective the function returns one value per example (or a shared scalar), `over` lists what it trains: names of
    networks and bare parameters, and patterns of paths (`G.*.bias`), without those after a `!`. `writes` are the paths of
    states whose new values the function gives as its last results; an update gives nothing else, nor does the start of a
    training, which is computed on the first batch and may write parameters as well. For a sampler, `calls` is the number
    of network calls of one sample (None when it depends on the data). `hidden`: calls, and evaluations of single examples,
    that a pass has written out in the entry, where they are no calls any more.
    """

    name: str
    role: str
    function: str
    inputs: tuple[Input, ...]
    over: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    calls: int | None = None
    hidden: tuple[int, int] = (0, 0)
    groups: int = 1  # a batch of it has a whole multiple of so many examples
    doc: str = ""
    span: Span | None = None


@record(kw_only=True)
class Space:
    """The space of a data variable or condition: `image(1, 8, 8) in [-1, 1] levels 17` or `class(10)`."""

    name: str  # the variable
    kind: str  # vector, image, signal, class, ...
    shape: tuple[int, ...]
    dtype: str = "float"
    low: float | None = None
    high: float | None = None
    levels: int | None = None
    classes: int | None = None
    drop: float = 0.0
    derived: bool = False  # a condition computed from each example, by the entry of the role "condition"
    span: Span | None = None


@record
class Setting:
    """A call of something that equations do not describe: a reader, an optimizer, a metric. Options are plain values."""

    name: str
    options: tuple[tuple[str, Any], ...] = ()

    def get(self, key: str, default: Any = None) -> Any:
        return next((v for k, v in self.options if k == key), default)


@record(kw_only=True)
class Code:
    """A reader of the spec's own: a Python file beside it, as text, and the function that gives arrays by name.

    endless: it draws, `(n, rng)`, rather than reads, `(split)`. fields: what it gives beside x. shape: of its x, if it says so.
    """

    file: str
    function: str
    text: str
    endless: bool = False
    fields: tuple[str, ...] = ()
    shape: tuple[int, ...] | None = None

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


@record(kw_only=True)
class Dataset:
    """`data x: SPACE from READER |> step |> ...`: where examples come from, for `x` or for a source given as data."""

    space: Space
    reader: Setting
    steps: tuple[Setting, ...] = ()
    fields: tuple[Space, ...] = ()  # what else the reader gives of each example, under these names
    code: Code | None = None  # of a reader that the spec declares
    doc: str = ""


@record(kw_only=True)
class QuantizeRule:
    """One rule of a `quantize` section: for these paths, this format. First match wins; `keep` is a rule with no format.

    cache: of the keys and values of attention, one scale for each of their rows. gradients: of what comes back through linear
    maps while training.
    """

    match: str  # a path pattern ("*.mlp.*"), a place (first) or a kind (conv)
    weights: Setting | None = None
    activations: Setting | None = None
    cache: Setting | None = None
    gradients: Setting | None = None


@record(kw_only=True)
class Bound:
    """What a number of the report of a quantised file is held against: `frechet_ratio <= 1.1`."""

    name: str
    compare: str
    value: float
    span: Span | None = None


@record(kw_only=True)
class Quantization:
    """trained: the model itself computes with rounded numbers, in training as well. calibrate: the query on whose network
    calls, made on examples, methods look; an export's own entry where none is named."""

    name: str
    rules: tuple[QuantizeRule, ...]
    bounds: tuple[Bound, ...] = ()
    trained: bool = False
    calibrate: str | None = None
    span: Span | None = None


@record(kw_only=True)
class Start:
    """Parameters of `network` that start from the first batch: `function`, over the same bundle and of the same inputs, gives
    them."""

    network: str
    function: str
    paths: tuple[str, ...]


@record(kw_only=True)
class Share:
    """Weights that come from a parent: those below `path` here start as those below `of` there, or stay equal to them."""

    path: str
    of: str
    frozen: bool = False


@record(kw_only=True)
class Parent:
    """A model that was trained before: its program's hash, whether it has averaged weights, and what is taken from it."""

    name: str
    digest: str
    averaged: bool = False
    shares: tuple[Share, ...] = ()


@record(kw_only=True)
class Average:
    """A network that follows another: after each step its weights below `path` move towards those below `of`.

    decay: the share that stays, or the plain function of (step, progress) that says it.
    """

    path: str
    of: str
    decay: float | str


@record(kw_only=True)
class Bare:
    """A tensor of the model that belongs to no network: a parameter, or (not trainable) a state that updates write."""

    path: str
    shape: tuple[int, ...]
    dtype: str = "float"
    init: tuple[Any, ...] = ("zeros",)
    trainable: bool = True


@record(kw_only=True)
class Step:
    """A part of a step of training: done in every `every`-th step, where the plain function `when` of (step, progress) holds.

    One of: `entries`, objectives whose gradients are all taken before any of them moves its parameters, or one update;
    `steps`, in turn, `times` over with a fresh batch each; `maps`, a plain function of one number that each parameter of
    `over` goes through, together with those of the same relative paths in the sets of `beside`.
    """

    entries: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    times: int = 1
    maps: str | None = None
    over: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    every: int = 1
    when: str | None = None
    doc: str = ""


@record(kw_only=True)
class Program:
    """A whole model, at one level ("example" or "array")."""

    name: str
    level: str
    spec: str  # the spec's name, as printed in headers
    digest: str  # sha256 of what its weights and samples depend on (specc.ir.digest)
    functions: dict[str, Function]
    networks: dict[str, str]  # root bundle ("backbone") -> function name
    entries: dict[str, Entry]  # by name; objectives first, in text order
    starts: tuple[Start, ...] = ()
    bare: tuple[Bare, ...] = ()
    routine: tuple[Step, ...] = ()  # a step of training; () is each objective in turn
    data: tuple[Dataset, ...] = ()
    conditions: tuple[Space, ...] = ()
    train: tuple[tuple[str, Any], ...] = ()  # resolved settings: optimizer, steps, batch, ema, ...
    quantize: tuple[Quantization, ...] = ()
    evaluate: tuple[Any, ...] = ()
    parents: tuple[Parent, ...] = ()
    averages: tuple[Average, ...] = ()
    cache: bool = True  # samplers that fill a sequence place by place keep what they can of earlier places
    groups: int = 1  # a batch of training has a whole multiple of so many examples
    doc: str = ""  # the comment over the model

    def untrained(self, root: str) -> bool:
        """Whether no objective may change the network: it is a parent's, or an average."""
        return any(s.path == root and s.frozen for p in self.parents for s in p.shares) or any(
            a.path == root for a in self.averages
        )

    def by_role(self, role: str) -> list[Entry]:
        return [e for e in self.entries.values() if e.role == role]

    def setting(self, key: str, default: Any = None) -> Any:
        return next((v for k, v in self.train if k == key), default)


def all_steps(routine: tuple[Step, ...]) -> Iterator[Step]:
    """Every step of a routine, and those inside, in order."""
    for step in routine:
        yield step
        yield from all_steps(step.steps)


def chosen(path: str, over: tuple[str, ...]) -> bool:
    """Whether a path is among those that an objective trains."""

    def named(names: list[str]) -> bool:
        return any(path == p or path.startswith(f"{p}.") or fnmatchcase(path, p) for p in names)

    out = [p[1:] for p in over if p.startswith("!")]
    return named([p for p in over if not p.startswith("!")]) and not named(out)


def walk(block: Block) -> Iterator[Node]:
    """Every node of a block and of the regions inside, in order."""
    for node in block.nodes:
        yield node
        for region in node.regions:
            yield from walk(region)


@dataclass(slots=True)
class Ids:
    """Fresh value numbers, one counter for a whole program."""

    last: int = 0

    def fresh(self) -> int:
        self.last += 1
        return self.last


@dataclass(slots=True)
class Builder:
    """Appends nodes to a block, inferring types from the table of ops and sharing equal pure nodes."""

    ids: Ids
    params: list[Value] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    parent: Builder | None = None
    _seen: dict[Any, tuple[Value, ...]] = field(default_factory=dict)
    _made: dict[int, Node] = field(default_factory=dict)

    def param(self, type: Type, name: str | None = None) -> Value:
        value = Value(self.ids.fresh(), type, name)
        self.params.append(value)
        return value

    def child(self) -> Builder:
        """A builder for a region inside the block under construction."""
        return Builder(self.ids, parent=self)

    def made_by(self, value: Value) -> Node | None:
        """The node that gives a value, in this block or one around it; None for parameters."""
        here: Builder | None = self
        while here is not None:
            if value.id in here._made:
                return here._made[value.id]
            here = here.parent
        return None

    def find(self, key: Any) -> tuple[Value, ...] | None:
        here: Builder | None = self
        while here is not None:
            if key in here._seen:
                return here._seen[key]
            here = here.parent
        return None

    def add(
        self,
        op: Op,
        *inputs: Value,
        regions: tuple[Block, ...] = (),
        name: str | None = None,
        span: Span | None = None,
        types: tuple[Type, ...] | None = None,
        **attrs: Any,
    ) -> Value:
        """Append a node with one result. Raises ValueError when the operands do not fit (the op's shape rule says why)."""
        if op is Op.EXTERN:  # its attribute is called so as well
            attrs, name = attrs | {"name": name}, None
        (value,) = self.add_many(op, *inputs, regions=regions, names=(name,), span=span, types=types, **attrs)
        return value

    def add_many(
        self,
        op: Op,
        *inputs: Value,
        regions: tuple[Block, ...] = (),
        names: tuple[str | None, ...] = (),
        span: Span | None = None,
        types: tuple[Type, ...] | None = None,
        **attrs: Any,
    ) -> tuple[Value, ...]:
        row = OPS[op]
        pairs: Attrs = tuple(sorted(attrs.items()))
        key = (op, tuple(v.id for v in inputs), pairs) if not regions and row.pure else None
        if key is not None and (known := self.find(key)) is not None:
            return known
        if types is None:
            types = row.rule(tuple(v.type for v in inputs), dict(attrs))
        outputs = tuple(Value(self.ids.fresh(), t, names[i] if i < len(names) else None) for i, t in enumerate(types))
        node = Node(op=op, inputs=inputs, outputs=outputs, attrs=pairs, regions=regions, span=span)
        self.nodes.append(node)
        for value in outputs:
            self._made[value.id] = node
        if key is not None:
            self._seen[key] = outputs
        return outputs

    def push(self, node: Node) -> tuple[Value, ...]:
        """Append a finished node as it is, or give the values of an equal pure one that is there already."""
        key = (node.op, tuple(v.id for v in node.inputs), node.attrs) if not node.regions and OPS[node.op].pure else None
        if key is not None and (known := self.find(key)) is not None:
            return tuple(self.name(v, new.name) if new.name else v for v, new in zip(known, node.outputs, strict=True))
        self.nodes.append(node)
        for value in node.outputs:
            self._made[value.id] = node
        if key is not None:
            self._seen[key] = node.outputs
        return node.outputs

    def name(self, value: Value, name: str) -> Value:
        """Give a value of this block the author's name for it; constants and parameters of blocks keep theirs."""
        node = self._made.get(value.id)
        if node is None or value.name == name or node.op is Op.CONST:
            return value
        named = Value(value.id, value.type, name)
        outputs = tuple(named if v.id == value.id else v for v in node.outputs)
        renamed = replace(node, outputs=outputs)
        for i in range(len(self.nodes) - 1, -1, -1):
            if self.nodes[i] is node:
                self.nodes[i] = renamed
                break
        for v in outputs:
            self._made[v.id] = renamed
        key = (node.op, tuple(v.id for v in node.inputs), node.attrs)
        if key in self._seen:
            self._seen[key] = outputs
        return named

    def block(self, *results: Value) -> Block:
        return Block(params=tuple(self.params), nodes=tuple(self.nodes), results=results)
