"""Copies a function's nodes into another block: calls inlined, parameter paths made relative to where they land."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from specc.ir.ops import Op
from specc.ir.program import Block, Builder, Function, Ids, Node, Value
from specc.ir.rewrite import Subst
from specc.ir.types import size
from specc.ir.verify import IRError

Inside = Callable[[Node], bool]
Gradient = Callable[[Builder, Value, tuple[Value, ...]], tuple[Value, ...]]


def join(bundle: str, path: str) -> str:
    return f"{bundle}.{path}" if bundle and path else bundle or path


def turns(node: Node) -> range:
    """The bundles that a REPEAT goes through, in order; from the last one when it says `reverse`."""
    count = node["count"]
    return range(count - 1, -1, -1) if node.get("reverse", False) else range(count)


def never(node: Node) -> bool:
    return False


class Splicer:
    """Appends copies of blocks to builders.

    inside: which calls are replaced by what they call. gradient: when given, writes GRAD nodes out. Equal pure nodes are
    shared, and a value keeps the name of the first.
    """

    def __init__(
        self, functions: Mapping[str, Function], ids: Ids, inside: Inside = never, gradient: Gradient | None = None
    ) -> None:
        self.functions = functions
        self.ids = ids
        self.inside = inside
        self.gradient = gradient

    def rewritten(self, block: Block) -> Block:
        """The block of a function with its own values, calls inlined."""
        return self.region(Builder(self.ids), block, {}, "", fresh=False)

    def insert(self, builder: Builder, block: Block, arguments: tuple[Value, ...], bundle: str = "") -> tuple[Value, ...]:
        """Append a fresh copy of a block with arguments for its parameters; gives its results."""
        for p, a in zip(block.params, arguments, strict=True):
            if p.type != a.type:
                raise IRError(f"{a!r} is {a.type}, and the function inlined takes {p.type}")
        subst = {p.id: a for p, a in zip(block.params, arguments, strict=True)}
        self.body(builder, block, subst, bundle, fresh=True)
        return tuple(subst.get(v.id, v) for v in block.results)

    def call(self, builder: Builder, node: Node, inputs: tuple[Value, ...], bundle: str = "") -> tuple[Value, ...]:
        """Append what a CALL or REPEAT node calls; gives the values of its results."""
        block = self.functions[node["function"]].block
        if node.op is Op.REPEAT:
            return self.repeated(builder, node, inputs, bundle)
        below = "" if node.get("bundle") is None else join(bundle, node["bundle"])
        n = len(block.params)
        lanes = (inputs[lane * n : lane * n + n] for lane in range(node.get("lanes", 1)))
        return tuple(value for lane in lanes for value in self.insert(builder, block, lane, below))

    def repeated(self, builder: Builder, node: Node, inputs: tuple[Value, ...], bundle: str) -> tuple[Value, ...]:
        """Append the turns of a REPEAT, one after another; each has its part of what is cut."""
        block, carried, cut = self.functions[node["function"]].block, node["carried"], node.get("cut", ())
        state, rest, whole = inputs[:carried], inputs[carried : len(inputs) - len(cut)], inputs[len(inputs) - len(cut) :]
        kept: list[tuple[Value, ...]] = []
        for k, i in enumerate(turns(node)):
            own = []
            for value, axis in zip(whole, cut, strict=True):
                n = size((value.type.shape[axis],)) // node["count"]
                own.append(builder.add(Op.SLICE, value, axis=axis, start=k * n, stop=k * n + n, step=1))
            results = self.insert(builder, block, (*state, *rest, *own), join(bundle, f"{node['bundle']}.{i}"))
            state = results[:carried]
            kept.append(results[carried:])
        together = (builder.add(Op.CONCAT, *parts, axis=axis) for parts, axis in zip(zip(*kept, strict=True), cut, strict=True))
        return (*state, *(together if cut else ()))

    def region(self, builder: Builder, block: Block, subst: Subst, bundle: str, fresh: bool) -> Block:
        """The block rebuilt in a builder. subst: what stands for values of the original; new ones are added to it."""
        for p in block.params:
            value = Value(self.ids.fresh(), p.type, p.name) if fresh else p
            builder.params.append(value)
            subst[p.id] = value
        self.body(builder, block, subst, bundle, fresh)
        return builder.block(*(subst.get(v.id, v) for v in block.results))

    def body(self, builder: Builder, block: Block, subst: Subst, bundle: str, fresh: bool) -> None:
        for node in block.nodes:
            inputs = tuple(subst.get(v.id, v) for v in node.inputs)
            if node.op in (Op.CALL, Op.REPEAT) and self.inside(node):
                results = named(builder, self.call(builder, node, inputs, bundle), node)
            elif node.op is Op.GRAD and self.gradient is not None:
                results = named(builder, self.gradient(builder, inputs[0], inputs[1:]), node)
            else:
                results = builder.push(self.node(builder, node, inputs, subst, bundle, fresh))
            subst.update({old.id: new for old, new in zip(node.outputs, results, strict=True)})

    def node(self, builder: Builder, node: Node, inputs: tuple[Value, ...], subst: Subst, bundle: str, fresh: bool) -> Node:
        regions = tuple(self.region(builder.child(), r, subst, bundle, fresh) for r in node.regions)
        outputs = tuple(Value(self.ids.fresh(), v.type, v.name) for v in node.outputs) if fresh else node.outputs
        attrs = node.attrs
        if node.op is Op.PARAM:
            attrs = tuple((k, join(bundle, v) if k == "path" else v) for k, v in attrs)
        elif node.op in (Op.CALL, Op.REPEAT) and node.get("bundle") is not None:
            attrs = tuple((k, join(bundle, v) if k == "bundle" else v) for k, v in attrs)
        return replace(node, inputs=inputs, outputs=outputs, attrs=attrs, regions=regions)


def named(builder: Builder, values: tuple[Value, ...], node: Node) -> tuple[Value, ...]:
    """The values with the author's names for a node's results, where they have none of their own."""
    return tuple(builder.name(v, old.name) if old.name else v for v, old in zip(values, node.outputs, strict=True))
