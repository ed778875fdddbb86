"""A reader that the spec declares: its Python file goes into the project as it is, and data.py holds it to the spec."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

from specc.backends.pytorch.choose import choose, part
from specc.backends.pytorch.names import legal
from specc.backends.pytorch.numbers import literal
from specc.backends.pytorch.source import PACKAGES, PROJECT

from specc.ir.program import Code, Space

SCRIPTS = {"query", "train"}  # files of a project that no other one imports


def module_of(code: Code) -> str:
    """The module of the project that the file becomes: its name, out of the way of those that others import."""
    return legal(code.file.removesuffix(".py"), sys.stdlib_module_names | PACKAGES | PROJECT | SCRIPTS)


def given_text(name: str, code: Code, spaces: Mapping[str, Space], numbers: bool) -> str:
    """What stands above `examples`: the call, and the test of what it gives. spaces: by the reader's names; numbers: of which a
    step makes the integers of x."""
    rows = {key: _row(space) for key, space in spaces.items()}
    if numbers:
        rows["x"] = f"({code.shape or spaces['x'].shape}, np.float32, 0.0, 1.0)"
    fields = [f"    {json.dumps(key)}: {row}," for key, row in rows.items()]
    who = f'READER = f"the reader {name} of {{FILE}}"'
    table = [
        "",
        f"FILE = {json.dumps(code.file)}",
        who,
        "FIELDS = {  # of an example: shape, numbers and their range",
        *fields,
        "}",
    ]
    lines = {
        "module": f"import {module_of(code)} as source",
        "table": "\n".join(table),
        "call": f"        found = source.{code.function}(*wanted, **settings)",
    }
    return choose(part("given"), {"endless"} if code.endless else (), lines).strip("\n")


def _row(space: Space) -> str:
    """`((2,), np.float32, -1.0, 1.0)`"""
    if space.dtype == "int":
        limits = f", 0, {space.classes - 1}" if space.classes else ""
        return f"({space.shape}, np.int64{limits})"
    known = space.low is not None and space.high is not None
    return f"({space.shape}, np.float32{f', {literal(space.low)}, {literal(space.high)}' if known else ''})"
