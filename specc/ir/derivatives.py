"""Derivatives of values: one engine, in reverse and forward, at either level.

`gradient` gives the gradients of sum(e), `forward` products with the Jacobian. Both append nodes to a builder and
find the computation through the nodes that the builder and those around it have made. `derivative_function` gives f' as
a function of its own, for a plain function of numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import replace

from specc.ir.calc import Calc
from specc.ir.engine import Engine, Functions, Tangents
from specc.ir.liveness import live
from specc.ir.ops import OPS, Lift, Op
from specc.ir.program import Block, Builder, Function, Ids, Node, Value
from specc.ir.rewrite import substitute
from specc.ir.simplifier import Simplifier
from specc.ir.splice import Splicer
from specc.ir.types import DType, Type


def gradient(builder: Builder, e: Value, wrt: Sequence[Value], functions: Functions | None = None) -> tuple[Value | None, ...]:
    """Gradients of sum(e), over elements and examples, in each value of `wrt`; None where it is identically 0.

    When one value of `wrt` depends on another, the gradient in the other goes through it as well. Raises ValueError for an
    op without a derivative on the way.
    """
    return Engine(functions or {}).gradient(builder, e, wrt)


def forward(
    builder: Builder, outputs: Sequence[Value], tangents: Sequence[tuple[Value, Value]], functions: Functions | None = None
) -> tuple[Value | None, ...]:
    """Jacobian-vector products: the tangents of the outputs when each value given moves by its tangent."""
    engine, c = Engine(functions or {}), Calc(builder)
    found = engine.push(builder, outputs, {v.id: t for v, t in tangents})
    return tuple(None if v.id not in found else c.full(found[v.id], v) for v in outputs)


def derivative_function(functions: MutableMapping[str, Function], function: Function, arg: int, ids: Ids) -> Function | None:
    """f' as a plain function of the same arguments, in closed form, or None where it is identically 0.

    The derivative is partial in argument `arg`, and takes f from numbers to numbers, or from many to as many where f treats
    each on its own. Calls of other plain functions of numbers stay calls: the derivatives of those are entered in `functions`
    under names such as `log_alpha_prime`, and f itself, where f' has use for its value, is called. The function returned is
    not entered; its name is free to change.
    """
    block = function.block
    numbers = all(_is_number(v.type) for v in (*block.params, *block.results)) and len(block.results) == 1
    if not numbers and not elementwise(functions, function):
        raise ValueError(f"{function.name} is not a function of numbers that gives a number")
    builder = Builder(ids)
    params = tuple(builder.param(v.type, v.name) for v in block.params)
    (value,) = Splicer(functions, ids).insert(builder, block, params)
    c = Calc(builder)
    engine = Engine(functions, lambda b, node, tangents: _through_call(functions, ids, b, node, tangents))
    t = engine.push(builder, (value,), {params[arg].id: c.number(1)}).get(value.id)
    if t is None:
        return None
    like = next((p for p in params if p.type == value.type), value)
    short = Simplifier(ids).block(builder.block(c.full(t, like), value))
    made = _calling_itself(functions, function, short, ids)
    if _constant(made) == 0:
        return None
    name, doc = _title(function, arg)
    return Function(name=name, kind="function", block=made, doc=doc, span=function.span)


def elementwise(functions: Functions, function: Function) -> bool:
    """Whether a function of one array gives an array of the same shape, each element from the one in its place."""
    block = function.block
    if len(block.params) != 1 or [v.type.shape for v in block.results] != [block.params[0].type.shape]:
        return False
    moving = {block.params[0].id}
    for node in block.nodes:
        places = [i for i, v in enumerate(node.inputs) if v.id in moving]
        if not places:
            continue
        match node.op:
            case Op.TAKE:
                alone = places == [1]
            case Op.CALL:
                alone = node.get("bundle") is None and elementwise(functions, functions[node["function"]])
            case _:
                alone = OPS[node.op].lift is Lift.ALIGN
        if not alone:
            return False
        moving.update(v.id for v in node.outputs)
    return True


def _is_number(type: Type) -> bool:
    return type.dtype is DType.FLOAT and not type.shape


def _title(function: Function, arg: int) -> tuple[str, str]:
    """Name and line of the derivative: `alpha_prime.2` for `alpha.2`."""
    names = [v.name or f"x{i}" for i, v in enumerate(function.block.params)]
    base, dot, variant = function.name.partition(".")
    suffix = "_prime" if len(names) == 1 else f"_by_{names[arg]}"
    return f"{base}{suffix}{dot}{variant}", f"d/d{names[arg]} {base}({', '.join(names)})"


def _constant(block: Block) -> float | None:
    """The number that a block gives whatever its arguments are."""
    builder = Builder(Ids())
    for node in block.nodes:
        builder.push(node)
    return Calc(builder).uniform(block.results[0])


def _calling_itself(functions: Mapping[str, Function], function: Function, block: Block, ids: Ids) -> Block:
    """block: results f' and f. The block of f' alone, with a call of f where it has use for its value."""
    result, value = block.results
    alone = live(replace(block, results=(result,)))
    maker = next((n for n in alone.nodes if value.id in (v.id for v in n.outputs)), None)
    used = any(v.id == value.id for n in alone.nodes for v in n.inputs) or result.id == value.id
    if maker is None or not used or maker.op in (Op.CALL, Op.CONST, Op.SPREAD) or function.name not in functions:
        return alone
    builder = Builder(ids, params=list(alone.params))
    call = builder.add(
        Op.CALL, *alone.params, function=function.name, bundle=None, lanes=1, types=(value.type,), span=function.span
    )
    rest = substitute(Block(params=(), nodes=alone.nodes, results=alone.results), {value.id: call})
    return live(Block(params=alone.params, nodes=(*builder.nodes, *rest.nodes), results=rest.results))


def _through_call(
    functions: MutableMapping[str, Function], ids: Ids, b: Builder, node: Node, tangents: Tangents
) -> list[Value | None] | None:
    """The tangent of a call of a plain function of numbers, by calls of its partial derivatives."""
    callee, c = functions[node["function"]], Calc(b)
    types = [v.type for v in (*callee.block.params, *callee.block.results)]
    if node.get("bundle") is not None or len(node.outputs) != 1:
        return None
    if not all(map(_is_number, types)) and not elementwise(functions, callee):
        return None
    total: Value | None = None
    for i, v in enumerate(node.inputs):
        partial = _entered(functions, ids, callee, i) if v.id in tangents else None
        if partial is None:
            continue
        factor = _constant(partial.block)
        if factor is None:
            types = [r.type for r in partial.block.results]
            slope = b.add(Op.CALL, *node.inputs, function=partial.name, bundle=None, lanes=1, types=tuple(types))
        else:
            slope = c.number(factor)
        part = c.mul(slope, tangents[v.id])
        total = part if total is None else c.add(total, part)
    return [total]


def _entered(functions: MutableMapping[str, Function], ids: Ids, callee: Function, arg: int) -> Function | None:
    """The derivative of a function that is called, known to the program under a name of its own."""
    name, doc = _title(callee, arg)
    known = functions.get(name)
    if known is not None and known.doc == doc:
        return known
    made = derivative_function(functions, callee, arg, ids)
    if made is None or _constant(made.block) is not None:
        return made
    while name in functions:
        name += "_"
    functions[name] = replace(made, name=name)
    return functions[name]
