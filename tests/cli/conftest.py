"""Specs to call the command line with, and a call of it in this process."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from warm import scripts

from specc.cli.main import cli
from specc.cli.new import STARTER

Specc = Callable[..., Result]


@pytest.fixture
def specc() -> Specc:
    """`specc("check", path)`: the result has exit_code, stdout and stderr."""

    def call(*args: object) -> Result:
        return CliRunner().invoke(cli, [str(a) for a in args], catch_exceptions=False)

    return call


@pytest.fixture(scope="session", autouse=True)
def _quick() -> Iterator[None]:
    with scripts():
        yield


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A copy to damage of the run that a file's tests share."""
    return Path(shutil.copytree(whole, tmp_path / "run"))


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "starter.spec"
    path.write_text(STARTER.format(name="starter", title="starter"), encoding="utf-8")
    return path


@pytest.fixture
def bad(good: Path) -> Path:
    """The starter with a misspelt process on line 5 and a knob that nothing uses on line 9."""
    path = good.with_name("bad.spec")
    text = good.read_text(encoding="utf-8").replace("process linear ", "process liner ").replace("euler(steps", "euler(stepz")
    path.write_text(text, encoding="utf-8")
    return path
