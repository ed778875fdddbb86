"""The identity of a spec: what its numbers depend on, wherever that is written."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from sema_helpers import elaborated, text

from specc import driver
from specc.ir.digest import digest
from specc.sema import library

SPEC = text("train { steps = 10 }", "evaluate { nfe <= 4 }", "quantize q { weights = int8(axis = channel) }")


def identity(spec: str) -> str:
    made = elaborated(spec)
    assert not made.diagnostics
    (program,) = made.programs.values()
    return program.digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("process linear", "# noise and data\n\n  process linear   # straight"),
        ("nfe <= 4", "nfe <= 5"),
        ("int8(axis = channel)", "int4"),
        ("specc 1", "specc 1\n# for the appendix"),
        ("width = 8", "width = 4 + 4"),
    ],
)
def test_what_changes_no_number_is_the_same(old: str, new: str) -> None:
    assert old in SPEC
    assert identity(SPEC.replace(old, new)) == identity(SPEC)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("width = 8", "width = 9"),
        ("process linear", "process vp"),
        ("steps = 4", "steps = 5"),
        ("steps = 10", "steps = 11"),
        ("gaussians(k = 3)", "moons"),
        ("predict velocity", "predict x0"),
        ("model m", "model n"),
    ],
)
def test_what_changes_a_number_is_another(old: str, new: str) -> None:
    assert old in SPEC
    assert identity(SPEC.replace(old, new)) != identity(SPEC)


def test_imports_count_through_other_imports(tmp_path: Path) -> None:
    last, middle, spec = (tmp_path / f"{name}.spec" for name in ("last", "middle", "main"))
    last.write_text("specc 1\nprocess mine for gaussian over t in [0, 1] {\n  alpha(t) = 1 - t\n  sigma(t) = t\n}\n")
    middle.write_text('specc 1\nimport "last.spec"\n')
    spec.write_text(text(before='import "middle.spec"', process="process mine"))

    def found() -> str:
        (program,) = driver.check(spec).programs.values()
        return program.digest

    before = found()
    last.write_text(f"# again\n{last.read_text()}")
    assert found() == before
    last.write_text(last.read_text().replace("1 - t", "1 - t^2"))
    assert found() != before


def test_the_library_counts_where_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    index = dict(library.index())
    changes = {("process", "linear"): ("= std * t", "= std * t + 0"), ("sampler", "euler"): ("(s - t) *", "2 * (s - t) *")}
    for key, (old, new) in changes.items():
        assert old in index[key].text
        index[key] = replace(index[key], text=index[key].text.replace(old, new))
    before, unused = identity(SPEC), identity(text(sampler="sampler heun(steps = 4)"))
    monkeypatch.setattr(library, "index", lambda: index)
    library._parsed.cache_clear()
    try:
        assert identity(SPEC) != before
        assert identity(text(sampler="sampler heun(steps = 4)")) == unused
    finally:
        monkeypatch.undo()
        library._parsed.cache_clear()


def test_it_is_the_same_in_every_process_and_after_reading_back(tmp_path: Path) -> None:
    from specc.ir.document import from_json, to_json

    spec = tmp_path / "m.spec"
    spec.write_text(SPEC)
    (program,) = driver.check(spec).programs.values()
    assert digest(from_json(to_json(program))) == program.digest
    code = f"from specc import driver; print(*[p.digest for p in driver.check({str(spec)!r}).programs.values()])"
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed, "PATH": ""}
        )
        assert done.stdout.strip() == program.digest
