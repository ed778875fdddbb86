"""The whole evaluator: expressions, with the statements and networks that they lead to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from specc.sema import densities, networks, statements, ways
from specc.sema.evaluate import Evaluator
from specc.sema.frame import Frame
from specc.sema.values import Env, Law, Network, Partial
from specc.source import Span
from specc.syntax import tree


@dataclass(slots=True, kw_only=True)
class Elaborator(Evaluator):
    """What walks a model's definitions and writes its program."""

    def run_body(self, block: tree.Block, env: Env, frame: Frame) -> Any:
        return statements.run_function(self, block, env, frame)

    def call_network(
        self, net: Network, args: list[Any], kwargs: dict[str, Any], frame: Frame, span: Span, node: object
    ) -> Any:
        return networks.call(self, net, args, kwargs, frame, span, node)

    def law(self, part: Partial, args: list[Any], kwargs: dict[str, Any], frame: Frame, span: Span) -> Law:
        return densities.law(self, part, args, kwargs, frame, span)

    def of_law(self, law: Law, name: str, frame: Frame, span: Span) -> Any:
        return densities.member(self, law, name, frame, span)

    def towards(self, net: Network | Partial, way: str, frame: Frame, span: Span) -> Any:
        return ways.towards(self, net, way, frame, span)

    def call_part(self, part: Partial, args: list[Any], kwargs: dict[str, Any], frame: Frame, span: Span, node: object) -> Any:
        return networks.call_part(self, part, args, kwargs, frame, span, node)
