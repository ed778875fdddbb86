"""From a function of the IR to a graph: names, scopes, constants and weights.

An `Emitter` walks blocks and asks the table `spelling.ONNX` for each op. Regions become graphs inside a node and see the
names around them, as ONNX allows; every name is unique in the whole file. Calls of functions and networks are written out
where they stand, since a graph has one place for each weight and ONNX Runtime optimises across them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import onnx
from onnx import TensorProto, helper
from specc.backends.onnx.scopes import ELEMENT, Placed, Scope, Tap, common, described, in_layout, prune, tensor
from specc.backends.onnx.uses import Uses, skippable
from specc.backends.onnx.wire import Graph, Nested, Tensor

from specc.ir.ops import Op
from specc.ir.program import Block, Node, Program, Value
from specc.ir.types import BATCH, GROWING, DType, Shape, Type
from specc.record import record

LARGE = 1024  # bytes from which a constant lives in the outermost graph

# Ops on shared numbers that run in double precision, where ONNX Runtime has the kernels.
WIDE = {
    *(Op.CONST, Op.CAST, Op.NEG, Op.ABS, Op.EXP, Op.EXPM1, Op.LOG, Op.LOG1P, Op.SQRT, Op.SIN, Op.COS, Op.TANH, Op.SIGMOID),
    *(Op.ADD, Op.SUB, Op.MUL, Op.DIV, Op.FLOORDIV, Op.MOD, Op.POW, Op.MIN, Op.MAX, Op.WHERE, Op.FLOOR, Op.CEIL, Op.ROUND),
    *(Op.EQ, Op.NE, Op.LT, Op.LE, Op.LGAMMA, Op.ERFINV),
}


class UnsupportedError(Exception):
    """Something that cannot be written as ONNX, with the reason."""


@record
class Weight:
    """A parameter by its absolute path. It becomes an initializer when an op asks for its name."""

    path: str
    shape: tuple[int, ...]


@record
class Number:
    """A shared number in double precision: the name of its tensor, or the constant that it is.

    Schedules are arithmetic on a few shared numbers, which costs nothing in double and in float32 loses what samplers
    divide by. An op on tensors takes it as float32.
    """

    double: str = ""
    value: float = 0.0


@record
class Packed:
    """A tensor in several, which `read` writes the ops for that make one of them: see `caches`."""

    parts: tuple[str, ...]
    read: Callable[[Emitter], str]


Bound = str | Weight | Number | Packed
Spell = Callable[["Emitter", Node], "Bound | tuple[Bound, ...]"]


Observe = Callable[["Emitter", Node, str, dict[str, str]], None]  # a layer, its path, names of its operands and result
Trace = Callable[["Emitter", Node, list[str], tuple[str, ...]], None]  # node of a network's call, arguments, results
Watch = Callable[["Emitter", Sequence[Value]], None]  # what a loop of the entry carries, at the start of each round


class Layers(Protocol):
    """Writes what has weights in another format: see `quantize`. None where it stays as it is."""

    def layer(self, e: Emitter, node: Node, x: str, weight: Weight, bias: str | None) -> str | None:
        """The result of a linear map or convolution."""

    def embedding(self, e: Emitter, node: Node, weight: Weight) -> str | None:
        """The rows that an index takes of a table."""

    def product(self, e: Emitter, node: Node) -> str | None:
        """Attention, or the product of two activations."""


class Emitter:
    """Writes one entry of a program."""

    def __init__(
        self,
        program: Program,
        weights: Mapping[str, np.ndarray],
        rows: Mapping[Op, Spell],
        reasons: Mapping[Op, str],
        graph: str,
    ) -> None:
        self.program, self.weights, self.rows, self.reasons = program, weights, rows, reasons
        self.root = self.scope = Scope(Graph(graph), None)
        self.env: dict[int, Bound] = {}
        self.bundle = ""
        self.depth = 0  # networks around this place
        self.batch = ""  # int64 (1,): examples at this place, lanes included
        self.size = BATCH  # and what the types of values here call that number
        self.public: set[str] = set()  # names of inputs and outputs
        self.placed: dict[str, Placed] = {}
        self.layouts: dict[str, str] = {}  # parameter -> the layout in which it is stored
        self.plain = False  # for importers of MLIR: what they lack is written out
        self.told: frozenset[int] = frozenset()  # places of draws that are inputs which are always given
        self.noise: dict[str, tuple[str, int]] = {}  # explicit noise: input -> (name of "was it given", leading dimensions)
        self.calls: str | None = None  # network calls so far, when the number depends on the data
        self.layers: Layers | None = None
        self.observe: Observe | None = None
        self.trace: Trace | None = None
        self.watch: Watch | None = None
        self.uses = Uses(Block(params=(), nodes=(), results=()))
        self.paths: set[str] = set()  # parameters that the entry reads
        self.skipped: set[int] = set()
        self.turned: dict[int, str] = {}  # see `arrays.transpose`
        self.joined: dict[tuple[int, ...], str | Packed] = {}  # see `lanes`
        self.reshaped: dict[str, tuple[str, Shape]] = {}  # a reshaping -> what it is of
        self.domains: set[str] = set()  # of operators beside the standard ones
        self.wide = False  # whether the node at hand is arithmetic in double precision
        self._hint = ""
        self._counts: dict[str, int] = {}

    # Names, constants, nodes

    def fresh(self, hint: str) -> str:
        """A name that nothing else in the file has."""
        hint = re.sub(r"[^A-Za-z0-9_.]", "_", hint) or "v"
        n = self._counts.get(hint, 0)
        self._counts[hint] = n + 1
        return hint if n == 0 else self.fresh(f"{hint}_{n}")

    def reserve(self, *names: str) -> None:
        """Keep names for inputs and outputs of the file."""
        for name in names:
            self._counts.setdefault(name, 1)

    def op(self, kind: str, *inputs: str, domain: str = "", hint: str = "", outputs: int = 1, **attrs: Any) -> Any:
        """Append a node; the name of its output, or names where there are several."""
        names = tuple(self.fresh(hint or self._hint or kind.lower()) for _ in range(outputs))
        node = helper.make_node(kind, list(inputs), list(names), name="n." + names[0], domain=domain, **attrs)
        if domain:
            self.domains.add(domain)
        self.scope.graph.nodes.append(node)
        self.scope.made.update(names)
        return names[0] if outputs == 1 else names

    def const(self, value: Any, dtype: Any = None) -> str:
        """A constant, in this graph (small) or the outermost (large), once in each."""
        array = np.asarray(value, dtype)
        scope = self.root if array.nbytes >= LARGE else self.scope
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in scope.constants:
            name = scope.constants[key] = self.fresh("c")
            scope.graph.tensors.append(tensor(name, array))
        return scope.constants[key]

    def ints(self, *values: int) -> str:
        return self.const(np.array(values, np.int64))

    def name(self, value: Value) -> str:
        """The name of a value, which for a parameter is that of its initializer."""
        return self.named(self.env[value.id])

    def tensors(self, value: Value) -> str | Packed:
        """A value as it is kept: the name of a tensor, or of several."""
        bound = self.env[value.id]
        return bound if isinstance(bound, Packed) else self.named(bound)

    def named(self, bound: Bound) -> str:
        match bound:
            case Weight():
                return self.weight(bound)
            case Number():
                return self._single(bound)
            case Packed():
                return bound.read(self)
            case _:
                return bound

    def _single(self, number: Number) -> str:
        if not number.double:
            return self.const(np.float32(number.value))
        if number.double not in self.scope.singles:
            self.scope.singles[number.double] = self.op("Cast", number.double, to=TensorProto.FLOAT)
        return self.scope.singles[number.double]

    def double(self, value: Value) -> str:
        """The name of a value in double precision."""
        bound = self.env[value.id]
        if isinstance(bound, Number):
            return bound.double or self.const(np.float64(bound.value))
        return self.op("Cast", self.named(bound), to=TensorProto.DOUBLE)

    def names(self, node: Node, dtype: DType | None = None) -> list[str]:
        """The names of a node's operands, as numbers of one kind."""
        return [self.number(v, dtype or v.type.dtype) for v in node.inputs]

    def number(self, value: Value, dtype: DType) -> str:
        """The name of an operand as a number of a kind, as wide as the node at hand wants it."""
        if self.wide and dtype is DType.FLOAT:
            return self.double(value)
        return self.cast(self.name(value), value.type.dtype, dtype)

    def cast(self, name: str, have: DType, want: DType) -> str:
        return name if have is want else self.op("Cast", name, to=ELEMENT[want])

    def dims(self, shape: Shape, *, infer: bool = False) -> str:
        """A shape as int64 vector; the batch is -1 when it can be inferred, else counted at run time. What grows has no place
        yet, since this is the shape of a constant."""
        shape = tuple(0 if d == GROWING else d for d in shape)
        if BATCH not in shape or (infer and shape.count(BATCH) == 1):
            return self.ints(*(-1 if d == BATCH else int(d) for d in shape))
        return self.op("Concat", *(self.batch if d == BATCH else self.ints(int(d)) for d in shape), axis=0, hint="shape")

    def count(self) -> str:
        """The number of examples as a scalar."""
        return self.op("Squeeze", self.batch, self.ints(0))

    # Weights

    def weight(self, weight: Weight, layout: str = "", *, local: bool = False) -> str:
        """The name of a parameter's initializer. `layout` "T" asks for the transpose, which is then how it is stored."""
        path = weight.path
        name = f"{path}.value" if path in self.public else path
        stored = self.layouts.setdefault(path, layout)
        if name not in self.placed:
            if path not in self.weights:
                raise KeyError(f"there is no weight {path}")
            array = self.weights[path]
            if tuple(array.shape) != tuple(weight.shape):
                raise ValueError(f"the weight {path} has shape {tuple(array.shape)}; the program needs {tuple(weight.shape)}")
            shape = tuple(array.shape[::-1] if stored == "T" else array.shape)
            self.place(name, Tensor(name, TensorProto.FLOAT, shape, 4 * array.size, lambda: in_layout(array, stored)))
        self.use(name, local=local)
        return name if stored == layout else self.op("Transpose", name, perm=[1, 0], hint=name)

    def place(self, name: str, tensor: Tensor) -> None:
        """Announce an initializer whose graph is chosen at the end, from its uses."""
        self.reserve(name)
        self.placed[name] = Placed(tensor)

    def use(self, name: str, *, local: bool) -> str:
        placed = self.placed[name]
        placed.scopes.append(self.scope)
        placed.local |= local
        return name

    def settle(self) -> None:
        """Put every weight in one graph: the innermost around its uses when an op asked for that, else the outermost."""
        for placed in self.placed.values():
            scope = common(placed.scopes) if placed.local else self.root
            scope.graph.tensors.append(placed.tensor)
        prune(self.root.graph)
        for placed in self.placed.values():
            scope = common(placed.scopes) if placed.local else self.root
            placed.kept = any(t is placed.tensor for t in scope.graph.tensors)

    # Blocks

    def site(self, node: Node) -> str:
        """The path of a product of two activations."""
        return f"{self.bundle}.{self.uses.sites[node.out.id]}"

    def function(self, block: Block) -> None:
        """Write the body of a function whose parameters are bound."""
        outer, self.uses = self.uses, Uses(block)
        self.skipped |= skippable(self.uses)
        self.block(block)
        self.uses = outer

    def block(self, block: Block) -> None:
        """Write the nodes of a function or region whose parameters are bound."""
        for node in block.nodes:
            self.node(node)

    def node(self, node: Node) -> None:
        named = node.outputs[0].name if node.outputs else None
        self._hint = ".".join(filter(None, (self.bundle, named or node.op.value)))
        if node.op is Op.EXPAND and node.out.id in self.skipped:
            self.env[node.out.id] = self.env[node.inputs[0].id]
            return
        row = self.rows.get(node.op)
        if row is None:
            what = f"{node.op.value} {node.get('name', '')}".strip()
            raise UnsupportedError(f"{what} has no ONNX form: {self.reasons[node.op]}")
        self.wide = wide = in_double(node)
        result = row(self, node)
        if wide and isinstance(result, str) and node.out.type.dtype is DType.FLOAT:
            result = Number(double=result)
        results = result if isinstance(result, tuple) else (result,)
        self.wide = False
        self.env.update({v.id: r for v, r in zip(node.outputs, results, strict=True)})
        self._hint = ""

    def bind(self, values: tuple[Value, ...], names: list[str] | tuple[str, ...]) -> None:
        self.env.update({v.id: n for v, n in zip(values, names, strict=True)})

    @contextmanager
    def nested(self, name: str) -> Iterator[Scope]:
        """A graph inside a node of this one."""
        outer, hint = self.scope, self._hint
        self.scope = Scope(Graph(self.fresh(name)), outer)
        yield self.scope
        self.scope, self._hint = outer, hint

    @contextmanager
    def outermost(self) -> Iterator[None]:
        """Nodes of the outermost graph, written while inside another: they run before it."""
        inner, hint = self.scope, self._hint
        self.scope, self._hint = self.root, ""
        yield
        self.scope, self._hint = inner, hint

    def outside(self, name: str) -> bool:
        """Whether a value is there in the outermost graph."""
        return name in self.root.made or any(i.name == name for i in self.root.graph.inputs)

    def result(self, name: str, type: Type, hint: str) -> str:
        """Make a value the next output of this graph."""
        return self.returned(name, type.shape, ELEMENT[type.dtype], hint)

    def returned(self, name: str, shape: Shape, element: int, hint: str) -> str:
        """Make a tensor the next output of this graph, under a name of its own if it is not made here."""
        taken = {o.name for o in self.scope.graph.outputs}
        if name not in self.scope.made or name in taken:
            name = self.op("Identity", name, hint=hint)
        self.scope.graph.outputs.append(self.info(name, shape, element))
        return name

    def info(self, name: str, shape: Shape, element: int) -> onnx.ValueInfoProto:
        """What a graph inside says of a value: where the number of examples is another one, it has another name."""
        return described(name, tuple(self.size if d == BATCH else d for d in shape), element)

    @contextmanager
    def among(self, batch: str) -> Iterator[None]:
        """Nodes about so many examples."""
        outer = self.batch, self.size
        self.batch, self.size = batch, batch
        yield
        self.batch, self.size = outer

    def control(self, kind: str, inputs: list[str], outputs: list[str], **graphs: Graph) -> None:
        """Append a node with graphs inside."""
        head = helper.make_node(kind, inputs, outputs, name="n." + outputs[0])
        self.scope.graph.nodes.append(Nested(head, graphs))
        self.scope.made.update(outputs)

    def tap(self, key: str, name: str, type: Type) -> None:
        self.scope.taps.append(Tap(key, name, type))


def in_double(node: Node) -> bool:
    """Whether a node is arithmetic on shared numbers."""
    return node.op in WIDE and not node.out.type.shape and not any(v.type.shape for v in node.inputs)
