"""What every test may use."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("same", derandomize=True)  # the same texts in every run: CI says what it said here
settings.load_profile("same")

Golden = Callable[[Path, str], None]


RECORD = Path(__file__).parents[1] / "docs" / "measured.json"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update", action="store_true", help="Rewrite the files that tests compare with.")
    parser.addoption("--record", action="store_true", help="Keep what the claims of the systems measured, for docs/systems.md.")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """With --record, add the claims that ran to docs/measured.json: whether they hold, their seconds, what they measured."""
    if not config.getoption("--record"):
        return
    found = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            if report.when == "call" and report.nodeid.startswith("tests/systems/"):
                row = {"holds": outcome == "passed", "seconds": round(report.duration, 1), "slow": "slow" in report.keywords}
                found[report.nodeid] = row | {"measured": {k: str(v) for k, v in report.user_properties}}
    RECORD.write_text(json.dumps(dict(sorted(found.items())), indent=1) + "\n")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Compare a text with the file that holds what it should be; with --update, write that file instead."""

    def compare(path: Path, text: str) -> None:
        if request.config.getoption("--update"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"{path.name} is missing; pytest --update writes it"
        assert text == path.read_text(encoding="utf-8")

    return compare
