"""The Python interface."""

from __future__ import annotations

from pathlib import Path

import pytest

import specc


def test_load_check_compile(good: Path, tmp_path: Path) -> None:
    program = specc.load(good)
    assert (program.name, program.level) == ("starter", "example")
    assert specc.check(good) == ()
    files = specc.compile(program, "pytorch", tmp_path / "a")
    assert {f.name for f in files} == {f.name for f in specc.compile(good, "pytorch", tmp_path / "b")}
    assert all(f.exists() for f in files)


def test_errors_are_raised_with_all_that_was_found(bad: Path) -> None:
    assert {d.code for d in specc.check(bad)} >= {"E0203"}
    with pytest.raises(specc.SpecErrors, match=r"bad\.spec:5:11: error\[E0203\]") as caught:
        specc.load(bad)
    assert caught.value.diagnostics == specc.check(bad)


def test_several_models_need_a_name(good: Path) -> None:
    text = good.read_text()
    good.write_text(text + text.removeprefix("specc 1\n").replace("model starter", "model other"))
    with pytest.raises(ValueError, match="starter, other"):
        specc.load(good)
    assert specc.load(good, "other").name == "other"


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError):
        specc.nothing  # noqa: B018
