"""Diagnostics as text for people: the message, where it is, the lines it speaks of with carets, and the way out."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

from specc.diagnostics import Diagnostic
from specc.record import record
from specc.source import Source, Span

WIDTH = 128  # of an excerpt; a longer line is cut around what it points at
TAB = "    "
COLOURS = {"error": "31", "warning": "33", "note": "36", "label": "34", "help": "32", "strong": "1"}

Paint = Callable[[str, str], str]


@record(kw_only=True)
class Mark:
    """A place in a line that is underlined, with a word about it; the main one with carets."""

    span: Span
    text: str
    main: bool

    @property
    def sign(self) -> str:
        return "^" if self.main else "-"


def render(diagnostic: Diagnostic, *, colour: bool = False) -> str:
    """The whole text of one diagnostic, without a newline at the end."""
    paint: Paint = ansi if colour else lambda text, role: text
    severity = diagnostic.severity
    head = paint(f"{severity}[{diagnostic.code}]", severity) + paint(f": {visible(diagnostic.message)}", "strong")
    marks = [Mark(span=diagnostic.span, text=diagnostic.caption, main=True)]
    marks += [Mark(span=label.span, text=label.text, main=False) for label in diagnostic.labels]
    gutter = max(len(str(mark.span.line)) for mark in marks) + 1
    lines = [head, f"{' ' * gutter}--> {visible(str(diagnostic.span))}"]
    lines += excerpt(marks, diagnostic.span.source, gutter, paint)
    for source in {id(m.span.source): m.span.source for m in marks if m.span.source is not diagnostic.span.source}.values():
        first = next(m.span for m in marks if m.span.source is source)
        lines += [f"{' ' * gutter}::: {visible(str(first))}", *excerpt(marks, source, gutter, paint)]
    if diagnostic.help:
        first_line, *rest = diagnostic.help.split("\n")
        lines += [paint("help", "help") + f": {visible(first_line)}", *(f"      {visible(line)}" for line in rest)]
    return "\n".join(lines)


def summary(diagnostics: tuple[Diagnostic, ...]) -> str:
    """`2 errors, 1 warning`; empty when there is nothing to count."""
    counts = [(name, sum(d.severity == name for d in diagnostics)) for name in ("error", "warning")]
    return ", ".join(f"{n} {name}{'s' if n > 1 else ''}" for name, n in counts if n)


def excerpt(marks: list[Mark], source: Source, gutter: int, paint: Paint) -> list[str]:
    """The lines of one source that are marked, in order, each followed by its underlines, between two bare bars."""
    here = [mark for mark in marks if mark.span.source is source]
    if not source.text:
        return []
    bar = " " * (gutter + 1) + "|"
    lines = [bar]
    for number in sorted({mark.span.line for mark in here}):
        of_line = sorted((m for m in here if m.span.line == number), key=lambda m: m.span.column)
        text = source.line(number)
        start, stop = window(text, of_line)
        shown = ("..." if start else "") + visible(text[start:stop]) + ("..." if stop < len(text) else "")
        lines.append(f"{number:>{gutter}} | {shown}".rstrip())
        for mark in of_line:
            lines.append(f"{bar} {underline(mark, text, start, stop, paint)}".rstrip())
    return [*lines, bar]


def underline(mark: Mark, text: str, start: int, stop: int, paint: Paint) -> str:
    """Blanks up to the mark, then its sign under each column of it, up to the end of the line, then the word about it."""
    first = mark.span.column - 1
    last = min(first + max(mark.span.stop - mark.span.start, 1), max(len(text), first + 1), max(stop, first + 1))
    before = (3 if start else 0) + columns(text[start:first])
    length = max(columns(text[first:last]), 1)
    role = "error" if mark.main else "label"
    note = f"{mark.sign * length} {visible(mark.text)}".rstrip()
    return " " * before + paint(note, role)


def window(text: str, marks: list[Mark]) -> tuple[int, int]:
    """The part of a line that is shown: all of it, or as much around the main mark as fits."""
    if len(text) <= WIDTH:
        return 0, len(text)
    centre = next((m for m in marks if m.main), marks[0]).span.column - 1
    start = max(0, min(centre - WIDTH // 3, len(text) - WIDTH))
    return start, start + WIDTH


def visible(text: str) -> str:
    """Text with tabs widened and what a terminal would obey, or not show, made plain."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(TAB if c == "\t" else c if c.isprintable() or c in "\u200c\u200d" else "\ufffd" for c in text)


def columns(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if text.isascii():
        return len(text) + (len(TAB) - 1) * text.count("\t")
    return sum(len(TAB) if c == "\t" else cell(c) for c in text)


def cell(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def ansi(text: str, role: str) -> str:
    return f"\x1b[{COLOURS[role]}m{text}\x1b[0m"
