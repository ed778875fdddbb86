"""How things are written where a function stands, and what the printer asks about the functions around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from specc.backends.pytorch.kinds import Kind

from specc.ir.program import Node


class Functions(Protocol):
    """What the printer asks about the functions around it."""

    def name_of(self, function: str) -> str: ...

    def wrapped(self, function: str) -> str | None: ...

    def call_kind(self, node: Node, kinds: list[Kind]) -> list[Kind] | None: ...

    def is_plain(self, node: Node) -> bool: ...


@dataclass(slots=True)
class Manner:
    """How things are written where a function stands.

    gradients: "on" (an objective), "off" (a sampler, under no_grad), "either" (called from both).
    generator: the name of the generator that draws use, in a function that runs ahead of training.
    """

    functions: Functions
    taken: frozenset[str] = frozenset()
    gradients: str = "either"
    generator: str | None = None
    network: Callable[[str, str], str] = lambda bundle, function: bundle  # a bundle and a function over it, as called
    param: Callable[[Node], str] = lambda node: node["path"]
    copied: Callable[[Node], bool] = lambda node: False  # whether gradients in a parameter are taken in a copy of it
    layer: Callable[[Node], str | None] = lambda node: None  # the module that does a node's work
    extern: Callable[[str], str] = lambda name: name
