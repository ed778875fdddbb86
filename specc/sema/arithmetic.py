"""Operators on values of either time: numbers fold while compiling, run-time values become nodes."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from specc.ir.ops import Op
from specc.ir.program import Value
from specc.ir.types import DType
from specc.sema import library
from specc.sema.frame import Frame
from specc.sema.report import fail
from specc.sema.values import (
    Ancestor,
    Applied,
    Builtin,
    Closure,
    Derivative,
    Held,
    Law,
    Marker,
    Namespace,
    Partial,
    Symbol,
    TypeRef,
    runtime,
)
from specc.source import Span

OPERATORS: dict[str, tuple[Op, Callable[[Any, Any], Any]]] = {
    "+": (Op.ADD, operator.add),
    "-": (Op.SUB, operator.sub),
    "*": (Op.MUL, operator.mul),
    "/": (Op.DIV, operator.truediv),
    "//": (Op.FLOORDIV, operator.floordiv),
    "^": (Op.POW, operator.pow),
    "@": (Op.MATMUL, operator.matmul),
    "==": (Op.EQ, operator.eq),
    "!=": (Op.NE, operator.ne),
    "<": (Op.LT, operator.lt),
    "<=": (Op.LE, operator.le),
    ">": (Op.LT, operator.gt),
    ">=": (Op.LE, operator.ge),
    "and": (Op.AND, lambda a, b: a and b),
    "or": (Op.OR, lambda a, b: a or b),
    "mod": (Op.MOD, operator.mod),
    "min": (Op.MIN, min),
    "max": (Op.MAX, max),
}

UNCHANGED = (("+", 0), ("-", 0), ("*", 1), ("//", 1))  # an integer, by these

LARGEST = 2**33  # elements of one tensor: beyond any machine that a spec is meant for
TABLE = 2**20  # of one that is shared by a schedule, and computed while checking
LONGEST = 100_000  # items of a list known while compiling
WHOLE = 2**63  # integers are 64 bits wide


def lift(value: Any, frame: Frame, span: Span, dtype: DType | None = None) -> Value:
    """A value as a run-time one: numbers become constants, lists of numbers vectors, and lists of such lists matrices."""
    if isinstance(value, Value):
        if dtype is DType.FLOAT and value.type.dtype is DType.INT:
            return frame.builder.add(Op.CAST, value, dtype="float", span=span)
        return value
    if isinstance(value, bool):
        return frame.builder.add(Op.CONST, value=value, shape=(), dtype="bool", span=span)
    if isinstance(value, int) and dtype is not DType.FLOAT:
        return frame.builder.add(Op.CONST, value=value, shape=(), dtype="int", span=span)
    if isinstance(value, (int, float)):
        return frame.builder.add(Op.CONST, value=float(value), shape=(), dtype="float", span=span)
    if isinstance(value, (list, tuple)) and (shape := rectangle(value)) is not None:
        return frame.builder.add(Op.CONST, value=tuple(_flat(value)), shape=shape, dtype="float", span=span)
    known(value)
    if isinstance(value, TypeRef):
        fail("E0304", span, "there is no example here, only its type", help="draw a value first, as in `z ~ normal(like = x)`")
    help = "draw from it first: `e ~ LAW`" if isinstance(value, Law) else ""
    return fail("E0304", span, f"a number or a tensor is needed here, not {describe(value)}", help=help)


def rectangle(value: Any) -> tuple[int, ...] | None:
    """The shape of a number, or of numbers in lists of one length within lists; None where it has none."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return ()
    if not isinstance(value, (list, tuple)) or not value:
        return None
    inner = {rectangle(v) for v in value}
    shape = inner.pop()
    return None if inner or shape is None else (len(value), *shape)


def _flat(value: Any) -> Iterator[float]:
    if isinstance(value, (list, tuple)):
        for v in value:
            yield from _flat(v)
    else:
        yield float(value)


def known(value: Any) -> Any:
    """The value, unless it is a word that names nothing."""
    if isinstance(value, (Symbol, Applied)):
        library.unknown(value)
    return value


def settled(value: Any, span: Span) -> None:
    """What stands among sections is known while compiling."""
    if runtime(value):
        help = "what is decided while compiling is made of numbers, not of tensors"
        fail("E0305", span, "this is computed when the program runs", help=help)


def shown(shape: Sequence[Any]) -> str:
    return "(" + ", ".join(map(str, shape)) + ")"


