"""Names and texts of a spec on their way into Python: identifiers that are legal and free, docstrings that cannot end early."""

from __future__ import annotations

import builtins
import json
import keyword
import re
import textwrap
from collections.abc import Iterator, Sequence

WIDTH = 128
IMPORTED = {"torch", "math", "nn", "F", "noise", "rounding", "Tensor", "np", "numpy", "Model", "process", "model", "self"}
RESERVED = frozenset(IMPORTED | set(dir(builtins)) | set(keyword.kwlist))  # soft keywords such as `match` are fine names


def legal(name: str, taken: frozenset[str] | set[str] = frozenset()) -> str:
    """An identifier as close to the name as Python allows, outside `taken` and not the name of a builtin."""
    text = re.sub(r"\W", "_", name, flags=re.ASCII) or "_"
    if text[0].isdigit():
        text = f"_{text}"
    if text.startswith("__"):
        text = text.lstrip("_") or "v"
    while text in RESERVED or text in taken:
        text += "_"
    return text


def camel(name: str) -> str:
    """A class name: `dit_block` to `DitBlock`."""
    text = "".join(part[:1].upper() + part[1:] for part in re.split(r"[\W_]+", name, flags=re.ASCII) if part)
    return legal(f"N{text}" if not text[:1].isalpha() else text)


def snake(name: str) -> str:
    return legal(re.sub(r"[\W]+", "_", name, flags=re.ASCII))


def strings(values: Sequence[str]) -> str:
    """A tuple of texts."""
    return f"({', '.join(json.dumps(v) for v in values)}{',' if len(values) == 1 else ''})"


def candidates(name: str) -> Iterator[str]:
    """name, name_2, name_3, ..."""
    yield name
    count = 2
    while True:
        yield f"{name}_{count}" if not name.endswith("_") else f"{name}{count}"
        count += 1


def printable(text: str) -> str:
    """Text between triple quotes: backslashes, quotes that could end it and characters that do not print are escaped."""
    out = []
    for c in text.replace("\r\n", "\n"):
        if c == "\\":
            out.append("\\\\")
        elif c == "\n" or (c.isprintable() and c != "\ufeff"):
            out.append(c)
        elif c == "\t":
            out.append("    ")
        else:
            out.append(repr(c)[1:-1])
    escaped = "".join(out).replace('"""', '\\"\\"\\"')
    return re.sub(r'"\Z', r"\"", escaped)


def docstring(text: str, indent: int = 0, more: str = "") -> list[str]:
    """Lines of a docstring: one line where it fits, else a first line and the rest below."""
    space = " " * indent
    # cleaned before escaping, so that no escape is cut in two
    lines = [line.strip() for line in text.strip().splitlines()] or [""]
    room = WIDTH - indent - 6
    wrapped = [part for line in lines for part in (_wrap(line, room) or [""])]
    tail = [part for line in more.splitlines() for part in (_wrap(line, WIDTH - indent) or [""])]
    body = [*wrapped, *([""] if tail else []), *tail]
    shown = [s.rstrip() for s in printable("\n".join(body)).split("\n")]
    if len(shown) == 1:
        return [f'{space}"""{shown[0]}"""']
    return [f'{space}"""{shown[0]}', *(f"{space}{s}" if s else "" for s in shown[1:]), f'{space}"""']


def described(about: str, doc: str) -> str:
    """What an author says of a definition, and the line that it comes from."""
    return f"{about}\n\n{doc}" if about else doc


def _wrap(line: str, width: int) -> list[str]:
    """Escaping makes lines longer, so a line with much to escape is cut earlier."""
    longer = len(printable(line)) - len(line)
    return textwrap.wrap(line, max(40, width - longer), break_long_words=False, break_on_hyphens=False)
