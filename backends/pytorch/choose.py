"""Parts of generated projects are Python files that contain every variant; a project gets the lines that concern it.

A block between `# << name` and `# >>` stays if the name is among the features (`# << not name`: if it is not), or is replaced.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from specc.backends.pytorch.lines import joined
from specc.backends.pytorch.names import WIDTH

from specc.installed import folder

MARK = re.compile(r"\s*# (<<|>>) ?(.*)")


def part(name: str) -> str:
    """The text of a part."""
    return (folder("specc.backends.pytorch.parts") / f"{name}.py").read_text(encoding="utf-8")


def choose(text: str, features: Collection[str], replaced: Mapping[str, str] | None = None) -> str:
    """The text without the blocks that do not apply and without the marks; `replaced` blocks get other lines."""
    out: list[str] = []
    kept = [True]
    for line in text.splitlines():
        if line.startswith("# ruff:"):
            continue
        mark = MARK.fullmatch(line)
        if mark is None:
            if kept[-1]:
                out.append(line)
            continue
        if mark[1] == ">>":
            kept.pop()
            continue
        name = mark[2].strip()
        if replaced is not None and name in replaced:
            if kept[-1]:
                out += replaced[name].splitlines()
            kept.append(False)
        elif name.startswith("not "):
            kept.append(kept[-1] and name[4:] not in features)
        else:
            kept.append(kept[-1] and name in features)
    return "\n".join(joined(out, WIDTH)).rstrip() + "\n"
