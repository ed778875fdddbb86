"""Where code is being written while a spec is elaborated: the entry, the function, the block."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from specc.ir.program import Builder, Input, Value
from specc.record import record
from specc.source import Span

MODE = "training"  # what no module of PyTorch can have as the name of a part
OF_MODE = ": a module of PyTorch says so whether it is being trained"


class ObjectiveDone(Exception):
    """Raised at the last statement of the loss that an entry is being written for: what follows belongs to later ones."""


@record
class Around:
    """A `for` or `together` of a loss, around some of its statements."""

    word: str
    key: int
    times: int = 1


@record(kw_only=True, eq=False)
class Event:
    """A `minimize` or `update` of a loss where its text has it. sort: "minimize", "state", or "map" for parameters."""

    sort: str
    span: Span
    around: tuple[Around, ...]
    over: tuple[str, ...] = ()
    every: int = 1
    when: str | None = None  # a function of (step, progress)
    maps: str | None = None
    beside: tuple[str, ...] = ()


@dataclass(slots=True)
class Walk:
    """One walk through a loss. wanted: the numbers of the events that an entry is made of; without, it lists them all."""

    wanted: range = range(0)
    joined: bool = False  # an objective, with updates that are computed beside it
    seen: int = 0
    events: list[Event] = field(default_factory=list)
    around: list[Around] = field(default_factory=list)
    states: dict[str, Value] = field(default_factory=dict)  # by path, as updates of this walk leave them


@dataclass(slots=True, kw_only=True)
class Condition:
    """A condition as an entry sees it: its value, and the value that stands for its absence."""

    name: str
    value: Value
    null: Value | None


@dataclass(slots=True, kw_only=True)
class EntryState:
    """What belongs to one entry: its inputs, the places of its draws, and whether guidance applies."""

    role: str
    builder: Builder
    like: Value  # a value that varies by example, to spread shared ones over
    seed: Value | None = None
    inputs: list[Input] = field(default_factory=list)
    bindings: dict[str, Any] = field(default_factory=dict)
    conditions: dict[str, Condition] = field(default_factory=dict)
    markers: dict[int, Value] = field(default_factory=dict)
    clock: dict[str, Value] = field(default_factory=dict)  # `step` and `progress`, where the entry asks for them
    places: dict[str, Value] = field(default_factory=dict)  # by memory: the row of each example
    walk: Walk = field(default_factory=Walk)  # of a loss
    place: int = 0
    each: tuple[int, ...] = ()  # the shape that a single number is drawn in: times for each element
    guided: bool = True
    inside_guidance: bool = False
    noise: Value | None = None  # what `prior()` gave, of the first sampler that it belongs to
    said: dict[Any, tuple[Builder, Any]] = field(default_factory=dict)  # by guidance that draws, at a place of a block
    passing: tuple[Any, ...] = ()  # arguments that the guided function takes beyond those of the guidance
    null: bool = False
    used: set[str] = field(default_factory=set)
    groups: int = 1  # a batch of it has a whole multiple of so many examples


@dataclass(slots=True, kw_only=True)
class Frame:
    """One block under construction."""

    builder: Builder
    kind: str  # entry, function, network
    floor: int = 0  # values numbered up to here belong to a caller
    entry: EntryState | None = None
    like: Value | None = None  # in a network: an input that varies by example, to spread shared values over
    indices: tuple[Value, ...] = ()
    stems: dict[str, int] = field(default_factory=dict)
    tagged: dict[int, str] = field(default_factory=dict)
    marks: dict[str, int] = field(default_factory=dict)  # tags, and the numbers of the values that they name
    span: Span | None = None
    starts: list[tuple[str, Value, Value]] | None = None  # where wanted: path, value and start of parameters that have one
    per_batch: bool = False  # whether draws are one for the batch
    lined: bool = False  # in equations of one time: values of fewer dimensions lie along the leading ones of the others

    def inside(self, index: Value | None = None) -> Frame:
        """The same place, writing into a new block within this one."""
        indices = (*self.indices, index) if index is not None else self.indices
        return replace(self, builder=self.builder.child(), indices=indices)

    def stem(self, kind: str, call: object = None) -> str:
        """The path of a layer or sub-network: its tag, or its kind with a number from the second one on."""
        tag = self.tagged.get(id(call)) if call is not None else None
        name = tag or kind
        count = self.stems[name] = self.stems.get(name, 0) + 1
        return name if count == 1 else f"{name}{count}"
