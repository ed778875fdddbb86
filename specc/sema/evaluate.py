"""Evaluating expressions of the language while compiling: names are resolved, types inferred and nodes written in one walk.

Definitions are templates: their dimensions and knobs are known only where they are used, so resolving, inferring and
lowering happen together, at each use (docs/decisions/0001). Functions of run-time values become IR functions of the same
name, so that printed code keeps the author's equations; a body that draws, calls a network or needs its caller's values is
inlined instead.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, assert_never

from specc.diagnostics import SpecError
from specc.ir.ops import Op
from specc.ir.program import Value
from specc.sema import views
from specc.sema.arithmetic import LONGEST, add, binary, describe, invert, negate, where, whole
from specc.sema.calls import Calls
from specc.sema.frame import Frame
from specc.sema.report import did_you_mean, fail, moved
from specc.sema.values import (
    Closure,
    Definition,
    Derivative,
    Env,
    Instance,
    Law,
    Namespace,
    Network,
    ParameterSet,
    Partial,
    View,
    runtime,
    word_of,
)
from specc.source import Span
from specc.syntax import tree

DEEPEST = 400  # expressions within expressions, through the bodies of what they call
MOST_WORK = 250_000  # expressions evaluated for one model: about a second


@dataclass(slots=True, kw_only=True)
class Evaluator(Calls):
    """Evaluates expressions."""

    def expr(self, node: tree.Expr, env: Env, frame: Frame, *, symbols: bool = False) -> Any:
        """The value of an expression."""
        self.depth += 1
        self.work += 1
        if self.depth > DEEPEST:
            self.depth = 0
            fail("E0604", node.span, "definitions nest too deep here: does one call itself without an end?")
        if self.work > MOST_WORK:
            fail(
                "E0604",
                node.span,
                "this model takes too long to write out",
                caption=f"reached after {MOST_WORK} steps",
                help="use a loop of the program (`for`, `repeat`) in place of `static for` or recursion",
            )
        try:
            return self._expr(node, env, frame, symbols)
        except SpecError as error:
            raise moved(error, node.span) from None
        finally:
            self.depth = max(self.depth - 1, 0)

    def _expr(self, node: tree.Expr, env: Env, frame: Frame, symbols: bool) -> Any:
        match node:
            case tree.Name(id="none"):
                return None
            case tree.Name():
                return self.lookup(node.id, env, frame, node.span, symbols=symbols)
            case tree.Number():
                return whole(node.value, node.span)
            case tree.Bool():
                return node.value
            case tree.String():
                return self.text(node, env, frame)
            case tree.Paren():
                return self.expr(node.value, env, frame, symbols=symbols)
            case tree.Unary(op="-"):
                return negate(self.expr(node.operand, env, frame), frame, node.span)
            case tree.Unary():
                return invert(self.expr(node.operand, env, frame), frame, node.span)
            case tree.Binary():
                return self.operator(node, env, frame)
            case tree.Ternary():
                test = self.expr(node.test, env, frame)
                if not isinstance(test, Value):
                    return self.expr(node.then if test else node.other, env, frame, symbols=symbols)
                return where(test, self.expr(node.then, env, frame), self.expr(node.other, env, frame), frame, node.span)
            case tree.Lambda():
                params = tuple(tree.Arg(span=node.span, name=p, type=None, value=None) for p in node.params)
                return Closure("", params, node.body, env, id(node), node.span)
            case tree.Call():
                return self.call_node(node, env, frame, symbols=symbols)
            case tree.Index():
                return self.index(node, env, frame)
            case tree.Attribute():
                return self.attribute(node, env, frame)
            case tree.Prime():
                return self.prime(node, env, frame)
            case tree.Tuple():
                return tuple(self.expr(e, env, frame, symbols=symbols) for e in node.items)
            case tree.List():
                return [self.expr(e, env, frame, symbols=symbols) for e in node.items]
            case tree.Comprehension():
                items = self.static_list(self.expr(node.iterable, env, frame), node.iterable.span)
                return [self.expr(node.value, bind_pattern(env, node.pattern, v, node.span), frame) for v in items]
            case _:
                assert_never(node)

    def text(self, node: tree.String, env: Env, frame: Frame) -> str:
        """A text; `{i}` inside it is the value of a compile-time name."""

        def value(name: re.Match[str]) -> str:
            held = env.find(name[1])[1]
            return str(held) if isinstance(held, (str, int, float)) else name[0]

        out = re.sub(r"\{(\w+)\}", value, node.value)
        if len(out) > LONGEST:
            fail("E0604", node.span, f"a text of {len(out)} characters", help=f"a text has at most {LONGEST} characters")
        return out

    def operator(self, node: tree.Binary, env: Env, frame: Frame) -> Any:
        if node.op == "|>":
            right = node.right
            args = right.args if isinstance(right, tree.Call) else ()
            func = right.func if isinstance(right, tree.Call) else right
            first = tree.Arg(span=node.left.span, name=None, type=None, value=node.left)
            return self.call_node(tree.Call(span=node.span, func=func, args=(first, *args)), env, frame)
        a = self.expr(node.left, env, frame)
        if node.op in ("and", "or") and not isinstance(a, Value):
            return (a and self.expr(node.right, env, frame)) if node.op == "and" else (a or self.expr(node.right, env, frame))
        word = word_of(a) if node.op in ("==", "!=") else None
        b = self.expr(node.right, env, frame, symbols=word is not None or (a is None and node.op in ("==", "!=")))
        if node.op == "..":
            return self.span_of_integers(a, b, node)
        if node.op in ("==", "!=") and (a is None or b is None):
            return (a is b) == (node.op == "==")
        if word is not None and word_of(b) is not None:  # `if positions == rotary`
            return (word == word_of(b)) == (node.op == "==")
        return binary(node.op, a, b, frame, node.span)

    def span_of_integers(self, a: Any, b: Any, node: tree.Binary) -> Any:
        if isinstance(a, int) and isinstance(b, int):
            if abs(b - a) > 1_000_000:
                fail("E0604", node.span, f"a range of {abs(b - a) + 1} numbers", help="a range has at most a million")
            return range(a, b + 1) if a <= b else range(a, b - 1, -1)
        if isinstance(a, int) and isinstance(b, Value):
            return (a, b)
        return fail("E0305", node.span, "the ends of a range must be integers, the first one known while compiling")

    def index(self, node: tree.Index, env: Env, frame: Frame) -> Any:
        value = self.expr(node.value, env, frame)
        if isinstance(value, Network):
            patterns = [self.expr(i, env, frame) for i in node.items if not isinstance(i, tree.Slice)]
            if len(patterns) != len(node.items) or not all(isinstance(p, str) for p in patterns):
                fail("E0304", node.span, "a set of parameters is named by patterns of paths", help='as in `G["*.bias"]`')
            return ParameterSet(tuple(f"{value.bundle}.{p}" for p in patterns))
        if isinstance(value, (list, tuple)):
            i = self.expr(node.items[0], env, frame) if not isinstance(node.items[0], tree.Slice) else None
            if isinstance(i, Value) and value and all(type(v) is int for v in value):
                table = add(frame, node.span, Op.CONST, value=tuple(value), shape=(len(value),), dtype="int")
                return add(frame, node.span, Op.TAKE, table, i, axis=0)
            if not isinstance(i, int):
                fail("E0305", node.span, "an index into a list must be an integer known while compiling")
            if not -len(value) <= i < len(value):
                fail("E0303", node.span, f"the list has {len(value)} items: there is no item {i}", help="indices count from 0")
            return value[i]
        if not isinstance(value, Value):
            fail("E0304", node.span, f"{describe(value)} has no items")
        axis = 0
        for item in node.items:
            value, kept = self._index_one(value, item, axis, env, frame)
            axis += kept
        return value

    def _index_one(self, value: Value, item: tree.Expr | tree.Slice, axis: int, env: Env, frame: Frame) -> tuple[Value, int]:
        if axis >= value.type.rank:
            fail("E0303", item.span, f"a value of {value.type.rank} dimensions has no dimension {axis}")
        n = value.type.shape[axis]
        if isinstance(item, tree.Slice):
            ends = [self.expr(e, env, frame) if e is not None else d for e, d in ((item.start, 0), (item.stop, n))]
            if not all(isinstance(e, int) for e in ends):
                fail("E0305", item.span, "the ends of a slice must be integers known while compiling")
            start, stop = (int(e) + int(n) if int(e) < 0 else int(e) for e in ends)
            return add(frame, item.span, Op.SLICE, value, axis=axis, start=start, stop=stop, step=1), 1
        i = self.expr(item, env, frame)
        if isinstance(i, tuple):
            fail("E0305", item.span, "the ends of a range of items must be integers known while compiling")
        if isinstance(i, Value):
            return add(frame, item.span, Op.TAKE, value, i, axis=axis), 0
        if not isinstance(i, int) or not isinstance(n, int) or not -n <= i < n:
            fail("E0303", item.span, f"there is no item {i} among {n}", help="indices count from 0")
        return self.item(value, i % n, frame, item.span, axis), 0

    def item(self, value: Value, i: int, frame: Frame, span: Span, axis: int = 0) -> Value:
        """The i-th of what a value has along an axis."""
        part = add(frame, span, Op.SLICE, value, axis=axis, start=i, stop=i + 1, step=1)
        shape = value.type.shape[:axis] + value.type.shape[axis + 1 :]
        return add(frame, span, Op.RESHAPE, part, shape=shape)

    def attribute(self, node: tree.Attribute, env: Env, frame: Frame) -> Any:
        value = self.expr(node.value, env, frame)
        match value:
            case Namespace():
                if node.name not in value.members:
                    hint = did_you_mean(node.name, value.members)
                    fail("E0201", node.span, f"`{value.name}` has no `{node.name}`", help=hint)
                return self.settle(value.members[node.name], frame, node.name)
            case Law():
                return self.of_law(value, node.name, frame, node.span)
            case Network(partial=Partial(definition=Definition(kind="bijection"))):
                return self.towards(value, node.name, frame, node.span)
            case Partial(definition=Definition(kind="bijection")):
                return self.towards(value, node.name, frame, node.span)
            case View():
                return views.member(self, value, node.name, frame, node.span)
            case Instance() | Partial():
                instance = value if isinstance(value, Instance) else self.instantiate(value, frame)
                if node.name not in instance.members:
                    name = instance.definition.name
                    fail("E0201", node.span, f"`{name}` has no `{node.name}`", help=did_you_mean(node.name, instance.members))
                return self.settle(instance.members[node.name], frame, node.name)
            case _:
                return fail("E0304", node.span, f"{describe(value)} has no `{node.name}`")

    def prime(self, node: tree.Prime, env: Env, frame: Frame) -> Derivative:
        value = self.expr(node.value, env, frame)
        if not isinstance(value, (Closure, Derivative)):
            fail("E0304", node.span, f"only a function has a derivative, not {describe(value)}")
        if isinstance(value, Closure) and len(value.params) != 1:
            fail("E0304", node.span, f"`{value.name}'` is ambiguous: the function has {len(value.params)} arguments")
        return Derivative(value)

    def static_list(self, value: Any, span: Span) -> Sequence[Any]:
        if isinstance(value, (range, list)) or (isinstance(value, tuple) and not runtime(value)):
            return value
        return fail("E0305", span, f"a list or a range known while compiling is needed here, not {describe(value)}")


def bind_pattern(env: Env, pattern: tuple[str, ...], value: Any, span: Span) -> Env:
    """An environment in which the names of a pattern stand for a value, or for its items."""
    if len(pattern) == 1:
        return env.child(**{pattern[0]: value})
    if not isinstance(value, (tuple, list)) or len(value) != len(pattern):
        fail("E0304", span, f"{len(pattern)} names for {describe(value)}")
    return env.child(**dict(zip(pattern, value, strict=True)))
