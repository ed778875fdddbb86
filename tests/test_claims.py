"""What is kept of claims: those that ran are added, and those that are no more are dropped."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import claims
import pytest

FILE = "tests/systems/test_a.py"
LAW, OTHER, PLAIN, GONE = (f"{FILE}::test_{name}" for name in ("law[50]", "law[100]", "law", "gone"))
KEPT = "tests/systems/test_b.py::test_b[1]"


@pytest.mark.parametrize(
    ("args", "left"),
    [
        (["tests"], [LAW, KEPT]),
        ([FILE], [LAW, KEPT]),
        ([LAW], [OTHER, LAW, PLAIN, KEPT]),  # what else is in the file nobody knows
        (["tests/systems/test_b.py"], [OTHER, LAW, PLAIN, KEPT]),
    ],
)
def test_claims_that_are_no_more_are_dropped(
    args: list[str], left: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three recorded claims of a name, one is still there; of another, none. A file whose tests nobody collected is kept."""
    (tmp_path / "tests" / "systems").mkdir(parents=True)
    (tmp_path / FILE).write_text("def test_law(n): ...")
    (tmp_path / KEPT.split("::")[0]).write_text("def test_b(n): ...")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(claims, "ROOT", tmp_path)
    monkeypatch.setattr(claims, "RECORD", tmp_path / "measured.json")
    claims.RECORD.write_text(json.dumps({node: {} for node in (LAW, OTHER, PLAIN, GONE, KEPT)}))
    claims.record({}, claims.collected(args, [SimpleNamespace(nodeid=LAW, path=tmp_path / FILE)]))
    assert sorted(claims.recorded()) == sorted(left)
