"""From the example level to the array level: the batch becomes dimension 0 of every value that varies by example.

Shared values stay as they are wherever NumPy's broadcasting makes that right. An elementwise operand of lower rank gets ones
after the batch, so that (B) meets (B, c, h, w) as (B, 1, 1, 1).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from specc.ir.ops import OPS, Lift, Op
from specc.ir.program import Block, Builder, Function, Node, Program, Value
from specc.ir.rewrite import Subst, copy_block, ids_after, map_functions
from specc.ir.types import BATCH, EXAMPLE, DType, Type
from specc.ir.verify import IRError, infer


def batch(program: Program) -> Program:
    """The program at array level. Values keep their numbers, names and spans."""
    if program.level == "array":
        return program
    ids = ids_after(program)
    lifted = map_functions(program, lambda f: _Lifter(program, f, Builder(ids)).function())
    entries = {
        name: replace(e, inputs=tuple(replace(i, type=lift(i.type)) for i in e.inputs)) for name, e in program.entries.items()
    }
    return replace(lifted, level="array", entries=entries)


def lift(type: Type) -> Type:
    """The array-level type of an example-level one."""
    return Type(type.dtype, (BATCH, *type.shape) if EXAMPLE in type.axes else type.shape)


def _varies(value: Value) -> bool:
    return EXAMPLE in value.type.axes


class _Lifter:
    """Lifts one function. `made` maps the number of an example-level value to its array-level value; `like` is any value
    that varies by example, to spread shared ones by."""

    def __init__(self, program: Program, function: Function, builder: Builder) -> None:
        self.program = program
        self.source = function
        self.builder = builder
        self.made: Subst = {}
        self.like: Value | None = None

    def function(self) -> Function:
        return replace(self.source, block=self.block(self.source.block, self.builder, ()))

    def block(self, block: Block, builder: Builder, types: tuple[Type, ...]) -> Block:
        """types: the example-level types that the results must have; () leaves them as they come."""
        outer, self.builder = self.builder, builder
        outer_like = self.like
        for p in block.params:
            value = Value(p.id, lift(p.type), p.name)
            builder.params.append(value)
            self.know(p, value)
        for node in block.nodes:
            self.node(node)
        results = tuple(self.fit(v, types[i] if types else v.type) for i, v in enumerate(block.results))
        self.builder = outer
        self.like = outer_like
        return builder.block(*results)

    def know(self, value: Value, made: Value) -> None:
        self.made[value.id] = made
        if self.like is None and _varies(value):
            self.like = made

    def node(self, node: Node) -> None:
        attrs = dict(node.attrs)
        match OPS[node.op].lift:
            case Lift.SAME:
                if any(_varies(v) for v in node.inputs[1:]):
                    raise IRError(f"{self.source.name}: {node.op.value} with a weight that varies by example")
                self.emit(node, tuple(self.made[v.id] for v in node.inputs), attrs)
            case Lift.ALIGN:
                self.emit(node, self.aligned(node), attrs)
            case Lift.AXES:
                self.emit(node, tuple(self.made[v.id] for v in node.inputs), shifted(attrs) if any_vary(node) else attrs)
            case Lift.JOIN:
                inputs = self.joined(node.inputs) if any_vary(node) else tuple(self.made[v.id] for v in node.inputs)
                self.emit(node, inputs, shifted(attrs) if any_vary(node) else attrs)
            case Lift.SPECIAL:
                self.special(node, attrs)

    def emit(
        self,
        node: Node,
        inputs: tuple[Value, ...],
        attrs: dict[str, Any],
        regions: tuple[Block, ...] = (),
        op: Op | None = None,
    ) -> None:
        """Append the lifted node with the values of the original, after a check of its types."""
        op = op or node.op
        outputs = tuple(Value(v.id, lift(v.type), v.name) for v in node.outputs)
        types = infer(op, inputs, attrs, outputs)
        if types != tuple(v.type for v in outputs):
            raise IRError(f"{self.source.name}: {op.value} gives {[*map(str, types)]} and {outputs!r} was {node.outputs!r}")
        pairs = tuple(sorted(attrs.items()))
        self.builder.nodes.append(Node(op=op, inputs=inputs, outputs=outputs, attrs=pairs, regions=regions, span=node.span))
        for old, new in zip(node.outputs, outputs, strict=True):
            self.know(old, new)

    def aligned(self, node: Node) -> tuple[Value, ...]:
        rank = max((v.type.rank for v in node.inputs), default=0)
        return tuple(self.padded(v, rank) for v in node.inputs)

    def padded(self, value: Value, rank: int) -> Value:
        made, missing = self.made[value.id], rank - value.type.rank
        if not missing or not _varies(value):
            return made
        return self.builder.add(Op.RESHAPE, made, shape=(BATCH, *(1,) * missing, *value.type.shape))

    def joined(self, values: tuple[Value, ...]) -> tuple[Value, ...]:
        """All of them with the batch, once one has it."""
        like = next((self.made[v.id] for v in values if _varies(v)), None)
        return tuple(self.made[v.id] if _varies(v) else self.spread(v, like) for v in values)

    def spread(self, value: Value, like: Value | None = None) -> Value:
        if like is None:
            like = self.like
        if like is None:
            raise IRError(f"{self.source.name}: {value!r} is shared, and nothing here says how large the batch is")
        return self.builder.add(Op.SPREAD, self.made[value.id], like)

    def fit(self, value: Value, type: Type) -> Value:
        """A value where another type is expected: spread when it is shared and should vary."""
        if EXAMPLE in type.axes and not _varies(value):
            return self.spread(value)
        if _varies(value) and EXAMPLE not in type.axes:
            raise IRError(f"{self.source.name}: {value!r} varies by example where a shared value is expected")
        return self.made[value.id]

    def special(self, node: Node, attrs: dict[str, Any]) -> None:
        inputs = tuple(self.made[v.id] for v in node.inputs)
        match node.op:
            case Op.TAKE | Op.SCATTER_ADD:
                self.indexed(node, inputs, attrs)
            case Op.MATMUL:
                self.emit(node, self.aligned(node), attrs)
            case Op.ATTENTION:
                self.emit(node, self.joined(node.inputs) if any_vary(node) else inputs, attrs)
            case Op.NORMAL | Op.UNIFORM:
                self.draw(node, inputs, attrs)
            case Op.FOR | Op.WHILE | Op.IF | Op.PARTS:
                self.control(node, inputs, attrs)
            case Op.CALL | Op.REPEAT:
                callee = self.program.functions[node["function"]].block.params
                lanes = attrs.get("lanes", 1)
                if "types" in attrs:
                    attrs["types"] = tuple(lift(t) for t in attrs["types"])
                if "cut" in attrs:  # of caches, which all examples have
                    attrs["cut"] = tuple(axis + 1 for axis in attrs["cut"])
                fitted = tuple(self.fit(v, p.type) for v, p in zip(node.inputs, callee * lanes, strict=True))
                self.emit(node, fitted, attrs)
            case Op.EXTERN:
                if "types" in attrs:
                    attrs["types"] = tuple(lift(t) for t in attrs["types"])
                self.emit(node, inputs, attrs)
            case Op.SPREAD if _varies(node.inputs[0]):
                self.made[node.out.id] = inputs[0]
            case Op.GRAD | Op.SPREAD | Op.BATCH_SIZE | Op.BATCH_INDEX:
                self.emit(node, inputs, attrs)
            case Op.BATCH_SUM:
                self.emit(node, (self.fit(node.inputs[0], node.inputs[0].type.over(EXAMPLE)),), {"axes": (0,)}, op=Op.SUM)
            case Op.BATCH_MEAN if not _varies(node.inputs[0]):
                self.made[node.out.id] = inputs[0]
            case Op.BATCH_MEAN:
                self.emit(node, inputs, {"axes": (0,)}, op=Op.MEAN)
            case Op.BATCH_TAKE:
                x, index = node.inputs
                self.emit(node, (self.fit(x, x.type.over(EXAMPLE)), self.rows(index)), {"axis": 0, "batch": 0}, op=Op.TAKE)
            case Op.BATCH_COST:
                self.emit(node, tuple(self.fit(v, v.type.over(EXAMPLE)) for v in node.inputs), attrs)
            case Op.BATCH_GATHER:
                self.know(node.out, self.fit(node.inputs[0], node.inputs[0].type.over(EXAMPLE)))
            case Op.BATCH_SCATTER:
                self.know(node.out, inputs[0])
            case _:
                raise IRError(f"{self.source.name}: {node.op.value} does not exist at example level")

    def rows(self, index: Value) -> Value:
        """The index of BATCH_TAKE as (B): one number an example, or a shared (B) array of them."""
        made = self.made[index.id]
        return made if made.type.batched else self.spread(index)

    def indexed(self, node: Node, inputs: tuple[Value, ...], attrs: dict[str, Any]) -> None:
        x, index = node.inputs
        axis = attrs["axis"] % max((node.out if node.op is Op.SCATTER_ADD else x).type.rank, 1)
        attrs["axis"], common = axis + _varies(x), attrs.get("batch", 0)
        if not any_vary(node) or (not common and not _varies(index)):
            self.emit(node, inputs, attrs)
        elif common or _varies(x) or node.op is Op.SCATTER_ADD:
            attrs.update(axis=axis + 1, batch=common + 1)
            self.emit(node, self.joined(node.inputs), attrs)
        elif axis == 0:
            self.emit(node, inputs, attrs)
        else:  # a shared table, another row for each example: the batch comes out in the middle
            taken = self.builder.add(Op.TAKE, *inputs, span=node.span, **attrs)
            perm = (axis, *range(axis), *range(axis + 1, taken.type.rank))
            self.emit(node, (taken,), {"perm": perm}, op=Op.TRANSPOSE)

    def draw(self, node: Node, inputs: tuple[Value, ...], attrs: dict[str, Any]) -> None:
        if attrs.get("keyed", True) or EXAMPLE not in attrs["axes"] or inputs:
            self.emit(node, inputs, attrs)
        elif self.like is None:
            raise IRError(f"{self.source.name}: {node.out!r} is drawn for each example, and nothing says how many there are")
        else:
            self.emit(node, (self.like,), attrs)

    def control(self, node: Node, inputs: tuple[Value, ...], attrs: dict[str, Any]) -> None:
        types = tuple(v.type for v in node.outputs)
        match node.op:
            case Op.FOR:
                inputs = (inputs[0], *self.carried(node.inputs[1:], node.regions[0].params[1:]))
                self.emit(node, inputs, attrs, (self.block(node.regions[0], self.builder.child(), types),))
            case Op.WHILE:
                inputs = self.carried(node.inputs, node.regions[1].params)
                self.emit(node, inputs, attrs, self.rounds(node, types))
            case Op.PARTS:
                self.emit(node, inputs, attrs | {"types": tuple(map(lift, types))}, self.parts(node, types))
            case _:
                if _varies(node.inputs[0]):
                    raise IRError(f"{self.source.name}: a branch on {node.inputs[0]!r}, which varies by example")
                regions = tuple(self.block(r, self.builder.child(), types) for r in node.regions)
                if "types" in attrs:
                    attrs["types"] = tuple(lift(t) for t in types)
                self.emit(node, inputs, attrs, regions)

    def parts(self, node: Node, types: tuple[Type, ...]) -> tuple[Block, ...]:
        """Regions in which the batch is a part of it: nothing from around says how large that is."""
        outer, regions = self.like, []
        for region in node.regions:
            self.like = None
            regions.append(self.block(region, self.builder.child(), types))
        self.like = outer
        return tuple(regions)

    def carried(self, values: tuple[Value, ...], params: tuple[Value, ...]) -> tuple[Value, ...]:
        return tuple(self.fit(v, p.type) for v, p in zip(values, params, strict=True))

    def rounds(self, node: Node, types: tuple[Type, ...]) -> tuple[Block, Block]:
        """Test and body of a `while`. A test that varies by example goes on while any example does, and the body holds the
        values of those that are done."""
        test, body = node.regions
        if not _varies(test.results[0]):
            return self.block(test, self.builder.child(), ()), self.block(body, self.builder.child(), types)
        builder = self.builder.child()
        going = self.block(test, builder, ()).results[0]
        reached = builder.add(Op.AMAX, builder.add(Op.CAST, going, dtype=DType.INT.value), axes=(0,))
        any_going = builder.block(builder.add(Op.CAST, reached, dtype=DType.BOOL.value))
        return any_going, self.held(test, body, types)

    def held(self, test: Block, body: Block, types: tuple[Type, ...]) -> Block:
        """The body with `where(test, new, old)` around what it carries."""
        stepped = self.block(body, self.builder.child(), types)
        builder = self.builder.child()
        builder.params.extend(stepped.params)
        own = {p.id: q for p, q in zip(test.params, body.params, strict=True)}
        again = copy_block(Block(params=(), nodes=test.nodes, results=test.results), own, builder.ids)
        going = self.block(again, builder, ()).results[0]
        builder.nodes.extend(stepped.nodes)
        results = []
        for old, new, type in zip(stepped.params, stepped.results, types, strict=True):
            if EXAMPLE not in type.axes and new.id != old.id:
                raise IRError(f"{self.source.name}: {old!r} is shared, and the loop that changes it ends by example")
            condition = going
            if type.rank and EXAMPLE in type.axes:
                condition = builder.add(Op.RESHAPE, going, shape=(BATCH, *(1,) * type.rank))
            results.append(old if new.id == old.id else builder.add(Op.WHERE, condition, new, old, name=new.name))
        return builder.block(*results)


def any_vary(node: Node) -> bool:
    return any(_varies(v) for v in node.inputs)


def shifted(attrs: dict[str, Any]) -> dict[str, Any]:
    """Attributes that count dimensions, with the batch as dimension 0. Axes from the end stay."""
    out = dict(attrs)
    for key, value in attrs.items():
        match key:
            case "axis":
                out[key] = value + (value >= 0)
            case "axes":
                out[key] = tuple(i + (i >= 0) for i in value)
            case "perm":
                out[key] = (0, *(i + 1 for i in value))
            case "shape":
                out[key] = (BATCH, *value)
            case "pads":
                out[key] = ((0, 0), *value)
            case _:
                pass
    return out
