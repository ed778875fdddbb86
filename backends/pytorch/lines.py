"""Layout of lines: what does not fit goes on between brackets, as the formatter would put it."""

from __future__ import annotations

import re
from collections.abc import Iterator

INDENT = "    "
OPEN, CLOSE = "([{", ")]}"


def fit(line: str, room: int) -> list[str]:
    """A line of code without indentation, broken at its last bracket if it has more characters than there is room for."""
    if len(line) <= room:
        return [line]
    code, _, comment = line.partition("  # ")
    if len(code) <= room and comment:
        return [code]
    splits = list(_brackets(code))
    if not splits:
        return [code]
    start, stop = next((s for s in splits if s[0] < room), splits[0])
    head, inner, tail = code[: start + 1], code[start + 1 : stop], code[stop:]
    if len(INDENT) + len(inner) <= room and not inner.endswith(","):
        return [head, INDENT + inner, tail]
    items = _items(inner)
    lines = [part for item in items for part in fit(f"{item},", room - len(INDENT))]
    return [head, *(INDENT + part for part in lines), tail]


def exploded(head: str, items: list[str], tail: str, room: int) -> list[str]:
    """head items tail: on one line, with the items on a line of their own, or one line an item."""
    flat = f"{head}{', '.join(items)}{tail}"
    if len(flat) <= room:
        return [flat]
    inner = ", ".join(items)
    if len(INDENT) + len(inner) <= room:
        return [head, INDENT + inner, tail]
    return [head, *(f"{INDENT}{item}," for item in items), tail]


def joined(lines: list[str], room: int) -> list[str]:
    """Lines, with a bracket that is open over several of them closed on one where the items fit."""
    out: list[str] = []
    i = 0
    while i < len(lines):
        stop = _closing(lines, i)
        items = [line.strip() for line in lines[i + 1 : stop]]
        flat = f"{lines[i]}{' '.join(items).removesuffix(',')}{lines[stop].strip()}" if items else ""
        fits = items and len(flat) <= room and (len(items) > 1 or not lines[i].endswith((" (", "=(")))
        out.append(flat if fits else lines[i])
        i = stop + 1 if fits else i + 1
    return out


def _closing(lines: list[str], start: int) -> int:
    """The line that closes the bracket which one ends with, where only items stand between them; else the line itself."""
    indent = len(lines[start]) - len(lines[start].lstrip())
    if not lines[start].endswith(tuple(OPEN)):
        return start
    for i in range(start + 1, len(lines)):
        line = lines[i]
        if line[:indent].strip() == "" and line[indent : indent + 1] in tuple(CLOSE):
            return i
        if not line.endswith(",") or "#" in line or not line.startswith(" " * (indent + 4)) or line[indent + 4] == " ":
            return start
    return start


def _brackets(code: str) -> Iterator[tuple[int, int]]:
    """The bracket that closes at the end of a line, then that of `f(...)` where the line ends in a method of it."""
    split = _last_bracket(code)
    while split is not None:
        yield split
        before = re.fullmatch(r"(.*[)\]])\.\w+", code[: split[0]])
        split = _last_bracket(before[1]) if before is not None else None


def _last_bracket(code: str) -> tuple[int, int] | None:
    """The bracket that closes at the end of a line, and where it opens."""
    end = len(code) - 1
    while end >= 0 and code[end] not in CLOSE:
        end -= 1
    if end < 0 or code[end + 1 :].strip(":,") != "":
        return None
    depth = 0
    for i in range(end, -1, -1):
        depth += (code[i] in CLOSE) - (code[i] in OPEN)
        if depth == 0:
            return (i, end) if code[i + 1 : end].strip() else None
    return None


def _items(inner: str) -> list[str]:
    """The parts of a list between its outer commas."""
    out, depth, start, quote = [], 0, 0, ""
    for i, c in enumerate(inner):
        if quote:
            quote = "" if c == quote and inner[i - 1] != "\\" else quote
        elif c in "\"'":
            quote = c
        elif c in OPEN:
            depth += 1
        elif c in CLOSE:
            depth -= 1
        elif c == "," and depth == 0:
            out.append(inner[start:i].strip())
            start = i + 1
    return [*out, inner[start:].strip()] if inner[start:].strip() else out
