"""docs/systems.md: the systems that ship, from their specs and from the last run of the claims (`pytest --record`)."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from specc import driver
from specc.passes.count import network_calls

ROOT = Path(__file__).parents[2]
HEAD = """\
# Systems

Published systems written in the language, with their claims as tests. Written by `make docs` from the specs and from the
last recorded run of the lanes (`pytest --record`, `pytest -m slow --record`). *Lines* are those of the spec without
comments; *NFE* the network calls of its samplers, as the compiler counts them; *seconds* what the claims took on two
cores, trainings that several share included in the first to ask.

"""


def table() -> str:
    rows = json.loads((ROOT / "docs" / "measured.json").read_text())
    claims: dict[str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    for node, row in rows.items():
        file, test = node.split("::", 1)
        claims[Path(file).stem.removeprefix("test_")].append((test, row))
    parts, lines = [HEAD], []
    for spec in sorted(ROOT.glob("specs/*/*.spec"), key=lambda p: (p.parent.name, p.stem)):
        if spec.stem in claims and spec.parent.name != "std":
            text = spec.read_text(encoding="utf-8")
            lines.append(length(text))
            parts.append(section(spec, text, claims[spec.stem]))
    ordered = sorted(lines)
    parts.insert(
        1, f"{len(lines)} systems; the median spec has {ordered[len(ordered) // 2]} lines, the longest {ordered[-1]}.\n\n"
    )
    return "".join(parts)


def length(text: str) -> int:
    """Lines that say something."""
    return sum(1 for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))


def section(spec: Path, text: str, claims: list[tuple[str, dict[str, Any]]]) -> str:
    paper = text.splitlines()[1].removeprefix("# ")
    seconds = sum(row["seconds"] for _, row in claims)
    where = f"{spec.parent.name}/{spec.name}"
    head = f"## {spec.stem.replace('_', '-')}\n\n{paper} [`{where}`](../specs/{where}): "
    out = [
        f"{head}{length(text)} lines; NFE {calls(spec)}; {seconds:.0f} s.\n\n",
        "| claim | measured | seconds |\n|---|---|---|\n",
    ]
    for test, row in claims:
        name = re.sub(r"^test_", "", test).replace("_", " ")
        notes = [f"{key} {value}" for key, value in row["measured"].items()]
        notes = notes or ["holds"] if row["holds"] else [*notes, "**does not hold**"]
        out.append(f"| {name} | {'; '.join(notes)} | {row['seconds']:g}{' (slow lane)' if row['slow'] else ''} |\n")
    return "".join([*out, "\n"])


def calls(spec: Path) -> str:
    """The range of network calls over the samplers of a file; `data` where a number depends on the data."""
    found: set[int] = set()
    depends = False
    for program in driver.check(spec).programs.values():
        array = driver.prepare(program)
        for entry in array.by_role("sampler"):
            counted = network_calls(array, entry.name)
            depends |= counted is None
            found |= set() if counted is None else {counted.calls}
    shown = [f"{min(found)}" if len(found) == 1 else f"{min(found)} to {max(found)}"] if found else []
    return " or ".join([*shown, *(["as the data need"] if depends else [])]) or "none"


if __name__ == "__main__":
    print(table(), end="")
