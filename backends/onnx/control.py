"""Loops, branches and calls as ONNX: Loop, If, and functions written out where they are called."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto
from specc.backends.onnx import caches, lanes
from specc.backends.onnx.emit import Bound, Emitter, Packed, UnsupportedError
from specc.backends.onnx.scopes import NUMPY, Scope, Tap, info

from specc.ir.ops import Op
from specc.ir.program import Block, Node, Value, walk
from specc.ir.splice import turns
from specc.ir.types import BATCH, BOOL, FLOAT, INT

ROUNDS = "rounds"  # symbolic: how often a loop has run


def for_(e: Emitter, node: Node) -> tuple[Bound, ...]:
    """FOR as a Loop without condition."""
    count, *carried = node.inputs
    (body,) = node.regions
    return _loop(e, node, body.params[0], body.params[1:], carried, body, count=e.name(count), test=None)


def while_(e: Emitter, node: Node) -> tuple[Bound, ...]:
    """WHILE as a Loop with a condition, which is asked before the loop and at the end of each round."""
    test, body = node.regions
    limit = "" if node.get("limit") is None else e.const(np.int64(node["limit"]))
    return _loop(e, node, None, body.params, list(node.inputs), body, count=limit, test=test)


def _loop(
    e: Emitter,
    node: Node,
    index: Value | None,
    params: tuple[Value, ...],
    carried: list[Value],
    body: Block,
    *,
    count: str,
    test: Block | None,
) -> tuple[Bound, ...]:
    carry = lanes.slots(params, body) if test is None else [(i,) for i in range(len(params))]
    kept = caches.caches(e.program, body) if test is None else {}
    ways = [kept.get(slot[0]) for slot in carry]
    start = [lanes.joined(e, [carried[i] for i in slot]) for slot in carry]
    if e.plain and e.scope is not e.root:
        start = [_looked_at(e, name, [params[i] for i in slot]) for name, slot in zip(start, carry, strict=True)]
    start = [s if how is None else caches.empty(e, how, s) for s, how in zip(start, ways, strict=True)]
    counting = e.calls is not None and any(n.op in (Op.CALL, Op.REPEAT) for n in walk(body))
    before = _asked(e, test, list(map(e.named, start))) if test is not None else ""
    with e.nested("body") as scope:
        k, go = e.fresh(index.name or "k" if index is not None else "k"), e.fresh("go")
        scope.graph.inputs += [info(k, INT), info(go, BOOL)]
        if index is not None:
            e.env[index.id] = k
        for slot, how in zip(carry, ways, strict=True):
            values = [params[i] for i in slot]
            hint = values[0].name or carried[slot[0]].name or "carried"
            forms = caches.forms(lanes.type_of(e, values), how)
            names = [e.fresh(hint) for _ in forms]
            scope.graph.inputs += [e.info(name, *form) for name, form in zip(names, forms, strict=True)]
            lanes.part(e, values, caches.whole(how, names))
        if e.watch is not None and scope.parent is e.root:
            e.watch(e, params)
        outer_calls = e.calls
        if counting:
            e.calls = e.fresh("nfe")
            scope.graph.inputs.append(info(e.calls, INT))
        e.block(body)
        results = [[body.results[i] for i in slot] for slot in carry]
        after = [lanes.joined(e, values) for values in results]
        goes_on = _asked(e, test, list(map(e.named, after))) if test is not None else go
        e.result(goes_on, BOOL, "go_on")
        for value, values, how in zip(after, results, ways, strict=True):
            forms = caches.forms(lanes.type_of(e, values), how)
            for name, form in zip(caches.parts(value), forms, strict=True):
                e.returned(name, *form, "carry")
        if counting:
            e.result(str(e.calls), INT, "nfe")
        e.calls = outer_calls
        for tap in scope.taps:
            e.result(tap.name, tap.type, "tap")
    found = [
        [e.fresh(node.outputs[slot[0]].name or "looped") for _ in caches.parts(s)] for s, slot in zip(start, carry, strict=True)
    ]
    given, outputs = [name for s in start for name in caches.parts(s)], [name for names in found for name in names]
    if counting:
        given.append(str(e.calls))
        e.calls = e.fresh("nfe")
        outputs.append(e.calls)
    outputs += _scanned(e, scope)
    if not outputs:
        raise UnsupportedError("a loop that carries nothing has no effect")
    e.control("Loop", [count, before, *given], outputs, body=scope.graph)
    for slot, how, names in zip(carry, ways, found, strict=True):
        lanes.part(e, [node.outputs[i] for i in slot], caches.whole(how, names))
    return tuple(e.tensors(v) for v in node.outputs)


def _looked_at(e: Emitter, name: str, lane: list[Value]) -> str:
    """All of what a loop inside another is given: where the outer one just hands its own on, IREE forgets how long it is."""
    if lane[0].type.shape[:1] != (BATCH,):
        return name
    end = e.batch if len(lane) == 1 else e.op("Mul", e.batch, e.ints(len(lane)))
    return e.op("Slice", name, e.ints(0), end, e.ints(0))


def _asked(e: Emitter, test: Block, names: list[str]) -> str:
    """The test of a WHILE, for these carried values."""
    taps = len(e.scope.taps)
    e.bind(test.params, names)
    e.block(test)
    del e.scope.taps[taps:]
    return e.name(test.results[0])


def _scanned(e: Emitter, scope: Scope) -> list[str]:
    """What the body taps comes out once for each round."""
    names = []
    for tap in scope.taps:
        name = e.fresh("taps")
        e.tap(tap.key, name, tap.type.shaped((ROUNDS, *tap.type.shape)))
        names.append(name)
    return names


def if_(e: Emitter, node: Node) -> tuple[str, ...]:
    """IF. Network calls and taps inside a branch are outputs of both: the other branch gives the count so far, and NaN."""
    outputs = [e.fresh(v.name or "either") for v in node.outputs]
    test = e.name(node.inputs[0])
    scopes, counts = [], []
    for label, region in zip(("then", "else"), node.regions, strict=True):
        calls = e.calls
        with e.nested(label) as scope:
            e.block(region)
            for value in region.results:
                e.result(e.name(value), value.type, label)
            scopes.append(scope)
            counts.append(e.calls)
        e.calls = calls
    if any(c != e.calls for c in counts):
        for scope, count in zip(scopes, counts, strict=True):
            _append(e, scope, lambda count=count: e.result(str(count), INT, "nfe"))
        e.calls = e.fresh("nfe")
        outputs.append(e.calls)
    taps = [(own, tap) for own in scopes for tap in own.taps if not _dynamic(tap)]
    for own, tap in taps:
        for scope in scopes:
            _append(e, scope, lambda own=own, scope=scope, tap=tap: _tapped(e, tap, scope is own))
    names = [e.fresh("taps") for _ in taps]
    for (_, tap), name in zip(taps, names, strict=True):
        e.tap(tap.key, name, tap.type)
    e.control("If", [test], outputs + names, then_branch=scopes[0].graph, else_branch=scopes[1].graph)
    return tuple(outputs[: len(node.outputs)])


def parts(e: Emitter, node: Node) -> tuple[str, ...]:
    """PARTS: slices of the batch in turn, in the same graph, and their results one after another."""
    batch = e.batch
    share = e.op("Mul", e.op("Cast", batch, to=TensorProto.DOUBLE), e.const(np.float64(node["share"])))
    nearest = e.op("Floor", e.op("Add", share, e.const(np.float64(0.5))))
    cut = e.op("Cast", nearest, to=TensorProto.INT64, hint="cut")
    ends = []
    for region, start, stop in zip(node.regions, (e.ints(0), cut), (cut, batch), strict=True):
        for param, value in zip(region.params, node.inputs, strict=True):
            e.env[param.id] = e.op("Slice", e.name(value), start, stop, e.ints(0), hint=param.name or "part")
        with e.among(e.op("Sub", stop, start, hint="batch")):
            e.block(region)
            ends.append([e.name(v) for v in region.results])
    return tuple(e.op("Concat", *pair, axis=0, hint="together") for pair in zip(*ends, strict=True))


def _append(e: Emitter, scope: Scope, write) -> None:
    outer, e.scope = e.scope, scope
    write()
    e.scope = outer


def _tapped(e: Emitter, tap: Tap, here: bool) -> None:
    nothing = np.full(tap.type.shape, np.nan if tap.type.dtype is FLOAT.dtype else -1, NUMPY[tap.type.dtype])
    e.result(tap.name if here else e.const(nothing), tap.type, "tap")


def _dynamic(tap: Tap) -> bool:
    return any(isinstance(d, str) for d in tap.type.shape)


def call(e: Emitter, node: Node) -> tuple[Bound, ...]:
    """CALL. With lanes the arguments are stacked along the batch and the results taken apart again."""
    width, bundle = node.get("lanes", 1), node.get("bundle")
    block = e.program.functions[node["function"]].block
    if width == 1:
        return _apply(e, node, block, bundle, [e.env[v.id] for v in node.inputs])
    stacked = [lanes.joined(e, node.inputs[i :: len(block.params)]) for i in range(len(block.params))]
    with e.among(e.op("Mul", e.batch, e.ints(width), hint="batch")):
        both = _apply(e, node, block, bundle, list(stacked))
    for i, name in enumerate(both):
        lanes.part(e, node.outputs[i :: len(both)], name)
    return tuple(e.tensors(v) for v in node.outputs)


def repeat(e: Emitter, node: Node) -> tuple[str, ...]:
    """REPEAT: the blocks one after another, since each has weights of its own."""
    carried, cut, count = node["carried"], node.get("cut", ()), node["count"]
    args = [e.env[v.id] for v in node.inputs]
    first = len(args) - len(cut)
    parts = [
        e.op("Split", e.named(a), outputs=count, axis=axis, num_outputs=count)
        for a, axis in zip(args[first:], cut, strict=True)
    ]
    block = e.program.functions[node["function"]].block
    kept = []
    for k, i in enumerate(turns(node)):
        args[first:] = [p[k] for p in parts]
        results = _apply(e, node, block, f"{node['bundle']}.{i}", args)
        args[:carried] = results[:carried]
        kept.append(results[carried:])
    together = [e.op("Concat", *(r[j] for r in kept), axis=axis) for j, axis in enumerate(cut)]
    return (*(e.named(a) for a in args[:carried]), *together)


def _apply(e: Emitter, node: Node, block: Block, bundle: str | None, args: list[Bound]) -> tuple[str | Packed, ...]:
    """A function with its parameters bound, over a bundle inside the bundle at hand."""
    env, joined, outer, depth = e.env, e.joined, e.bundle, e.depth
    e.joined = {}
    e.env = {p.id: a for p, a in zip(block.params, args, strict=True)}
    if bundle is not None:
        e.bundle = f"{outer}.{bundle}" if outer else bundle
        e.depth += 1
    e.function(block)
    results = tuple(e.tensors(v) for v in block.results)
    e.env, e.joined, e.bundle, e.depth = env, joined, outer, depth
    if bundle is not None and depth == 0:
        if e.calls is not None:
            e.calls = e.op("Add", e.calls, e.const(np.int64(1)), hint="nfe")
        if e.trace is not None:
            e.trace(e, node, [e.named(a) for a in args], tuple(map(e.named, results)))
    return results
