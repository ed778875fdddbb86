"""What a spelling is given beside its operands: the node, and what is known where it stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from specc.backends.pytorch.expressions import Level

from specc.ir.program import Node
from specc.record import record

Text = str | tuple[str, Level]


@record
class Site:
    """A node, and how the size of the batch and the device are written where it stands: most spellings ask for neither."""

    node: Node
    sizes: Callable[[], str]
    place: Callable[[], str | None]
    generator: str | None = None
    single: bool = False  # whether a number of no dimensions is surely of single precision

    @property
    def batch(self) -> str:
        return self.sizes()

    @property
    def device(self) -> str | None:
        return self.place()

    def __getitem__(self, key: str) -> Any:
        return self.node[key]


Spelling = Callable[..., Text]
