"""Readers that a spec declares: their Python files are looked at where a spec is checked, and never run."""

from __future__ import annotations

from pathlib import Path

import pytest

from specc import driver
from specc.diagnostics import Diagnostic
from specc.ir.document import from_json, to_json
from specc.syntax.format import format_text
from specc.syntax.parser import read

SPEC = """\
specc 1
reader mine(folder, size = 2) -> vector(size) = extern("my_data.py:load") {
  field y: class(3)
  field weight
}
model m {
  data x: vector(2) from mine("here")
  condition label: class(3)
  field weight: scalar
  process linear
  backbone mlp(width = 8)
  predict velocity
  sampler euler(steps = 2)
}
"""
MARK = 'open("ran", "w").close()\nraise SystemExit("run by a check")\n'
LOAD = "def load(split, folder, size=2, *, slow=False):\n    return {}\n"


def checked(folder: Path, python: str, spec: str = SPEC) -> driver.Checked:
    (folder / "my_data.py").write_text(python, encoding="utf-8")
    (folder / "m.spec").write_text(spec)
    return driver.check(folder / "m.spec")


def errors(folder: Path, python: str, spec: str = SPEC) -> list[Diagnostic]:
    return [d for d in checked(folder, python, spec).diagnostics if d.severity == "error"]


def test_the_file_is_read_and_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = checked(tmp_path, MARK + LOAD)
    assert found.diagnostics == ()
    (dataset,) = found.programs["m"].data
    assert dataset.code is not None
    assert (dataset.code.file, dataset.code.function, dataset.code.endless) == ("my_data.py", "load", False)
    assert dataset.code.fields == ("y", "weight") and dataset.code.shape == (2,)
    assert dataset.code.text == MARK + LOAD
    assert dict(dataset.reader.options) == {"folder": "here", "size": 2}
    for target in driver.TARGETS.keys() & {"pytorch", "ir"}:
        driver.emit(found.programs["m"], target, tmp_path / target)
    assert not (tmp_path / "ran").exists()


def test_a_law_is_drawn_from(tmp_path: Path) -> None:
    for start in ("n, rng", "n, rng, /"):
        code = checked(tmp_path, f"def load({start}, **settings):\n  pass\n").programs["m"].data[0].code
        assert code is not None and code.endless


def test_what_the_reader_promises_is_held_against_the_model(tmp_path: Path) -> None:
    assert [d.code for d in errors(tmp_path, LOAD, SPEC.replace('mine("here")', 'mine("here", size = 3)'))] == ["E0301"]
    assert [d.code for d in errors(tmp_path, LOAD, SPEC.replace("label: class(3)", "label: class(4)"))] == ["E0312"]
    assert [d.code for d in errors(tmp_path, LOAD, SPEC.replace("field weight: s", "field height: s"))] == ["E0312"]


@pytest.mark.parametrize(
    ("python", "words"),
    [
        ("def load(split, folder, size=2:\n", "is not Python"),
        ("\0", "is not Python"),
        ("(" * 5000, "is not Python"),
        ("x = '\\d'\ndef other(split): pass\n", "no function `load`"),
        ("from elsewhere import load\n", "no function `load`"),
        ("async def load(split, folder, size): pass\n", "no function `load`"),
        ("def load(folder, size): pass\n", "begins with neither"),
        ("def load(n, folder, size): pass\n", "begins with neither"),
        ("def load(split, folder): pass\n", "takes no `size`"),
        ("def load(split, folder, /, size): pass\n", "takes no `folder`"),
        ("def load(split, folder, size, depth): pass\n", "needs `depth`"),
        ("def load(split, folder, size, *, depth): pass\n", "needs `depth`"),
        ("def load(split, folder, size)" + ": pass\n" + "#" * 2**20, "more than a megabyte"),
    ],
)
def test_python_that_does_not_fit(tmp_path: Path, python: str, words: str, recwarn: pytest.WarningsRecorder) -> None:
    (found,) = errors(tmp_path, python)
    assert found.code == "E0313" and words in found.message
    assert found.span.source.name.endswith("m.spec") and found.span.line == 2
    assert not recwarn.list  # of Python, about a text that is only looked at


@pytest.mark.parametrize("knob", ["split", "lambda"])
def test_knobs_that_no_python_could_take(tmp_path: Path, knob: str) -> None:
    spec = SPEC.replace("size = 2)", f"size = 2, {knob} = 1)")
    (found,) = errors(tmp_path, "def load(split, **settings): pass\n", spec)
    assert (found.code, found.span.text) == ("E0313", f"{knob} = 1")


def test_a_file_in_another_alphabet_is_no_text(tmp_path: Path) -> None:
    checked(tmp_path, LOAD)
    (tmp_path / "my_data.py").write_bytes(b"\xff\xfe")
    assert [d.code for d in driver.check(tmp_path / "m.spec").diagnostics] == ["E0313"]
    (tmp_path / "my_data.py").write_bytes(b"\xef\xbb\xbf" + LOAD.encode())
    assert not driver.check(tmp_path / "m.spec").failed


def test_a_file_lies_beside_the_spec_that_declares_it(tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    parts.mkdir()
    declaration, model = SPEC.removeprefix("specc 1\n").split("model m", 1)
    (parts / "readers.spec").write_text(f"specc 1\n{declaration}")
    (parts / "my_data.py").write_text(LOAD)
    (tmp_path / "m.spec").write_text(f'specc 1\nimport "parts/readers.spec"\nmodel m{model}')
    assert not driver.check(tmp_path / "m.spec").failed
    (parts / "my_data.py").unlink()
    (found,) = driver.check(tmp_path / "m.spec").diagnostics
    assert found.code == "E0313" and found.span.source.name.endswith("m.spec")
    assert any(label.span.source.name.endswith("readers.spec") for label in found.labels)


def test_the_code_does_not_count_for_the_weights(tmp_path: Path) -> None:
    """A run may go on after a change of the file, with a warning: the lock has its hash."""
    digests = {checked(tmp_path, python).programs["m"].digest for python in (LOAD, LOAD + "# changed\n")}
    assert len(digests) == 1


def test_a_program_carries_the_code(tmp_path: Path) -> None:
    program = checked(tmp_path, LOAD).programs["m"]
    assert from_json(to_json(program)).data[0].code == program.data[0].code


def test_a_declaration_is_formatted(tmp_path: Path) -> None:
    (tmp_path / "m.spec").write_text(
        SPEC.replace('(folder, size = 2) -> vector(size) = extern("', '(folder,size=2)->vector(size)=extern("')
    )
    source, _ = read(tmp_path / "m.spec")
    assert source is not None and format_text(source) == SPEC
