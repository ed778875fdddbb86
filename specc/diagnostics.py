"""What the compiler has to say, as data. Rendering is `specc.cli.render`'s work."""

from __future__ import annotations

from typing import Literal

from specc.record import record
from specc.source import Span

Severity = Literal["error", "warning", "note"]


@record(kw_only=True)
class Label:
    """A second place that a diagnostic points at, with a word about it."""

    span: Span
    text: str


@record(kw_only=True)
class Diagnostic:
    """One finding: a stable code, where it is, what is wrong and the way out."""

    code: str
    message: str
    span: Span
    severity: Severity = "error"
    caption: str = ""
    labels: tuple[Label, ...] = ()
    help: str = ""

    def as_dict(self) -> dict[str, object]:
        """The JSON form of `specc check --json`."""
        return {
            "code": self.code,
            "severity": self.severity,
            "message": self.message,
            "file": self.span.source.name,
            "line": self.span.line,
            "column": self.span.column,
            "labels": [{"line": x.span.line, "column": x.span.column, "text": x.text} for x in self.labels],
            "help": self.help,
        }


class SpecError(Exception):
    """Raised inside a stage to leave a construct; the stage's driver collects its diagnostic and goes on."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.message)
        self.diagnostic = diagnostic
