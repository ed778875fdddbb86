"""Values that exist while compiling: functions, definitions, laws, types. Run-time values are the IR's own `Value`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from specc.ir.program import Value
from specc.ir.types import Type
from specc.record import record
from specc.source import Span
from specc.syntax import tree


class Captures(Exception):
    """Raised inside a function being outlined when its body needs something of its caller's; the call is inlined instead."""


@dataclass(slots=True, eq=False)
class Env:
    """Names, looked up outwards."""

    names: dict[str, Any] = field(default_factory=dict)
    parent: Env | None = None
    outer: bool = False  # of a model or around it: no body reassigns these names
    origin: Span | None = None  # where a person asked for the definition whose names these are

    def local(self, name: str) -> bool:
        """Whether a name belongs to the body at hand rather than to the model around it."""
        here: Env | None = self
        while here is not None and not here.outer:
            if name in here.names:
                return True
            here = here.parent
        return False

    def find(self, name: str) -> tuple[bool, Any]:
        here: Env | None = self
        while here is not None:
            if name in here.names:
                return True, here.names[name]
            here = here.parent
        return False, None

    def asked(self) -> Span | None:
        """Where the definition around here was asked for."""
        here: Env | None = self
        while here is not None and here.origin is None:
            here = here.parent
        return here.origin if here is not None else None

    def child(self, /, **names: Any) -> Env:
        return Env(dict(names), self)

    def known(self) -> set[str]:
        """Every name in sight, for "did you mean"."""
        return set(self.names) | (self.parent.known() if self.parent else set())


@record(eq=False)
class Definition:
    """`KIND name(params)(inputs) -> result for INTERFACE over t in [a, b] { body }`, or one that is declared `extern`."""

    kind: str
    name: str
    params: tuple[tree.Arg, ...]
    inputs: tuple[tree.Arg, ...]
    result: tree.Expr | None
    section: tree.Section
    library: bool
    summary: str = ""

    @property
    def interface(self) -> str | None:
        """What it is `for`: of an interface, the kind of section that gives it."""
        return self._word("for")

    @property
    def base(self) -> str | None:
        """What an interface builds on."""
        return self._word("from")

    def _word(self, clause: str) -> str | None:
        return next(
            (c.values[0].id for c in self.section.clauses if c.word == clause and isinstance(c.values[0], tree.Name)), None
        )

    @property
    def body(self) -> tree.Block | None:
        return self.section.body


@record(eq=False)
class Partial:
    """A definition with some of its arguments: what a bare name or a call of a definition means before it is used."""

    definition: Definition
    args: tuple[Any, ...] = ()
    kwargs: tuple[tuple[str, Any], ...] = ()
    span: Span | None = None
    env: Env | None = None  # names around a user's own definition
    view: Any = None  # the view whose functions it means, if not the model's own


@record(eq=False)
class Instance:
    """A definition with all its arguments: its members by name, and the statements that run it."""

    definition: Definition
    env: Env
    members: dict[str, Any]
    statements: tuple[tree.Statement, ...]
    key: Any
    span: Span | None = None
    each: tuple[int, ...] = ()  # `times t: vector(16) = uniform`: what draws one number draws these


@record(eq=False)
class Closure:
    """A function of the language. With `outline`, calls on run-time values become IR functions of that name."""

    name: str
    params: tuple[tree.Arg, ...]
    body: tree.Expr | tuple[tree.Expr, ...] | tree.Block
    env: Env
    key: Any
    span: Span
    outline: bool = False
    label: str = ""


@record(eq=False)
class Derivative:
    """`f'`: the exact derivative of a function of one number."""

    of: Closure | Derivative


@record(eq=False)
class Lazy:
    """A member such as `t_end = 1e-3`, evaluated when it is asked for."""

    value: tree.Expr
    env: Env


@record(eq=False)
class Dynamic:
    """A name whose value depends on the entry being written: the example x, a condition."""

    name: str


@record(eq=False)
class Clock:
    """`step` or `progress`: how far training is."""

    name: str


@record(eq=False)
class Marker:
    """`input(2.0)`: an input of the exported graph, with its default."""

    default: float | int
    name: str


@record(eq=False)
class Symbol:
    """A bare word as an argument, to be understood by whatever takes it."""

    id: str
    span: Span
    env: Env | None = None  # names in sight, should it turn out to be one that is missing


@record(eq=False)
class Applied:
    """`edm(sigma_data = 0.5)` as an argument, where `edm` is a word: a definition of the kind that the parameter asks for."""

    word: Symbol
    args: tuple[Any, ...]
    kwargs: tuple[tuple[str, Any], ...]
    span: Span


@record(eq=False)
class TypeRef:
    """A type as a value: `vector(3)`, or the type of x where there is no x."""

    type: Type
    kind: str = "tensor"
    classes: int | None = None


