"""Where a thing stands in a spec: sources and spans, shared by every stage."""

from __future__ import annotations

import bisect
from dataclasses import field

from specc.record import record


@record
class Source:
    """A spec's text and the name a person knows it by."""

    name: str
    text: str
    first_line: int = 1
    _starts: list[int] = field(default_factory=list, init=False, repr=False, compare=False)

    def locate(self, offset: int) -> tuple[int, int]:
        """The line and column of an offset, both counted from 1 (lines from `first_line`)."""
        if not self._starts:
            self._starts.append(0)
            self._starts.extend(i + 1 for i, c in enumerate(self.text) if c == "\n")
        row = bisect.bisect_right(self._starts, offset) - 1
        return row + self.first_line, offset - self._starts[row] + 1

    def line(self, number: int) -> str:
        """The text of one line, without its newline; empty when there is none."""
        self.locate(0)
        row = number - self.first_line
        if not 0 <= row < len(self._starts):
            return ""
        start = self._starts[row]
        stop = self._starts[row + 1] - 1 if row + 1 < len(self._starts) else len(self.text)
        return self.text[start:stop].rstrip("\r")


@record
class Span:
    """Half-open range of characters in a source."""

    source: Source
    start: int
    stop: int

    def to(self, other: Span) -> Span:
        """From the start of this span to the stop of another in the same source."""
        return Span(self.source, self.start, max(self.stop, other.stop))

    def holds(self, other: Span) -> bool:
        """Whether another span lies within this one."""
        return self.source is other.source and self.start <= other.start and other.stop <= self.stop

    @property
    def text(self) -> str:
        return self.source.text[self.start : self.stop]

    @property
    def line(self) -> int:
        return self.source.locate(self.start)[0]

    @property
    def column(self) -> int:
        return self.source.locate(self.start)[1]

    def __str__(self) -> str:
        line, column = self.source.locate(self.start)
        return f"{self.source.name}:{line}:{column}"
