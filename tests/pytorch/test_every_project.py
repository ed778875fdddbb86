"""The project of every model that ships, as a linter and a formatter read it: each name has a meaning and a use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from specc import driver

SPECS = Path(__file__).parents[2] / "specs"
ALL = sorted(p for p in SPECS.glob("*/*.spec") if p.parent.name != "std")
WIDTH = ("--isolated", "--line-length", "128")


@pytest.mark.parametrize("path", ALL, ids=lambda p: p.stem)
def test_projects_are_clean(path: Path, tmp_path: Path) -> None:
    for name, program in driver.check(path).programs.items():
        driver.emit(program, "pytorch", tmp_path / name)
    for command in (("check", "--select", "F", *WIDTH), ("format", "--check", *WIDTH)):
        found = subprocess.run([sys.executable, "-m", "ruff", *command, str(tmp_path)], capture_output=True, text=True)
        assert found.returncode == 0, found.stdout