@record(eq=False)
class Network:
    """A named network of the model: a definition's partial application, and the root bundle of its parameters."""

    partial: Partial
    bundle: str
    root: bool = False
    conditioned: bool = False
    promise: tree.Expr | None = None  # the type that its section says it gives
    env: Env | None = None  # names that the promise may use
    home: object = None  # of one that stands in a network: the names of that network's layers
    inputs: tuple[str, ...] = ()  # names in the head of its section: arguments go to the definition's inputs of that name
    rewrites: tuple[Any, ...] = ()  # taps and patches, in their order


@record(eq=False)
class Bundles:
    """Parameters under other paths than their model's own: a parent's, frozen or copied, or the average of one network.

    prefix: what stands before the networks' own paths, if anything, or, for an average, in place of the path of `only`.
    """

    kind: str  # frozen, copy, average
    prefix: str
    of: Any = None  # the parent
    only: str | None = None
    decay: Any = None
    span: Span | None = None

    def path(self, bundle: str) -> str:
        if self.only is not None:
            return self.prefix if bundle == self.only else bundle
        return f"{self.prefix}.{bundle}" if self.prefix else bundle


@record(eq=False)
class View:
    """A model over other parameters: `frozen(a)`, `copy(a)`, `ema(net)`, which is called like the network itself.

    ev: an evaluator in that model's world. bundles: how its networks' paths are mapped, one after another.
    """

    ev: Any
    env: Env
    bundles: tuple[Bundles, ...]
    network: Network | None = None
    named: bool = False  # the spec has said what it is called
    instead: tuple[tuple[str, Network], ...] = ()  # patched networks in place of the model's own
    guided: bool = False  # the model's own guidance applies

    def called(self, name: str) -> View:
        """The view under the name that the spec gives it, with which the paths of its parameters begin."""
        if self.named:
            return self
        return replace(self, bundles=(*self.bundles[:-1], replace(self.bundles[-1], prefix=name)), named=True)


@record(eq=False)
class Bound:
    """A function or network of a view."""

    view: View
    value: Any


@record(eq=False)
class Ancestor:
    """A parent of a stage, by the name that the stage has for it."""

    name: str
    model: Any


@record(eq=False)
class Held:
    """A tensor of the model that belongs to no network: a parameter, or a state. `through`: what its value goes through.
    `start`: what it starts from where that is computed, with the names there, and whether it is drawn."""

    path: str
    type: Type
    init: tuple[Any, ...]
    trainable: bool
    span: Span
    through: Any = None
    start: tuple[tree.Expr, Env, bool] | None = None


@record(eq=False)
class ParameterSet:
    """`G["*.bias"]`: parameters by patterns of their paths."""

    patterns: tuple[str, ...]


@record(eq=False)
class Pairs:
    """Consecutive values f(0), f(1), ... f(count): what `for (t, s) in grid(...)` walks over."""

    f: Any
    count: Any


@record(eq=False)
class Law:
    """A law as a value: how to draw from it, its numbers by name, and the definition that gives its density."""

    name: str
    sample: Callable[[Any, Span, bool], Any]
    numbers: dict[str, Any] = field(default_factory=dict)
    shape: tuple[Any, ...] = ()  # of one draw
    reparameterised: bool = True
    density: Instance | Namespace | None = None  # its equations, where they are not the library's of that name


@record(eq=False)
class Builtin:
    """A function that the compiler knows: fn(evaluator, frame, span, args, kwargs)."""

    name: str
    fn: Callable[..., Any]


@record(eq=False)
class Namespace:
    name: str
    members: dict[str, Any]


def runtime(value: Any) -> bool:
    """Whether a value is known only when the program runs."""
    if isinstance(value, (tuple, list)):
        return any(runtime(v) for v in value)
    return isinstance(value, Value)


def word_of(value: Any) -> str | None:
    """The name of a value that is compared by name: a bare word, or a definition or function that bears it."""
    match value:
        case Symbol():
            return value.id
        case Builtin() | Closure():
            return value.name
        case Partial():
            return value.definition.name
        case Held():
            return value.path
        case Network(root=True):
            return value.bundle
        case _:
            return None


def freeze(value: Any) -> Any:
    """A hashable key that is equal for equal compile-time values."""
    match value:
        case list() | tuple():
            return tuple(freeze(v) for v in value)
        case Partial():
            return (id(value.definition), freeze(value.args), tuple((k, freeze(v)) for k, v in value.kwargs))
        case Instance() | Closure():
            return value.key
        case Law():
            return ("law", value.name, *(freeze(v) for v in value.numbers.values()), value.shape)
        case Symbol():
            return ("symbol", value.id)
        case TypeRef():
            return (value.type, value.classes)
        case bool():
            return ("bool", value)
        case int() | float() | str() | None:
            return (type(value).__name__, value)
        case Builtin():
            return id(value.fn)  # one for all models of a file
        case Marker():
            return ("input", value.name, value.default)
        case _:
            return id(value)
