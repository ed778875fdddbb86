"""Inverses of functions, derived from their nodes.

What is known spreads until the argument is reached: from the result and the other inputs forwards, through every node whose
operands are known, and backwards, through every node whose result is known and of whose operands one is not. The halves of a
coupling are found so: the half that passes unchanged is read off the result, the network runs on it, and what it says undoes
the other half.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from specc.ir.calc import Calc
from specc.ir.liveness import live
from specc.ir.ops import Op
from specc.ir.program import Block, Builder, Function, Ids, Node, Value, walk
from specc.ir.rewrite import copy_node, reads
from specc.ir.splice import Splicer
from specc.record import record

# x from y = op(x)
UNARY: dict[Op, Callable[[Calc, Value], Value]] = {
    Op.NEG: lambda c, y: c.neg(y),
    Op.EXP: lambda c, y: c.op(Op.LOG, y),
    Op.LOG: lambda c, y: c.op(Op.EXP, y),
    Op.EXPM1: lambda c, y: c.op(Op.LOG1P, y),
    Op.LOG1P: lambda c, y: c.op(Op.EXPM1, y),
    Op.ATAN: lambda c, y: c.op(Op.TAN, y),
    Op.TANH: lambda c, y: c.scale(0.5, c.sub(c.op(Op.LOG1P, y), c.op(Op.LOG1P, c.neg(y)))),
    Op.SIGMOID: lambda c, y: c.sub(c.op(Op.LOG, y), c.op(Op.LOG1P, c.neg(y))),
    Op.SOFTPLUS: lambda c, y: c.add(y, c.op(Op.LOG, c.neg(c.op(Op.EXPM1, c.neg(y))))),
    Op.ERF: lambda c, y: c.op(Op.ERFINV, y),
    Op.ERFINV: lambda c, y: c.op(Op.ERF, y),
    Op.SQRT: lambda c, y: c.square(y),
}

# The operand that is not known, from the one that is and the result; first where it stands on the left, then on the right
BINARY: dict[Op, tuple[Callable[[Calc, Value, Value], Value], Callable[[Calc, Value, Value], Value]]] = {
    Op.ADD: (lambda c, y, b: c.sub(y, b), lambda c, y, a: c.sub(y, a)),
    Op.SUB: (lambda c, y, b: c.add(y, b), lambda c, y, a: c.sub(a, y)),
    Op.MUL: (lambda c, y, b: c.div(y, b), lambda c, y, a: c.div(y, a)),
    Op.DIV: (lambda c, y, b: c.mul(y, b), lambda c, y, a: c.div(a, y)),
}


@record
class Inverse:
    """A function that gives the first argument back from the first result and some of the other arguments, by their places."""

    function: Function
    others: tuple[int, ...]


Opposite = Callable[[str], Inverse | None]  # that of a network, by its name; None when it has none


class NoInverse(Exception):
    """The argument cannot be reached from the result. `node`: the one where the way back ends, if any is to blame."""

    def __init__(self, node: Node | None) -> None:
        super().__init__("no inverse can be derived")
        self.node = node


@dataclass(slots=True)
class _Search:
    """One derivation: what is known, by the number of the value in the original."""

    builder: Builder
    opposite: Opposite
    known: dict[int, Value] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)  # nodes that have given all they can, by their first result

    def learn(self, value: Value, made: Value) -> None:
        if value.id not in self.known:
            self.known[value.id] = self.builder.name(made, value.name) if value.name else made

    def forwards(self, node: Node) -> bool:
        """Run a node whose operands are known."""
        if node.outputs[0].id in self.done or not all(v.id in self.known for v in reads(node)):
            return False
        self.done.add(node.outputs[0].id)
        subst = dict(self.known)
        made = self.builder.push(copy_node(node, subst, self.builder.ids))
        for value, new in zip(node.outputs, made, strict=True):
            self.learn(value, new)
        return True

    def backwards(self, node: Node) -> bool:
        """Undo a node whose (first) result is known."""
        missing = [i for i, v in enumerate(node.inputs) if v.id not in self.known]
        if node.outputs[0].id not in self.known or not missing:
            return False
        found = self.undone(node, missing, self.known[node.outputs[0].id])
        for i, made in found.items():
            self.learn(node.inputs[i], made)
        return bool(found)

    def undone(self, node: Node, missing: list[int], y: Value) -> dict[int, Value]:
        """The operands that follow from the result, by their place."""
        c, (i, *more) = Calc(self.builder), missing
        x = node.inputs[i]
        if node.op is Op.CONCAT:
            ends = [0]
            for v in node.inputs:
                size = v.type.shape[node["axis"] % x.type.rank]
                assert isinstance(size, int)
                ends.append(ends[-1] + size)
            return {k: c.slice(y, node["axis"] % x.type.rank, ends[k], ends[k + 1]) for k in missing}
        if node.op in (Op.CALL, Op.REPEAT) and i == 0 and node.get("lanes", 1) == 1:
            return self.undone_call(node, y)
        if more:
            return {}
        match node.op:
            case op if op in UNARY:
                return {0: UNARY[op](c, y)}
            case op if op in BINARY and x.type == y.type:
                other = self.known[node.inputs[1 - i].id]
                return {i: BINARY[op][i](c, y, other)}
            case Op.RESHAPE:
                return {0: c.reshape(y, x.type.shape)}
            case Op.TRANSPOSE:
                perm = node["perm"]
                return {0: c.op(Op.TRANSPOSE, y, perm=tuple(perm.index(k) for k in range(len(perm))))}
            case Op.FLIP:
                return {0: c.op(Op.FLIP, y, axis=node["axis"])}
            case Op.EXPAND:
                for axis, size in enumerate(x.type.shape):
                    y = c.slice(y, axis, 0, 1) if size == 1 else y
                return {0: y}
            case _:
                return {}

    def undone_call(self, node: Node, y: Value) -> dict[int, Value]:
        """A call of a network that has an inverse of its own; a repeated one goes through its turns from the last."""
        made = self.opposite(node["function"])
        if made is None or any(node.inputs[k].id not in self.known for k in made.others):
            return {}
        rest = [self.known[node.inputs[k].id] for k in made.others]
        attrs = dict(node.attrs) | {"function": made.function.name, "types": tuple(v.type for v in made.function.block.results)}
        if node.op is Op.REPEAT:
            if any(k < node["carried"] for k in made.others):
                return {}  # what the turns before have made of it is not known
            attrs |= {"reverse": not node.get("reverse", False), "carried": 1}
        return {0: self.builder.add_many(node.op, y, *rest, span=node.span, **attrs)[0]}

    def reach(self, nodes: Sequence[Node], x: Value) -> None:
        """Go forwards and backwards through nodes until x is known or nothing more is found."""
        pieces: dict[int, list[Node]] = {}
        for node in nodes:
            if node.op is Op.SLICE:
                pieces.setdefault(node.inputs[0].id, []).append(node)
        moved = True
        while moved and x.id not in self.known:
            moved = any([self.forwards(n) for n in nodes])
            moved |= any([self.backwards(n) for n in reversed(nodes)])
            for parts in pieces.values():
                seen = [n for n in parts if n.out.id in self.known]
                value = parts[0].inputs[0]
                moved |= bool(seen) and value.id not in self.known and self.joined(value, seen)

    def joined(self, value: Value, slices: Sequence[Node]) -> bool:
        """A value whose slices are all known, put together again."""
        size, at = value.type.shape[slices[0]["axis"]], 0
        parts: list[Value] = []
        for node in sorted(slices, key=lambda n: n["start"]):
            if node["axis"] == slices[0]["axis"] and node["start"] == at and node.get("step", 1) == 1:
                parts.append(self.known[node.out.id])
                at = node["stop"]
        if at != size:
            return False
        self.learn(value, self.builder.add(Op.CONCAT, *parts, axis=slices[0]["axis"]))
        return True


def undo(builder: Builder, nodes: Sequence[Node], x: Value, y: Value, given: Value) -> Value | None:
    """x where nodes make y of it and y is `given`; what they read beside x is known. Appended to the builder."""
    search = _Search(builder, lambda _: None)
    made = {v.id for n in nodes for v in n.outputs}
    search.known.update({v.id: v for n in nodes for v in reads(n) if v.id not in made and v.id != x.id})
    search.known[y.id] = given
    search.reach(nodes, x)
    return search.known.get(x.id)


def inverse(function: Function, functions: Mapping[str, Function], ids: Ids, opposite: Opposite) -> Inverse:
    """The inverse of a function in its first argument, over the same bundle; NoInverse where the nodes do not show it."""
    plain = Splicer(functions, ids, inside=lambda n: n.op is Op.CALL and n["bundle"] is None)
    block = plain.rewritten(function.block)
    (x, *rest), y = block.params, block.results[0]
    builder = Builder(ids)
    search = _Search(builder, opposite)
    search.known[y.id] = builder.param(y.type, "z")
    search.known.update((v.id, builder.param(v.type, v.name)) for v in rest)
    search.reach(block.nodes, x)
    if x.id not in search.known:
        raise NoInverse(_stuck(block, search.known))
    made = live(builder.block(search.known[x.id]))
    read = {v.id for node in walk(made) for v in node.inputs} | {made.results[0].id}
    others = tuple(k for k, p in enumerate(made.params) if k and p.id in read)
    made = replace(made, params=(made.params[0], *(made.params[k] for k in others)))
    return Inverse(replace(function, block=made, doc=f"the inverse of {function.name}"), others)


def _stuck(block: Block, known: Mapping[int, Value]) -> Node | None:
    """The last node whose result is known and not all its operands."""
    return next(
        (n for n in reversed(block.nodes) if n.outputs[0].id in known and any(v.id not in known for v in n.inputs)), None
    )
