"""Raising located diagnostics, and finding what somebody may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import replace
from typing import NoReturn

from specc.diagnostics import Diagnostic, Label, Severity, SpecError
from specc.source import Source, Span


def diagnostic(
    code: str,
    span: Span,
    message: str,
    *,
    caption: str = "",
    help: str = "",
    labels: tuple[tuple[Span, str], ...] = (),
    severity: Severity = "error",
) -> Diagnostic:
    return Diagnostic(
        code=code,
        message=message,
        span=span,
        severity=severity,
        caption=caption,
        help=help,
        labels=tuple(Label(span=s, text=t) for s, t in labels),
    )


def fail(
    code: str, span: Span, message: str, *, caption: str = "", help: str = "", labels: tuple[tuple[Span, str], ...] = ()
) -> NoReturn:
    """Leave the construct at hand with an error."""
    raise SpecError(diagnostic(code, span, message, caption=caption, help=help, labels=labels))


class Library(Source):
    """The text of a definition of the library: a diagnostic points at the user's line, and at this one only beside it."""


def foreign(span: Span) -> bool:
    """Whether a span is not in any text of the user's."""
    return isinstance(span.source, Library) or not span.source.text


def moved(error: SpecError, span: Span | None) -> SpecError:
    """The error at the user's own place, with the line of the library that it came from as a label."""
    found = error.diagnostic
    if span is None or foreign(span) or not foreign(found.span):
        return error
    source = found.span.source
    labels = found.labels
    if source.text:
        labels = (Label(span=found.span, text=found.caption or "in the library"), *labels)
    return SpecError(replace(found, span=span, caption="", labels=labels))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`did you mean `heun`?`, or nothing."""
    close = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return f"did you mean `{close[0]}`?" if close else ""


def choices(words: Iterable[str]) -> str:
    """`` `a`, `b` or `c` ``"""
    names = [f"`{w}`" for w in sorted(words)]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}" if names else "nothing"
