"""Bare parameters of a network, and what parameters start from."""

from __future__ import annotations

from typing import Any

from specc.ir.ops import Op
from specc.sema import starts
from specc.sema.arithmetic import add, describe
from specc.sema.evaluate import Evaluator
from specc.sema.frame import Frame
from specc.sema.report import fail
from specc.sema.values import Builtin, Env, Law, Symbol, TypeRef
from specc.source import Span
from specc.syntax import tree


def parameter(ev: Evaluator, item: tree.Section, env: Env, frame: Frame) -> None:
    """`param w: matrix(n, d) = normal(0.02)`"""
    if frame.kind != "network":
        fail("E0309", item.span, "a bare parameter belongs in a network")
    if not isinstance(item.head, tree.Name) or item.type is None:
        fail("E0304", item.span, "a parameter is written `param NAME: TYPE = START`")
    if item.law is not None:
        fail("E0204", item.law.span, "a network's parameter starts with `=`", help="as in `param w: vector(8) = normal(0.02)`")
    kind = ev.expr(item.type, env, frame)
    if not isinstance(kind, TypeRef):
        fail("E0304", item.type.span, f"{describe(kind)} is not a type")
    path = frame.stem(item.head.id)
    first = starts.of_first_batch(item.values[0]) if item.values else None
    init: tuple[Any, ...] = ("zeros",) if first is None else ("ones",)
    if item.values and first is None:
        init = initial(ev.expr(item.values[0], env, frame, symbols=True), item.values[0].span)
    made = add(frame, item.span, Op.PARAM, path=path, shape=kind.type.shape, init=init)
    env.names[item.head.id] = frame.builder.name(made, item.head.id)
    if first is not None and frame.starts is not None:
        start = starts.value(ev, first, kind.type, env, frame)
        frame.starts.append((path, made, frame.builder.name(start, item.head.id)))


def initial(value: Any, span: Span) -> tuple[Any, ...]:
    """Starting values as the IR writes them."""
    match value:
        case Symbol(id="zeros" | "ones" as word):
            return (word,)
        case Builtin(name="zeros" | "ones" as word):
            return (word,)
        case Builtin(name="normal"):
            return ("normal", 1.0)
        case bool():
            pass
        case int() | float():
            return ("zeros",) if value == 0 else ("ones",) if value == 1 else ("constant", float(value))
        case Law(name="normal" | "uniform" as kind, numbers=numbers) if (size := _spread(kind, *numbers.values())) is not None:
            return (kind, size)
        case _:
            pass
    return fail(
        "E0304",
        span,
        f"{describe(value)} is not a start for parameters",
        help="say `zeros`, `ones`, a number, `normal` or `normal(0.02)`",
    )


def _spread(kind: str, first: Any, second: Any) -> float | None:
    """The size of a law around zero as a start for parameters: `normal(0.02)`, `normal(0, 0.02)`, `uniform(-0.1, 0.1)`."""
    if not all(isinstance(v, (int, float)) for v in (first, second)):
        return None
    if second == 1 and first > 0:  # one number is the size
        return float(first)
    return float(second) if first == (0 if kind == "normal" else -second) else None