def describe(value: Any) -> str:
    """What a compile-time value is, in words."""
    match value:
        case Value():
            return f"{value.type}"
        case None:
            return "`none`"
        case bool():
            return "a truth value"
        case int() | float():
            return f"the number {value}"
        case str():
            return "a text"
        case list():
            return "a list"
        case tuple():
            return f"{len(value)} values"
        case TypeRef():
            return "a type"
        case Symbol():
            return f"the word `{value.id}`"
        case Closure() | Builtin() | Derivative():
            return "a function"
        case Partial():
            return f"`{value.definition.name}`, a {value.definition.kind}"
        case Ancestor():
            return f"the parent `{value.name}`"
        case Held():
            return f"the {'parameter' if value.trainable else 'state'} `{value.path}`"
        case Marker():
            return "an `input(...)`"
        case Namespace():
            return f"the group of functions `{value.name}`"
        case _:
            return f"a {type(value).__name__.lower()}"


def binary(op: str, a: Any, b: Any, frame: Frame, span: Span) -> Any:
    """`a op b`. Shapes must be equal unless one is a scalar."""
    row, compute = OPERATORS[op]
    if not isinstance(a, Value) and not isinstance(b, Value):
        return _static(op, compute, a, b, span)
    if op == "*" and -1 in (a if isinstance(a, (int, float)) else 0, b if isinstance(b, (int, float)) else 0):
        return negate(b if isinstance(b, Value) else a, frame, span)
    if (short := _identity(op, a, b, frame)) is not None:
        return short
    if op in (">", ">="):
        a, b = b, a
    dtypes = {v.type.dtype if isinstance(v, Value) else _dtype(v) for v in (a, b)}
    wide = DType.FLOAT if op == "/" or DType.FLOAT in dtypes else None
    x, y = lift(a, frame, span, wide), lift(b, frame, span, wide)
    if op == "@":
        return matmul(x, y, frame, span)
    if (pair := aligned((x, y), frame, span)) is None:
        left, right = _shape(x), _shape(y)
        message = f"shapes {left} and {right} differ, and nothing is broadcast silently"
        fail(
            "E0302",
            span,
            message,
            caption=f"{left} {op} {right}",
            help="say `expand(v, like = w)`, with `axis = ...` for the new axis",
        )
    x, y = pair
    if op == "+":
        for v, w in ((x, y), (y, x)):
            node = frame.builder.made_by(w)
            if node is not None and node.op is Op.NEG:  # v + -w is v - w
                return binary("-", v, node.inputs[0], frame, span)
    x, y = _unexpanded(x, y, frame), _unexpanded(y, x, frame)
    return add(frame, span, row, x, y)


def aligned(values: Sequence[Value], frame: Frame, span: Span) -> list[Value] | None:
    """Values whose shapes are equal, scalars aside; None where they are not. In an equation of one time, times for each
    element are made to lie along the leading axes of the others."""
    whole = max((v.type.shape for v in values), key=len)
    if any(v.type.shape not in ((), whole) and not (frame.lined and v.type.shape == whole[: v.type.rank]) for v in values):
        return None

    def full(v: Value) -> Value:
        shape = v.type.shape
        if shape in ((), whole):
            return v
        return add(frame, span, Op.RESHAPE, v, shape=(*shape, *(1,) * (len(whole) - len(shape))))

    return [full(v) for v in values]


def _static(op: str, compute: Callable[[Any, Any], Any], a: Any, b: Any, span: Span) -> Any:
    for v in (a, b):
        known(v)
    if op == "+" and isinstance(a, list) and isinstance(b, list):
        if len(a) + len(b) > LONGEST:
            fail("E0604", span, f"a list of {len(a) + len(b)} items", help=f"a list holds at most {LONGEST} items")
        return a + b
    if op in ("==", "!=", "and", "or"):
        return compute(a, b)
    numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in (a, b))
    if not numbers or op == "@":
        fail("E0304", span, f"`{op}` does not apply to {describe(a)} and {describe(b)}")
    if op == "^" and isinstance(a, int) and isinstance(b, int) and abs(b) * a.bit_length() > 128 and abs(a) > 1:
        a = float(a)
    try:
        out = compute(a, b)
    except (ZeroDivisionError, OverflowError, ValueError) as error:
        fail("E0601", span, f"this number does not exist: {error.args[-1]}".lower())
    if isinstance(out, complex) or (isinstance(out, float) and math.isnan(out)):
        fail("E0601", span, "this number does not exist: it is not real")
    if isinstance(out, float) and math.isinf(out):
        fail("E0601", span, "this number is too large for a float")
    return whole(out, span)


