"""What is installed is all there is: every folder with code is a package that pyproject.toml names, every file is in one."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
SETUP = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]


def folder(package: str) -> Path:
    """Where a package lies; some lie beside `specc`."""
    for name, place in SETUP["package-dir"].items():
        if package == name or package.startswith(f"{name}."):
            return ROOT / place / package.removeprefix(name).lstrip(".").replace(".", "/")
    return ROOT / package.replace(".", "/")


def test_every_folder_with_code_is_installed() -> None:
    wanted = {p.parent for top in ("specc", "backends", "grammars", "specs") for p in (ROOT / top).rglob("*.py")}
    assert {folder(p) for p in SETUP["packages"]} == wanted


def test_every_other_file_is_installed() -> None:
    given = {p for name, patterns in SETUP["package-data"].items() for pattern in patterns for p in folder(name).glob(pattern)}
    files = {p for top in ("specc", "backends", "grammars", "specs") for p in (ROOT / top).rglob("*") if p.is_file()}
    left = {p for p in files - given if p.suffix not in (".py", ".pyc")}
    assert not left, sorted(left)
