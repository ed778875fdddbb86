"""Parts of a batch: groups of examples that share values and see each other, and shares of it that get terms of their own."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from specc.ir.ops import Op
from specc.ir.program import Block, Builder, Value
from specc.ir.rewrite import captured_by, substitute
from specc.ir.types import EXAMPLE, DType
from specc.record import record
from specc.sema.arithmetic import add, binary, describe, lift
from specc.sema.evaluate import Evaluator
from specc.sema.frame import Frame, ObjectiveDone
from specc.sema.report import fail
from specc.sema.values import Builtin, Captures, Dynamic, Env, Namespace
from specc.source import Span
from specc.syntax import tree


@record
class Part:
    """`batch.part(3 / 4)`: whether an example is among that share of the batch, the first ones of it."""

    share: float


def part(ev: Evaluator, frame: Frame, span: Span, args: list[Any], kwargs: dict[str, Any]) -> Part:
    (share,) = args if len(args) == 1 and not kwargs else (None,)
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share < 1:
        fail("E0601", span, "a part of the batch is a share of it between 0 and 1", help="as in `if batch.part(3 / 4) { }`")
    return Part(float(share))


def groups(ev: Evaluator, frame: Frame, span: Span, args: list[Any], kwargs: dict[str, Any]) -> Namespace:
    """batch.groups(m): m examples after one another. `join(v)` is what all of an example's group have, (m, *shape), and
    `share(v)` what the first of them has."""
    (m,) = args if len(args) == 1 and not kwargs else (None,)
    if isinstance(m, bool) or not isinstance(m, int) or m < 1:
        fail("E0601", span, "a group has 1 example or more, a number known while compiling", help="as in `batch.groups(4)`")
    if frame.entry is None:
        raise Captures
    ev.groups[frame.entry.role, span] = m
    frame.entry.groups = math.lcm(frame.entry.groups, m)

    def first(ev: Evaluator, frame: Frame, span: Span) -> Any:
        index = ev.settle(Dynamic("batch.index"), frame)
        return binary("*", binary("//", index, m, frame, span), m, frame, span)

    def share(ev: Evaluator, frame: Frame, span: Span, args: list[Any], kwargs: dict[str, Any]) -> Any:
        (v,) = args
        if not isinstance(v, Value) or EXAMPLE not in v.type.axes:
            return v
        return add(frame, span, Op.BATCH_TAKE, v, first(ev, frame, span))

    def join(ev: Evaluator, frame: Frame, span: Span, args: list[Any], kwargs: dict[str, Any]) -> Any:
        (v,) = args
        every = add(frame, span, Op.BATCH_GATHER, lift(v, frame, span))
        peers = binary("+", first(ev, frame, span), add(frame, span, Op.IOTA, n=m), frame, span)
        return add(frame, span, Op.TAKE, every, frame.builder.name(peers, "peers"), axis=0)

    return Namespace("batch.groups", {"join": Builtin("join", join), "share": Builtin("share", share), "size": m})


def shared(ev: Evaluator, node: tree.Expr, value: Any, env: Env, frame: Frame) -> Any:
    """`t ~ times() per group`: every example has what the first of its group has drawn."""
    group = ev.expr(node, env, frame)
    if not isinstance(group, Namespace) or group.name != "batch.groups":
        help = "write `per batch`, or `per g` after `g = batch.groups(4)`"
        fail("E0204", node.span, f"a draw is made `per` example, batch or group, not per {describe(group)}", help=help)
    return ev.call(group.members["share"], [value], {}, frame, node.span)


def branches(ev: Evaluator, item: tree.If, share: float, env: Env, frame: Frame) -> None:
    """`if batch.part(share) { } else { }`: each branch is run on its own examples; what both bind goes on."""
    entry = frame.entry
    if entry is None or item.other is None:
        fail("E0211", item.span, "a part of the batch needs an `else` for the rest, in a loss or a sampler")
    made = [_branch(ev, block, env, frame) for block in (item.then, item.other)]
    names = [n for n in made[0][1].names if n in made[1][1].names]
    ends = [_results(ev, names, scope, inner, item.span) for inner, scope in made]
    for name, *pair in zip(names, *ends, strict=True):
        a, b = (v.type for v in pair)
        if a != b:
            fail("E0306", item.span, f"`{name}` is {a} in one part of the batch and {b} in the other")
    blocks = [inner.builder.block(*end) for (inner, _), end in zip(made, ends, strict=True)]
    outer = {v.id: v for block in blocks for v in captured_by(block) if EXAMPLE in v.type.axes and v.id != entry.like.id}
    regions = tuple(_closed(ev, block, (entry.like, *outer.values())) for block in blocks)
    types = tuple(v.type for v in ends[0])
    args = (entry.like, *outer.values())
    out = frame.builder.add_many(Op.PARTS, *args, regions=regions, types=types, names=tuple(names), share=share, span=item.span)
    env.names.update(zip(names, out, strict=True))


def _branch(ev: Evaluator, block: tree.Block, env: Env, frame: Frame) -> tuple[Frame, Env]:
    """One branch, in a block that sees nothing of the values around it but by their names; `batch` is its own part."""
    entry = frame.entry
    assert entry is not None
    inner = replace(frame, builder=Builder(ev.ids))
    like = inner.builder.param(entry.like.type, entry.like.name)
    outer, seed, bindings = entry.like, entry.seed, dict(entry.bindings)
    entry.like, entry.seed = like, like if seed is outer else seed
    entry.bindings |= {k: like for k, v in bindings.items() if v is outer}
    entry.bindings["batch.index"] = inner.builder.add(Op.BATCH_INDEX, like)
    entry.bindings["batch.size"] = inner.builder.add(Op.BATCH_SIZE, like)
    scope = env.child()
    try:
        if ev.run_body(block, scope, inner) is not None:
            fail("E0211", block.span, "`return` in a part of the batch", help="bind a name in both parts and return it")
    except ObjectiveDone:
        fail("E0211", block.span, "`minimize` in a part of the batch", help="bind the term in both parts and minimise it")
    finally:
        entry.like, entry.seed, entry.bindings = outer, seed, bindings
    return inner, scope


def _results(ev: Evaluator, names: list[str], scope: Env, inner: Frame, span: Span) -> list[Value]:
    """What a branch hands on, one value for each of its examples."""
    like = inner.builder.params[0]
    found = []
    for name in names:
        value = lift(ev.settle(scope.names[name], inner, name), inner, span)
        if value.type.dtype is DType.INT and not isinstance(scope.names[name], Value):
            value = lift(value, inner, span, DType.FLOAT)
        found.append(value if EXAMPLE in value.type.axes else inner.builder.add(Op.SPREAD, value, like, span=span))
    return found


def _closed(ev: Evaluator, block: Block, outer: tuple[Value, ...]) -> Block:
    """The block with parameters in place of the values around it that vary by example."""
    own = {v.id: Value(ev.ids.fresh(), v.type, v.name) for v in outer[1:]}
    closed = substitute(block, own)
    return replace(closed, params=(*block.params, *own.values()))
