"""Evaluating expressions of the language while compiling: names are resolved, types inferred and nodes written in one walk.

Definitions are templates: their dimensions and knobs are known only where they are used, so resolving, inferring and
lowering happen together, at each use (docs/decisions/0001). Functions of run-time values become IR functions of the same
name, so that printed code keeps the author's equations; a body that draws, calls a network or needs its caller's values is
inlined instead.
"""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, assert_never

import numpy as np

from specc.diagnostics import Diagnostic, SpecError
from specc.ir.ops import Op
from specc.ir.program import Input, Start, Value
from specc.ir.types import EXAMPLE, FLOAT, INT, DType, Shape
from specc.sema import library, views
from specc.sema.arithmetic import LONGEST, add, binary, describe, invert, lift, matmul, negate, settled, where, whole
from specc.sema.frame import Frame
from specc.sema.functions import NOWHERE, Functions
from specc.sema.members import EQUATIONS
from specc.sema.members import members as members_of
from specc.sema.report import choices, did_you_mean, fail, foreign, moved
from specc.sema.values import (
    Applied,
    Bound,
    Builtin,
    Bundles,
    Captures,
    Clock,
    Closure,
    Definition,
    Derivative,
    Dynamic,
    Env,
    Held,
    Instance,
    Law,
    Lazy,
    Marker,
    Namespace,
    Network,
    ParameterSet,
    Partial,
    Symbol,
    TypeRef,
    View,
    freeze,
    runtime,
    word_of,
)
from specc.sema.views import Borrowed
from specc.source import Span
from specc.syntax import tree

DEEPEST = 400  # expressions within expressions, through the bodies of what they call
MOST_WORK = 250_000  # expressions evaluated for one model: about a second
SMALL = 36  # entries of a matrix that is written out in numbers
# Definitions that an expression may call by their bare name
FUNCTION_KINDS = ("grid", "network", "bijection", "law", "function")

__all__ = ["Evaluator", "matmul"]


