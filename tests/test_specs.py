"""The specs that the project ships: systems that check without errors, and a library whose every definition can be found."""

from __future__ import annotations

from pathlib import Path

import pytest

from specc import driver
from specc.ir.verify import verify
from specc.sema import library
from specc.syntax.format import format_text
from specc.syntax.parser import read

SPECS = Path(__file__).parents[1] / "specs"
SYSTEMS = sorted(p.relative_to(SPECS) for p in SPECS.glob("*/*.spec") if p.parent.name != "std")


@pytest.mark.parametrize("path", SYSTEMS, ids=str)
def test_system_checks(path: Path) -> None:
    checked = driver.check(SPECS / path)
    assert not checked.failed, [f"{d.span}: {d.code} {d.message}" for d in checked.diagnostics]
    assert checked.programs
    for program in checked.programs.values():
        verify(program)


@pytest.mark.parametrize("path", SYSTEMS, ids=str)
def test_system_opens_with_its_source(path: Path) -> None:
    lines = (SPECS / path).read_text(encoding="utf-8").splitlines()
    assert lines[0] == "specc 1"
    assert lines[1].startswith("# ")
    assert len(lines) <= 150, "a system is read in one go"


@pytest.mark.parametrize("path", sorted(p.relative_to(SPECS) for p in SPECS.rglob("*.spec")), ids=str)
def test_specs_are_formatted(path: Path) -> None:
    source, _ = read(SPECS / path)
    assert source is not None
    assert format_text(source) == source.text


@pytest.mark.parametrize("key", sorted(library.index()), ids=" ".join)
def test_definition_of_the_library(key: tuple[str, str]) -> None:
    kind, name = key
    definition = library.find(kind, name)
    assert definition is not None
    assert (definition.kind, definition.name) == (kind, name.split(" for ")[0])
    assert definition.library
