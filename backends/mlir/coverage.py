"""What became of the operations of a network or sampler on the way to a dialect: kept as JSON beside the file."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, field
from pathlib import Path

from specc.record import record

REFUSED = re.compile(r"(?:loc\(\"[^\"]*?([\w.]+)\":(\d+)[^\n]*?)?failed to legalize operation '([\w.]+)'[^\n]*")
ONNX = re.compile(r'name = "onnx\.(\w+)"')


class MissingExtraError(Exception):
    """Packages of an extra, `extra`, are not installed."""

    def __init__(self, missing: list[str], extra: str) -> None:
        super().__init__(f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed")
        self.extra = extra


class UnsupportedError(Exception):
    """There is no form for some operations; the message names them."""


@record(kw_only=True)
class Coverage:
    """`operations`: how often each stands in the graph; `refused`: those without a form, with their lines if they are known."""

    name: str
    dialect: str
    batch: int | None  # None: any
    operations: dict[str, int]
    lowered: bool
    refused: dict[str, list[str]] = field(default_factory=dict)

    def save(self, folder: Path) -> Path:
        path = folder / f"{self.name}.coverage.json"
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        return path

    def complaint(self) -> str:
        named = ", ".join(f"{op} ({', '.join(lines)})" if lines else op for op, lines in self.refused.items())
        return f"{self.dialect} has no form for {named or 'an operation'} of {self.name}"


def refused(said: str) -> dict[str, list[str]]:
    """The operations that a diagnostic of MLIR names, with their places; its first error where it names none."""
    found: dict[str, list[str]] = {}
    for match in REFUSED.finditer(said):
        file, line, op = match.groups()
        inner = ONNX.search(match.group(0)) if op == "torch.operator" else None
        found.setdefault(f"onnx.{inner[1]}" if inner else op, []).extend(
            [f"{file}:{line}"] if file and file.endswith(".py") else []
        )
    if not found and (broken := re.search(r"error: [^\n]*?'([\w.]+)' op ", said)):
        found[broken[1]] = []
    if not found and (first := re.search(r"error: ([^\n]{1,200})", said)):
        found[first[1]] = []
    return found


@contextlib.contextmanager
def overheard(said: list[str]) -> Iterator[None]:
    """What is written to the process's own stderr, where MLIR's passes put some of their diagnostics, goes to `said`."""
    sys.stderr.flush()
    before = os.dup(2)
    with tempfile.TemporaryFile() as heard:
        os.dup2(heard.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(before, 2)
            os.close(before)
            heard.seek(0)
            said.append(heard.read().decode(errors="replace"))
