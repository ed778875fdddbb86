"""Equations as functions of the IR: written once for each combination of argument types; derivatives by the one engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from specc.ir import derivatives
from specc.ir.ops import OPS, Op
from specc.ir.program import Block, Builder, Function, Ids, Node, Value
from specc.ir.types import EXAMPLE, FLOAT, Type
from specc.record import record
from specc.reference.interpret import evaluate
from specc.sema import library
from specc.sema.arithmetic import describe, lift
from specc.sema.frame import Frame
from specc.sema.report import fail
from specc.sema.values import Captures, Closure, Derivative, Env, Symbol, freeze, runtime
from specc.source import Source, Span
from specc.syntax import tree

NOWHERE = Span(Source("", ""), 0, 0)


@record
class Given:
    """What a function of run-time values comes to when it just gives one of its arguments."""

    place: int


@dataclass(slots=True, kw_only=True)
class Functions(ABC):
    """The functions written so far. What evaluates bodies and calls is the evaluator built on this."""

    ids: Ids = field(default_factory=Ids)
    functions: dict[str, Function] = field(default_factory=dict)
    memo: dict[Any, Any] = field(default_factory=dict)
    fixed: set[int] = field(default_factory=set)  # what `solve` found without rounds for gradients to pass

    @abstractmethod
    def body(self, body: tree.Expr | tuple[tree.Expr, ...] | tree.Block, env: Env, frame: Frame) -> Any:
        """The value of a function's body."""

    @abstractmethod
    def slope(self, f: Derivative, value: Value, frame: Frame, span: Span) -> Any:
        """`f'` at a value where f uses run-time values from around it, such as parameters: by a gradient in place."""

    @abstractmethod
    def call(self, func: Any, args: list[Any], kwargs: dict[str, Any], frame: Frame, span: Span, node: object = None) -> Any:
        """Apply a function of any sort."""

    def outlined(self, f: Closure, bound: list[Any], frame: Frame, span: Span) -> Any:
        """A call of the IR function that this function is for these types; written on first use."""
        values = tuple(v for v in bound if isinstance(v, Value))
        key = ("outline", f.key, tuple(v.type if isinstance(v, Value) else freeze(v) for v in bound))
        if key not in self.memo:
            self.memo[key] = self._outline(f, bound)
        made = self.memo[key]
        if made is Captures:
            raise Captures
        if isinstance(made, Given):
            return bound[made.place]
        if not isinstance(made, Function):
            return made
        types = tuple(r.type for r in made.block.results)
        out = frame.builder.add_many(Op.CALL, *values, function=made.name, bundle=None, lanes=1, types=types, span=span)
        return out[0] if len(out) == 1 else out

    def _outline(self, f: Closure, bound: list[Any]) -> Any:
        floor = self.ids.last
        inner = Frame(builder=Builder(self.ids), kind="function", floor=max(floor, 1), span=f.span, lined=True)
        env = f.env.child()
        for p, v in zip(f.params, bound, strict=True):
            assert p.name is not None
            env.names[p.name] = inner.builder.param(v.type, p.name) if isinstance(v, Value) else v
        inner.like = next((v for v in inner.builder.params if EXAMPLE in v.type.axes), None)
        try:
            result = self.body(f.body, env, inner)
        except Captures:
            return Captures
        if not runtime(result):
            return result
        for place, p in enumerate(f.params):
            if isinstance(result, Value) and result is env.names[p.name or ""]:
                return Given(place)
        results = tuple(lift(r, inner, f.span) for r in (result if isinstance(result, tuple) else (result,)))
        name = self.unique(f.name or "f")
        said = f.span.text.split("{")[0] if isinstance(f.body, tree.Block) else f.span.text
        text = f.label or " ".join(said.split())
        made = Function(name=name, kind="function", block=inner.builder.block(*results), doc=text, span=f.span)
        self.functions[name] = made
        return made

    def constant(self, value: Value, frame: Frame) -> np.ndarray | None:
        """A run-time value that depends on numbers alone, worked out in double precision; None where it depends on more."""
        order: list[Node] = []
        seen: set[int] = set()

        def visit(v: Value) -> bool:
            node = frame.builder.made_by(v)
            if node is None or node.regions or not (OPS[node.op].pure or node.op is Op.CALL):
                return False
            if node.op in (Op.PARAM, Op.NORMAL, Op.UNIFORM, Op.GRAD) or node.get("bundle") is not None or v.type.axes:
                return False
            if node.outputs[0].id in seen:
                return True
            seen.add(node.outputs[0].id)
            if not all(visit(w) for w in node.inputs):
                return False
            order.append(node)
            return True

        if not visit(value):
            return None
        block = Block(params=(), nodes=tuple(order), results=(value,))
        made = Function(name="constant", kind="function", block=block)
        return np.asarray(evaluate(made, [], self.functions)[0])

    def unique(self, name: str) -> str:
        taken, count = name, 1
        while taken in self.functions:
            count += 1
            taken = f"{name}.{count}"
        return taken

    def call_derivative(self, f: Derivative, args: list[Any], frame: Frame, span: Span) -> Any:
        """`f'(t)`: the IR function of f is differentiated by the one engine; of many numbers, for each of them."""
        if len(args) != 1:
            fail("E0206", span, "a derivative takes one argument")
        value = args[0]
        if not isinstance(value, Value):
            if isinstance(value, Symbol):
                library.unknown(value)
            if not isinstance(value, (int, float)):
                fail("E0304", span, f"a derivative is taken at a number, not at {describe(value)}")
            return self.numeric(f, float(value))
        try:
            function = self.derivative(f, value.type, span)
        except Captures:
            return self.slope(f, value, frame, span)
        if not isinstance(function, Function):
            return function
        out = function.block.results[0]
        return frame.builder.add(Op.CALL, value, function=function.name, bundle=None, lanes=1, types=(out.type,), span=span)

    def derivative(self, f: Derivative | Closure, type: Type, span: Span) -> Any:
        """The IR function of f or of its derivative for an argument of this type; a number when it is constant.

        Raises Captures when f uses run-time values from around it.
        """
        key = ("derivative" if isinstance(f, Derivative) else "plain", _key(f), type)
        if key in self.memo:
            return self.memo[key]
        if isinstance(f, Closure):
            probe = Frame(builder=Builder(self.ids), kind="entry", span=span)
            value = probe.builder.param(type, f.params[0].name)
            result = self.outlined(replace(f, outline=True), [value], probe, span)
            made: Any = result
            if isinstance(result, Value):
                node = probe.builder.made_by(result)
                made = self.functions[node["function"]] if node is not None else self._identity(type)
        else:
            inner = self.derivative(f.of, type, span)
            if not isinstance(inner, Function):
                made = 0
            else:
                try:
                    made = derivatives.derivative_function(self.functions, inner, 0, self.ids)
                except ValueError as error:
                    fail("E0304", _root(f).span, f"`{_root(f).name}` has no derivative in one number: {error}")
                if made is None:
                    made = 0
                elif (
                    isinstance(made, Function)
                    and {n.op for n in made.block.nodes} <= {Op.CONST, Op.SPREAD}
                    and made.block.nodes
                ):
                    made = made.block.nodes[0]["value"]
                elif isinstance(made, Function):
                    made = replace(made, name=self.unique(made.name), doc=made.doc or f"d/dt of {inner.name}")
                    self.functions[made.name] = made
        self.memo[key] = made
        return made

    def _identity(self, type: Type) -> Function:
        builder = Builder(self.ids)
        made = Function(name=self.unique("identity"), kind="function", block=builder.block(builder.param(type, "t")), doc="t")
        self.functions[made.name] = made
        return made

    def numeric(self, f: Any, *values: float) -> float:
        """A function of numbers at numbers, through the reference interpreter when it is a derivative. Nothing stays of it."""
        functions, memo = dict(self.functions), dict(self.memo)
        try:
            return self._number(f, *values)
        finally:
            for kept, before in ((self.functions, functions), (self.memo, memo)):
                kept.clear()
                kept.update(before)

    def _number(self, f: Any, *values: float) -> float:
        if isinstance(f, Derivative):
            made = self.derivative(f, FLOAT, NOWHERE)
            given = [np.asarray(values[0])]
        else:
            probe = Frame(builder=Builder(self.ids), kind="function", floor=0)
            made = self.call(f, list(values), {}, probe, NOWHERE)
            given = []
            if isinstance(made, Value):
                made = Function(name="probe", kind="function", block=probe.builder.block(made))
        try:
            out = np.asarray(evaluate(made, given, self.functions)[0] if isinstance(made, Function) else made)
        except IndexError:
            fail("E0303", NOWHERE, "this asks for an item that does not exist", help="indices count from 0")
        if out.shape or out.dtype.kind not in "fi":
            fail("E0304", NOWHERE, "this should be one number", help="a function of time, or of numbers, gives a number")
        return float(out)


def _key(f: Closure | Derivative) -> Any:
    return ("prime", _key(f.of)) if isinstance(f, Derivative) else f.key


def _root(f: Closure | Derivative) -> Closure:
    return f if isinstance(f, Closure) else _root(f.of)
