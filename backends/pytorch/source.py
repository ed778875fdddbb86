"""Whole files of Python from printed definitions: header, the imports that the text uses, and blank lines as they should be."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping

from specc.backends.pytorch.lines import exploded
from specc.backends.pytorch.names import docstring

WHOLE = {"checkpoint", "noise", "rounding"}  # files that are imported as modules
PACKAGES = {"numpy", "torch", "tqdm", "scipy", "safetensors", "PIL", "matplotlib"}
PROJECT = {
    "ahead",
    "assign",
    "averages",
    "checkpoint",
    "data",
    "first",
    "generate",
    "loader",
    "log",
    "model",
    "noise",
    "objective",
    "parallel",
    "parents",
    "pictures",
    "preview",
    "process",
    "rounding",
    "sample",
}
STANDARD = {"argparse", "functools", "hashlib", "inspect", "json", "math", "os", "sys", "zipfile"}


def module(
    doc: str, definitions: Iterable[list[str]], local: Mapping[str, str], more: str = "", before: Iterable[str] = ()
) -> str:
    """A file with this docstring. local: names that come from other files of the project, and which."""
    blocks = ["\n".join(lines) for lines in definitions]
    body = "\n\n\n".join(blocks)
    imports = import_lines(used_names(body), {k: v for k, v in local.items() if k not in defined_names(body)})
    head = docstring(doc, 0, more)
    return tidy("\n".join([*head, "", *imports, "", *before, "\n", body]))


def used_names(text: str) -> set[str]:
    """Names that a text takes from outside: those that it reads, but for what a function binds itself."""
    out: set[str] = set()
    _outside(ast.parse(text), frozenset(), out)
    return out


def _outside(tree: ast.AST, bound: frozenset[str], out: set[str]) -> None:
    if isinstance(tree, (ast.FunctionDef, ast.Lambda)):
        inside = [n for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
        bound |= {n.id for n in inside} | {a.arg for a in ast.walk(tree.args) if isinstance(a, ast.arg)}
    if isinstance(tree, ast.Name) and tree.id not in bound:
        out.add(tree.id)
    for child in ast.iter_child_nodes(tree):
        _outside(child, bound, out)


def defined_names(text: str) -> set[str]:
    """Functions and classes at the top of a text."""
    return {node.name for node in ast.parse(text).body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}


def top_names(text: str) -> set[str]:
    """All that a file binds at its top: imports, functions, classes and constants."""
    body = ast.parse(text).body
    aliases = {a.asname or a.name.split(".")[0] for n in body if isinstance(n, (ast.Import, ast.ImportFrom)) for a in n.names}
    targets = {t.id for n in body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)}
    return aliases | targets | {n.name for n in body if isinstance(n, (ast.FunctionDef, ast.ClassDef))}


def import_lines(names: set[str], local: Mapping[str, str]) -> list[str]:
    """Sorted imports for what a text uses: standard library, packages, files of the project."""
    standard = [f"import {n}" for n in sorted(names & STANDARD)]
    packages = [*(["import numpy as np"] if "np" in names else []), *(["import torch"] if "torch" in names else [])]
    from_torch = [n for n in ("Tensor", "nn") if n in names]
    packages += [f"from torch import {', '.join(from_torch)}"] if from_torch else []
    packages += ["from torch.nn import functional as F"] if "F" in names else []
    by_file: dict[str, list[str]] = {}
    for name in sorted(names & local.keys(), key=_order):
        by_file.setdefault(local[name], []).append(name)
    own = [f"import {f}" for f in sorted(by_file) if f in WHOLE]
    for file, members in sorted(by_file.items()):
        if file not in WHOLE:
            own += _from(file, members)
    groups = [g for g in (standard, packages, own) if g]
    return [line for i, g in enumerate(groups) for line in ([""] if i else []) + g]


def grouped(text: str, early: str = "") -> str:
    """A text with the imports at its top that it uses, in their order: standard library, packages and project.

    early: a line that packages read when they are loaded.
    """
    lines, body = text.split("\n"), ast.parse(text).body
    first = int(isinstance(body[0], ast.Expr))  # after a docstring
    last = next(i for i, node in enumerate(body) if i >= first and not isinstance(node, (ast.Import, ast.ImportFrom)))
    head, rest = ("\n".join(part) for part in (lines[: body[0].end_lineno] if first else [], lines[body[last].lineno - 1 :]))
    used = {n.id for part in (*body[last:], ast.parse(early)) for n in ast.walk(part) if isinstance(n, ast.Name)}
    groups: list[list[str]] = [[], [], []]
    for node in body[first:last]:
        assert isinstance(node, (ast.Import, ast.ImportFrom))
        names = [a for a in node.names if (a.asname or a.name.split(".")[0]) in used]
        shown = _imported(node, names) if names else []
        groups[_group(shown[0].split()[1].split(".")[0]) if shown else 0] += shown
    blocks = [head, "\n".join(groups[0]), early, *("\n".join(g) for g in groups[1:]), rest]
    return "\n\n".join(block for block in blocks if block)


def _imported(node: ast.Import | ast.ImportFrom, names: list[ast.alias]) -> list[str]:
    texts = [f"{a.name} as {a.asname}" if a.asname else a.name for a in names]
    return _from(node.module or "", texts) if isinstance(node, ast.ImportFrom) else [f"import {t}" for t in texts]


def _group(name: str) -> int:
    return 1 if name in PACKAGES else 2 if name in PROJECT else 0


def _order(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions, as import sorters have it."""
    return (0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2, name)


def _from(file: str, names: list[str]) -> list[str]:
    line = f"from {file} import {', '.join(names)}"
    return [line] if len(line) <= 128 else [f"from {file} import (", *(f"    {n}," for n in names), ")"]


def tidy(text: str) -> str:
    """Blank lines: two between definitions of a file, at most one inside them, none at the end."""
    out: list[str] = []
    blank = 0
    for line in text.split("\n"):
        if not line.strip():
            blank += 1
            continue
        if out:
            definition = line.startswith(("def ", "class ", "@")) and not out[-1].startswith("@")
            after = line[0] not in " )]}#" and out[-1].startswith(" ") and not definition
            opens = out[-1].rstrip().endswith((":", "(", "[", "{")) and line.startswith(" ")
            count = 0 if opens else 2 if definition else min(blank, 1 if line.startswith(" ") else 2)
            count = 2 if after and blank and _ends_definition(out) else count
            out += [""] * count
        out.append(line.rstrip())
        blank = 0
    return "\n".join(out) + "\n"


def _ends_definition(lines: list[str]) -> bool:
    """Whether the last top-level line that is not a bracket opened a function or class."""
    last = next((x for x in reversed(lines) if x and x[0] not in ' )]}"'), "")
    return last.startswith(("def ", "class ", "@"))


def table(name: str, entries: Mapping[str, str]) -> list[str]:
    """NAME = {"key": value, ...}"""
    return exploded(f"{name} = {{", [f'"{k}": {v}' for k, v in entries.items()], "}", 128)
