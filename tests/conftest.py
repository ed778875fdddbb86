"""What every test may use."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import claims
import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the tests run side by side; threads of small networks wait for one another
settings.register_profile("same", derandomize=True)  # the same texts in every run: CI says what it said here
settings.load_profile("same")

Golden = Callable[[Path, str], None]
WHOLE = pytest.StashKey[dict[str, set[str]]]()  # the tests of each file that was collected whole


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update", action="store_true", help="Rewrite the files that tests compare with.")
    parser.addoption("--record", action="store_true", help="Keep what the claims of the systems measured, for docs/systems.md.")
    parser.addoption("--changed", type=float, metavar="SECONDS", help="Only claims whose spec or test is not the one recorded.")


@pytest.hookimpl(tryfirst=True)  # before any other leaves tests out
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With --changed, leave the claims of the systems that a change concerns and that fit into the time."""
    config.stash[WHOLE] = {} if config.getoption("lf", False) else claims.collected(config.args, items)
    seconds = config.getoption("--changed")
    if seconds is None:
        return
    slow = [i for i in items if i.nodeid.startswith("tests/systems/") and i.get_closest_marker("slow")]
    chosen = claims.concerned(slow, seconds)
    config.hook.pytest_deselected(items=[i for i in items if i.nodeid not in chosen])
    items[:] = [i for i in items if i.nodeid in chosen]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.getoption("--record"):
        claims.record(terminalreporter.stats, config.stash.get(WHOLE, {}))


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