def whole(value: Any, span: Span) -> Any:
    """A number that fits: integers have 64 bits."""
    if isinstance(value, int) and not -WHOLE <= value < WHOLE:
        fail("E0601", span, "this number is too large for an integer of 64 bits", help="write it with a point, as in `1.0e30`")
    return value


def _identity(op: str, a: Any, b: Any, frame: Frame) -> Any:
    """x + 0, 1 * x and their like need no node; None when one is needed."""
    numbers = frame.lined and frame.kind == "function"  # an equation, where 0 stands for zeros of any shape
    if a == 1 and op == "*" and isinstance(a, int) and isinstance(b, Value) and b.type.dtype is DType.INT:
        return b
    if isinstance(a, Value) and a.type.dtype is DType.INT and type(b) is int and (op, b) in UNCHANGED:
        return a
    if isinstance(a, (int, float)) and not isinstance(a, bool) and isinstance(b, Value) and b.type.dtype is DType.FLOAT:
        if (a == 0 and op == "+") or (a == 1 and op == "*"):
            return b
        if a == 0 and op in ("*", "/") and (numbers or not b.type.shape):
            return 0
    if isinstance(b, (int, float)) and not isinstance(b, bool) and isinstance(a, Value) and a.type.dtype is DType.FLOAT:
        if (b == 0 and op in ("+", "-")) or (b == 1 and op in ("*", "/", "^")):
            return a
        if b == 0 and op == "*" and (numbers or not a.type.shape):
            return 0
    return None


def _dtype(value: Any) -> DType:
    return DType.FLOAT if isinstance(value, float) else DType.BOOL if isinstance(value, bool) else DType.INT


def _unexpanded(v: Value, other: Value, frame: Frame) -> Value:
    """The operand of an `expand` beside a value of the full shape: the op broadcasts by itself."""
    node = frame.builder.made_by(v)
    if node is None or node.op is not Op.EXPAND or other.type.shape != v.type.shape:
        return v
    whole = frame.builder.made_by(other)
    return v if whole is not None and whole.op is Op.EXPAND else node.inputs[0]


def _shape(value: Value) -> str:
    return shown(value.type.shape)


def negate(a: Any, frame: Frame, span: Span) -> Any:
    if isinstance(a, Value):
        return add(frame, span, Op.NEG, a)
    if isinstance(a, (int, float)):
        return -a
    return fail("E0304", span, f"`-` does not apply to {describe(a)}")


def invert(a: Any, frame: Frame, span: Span) -> Any:
    return add(frame, span, Op.NOT, a) if isinstance(a, Value) else not a


def matmul(x: Value, y: Value, frame: Frame, span: Span) -> Value:
    """`@`, with vectors as a row on the left and a column on the right."""
    left, right = x.type.rank == 1, y.type.rank == 1
    if left:
        x = add(frame, span, Op.RESHAPE, x, shape=(1, *x.type.shape))
    if right:
        y = add(frame, span, Op.RESHAPE, y, shape=(*y.type.shape, 1))
    out = add(frame, span, Op.MATMUL, x, y)
    if left or right:
        shape = out.type.shape
        out = add(frame, span, Op.RESHAPE, out, shape=shape[: -2 if left else -1] + (() if right else shape[-1:]))
    return out


def add(frame: Frame, span: Span, op: Op, *inputs: Value, **attrs: Any) -> Value:
    """Append a node; operands that do not fit become a located error."""
    try:
        out = frame.builder.add(op, *inputs, span=span, **attrs)
    except ValueError as error:
        fail("E0301", span, str(error))
    most = TABLE if frame.kind == "function" and not out.type.axes else LARGEST
    count = math.prod(d for d in out.type.shape if isinstance(d, int))
    if count > most:
        fail(
            "E0603",
            span,
            f"a tensor of shape {_shape(out)} has {count:.1e} elements",
            caption="too large",
            help=f"the largest here has {most:.1e}",
        )
    return out


def where(test: Any, a: Any, b: Any, frame: Frame, span: Span) -> Any:
    if not isinstance(test, Value):
        return a if test else b
    if a is b:
        return a
    dtypes = {v.type.dtype if isinstance(v, Value) else _dtype(v) for v in (a, b)}
    wide = DType.FLOAT if DType.FLOAT in dtypes else None
    x, y = lift(a, frame, span, wide), lift(b, frame, span, wide)
    operands = aligned((test, x, y), frame, span)
    if operands is None:
        fail("E0302", span, "the condition and its two values differ in shape", help="say `expand(v, like = w)`")
    return add(frame, span, Op.WHERE, *operands)
