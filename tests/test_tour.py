"""The tour of the language, word for word: every model of it checks, trains two steps and says the same in all three."""

from __future__ import annotations

from pathlib import Path

import pytest
import test_every_model as every

from specc import driver

TOUR = Path(__file__).parent / "syntax" / "tour.spec"
LONG = ("char_lm", "mdlm")  # long sequences, deep networks


def test_it_says_what_is_not_done_yet() -> None:
    checked = driver.check(TOUR)
    assert not checked.failed
    assert {d.code for d in checked.diagnostics} == {"W0702", "W0704"}


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in LONG else []) for n in every.names(TOUR)])
def test_it_trains_and_the_three_agree(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its corpus is a file in the folder in which training runs."""
    (tmp_path / "corpus.txt").write_text("A spec is the method section of a paper, written so that it compiles.\n" * 100)
    monkeypatch.chdir(tmp_path)
    every.test_it_trains_and_the_three_agree(str(TOUR), name, tmp_path, monkeypatch)
