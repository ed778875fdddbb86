"""The two modes of differentiation over the nodes of a builder. What they are for stands in `specc.ir.derivatives`.

The rules are the columns `PARTIALS` (elementwise ops), `LINEAR` (transposes) and `DECOMPOSITIONS` (the same value in
simpler ops). Calls are followed into copies of what they call, whose PARAM paths lead on from the caller's. A cotangent or
tangent stands for its broadcast to the whole type of the value.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from specc.ir.calc import Calc
from specc.ir.decompositions import DECOMPOSITIONS
from specc.ir.ops import Op
from specc.ir.partials import PARTIALS
from specc.ir.program import Block, Builder, Function, Node, Value
from specc.ir.rewrite import reads
from specc.ir.splice import Splicer
from specc.ir.transposes import LINEAR
from specc.ir.types import DType

UNROLL = 256  # rounds of a loop that reverse mode writes out

# Ops whose results do not change with a small change of the operands, or that stop derivatives.
ZERO = {
    *(Op.CONST, Op.PARAM, Op.IOTA, Op.SIGN, Op.FLOOR, Op.CEIL, Op.ROUND, Op.NOT, Op.FLOORDIV),
    *(Op.EQ, Op.NE, Op.LT, Op.LE, Op.AND, Op.OR, Op.ARGMAX, Op.NORMAL, Op.UNIFORM, Op.STOP, Op.BATCH_SIZE, Op.BATCH_INDEX),
}
REFUSED = {
    Op.SORT: "the order of a sort is not among the values of the IR",
    Op.WHILE: "the number of rounds of a `while` is not known before it runs",
    Op.EXTERN: "a function of the host's has no equations",
    Op.GRAD: "an inner gradient must be written out first (`expand_grad`)",
}
CONTROL = {Op.FOR, Op.IF, Op.PARTS, Op.CALL, Op.REPEAT}  # rules of their own, below

Functions = Mapping[str, Function]
Made = Callable[[Value], Node | None]
Tangents = dict[int, Value]
CallRule = Callable[[Builder, Node, Tangents], "Sequence[Value | None] | None"]


class Engine:
    """The two modes over the nodes of a builder. `call_rule` may give the tangents of a call without entering it; `crossed` are
    values of STOP that depend on what they are made from all the same."""

    def __init__(self, functions: Functions, call_rule: CallRule | None = None, crossed: Collection[int] = ()) -> None:
        self.functions = functions
        self.call_rule = call_rule
        self.crossed = crossed

    def gradient(self, b: Builder, e: Value, wrt: Sequence[Value]) -> tuple[Value | None, ...]:
        c = Calc(b)
        found = self.pull(b, [(e, c.number(1))], wrt, stop=False)
        return tuple(None if v.id not in found else c.full(found[v.id], v) for v in wrt)

    def whole_gradient(self, b: Builder, e: Value, wrt: tuple[Value, ...]) -> tuple[Value, ...]:
        """As `gradient`, with zeros written out."""
        c, found = Calc(b), self.gradient(b, e, wrt)
        return tuple(c.full(c.number(0), v) if g is None else g for v, g in zip(wrt, found, strict=True))

    def splicer(self, b: Builder) -> Splicer:
        return Splicer(self.functions, b.ids, gradient=self.whole_gradient)

    def section(self, made: Made, outputs: Sequence[Value], leaves: set[int], stop: bool) -> tuple[list[Node], set[int]]:
        """The nodes between leaves and outputs in order, and the numbers of the values that depend on a leaf.

        made: the node that gives a value. stop: what a leaf is made from does not count.
        """
        active, done, order = set(leaves), set[int](), list[Node]()
        waiting: list[tuple[Node, bool]] = []

        def visit(value: Value) -> None:
            node = None if stop and value.id in leaves else made(value)
            if node is not None and node.outputs[0].id not in done:
                waiting.append((node, False))

        def passes(node: Node) -> bool:
            return node.op not in ZERO or node.outputs[0].id in self.crossed

        for value in outputs:
            visit(value)
        while waiting:
            node, ready = waiting.pop()
            key = node.outputs[0].id
            if ready:
                if passes(node) and any(v.id in active for v in reads(node)):
                    active.update(v.id for v in node.outputs if v.type.dtype is DType.FLOAT)
                    order.append(node)
            elif key not in done:
                done.add(key)
                waiting.append((node, True))
                if passes(node):
                    for value in reads(node):
                        visit(value)
        return order, active

    # Reverse

    def pull(
        self, b: Builder, outputs: Sequence[tuple[Value, Value | None]], wrt: Sequence[Value], stop: bool
    ) -> dict[int, Value]:
        """Cotangents of the values that need one, by number, from those of the outputs."""
        order, active = self.section(b.made_by, [v for v, _ in outputs], {v.id for v in wrt}, stop)
        c, found = Calc(b), dict[int, Value]()

        def gather(value: Value, g: Value | None) -> None:
            if g is not None and value.id in active:
                found[value.id] = c.add(found[value.id], g) if value.id in found else g

        for value, g in outputs:
            gather(value, g)
        for node in reversed(order):
            gs = [found.get(v.id) for v in node.outputs]
            if any(g is not None for g in gs):
                for value, g in self.transposed(b, node, gs, active):
                    gather(value, g)
        return found

    def transposed(
        self, b: Builder, node: Node, gs: Sequence[Value | None], active: set[int]
    ) -> list[tuple[Value, Value | None]]:
        """Cotangents of what a node reads, from those of its results."""
        c = Calc(b)
        if node.op in PARTIALS:
            (g,), pairs = gs, zip(PARTIALS[node.op], node.inputs, strict=True)
            slopes = [(partial, v) for partial, v in pairs if partial is not None and v.id in active]
            assert g is not None
            return [(v, c.reduced(partial(c, g, node), node.out, v.type)) for partial, v in slopes]
        if node.op in LINEAR:
            rule, g = LINEAR[node.op], gs[0]
            assert g is not None
            g = c.full(g, node.out)
            wanted = [(i, v) for i, v in enumerate(node.inputs) if v.id in active and i in (rule.operands or (i,))]
            parts = [(v, rule.transpose(c, node, i, g)) for i, v in wanted]
            return [(v, c.reduced(part, part, v.type)) for v, part in parts]
        leaves = tuple({v.id: v for v in reads(node)}.values())
        self.repeatable(node)
        if node.op is Op.IF:
            return self.branch_transposed(b, node, gs, [v for v in leaves if v.id in active])
        if node.op is Op.PARTS:
            return self.parts_transposed(b, node, gs, [v for v in leaves if v.id in active])
        results = self.written_out(b, node)
        found = self.pull(b, list(zip(results, gs, strict=True)), leaves, stop=True)
        return [(v, found.get(v.id)) for v in leaves]

    def written_out(self, b: Builder, node: Node) -> tuple[Value, ...]:
        """The results of a composite op, call or counted loop in simpler nodes."""
        if node.op in DECOMPOSITIONS:
            return (DECOMPOSITIONS[node.op](Calc(b), node),)
        match node.op:
            case Op.CALL | Op.REPEAT:
                return self.splicer(b).call(b, node, node.inputs)
            case Op.FOR:
                return self.unrolled(b, node)
            case _:
                why = REFUSED.get(node.op, "it is not in the tables of derivatives")
                raise ValueError(f"{node.op.value} has no derivative: {why}")

    def repeatable(self, node: Node) -> None:
        """Refuse what is not the same when it is computed again: derivatives go through copies of calls and regions."""
        waiting = [node]
        while waiting:
            here = waiting.pop()
            if here.op in (Op.NORMAL, Op.UNIFORM) and not here.get("keyed", True):
                raise ValueError(f"{node.op.value} has no derivative: it draws fresh random numbers inside")
            waiting += [n for region in here.regions for n in region.nodes]
            if here.op in (Op.CALL, Op.REPEAT):
                waiting += self.functions[here["function"]].block.nodes

    def unrolled(self, b: Builder, node: Node) -> tuple[Value, ...]:
        count = Calc(b).constant(node.inputs[0])
        if count is None or count > UNROLL:
            raise ValueError(f"a gradient goes back through loops of a fixed number of rounds, at most {UNROLL}")
        carried = node.inputs[1:]
        for k in range(int(count)):
            index = b.add(Op.CONST, value=k, shape=(), dtype="int")
            carried = self.splicer(b).insert(b, node.regions[0], (index, *carried))
        return carried

    def branch_transposed(
        self, b: Builder, node: Node, gs: Sequence[Value | None], leaves: Sequence[Value]
    ) -> list[tuple[Value, Value | None]]:
        regions: list[Block] = []
        for region in node.regions:
            inside = b.child()
            results = self.splicer(inside).insert(inside, region, ())
            found = self.pull(inside, list(zip(results, gs, strict=True)), leaves, stop=True)
            c = Calc(inside)
            regions.append(inside.block(*(c.full(found.get(v.id) or c.number(0), v) for v in leaves)))
        types = tuple(v.type for v in leaves)
        return list(zip(leaves, b.add_many(Op.IF, node.inputs[0], regions=tuple(regions), types=types), strict=True))

    def parts_transposed(
        self, b: Builder, node: Node, gs: Sequence[Value | None], leaves: Sequence[Value]
    ) -> list[tuple[Value, Value | None]]:
        """The same parts of cotangents. What regions capture is shared: each part's sum goes out in equal shares of its
        examples, since what parts give varies by example."""
        c, known = Calc(b), [(i, c_g) for i, c_g in enumerate(gs) if c_g is not None]
        places = [next((i for i, v in enumerate(node.inputs) if v.id == leaf.id), None) for leaf in leaves]
        regions: list[Block] = []
        for region in node.regions:
            inside = b.child()
            params = [inside.param(p.type, p.name) for p in region.params]
            given = [inside.param(node.outputs[i].type) for i, _ in known]
            results = self.splicer(inside).insert(inside, region, tuple(params))
            inner = [leaf if at is None else params[at] for leaf, at in zip(leaves, places, strict=True)]
            outputs = [(results[i], g) for (i, _), g in zip(known, given, strict=True)]
            found, d = self.pull(inside, outputs, inner, stop=True), Calc(inside)
            parts = [d.full(found.get(v.id) or d.number(0), v) for v in inner]
            regions.append(
                inside.block(*(d.shares(p, params[0]) if at is None else p for p, at in zip(parts, places, strict=True)))
            )
        types = tuple(v.type for v in regions[0].results)
        args = (*node.inputs, *(c.full(g, node.outputs[i]) for i, g in known))
        made = b.add_many(Op.PARTS, *args, regions=tuple(regions), types=types, share=node["share"])
        return [(leaf, c.reduced(g, g, leaf.type)) for leaf, g in zip(leaves, made, strict=True)]

    # Forward

    def push(self, b: Builder, outputs: Sequence[Value], tangents: Tangents) -> Tangents:
        """Tangents by number of value, those given among them."""
        order, _ = self.section(b.made_by, outputs, set(tangents), stop=True)
        found = dict(tangents)
        for node in order:
            for value, t in zip(node.outputs, self.moved(b, node, found), strict=True):
                if t is not None:
                    found[value.id] = t
        return found

    def moved(self, b: Builder, node: Node, tangents: Tangents) -> Sequence[Value | None]:
        """Tangents of a node's results, from those of what it reads."""
        c = Calc(b)
        if node.op in PARTIALS:
            pairs = zip(PARTIALS[node.op], node.inputs, strict=True)
            parts = [p(c, tangents[v.id], node) for p, v in pairs if p is not None and v.id in tangents]
            return (_total(c, parts),)
        if node.op in LINEAR:
            return (self.linear_moved(c, node, tangents),)
        if self.call_rule is not None and node.op is Op.CALL and (by_rule := self.call_rule(b, node, tangents)) is not None:
            return by_rule
        self.repeatable(node)
        if node.op is Op.IF:
            return self.branch_moved(b, node, tangents)
        if node.op is Op.FOR:
            return self.loop_moved(b, node, tangents)
        if node.op is Op.PARTS:
            return self.parts_moved(b, node, tangents)
        results = self.written_out(b, node)
        found = self.push(b, results, {v.id: tangents[v.id] for v in reads(node) if v.id in tangents})
        return [found.get(v.id) for v in results]

    def linear_moved(self, c: Calc, node: Node, tangents: Tangents) -> Value | None:
        rule, attrs = LINEAR[node.op], dict(node.attrs)
        full = {v.id: c.full(tangents[v.id], v) for v in node.inputs if v.id in tangents}
        if not rule.operands:  # linear in all of them together
            inputs = [full.get(v.id) or c.full(c.number(0), v) for v in node.inputs]
            return c.op(node.op, *inputs, **attrs)
        if node.op is Op.PAD:
            attrs["value"] = 0.0
        parts = []
        for i, v in enumerate(node.inputs):
            if v.id not in full or i not in rule.operands:
                continue
            if i == rule.offset:
                spatial = node.inputs[1].type.rank - 2
                parts.append(c.reshape(full[v.id], (*v.type.shape, *(1,) * spatial)))
            else:
                inputs = [full[v.id] if j == i else w for j, w in enumerate(node.inputs) if j != rule.offset]
                parts.append(c.op(node.op, *inputs, **attrs))
        return _total(c, parts)

    def branch_moved(self, b: Builder, node: Node, tangents: Tangents) -> Sequence[Value | None]:
        moving = [i for i, v in enumerate(node.outputs) if v.type.dtype is DType.FLOAT]
        regions: list[Block] = []
        for region in node.regions:
            inside = b.child()
            results = self.splicer(inside).insert(inside, region, ())
            found, c = self.push(inside, results, tangents), Calc(inside)
            regions.append(inside.block(*(c.full(found.get(results[i].id) or c.number(0), results[i]) for i in moving)))
        types = tuple(node.outputs[i].type for i in moving)
        made = b.add_many(Op.IF, node.inputs[0], regions=tuple(regions), types=types)
        return [made[moving.index(i)] if i in moving else None for i in range(len(node.outputs))]

    def parts_moved(self, b: Builder, node: Node, tangents: Tangents) -> Sequence[Value | None]:
        moving = [i for i, v in enumerate(node.outputs) if v.type.dtype is DType.FLOAT]
        told, c = [i for i, v in enumerate(node.inputs) if v.id in tangents], Calc(b)
        regions: list[Block] = []
        for region in node.regions:
            inside = b.child()
            params = [inside.param(p.type, p.name) for p in region.params]
            known = tangents | {params[i].id: inside.param(params[i].type) for i in told}
            results = self.splicer(inside).insert(inside, region, tuple(params))
            found, d = self.push(inside, results, known), Calc(inside)
            regions.append(inside.block(*(d.full(found.get(results[i].id) or d.number(0), results[i]) for i in moving)))
        args = (*node.inputs, *(c.full(tangents[node.inputs[i].id], node.inputs[i]) for i in told))
        types = tuple(node.outputs[i].type for i in moving)
        made = b.add_many(Op.PARTS, *args, regions=tuple(regions), types=types, share=node["share"])
        return [made[moving.index(i)] if i in moving else None for i in range(len(node.outputs))]

    def loop_moved(self, b: Builder, node: Node, tangents: Tangents) -> Sequence[Value | None]:
        """The loop again, carrying tangents along with its floats."""
        count, *carried = node.inputs
        moving = [i for i, v in enumerate(carried) if v.type.dtype is DType.FLOAT]
        inside, c = b.child(), Calc(b)
        params = [inside.param(p.type, p.name) for p in node.regions[0].params]
        ts = [inside.param(carried[i].type) for i in moving]
        results = self.splicer(inside).insert(inside, node.regions[0], tuple(params))
        known = {v.id: tangents[v.id] for v in reads(node) if v.id in tangents}
        known |= {params[i + 1].id: t for i, t in zip(moving, ts, strict=True)}
        found, d = self.push(inside, results, known), Calc(inside)
        moved = [d.full(found.get(results[i].id) or d.number(0), results[i]) for i in moving]
        first = [c.full(tangents.get(carried[i].id) or c.number(0), carried[i]) for i in moving]
        made = b.add_many(Op.FOR, count, *carried, *first, regions=(inside.block(*results, *moved),))
        rest = made[len(carried) :]
        return [rest[moving.index(i)] if i in moving else None for i in range(len(carried))]


def _total(c: Calc, parts: Sequence[Value]) -> Value | None:
    if not parts:
        return None
    total = parts[0]
    for part in parts[1:]:
        total = c.add(total, part)
    return total
