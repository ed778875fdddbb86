"""`memory pool: like(x) with { size = 4096; initial = normal }`: a state of many rows; each example reads or writes one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from specc.ir.ops import Op
from specc.ir.program import Value
from specc.ir.types import Type
from specc.sema import parameters, routine
from specc.sema.arithmetic import add, binary, describe, lift, shown
from specc.sema.batches import written
from specc.sema.evaluate import Evaluator
from specc.sema.frame import Frame
from specc.sema.given import once, value_of
from specc.sema.held import type_of
from specc.sema.laws import primitive
from specc.sema.report import did_you_mean, fail
from specc.sema.values import Builtin, Env, Held, Namespace
from specc.source import Span
from specc.syntax import tree

KNOBS = ("size", "initial")


def declare(ev: Evaluator, item: tree.Section, env: Env, frame: Frame) -> Namespace:
    """The memory as a name with `read` and `write`."""
    if not isinstance(item.head, tree.Name) or item.type is None:
        help = "as in `memory pool: like(x) with { size = 4096 }`"
        fail("E0304", item.span, "a memory is written `memory NAME: TYPE with { size = ROWS }`", help=help)
    said = _knobs(item)
    if "size" not in said:
        fail("E0209", item.span, "how many rows does this memory have?", help="say `with { size = 4096 }`")
    size = ev.expr(said["size"], env, frame)
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        fail("E0601", said["size"].span, f"`size` is a number of rows, 1 or more, not {describe(size)}")
    row = type_of(ev, item.type, env, frame).type
    init: tuple[Any, ...] = ("zeros",)
    if "initial" in said:
        init = parameters.initial(ev.expr(said["initial"], env, frame, symbols=True), said["initial"].span)
    rows = Held(item.head.id, Type(row.dtype, (size, *row.shape)), init, False, item.span)
    ev.held_by[rows.path] = rows
    return Namespace(rows.path, {"read": _reader(rows), "write": _writer(rows), "nearest": _nearest(rows)})


def _knobs(item: tree.Section) -> dict[str, tree.Expr]:
    out: dict[str, tree.Expr] = {}
    items = item.overrides.items if item.overrides else ()
    once(items)
    for said in items:
        name = said.targets[0].id if isinstance(said, tree.Bind) and isinstance(said.targets[0], tree.Name) else ""
        if name not in KNOBS or not isinstance(said, tree.Bind):
            fail("E0205", said.span, "a memory takes `size` and `initial`", help=did_you_mean(name, KNOBS))
        out[name] = value_of(said)
    return out


def _reader(rows: Held) -> Builtin:
    def read(ev: Evaluator, frame: Frame, span: Span, args: list[Any], kwargs: dict[str, Any]) -> Value:
        if args or kwargs:
            fail("E0206", span, f"`{rows.path}.read` takes no arguments: it reads a row for each example")
        return add(frame, span, Op.TAKE, ev.held(rows, frame), _places(rows, frame, span), axis=0)

    return Builtin(f"{rows.path}.read", read)


def _nearest(rows: Held) -> Builtin:
    def nearest(ev: Evaluator, frame: Frame, span: Span, args: list[Any], kwargs: dict[str, Any]) -> Any:
        if len(rows.type.shape) != 2:
            message = f"`{rows.path}` has rows of shape {shown(rows.type.shape[1:])}: the nearest are found among vectors"
            fail("E0301", span, message)
        return written(f"{rows.path}.nearest", "nearest_rows", ev.held(rows, frame)).fn(ev, frame, span, args, kwargs)

    return Builtin(f"{rows.path}.nearest", nearest)


def _writer(rows: Held) -> Builtin:
    def write(ev: Evaluator, frame: Frame, span: Span, args: list[Any], kwargs: dict[str, Any]) -> None:
        if len(args) != 1 or kwargs:
            fail("E0206", span, f"`{rows.path}.write` takes one value, which becomes the row of its example")
        value = lift(args[0], frame, span, rows.type.dtype)
        if value.type.shape != rows.type.shape[1:]:
            message = f"a row has shape {shown(rows.type.shape[1:])}, and this has {shown(value.type.shape)}"
            fail("E0301", span, message, labels=((rows.span, "the memory"),))
        routine.written(ev, rows, lambda: _with_rows(ev, rows, value, frame, span), frame, span)

    return Builtin(f"{rows.path}.write", write)


def _with_rows(ev: Evaluator, rows: Held, value: Value, frame: Frame, span: Span) -> Value:
    """The memory with the examples' values in their rows, which differ: what changes is added at its place."""
    held, places = ev.held(rows, frame), _places(rows, frame, span)
    change = ev.spread(binary("-", value, add(frame, span, Op.TAKE, held, places, axis=0), frame, span), frame, span)
    joined = [add(frame, span, Op.BATCH_GATHER, v) for v in (change, places)]
    return add(frame, span, Op.ADD, held, add(frame, span, Op.SCATTER_ADD, *joined, axis=0, n=rows.type.shape[0]))


def _places(rows: Held, frame: Frame, span: Span) -> Value:
    """A row for each example, the same ones throughout an entry. While training they differ: a run of rows from a random one
    on; a sampler's depends on the seed of the example alone."""
    entry, size = frame.entry, rows.type.shape[0]
    assert entry is not None
    if (known := entry.places.get(rows.path)) is not None:
        return known
    outside = replace(frame, builder=entry.builder, indices=())
    training = entry.role == "objective"
    share = primitive(Op.UNIFORM, (), outside, span, training)
    first = add(outside, span, Op.CAST, add(outside, span, Op.FLOOR, binary("*", share, size, outside, span)), dtype="int")
    if training:
        first = binary("mod", binary("+", first, entry.bindings["batch.index"], outside, span), size, outside, span)
    entry.places[rows.path] = first
    return first
