"""The claims of the systems: what a run of them measured, kept for docs/systems.md, and which of them a change concerns."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from specc import driver

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "docs" / "measured.json"
OUTCOMES = ("passed", "failed", "xfailed")


def recorded() -> dict[str, dict[str, Any]]:
    return json.loads(RECORD.read_text()) if RECORD.exists() else {}


def collected(args: Iterable[str], items: Iterable[pytest.Item]) -> dict[str, set[str]]:
    """By file, all tests of those that were collected whole, as the arguments of the command line say."""
    asked = [Path(arg).resolve() for arg in args if "::" not in arg]
    found: dict[str, set[str]] = {}
    for item in items:
        if any(item.path.is_relative_to(path) for path in asked):
            found.setdefault(item.nodeid.split("::")[0], set()).add(item.nodeid)
    return found


def record(stats: dict[str, list[pytest.TestReport]], whole: dict[str, set[str]]) -> None:
    """Add the claims that ran: whether they hold, their seconds, what they measured, and what it was measured of.

    Claims that are no more are dropped. whole: what `collected` found.
    """
    found = recorded()
    for outcome in OUTCOMES:
        for report in stats.get(outcome, []):
            if report.when == "call" and report.nodeid.startswith("tests/systems/"):
                row = {"holds": outcome == "passed", "seconds": round(report.duration, 1), "slow": "slow" in report.keywords}
                row |= {"of": state(report.nodeid.split("::")[0]), "measured": {k: str(v) for k, v in report.user_properties}}
                found[report.nodeid] = row
    RECORD.write_text(json.dumps({k: v for k, v in sorted(found.items()) if exists(k, whole)}, indent=1) + "\n")


def exists(node: str, whole: dict[str, set[str]]) -> bool:
    """Whether a test is still there; of a file that was not collected whole, one of that name with whichever parameters."""
    file, test = node.split("::", 1)
    if file in whole:
        return node in whole[file]
    return (ROOT / file).exists() and f"def {test.split('[')[0]}(" in (ROOT / file).read_text(encoding="utf-8")


@cache
def state(file: str) -> str:
    """A hash of a test file and of the programs of the specs it names: what its numbers depend on."""
    text = (ROOT / file).read_text(encoding="utf-8")
    found = hashlib.sha256(text.encode())
    for spec in sorted({ROOT / "specs" / name for name in re.findall(r'"(\w+/\w+\.spec)"', text)}):
        for name, program in sorted(driver.check(spec).programs.items()):
            found.update(f"{name} {program.digest}".encode())
    return found.hexdigest()[:16]


def concerned(items: Iterable[pytest.Item], seconds: float) -> set[str]:
    """The claims whose spec or test is not the one recorded, the shortest first, as many as fit into `seconds`.

    One that was never recorded is of unknown length and waits for a whole run.
    """
    rows = recorded()
    changed = [i.nodeid for i in items if i.nodeid in rows and rows[i.nodeid].get("of") != state(i.nodeid.split("::")[0])]
    chosen = set()
    for node in sorted(changed, key=lambda n: rows[n]["seconds"]):
        seconds -= rows[node]["seconds"]
        if seconds >= 0:
            chosen.add(node)
    return chosen