@dataclass(slots=True, kw_only=True)
class Evaluator(Functions):
    """The state of elaborating one model: functions written so far, diagnostics, and the names of the model's world."""

    builtins: Env
    world: Env
    user: dict[tuple[str, str], tuple[Definition, Env]] = field(default_factory=dict)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    guidance: Instance | None = None
    networks: dict[str, Network] = field(default_factory=dict)
    classes: dict[int, int] = field(default_factory=dict)  # value number -> number of indices of a class, null included
    groups: dict[tuple[str, Span], int] = field(default_factory=dict)  # groups of examples: role of the entry, place; how many
    state: TypeRef | None = None  # what the process turns examples into
    held_by: dict[str, Held] = field(default_factory=dict)  # bare parameters and states, by path
    files: dict[str, str] = field(default_factory=dict)
    types: dict[str, TypeRef] = field(default_factory=dict)  # what the model's bijections map, by bundle
    interfaces: tuple[str, ...] = ()  # what definitions of the library may be for in this model
    family: dict[str, str] = field(default_factory=dict)  # functions over the parameters of another one, and that one
    starts: list[Start] = field(default_factory=list)  # of parameters that the first batch decides
    used: set[int] = field(default_factory=set)  # ids of parameters (tree nodes) that some body read
    touched: set[str] = field(default_factory=set)  # names of the world that were asked for
    depth: int = 0
    work: int = 0  # expressions evaluated so far
    through: tuple[Bundles, ...] = ()  # the views that this evaluator looks through
    borrowed: dict[str, Borrowed] = field(default_factory=dict)  # paths of networks with weights of others, and whose they are
    instead: tuple[tuple[str, Network], ...] = ()  # patched networks in place of the model's own
    marks: dict[str, dict[str, int]] = field(default_factory=dict)  # by function: tags, and the numbers of the values they name
    tried: dict[str, np.ndarray] = field(default_factory=dict)  # random weights of what the process's equations read, by path
    node: object = None  # the call being evaluated, for tags

    @abstractmethod
    def run_body(self, block: tree.Block, env: Env, frame: Frame) -> Any:
        """Run statements and give what they return."""

    @abstractmethod
    def call_network(
        self, net: Network, args: list[Any], kwargs: dict[str, Any], frame: Frame, span: Span, node: object
    ) -> Any:
        """A call of one of the model's own networks."""

    @abstractmethod
    def law(self, part: Partial, args: list[Any], kwargs: dict[str, Any], frame: Frame, span: Span) -> Law:
        """A law that is defined in the language, with its numbers."""

    @abstractmethod
    def of_law(self, law: Law, name: str, frame: Frame, span: Span) -> Any:
        """What a law says under a name: `q.mean`, `q.logp`."""

    @abstractmethod
    def towards(self, net: Network | Partial, way: str, frame: Frame, span: Span) -> Any:
        """A direction of a bijection as a function, or the space that it leads to."""

    @abstractmethod
    def call_part(self, part: Partial, args: list[Any], kwargs: dict[str, Any], frame: Frame, span: Span, node: object) -> Any:
        """A call of a network's definition inside another network."""

    # Names -------------------------------------------------------------------------------------------------------

    def lookup(self, name: str, env: Env, frame: Frame, span: Span, *, symbols: bool = False) -> Any:
        """What a name means here. With `symbols`, an unknown word stands for itself."""
        found, value = env.find(name)
        if found:
            return self.settle(value, frame, name)
        for kind in FUNCTION_KINDS:
            if (definition := self.definition(kind, name)) is not None:
                return Partial(definition[0], span=span, env=definition[1])
        if symbols:
            return Symbol(name, span, env)
        return library.unknown(Symbol(name, span, env))

    def settle(self, value: Any, frame: Frame, name: str = "") -> Any:
        """A stored value as it is at this place: inputs become values of the entry, lazy members are evaluated."""
        match value:
            case Lazy():
                try:
                    return self.small(self.expr(value.value, value.env, frame), frame)
                except SpecError as error:
                    raise moved(error, value.env.asked()) from None
            case Held():
                return self.held(value, frame)
            case Clock():
                return self.clock(value.name, frame)
            case Dynamic():
                if frame.entry is None or value.name not in frame.entry.bindings:
                    raise Captures
                frame.entry.used.add(value.name)
                return frame.entry.bindings[value.name]
            case Marker():
                return self.input(value, frame)
            case Value() | list() | tuple():
                if frame.floor and any(v.id <= frame.floor for v in _values(value)):
                    raise Captures
                return value
            case _:
                return value

    def small(self, value: Any, frame: Frame) -> Any:
        """A matrix of a few numbers, such as a drift, as these numbers rather than as what they are computed from."""
        if not isinstance(value, Value) or value.type.rank != 2 or not _few(value.type.shape):
            return value
        array = self.constant(value, frame)
        return value if array is None or array.dtype.kind != "f" else lift(array.tolist(), frame, frame.span or NOWHERE)

    def held(self, held: Held, frame: Frame) -> Any:
        """A bare parameter or a state as an entry reads it. Among sections, and in sets of parameters, it stands for itself."""
        entry = frame.entry
        if frame.kind == "model":
            return held
        if entry is None:
            raise Captures
        path, origin = views.place(self.through, held.path)
        if origin is not None:
            path = views.bare(self, path, origin)
            trainable = held.trainable and origin.bundles.kind == "copy"
            self.held_by[path] = held = replace(held, path=path, trainable=trainable, start=None)
        if held.path in entry.walk.states:
            return entry.walk.states[held.path]
        dtype = {} if held.type.dtype is DType.FLOAT else {"dtype": held.type.dtype.value}
        outside = replace(frame, builder=entry.builder, indices=())  # no weight lives in a loop
        made = add(outside, held.span, Op.PARAM, path=held.path, shape=held.type.shape, init=held.init, **dtype)
        return made if held.through is None else self.call(held.through, [made], {}, outside, held.span)

    def clock(self, name: str, frame: Frame) -> Value:
        """`step` and `progress`: how far training is, an input of the objective at hand."""
        entry = frame.entry
        if entry is None or entry.role != "objective":
            raise Captures
        if name not in entry.clock:
            type_ = INT if name == "step" else FLOAT
            entry.clock[name] = entry.builder.param(type_, name)
            entry.inputs.append(Input(name=name, role=name, type=type_))
        return entry.clock[name]

    def input(self, marker: Marker, frame: Frame) -> Any:
        """An `input(...)`: an input of the sampler's graph; its default everywhere else."""
        if frame.kind == "function":
            raise Captures
        entry = frame.entry
        if entry is None or entry.role == "objective":
            return marker.default
        if id(marker) not in entry.markers:
            dtype = lift(marker.default, frame, frame.span or NOWHERE).type
            taken = {i.name for i in entry.inputs}
            name = marker.name if marker.name not in taken else f"{marker.name}_{len(taken)}"
            entry.markers[id(marker)] = entry.builder.param(dtype, name)
            entry.inputs.append(Input(name=name, role="argument", type=dtype, default=marker.default))
        return entry.markers[id(marker)]

    def definition(self, kind: str, name: str) -> tuple[Definition, Env] | None:
        """A definition of the user's file, or of the library."""
        if (kind, name) in self.user:
            return self.user[kind, name]
        found = library.find(kind, name, self.interfaces)
        return (found, self.world) if found else None

    # Expressions -------------------------------------------------------------------------------------------------

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

    # Calls -------------------------------------------------------------------------------------------------------

    def call_node(self, node: tree.Call, env: Env, frame: Frame, *, symbols: bool = False) -> Any:
        func = self.expr(node.func, env, frame, symbols=symbols)
        if isinstance(func, Builtin) and func.name == "unconditional":
            return self.unconditional(node, env, frame)
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for a in node.args:
            if a.value is None:
                fail("E0206", a.span, "an argument needs a value")
            value = self.expr(a.value, env, frame, symbols=True)
            if a.name is None:
                args.append(value)
            elif a.name in kwargs:
                fail("E0206", a.span, f"`{a.name}` is given twice")
            else:
                kwargs[a.name] = value
        self.node = node
        return self.call(func, args, kwargs, frame, node.span, node)

    def slope(self, f: Derivative, value: Value, frame: Frame, span: Span) -> Any:
        at = self.spread(value, frame, span)  # what f makes of it may vary by example, whatever it is given
        out = self.call(f.of, [at], {}, frame, span)
        return self.call(self.builtins.names["grad"], [out, at], {}, frame, span) if isinstance(out, Value) else 0

    def unconditional(self, node: tree.Call, env: Env, frame: Frame) -> Any:
        """`unconditional(e)`: e with every condition at its null value."""
        entry = frame.entry
        if entry is None:
            raise Captures
        if not entry.conditions:
            fail(
                "E0308",
                node.span,
                "there is no condition to leave out",
                help="declare one: `condition y: class(10) with { drop = 0.1 }`",
            )
        before, entry.null = entry.null, True
        try:
            return self.expr(_value(node.args[0]), env, frame)
        finally:
            entry.null = before

    def call(self, func: Any, args: list[Any], kwargs: dict[str, Any], frame: Frame, span: Span, node: object = None) -> Any:
        """Apply a function of any sort."""
        match func:
            case Builtin():
                if _of_bijections(args) and (own := self.definition("bijection", func.name)) is not None:
                    return self.call(Partial(own[0], span=span, env=own[1]), args, kwargs, frame, span, node)
                return func.fn(self, frame, span, args, kwargs)
            case Closure():
                return self.call_closure(func, args, kwargs, frame, span)
            case Derivative():
                return self.call_derivative(func, args, frame, span)
            case Network():
                return self.call_network(func, args, kwargs, frame, span, node)
            case View(network=Network()):
                return views.call(self, Bound(func, func.network), args, kwargs, frame, span, node)
            case Bound():
                return views.call(self, func, args, kwargs, frame, span, node)
            case Partial(definition=Definition(kind="network" | "backbone" | "bijection")):
                return self.call_part(func, args, kwargs, frame, span, node)
            case Partial(definition=Definition(kind="law")):
                return self.law(func, args, kwargs, frame, span)
            case Partial():
                merged = replace(func, args=(*func.args, *args), kwargs=(*func.kwargs, *kwargs.items()), span=span)
                if _incomplete(merged):
                    return merged
                if merged.definition.kind == "function":
                    return self.call_function(merged, frame)
                return self.run(self.instantiate(merged, frame), frame, span)
            case Instance():
                return self.run(func, frame, span)
            case Symbol():
                return Applied(func, tuple(args), tuple(kwargs.items()), span)
            case _:
                return fail("E0207", span, f"{describe(func)} is not a function")

    def bind(
        self,
        name: str,
        params: tuple[tree.Arg, ...],
        args: Sequence[Any],
        kwargs: dict[str, Any],
        env: Env,
        frame: Frame,
        span: Span,
    ) -> Env:
        """An environment with a definition's or a function's parameters bound."""
        inner = env.child()
        args = _collected(params, args)
        if len(args) > len(params):
            fail("E0206", span, f"`{name}` takes {len(params)} arguments, not {len(args)}")
        given = dict(zip((p.name for p in params), args, strict=False))
        for key, value in kwargs.items():
            if key in given:
                fail("E0206", span, f"`{name}` is given `{key}` twice")
            if key not in {p.name for p in params}:
                known = {p.name or "" for p in params}
                help = did_you_mean(key, known) or (
                    f"its knobs are {', '.join(f'`{k}`' for k in sorted(known))}" if known else ""
                )
                fail("E0205", span, f"`{name}` has no knob `{key}`", caption=f"`{key}` is not used by anything", help=help)
            given[key] = value
        for p in params:
            assert p.name is not None
            if p.name in given:
                inner.names[p.name] = self.argument(p, given[p.name], frame)
            elif p.value is not None:
                default = self.expr(p.value, inner, frame, symbols=True)
                if frame.kind == "model":
                    settled(default, p.span)
                inner.names[p.name] = self.argument(p, default, frame)
            else:
                fail("E0206", span, f"`{name}` needs `{p.name}`")
        return inner

    def argument(self, param: tree.Arg, value: Any, frame: Frame) -> Any:
        """An argument as its parameter understands it: a word may name a definition of the kind that annotates it."""
        if isinstance(value, Marker):
            return Marker(value.default, param.name or value.name) if not value.name else value
        kind = param.type.id if isinstance(param.type, tree.Name) else None
        if isinstance(value, Applied) and not (kind is not None and library.names(kind)):
            library.unknown(value)
        if kind is not None and isinstance(value, Applied):
            found = self.definition(kind, value.word.id)
            if found is None:
                known = library.names(kind)
                fail("E0203", value.word.span, f"there is no {kind} `{value.word.id}`", help=did_you_mean(value.word.id, known))
            return Partial(found[0], value.args, value.kwargs, value.span, found[1])
        if kind is not None and isinstance(value, (Symbol, Partial, Builtin, Closure)):
            name = (
                value.id
                if isinstance(value, Symbol)
                else value.name
                if isinstance(value, (Builtin, Closure))
                else value.definition.name
            )
            if isinstance(value, Partial) and value.definition.kind == kind:
                return value
            found = self.definition(kind, name)
            if found is not None:
                extra = (value.args, value.kwargs) if isinstance(value, Partial) else ((), ())
                return Partial(found[0], *extra, span=param.span, env=found[1])
            if library.names(kind):
                span = value.span if isinstance(value, Symbol) else param.span
                fail("E0203", span, f"there is no {kind} `{name}`", help=did_you_mean(name, library.names(kind)))
        return value

    def call_closure(self, f: Closure, args: list[Any], kwargs: dict[str, Any], frame: Frame, span: Span) -> Any:
        self.touched.add(f.name)
        entry = frame.entry
        if (rewrite := self.rewritten(f, frame)) is not None:
            assert entry is not None
            many = len(rewrite.params)  # further times of a map, of which guidance knows nothing, pass by it
            entry.inside_guidance, entry.passing = True, tuple(args[many:])
            try:
                return self.call_closure(rewrite, args[:many], kwargs, frame, span)
            finally:
                entry.inside_guidance, entry.passing = False, ()
        if entry is not None and entry.passing and self.guides(f):
            args = [*args, *entry.passing]
        env = self.bind(f.name or "this function", f.params, args, kwargs, f.env, frame, span)
        bound = [env.names[p.name] for p in f.params if p.name]
        if f.outline and any(isinstance(v, Value) for v in bound) and all(isinstance(v, (Value, int, float)) for v in bound):
            try:
                return self.outlined(f, bound, frame, span)
            except Captures:
                pass
        value = self.body(f.body, env, frame if frame.lined == f.outline else replace(frame, lined=f.outline))
        if f.name == "prior" and entry is not None and entry.noise is None and isinstance(value, Value):
            entry.noise = value
        return value

    def rewritten(self, f: Closure, frame: Frame) -> Closure | None:
        """The guidance's own version of a function of the world, where guidance applies."""
        entry = frame.entry
        if self.guidance is None or entry is None or not entry.guided or entry.inside_guidance:
            return None
        found = self.guidance.members.get(f.name)
        return found if isinstance(found, Closure) and self.guides(f) else None

    def guides(self, f: Closure) -> bool:
        """Whether a function is the one of the world that the guidance gives anew."""
        return self.guidance is not None and f.name in self.guidance.members and self.world.names.get(f.name) is f

    def body(self, body: tree.Expr | tuple[tree.Expr, ...] | tree.Block, env: Env, frame: Frame) -> Any:
        try:
            if isinstance(body, tree.Block):
                return self.run_body(body, env, frame)
            if isinstance(body, tuple):
                return tuple(self.expr(e, env, frame) for e in body)
            return self.expr(body, env, frame)
        except SpecError as error:
            raise moved(error, env.asked()) from None

    # Definitions -------------------------------------------------------------------------------------------------

    def instantiate(self, partial: Partial, frame: Frame) -> Instance:
        """A definition with its arguments bound and its members known."""
        definition = partial.definition
        span = partial.span or definition.section.span
        parent = partial.env or self.world
        try:
            env = self.bind(definition.name, definition.params, partial.args, dict(partial.kwargs), parent, frame, span)
        except SpecError as error:
            raise moved(error, parent.asked()) from None
        env.origin = span if not foreign(span) else None
        key = (id(definition), id(self.world), freeze([env.names[p.name] for p in definition.params if p.name]))
        cached = self.memo.get(("instance", key))
        if cached is not None and not _mentions_inputs(env):
            return cached  # type: ignore[no-any-return]
        members, rest = members_of(definition, env, key)
        declared = library.find("interface", definition.kind)
        if declared is not None:
            defaults, _ = members_of(declared, env, (key, "default"))
            if defaults and definition.kind in EQUATIONS and not defaults.keys() & members.keys():
                fail(
                    "E0209",
                    definition.section.span,
                    f"`{definition.kind} {definition.name}` gives none of {choices(defaults)}",
                    help="one of them is enough",
                )
            members = defaults | members
        instance = Instance(definition, env, members, rest, key, span)
        if definition.kind != "guidance":  # inside guidance a name means the unguided one
            env.names.update({k: v for k, v in members.items() if k not in env.names})
        self.memo["instance", key] = instance
        return instance

    def call_function(self, partial: Partial, frame: Frame) -> Any:
        """A `function` definition with all its arguments, written out where it is called."""
        definition, section = partial.definition, partial.definition.section
        span = partial.span or section.span
        env = self.bind(
            definition.name, definition.params, partial.args, dict(partial.kwargs), partial.env or self.world, frame, span
        )
        body = definition.body if definition.body is not None else section.values
        if not body:
            fail("E0209", section.span, f"`{definition.name}` has no body", help="write `function NAME(x) { ... return y }`")
        return self.body(body if isinstance(body, tree.Block) or len(body) > 1 else body[0], env, frame)

    def run(self, instance: Instance, frame: Frame, span: Span) -> Any:
        """The statements of an instance: the draw of a source, the times of a grid, the steps of a sampler."""
        if not instance.statements:
            fail(
                "E0207",
                span,
                f"`{instance.definition.name}` is not something to run",
                help="say which of its functions is meant",
            )
        if frame.kind == "function":
            raise Captures
        before = frame.entry.each if frame.entry is not None else ()
        try:
            if frame.entry is not None:
                frame.entry.each = instance.each
            return self.run_body(tree.Block(span=span, items=instance.statements), instance.env.child(), frame)
        except SpecError as error:
            raise moved(error, instance.env.asked()) from None
        finally:
            if frame.entry is not None:
                frame.entry.each = before

    def spread(self, value: Value, frame: Frame, span: Span) -> Value:
        """A value that varies by example."""
        if EXAMPLE in value.type.axes:
            return value
        like = frame.entry.like if frame.entry is not None else frame.like
        if like is None:
            raise Captures
        out = frame.builder.add(Op.SPREAD, value, like, span=span)
        if value.id in self.classes:
            self.classes[out.id] = self.classes[value.id]
        return out


