"""Rebuilds blocks with shorter nodes: constants, identities and the algebra of scalars; equal nodes become one."""

from __future__ import annotations

from dataclasses import replace

from specc.ir.algebra import POLYNOMIAL, Forms, is_scalar, shorter
from specc.ir.calc import Calc
from specc.ir.folding import reduced
from specc.ir.ops import Op
from specc.ir.program import Block, Builder, Ids, Node, Value
from specc.ir.rewrite import Subst
from specc.ir.splice import named

FormPair = tuple[Forms, Forms]


class Simplifier:
    """algebra: whether scalars are written anew from their normal forms; without it only constants and identities go."""

    def __init__(self, ids: Ids, algebra: bool = True) -> None:
        self.ids = ids
        self.algebra = algebra

    def block(self, block: Block) -> Block:
        """The block of a function, shorter. Its parameters stay."""
        builder = Builder(self.ids)
        return self.region(builder, block, {}, (Forms(builder, True), Forms(builder, False)))

    def region(self, builder: Builder, block: Block, subst: Subst, forms: FormPair) -> Block:
        builder.params.extend(block.params)
        self.body(builder, block, subst, forms)
        return builder.block(*(subst.get(v.id, v) for v in block.results))

    def body(self, builder: Builder, block: Block, subst: Subst, forms: FormPair) -> None:
        for node in block.nodes:
            inputs = tuple(subst.get(v.id, v) for v in node.inputs)
            results = self.node(builder, node, inputs, subst, forms)
            subst.update({old.id: new for old, new in zip(node.outputs, results, strict=True)})

    def node(self, builder: Builder, node: Node, inputs: tuple[Value, ...], subst: Subst, forms: FormPair) -> tuple[Value, ...]:
        c = Calc(builder)
        if node.regions:
            return self.control(builder, node, inputs, subst, forms)
        if len(node.outputs) == 1 and node.op is not Op.CONST:
            shortened = reduced(c, node, inputs)
            if shortened is not None and (fitted := fit(c, shortened, node, inputs)) is not None:
                return named(builder, (fitted,), node)
        results = builder.push(replace(node, inputs=inputs))
        if self.algebra and node.op in POLYNOMIAL and is_scalar(node.out.type):
            shortened = shorter(forms, results[0])
            if shortened is not None and (fitted := fit(c, shortened, node, inputs)) is not None:
                return named(builder, (fitted,), node)
        return results

    def control(
        self, builder: Builder, node: Node, inputs: tuple[Value, ...], subst: Subst, forms: FormPair
    ) -> tuple[Value, ...]:
        c = Calc(builder)
        if node.op is Op.IF and (test := c.uniform(inputs[0])) is not None:
            chosen = node.regions[0 if test else 1]
            self.body(builder, chosen, subst, forms)
            return tuple(subst.get(v.id, v) for v in chosen.results)
        if node.op is Op.FOR and c.uniform(inputs[0]) == 0:
            return inputs[1:]
        regions = []
        for region in node.regions:
            inside = builder.child()
            known = (forms[0].inside(inside), forms[1].inside(inside))
            regions.append(self.region(inside, region, subst, known))
        return builder.push(replace(node, inputs=inputs, regions=tuple(regions)))


def fit(c: Calc, value: Value, node: Node, inputs: tuple[Value, ...]) -> Value | None:
    """The value with the type of the node's result, when only constants have to be repeated for that."""
    want = node.out.type
    if value.type == want:
        return value
    if c.uniform(value) is None or value.type.rank or value.type.dtype is not want.dtype:
        return None
    like = next((v for v in inputs if v.type.axes), None)
    if want.axes and like is None:
        return None
    if want.rank:
        value = c.op(Op.EXPAND, c.reshape(value, (1,) * want.rank), shape=want.shape)
    return c.op(Op.SPREAD, value, c.batch_of(like)) if want.axes and like is not None else value
