"""What names mean while a model is elaborated: what is around them, the model's world, the library."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from specc.diagnostics import Diagnostic, SpecError
from specc.ir.ops import Op
from specc.ir.program import Input, Start, Value
from specc.ir.types import FLOAT, INT, DType, Shape
from specc.sema import library, views
from specc.sema.arithmetic import add, lift
from specc.sema.frame import Frame
from specc.sema.functions import NOWHERE, Functions
from specc.sema.report import moved
from specc.sema.values import (
    Builtin,
    Bundles,
    Captures,
    Clock,
    Definition,
    Dynamic,
    Env,
    Held,
    Instance,
    Law,
    Lazy,
    Marker,
    Network,
    Partial,
    Symbol,
    TypeRef,
)
from specc.sema.views import Borrowed
from specc.source import Span
from specc.syntax import tree

SMALL = 36  # entries of a matrix that is written out in numbers


@dataclass(slots=True, kw_only=True)
class Names(Functions):
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
    parents: dict[str, Any] = field(default_factory=dict)  # of a stage, by name: a kind of their own, which hides no other
    types: dict[str, TypeRef] = field(default_factory=dict)  # what the model's bijections map, by bundle
    interfaces: tuple[str, ...] = ()  # what definitions of the library may be for in this model
    family: dict[str, str] = field(default_factory=dict)  # functions over the parameters of another one, and that one
    starts: list[Start] = field(default_factory=list)  # of parameters that the first batch decides
    used: set[int] = field(default_factory=set)  # ids of parameters (tree nodes) that some body read
    touched: set[str] = field(default_factory=set)  # names of the world that were asked for
    redirected: set[str] = field(default_factory=set)  # those of them that guidance answered
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

    @abstractmethod
    def expr(self, node: tree.Expr, env: Env, frame: Frame, *, symbols: bool = False) -> Any:
        """The value of an expression. With `symbols`, an unknown word stands for itself."""

    def lookup(self, name: str, env: Env, frame: Frame, span: Span, *, symbols: bool = False) -> Any:
        """What a name means here. With `symbols`, an unknown word stands for itself."""
        found, value = env.find(name)
        if found:
            return self.settle(value, frame, name)
        for kind in library.CALLABLE:
            if (definition := self.definition(kind, name)) is not None:
                return Partial(definition[0], span=span, env=definition[1])
        if symbols and name not in library.ELSEWHERE:
            return Symbol(name, span, env)
        if name in self.parents:
            return self.parents[name]
        return library.unknown(Symbol(name, span, env))

    def meaning(self, kind: str, node: tree.Expr, env: Env) -> Env:
        """Names in which `uniform` of `for (t, s) in uniform(steps)` is the grid, though a law is called so too."""
        head = node.func if isinstance(node, tree.Call) else node
        if not isinstance(head, tree.Name):
            return env
        known, value = env.find(head.id)
        if known and not isinstance(value, Builtin):
            return env
        found = self.definition(kind, head.id)
        return env if found is None else env.child(**{head.id: Partial(found[0], span=head.span, env=found[1])})

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
            taken = {"x", "nfe", "trajectory"} | {i.name for i in entry.inputs}  # what a file of a sampler gives, and is given
            name = marker.name
            while name in taken:
                name += "_"
            entry.markers[id(marker)] = entry.builder.param(dtype, name)
            entry.inputs.append(Input(name=name, role="argument", type=dtype, default=marker.default))
        return entry.markers[id(marker)]

    def interfaces_for(self, kind: str) -> list[Definition]:
        """What is declared for sections of a kind, in the library and in the user's file, by name."""
        own = {name: d for (k, name), (d, _) in self.user.items() if k == "interface" and d.interface == kind}
        known = {d.name: d for d in library.interfaces(kind)} | own
        return [d for _, d in sorted(known.items())]

    def definition(self, kind: str, name: str) -> tuple[Definition, Env] | None:
        """A definition of the user's file, or of the library."""
        if (kind, name) in self.user:
            return self.user[kind, name]
        found = library.find(kind, name, self.interfaces)
        return (found, self.world) if found else None


def _values(value: Any) -> list[Value]:
    if isinstance(value, Value):
        return [value]
    return [v for item in value for v in _values(item)] if isinstance(value, (list, tuple)) else []


def _few(shape: Shape) -> bool:
    return all(isinstance(d, int) for d in shape) and math.prod(map(int, shape)) <= SMALL