def _of_bijections(args: list[Any]) -> bool:
    """Whether a function is applied to bijections: `stack(4, [actnorm, reverse])` is then the bijection of that name."""
    parts = [p for a in args for p in (a if isinstance(a, list) else [a])]
    return any(isinstance(p, Partial) and p.definition.kind == "bijection" for p in parts)


def _collected(params: tuple[tree.Arg, ...], args: Sequence[Any]) -> Sequence[Any]:
    """Arguments for parameters of which the last is a `list`: it takes all that are left, or one that is a list."""
    last = len(params) - 1
    takes = bool(params) and isinstance(params[-1].type, tree.Name) and params[-1].type.id == "list"
    if not takes or len(args) <= last or (len(args) == last + 1 and isinstance(args[last], list)):
        return args
    return [*args[:last], list(args[last:])]


def bind_pattern(env: Env, pattern: tuple[str, ...], value: Any, span: Span) -> Env:
    """An environment in which the names of a pattern stand for a value, or for its items."""
    if len(pattern) == 1:
        return env.child(**{pattern[0]: value})
    if not isinstance(value, (tuple, list)) or len(value) != len(pattern):
        fail("E0304", span, f"{len(pattern)} names for {describe(value)}")
    return env.child(**dict(zip(pattern, value, strict=True)))


def _values(value: Any) -> list[Value]:
    if isinstance(value, Value):
        return [value]
    return [v for item in value for v in _values(item)] if isinstance(value, (list, tuple)) else []


def _value(arg: tree.Arg) -> tree.Expr:
    assert arg.value is not None
    return arg.value


def _incomplete(partial: Partial) -> bool:
    """Whether some parameter without a default is still to be given."""
    given = {*dict(partial.kwargs), *(p.name for p in partial.definition.params[: len(partial.args)])}
    return any(p.value is None and p.name not in given for p in partial.definition.params)


def _mentions_inputs(env: Env) -> bool:
    return any(isinstance(v, (Marker, Value)) for v in env.names.values())


def _few(shape: Shape) -> bool:
    return all(isinstance(d, int) for d in shape) and math.prod(map(int, shape)) <= SMALL
