"""One mistake a file, with the whole message beside it; and a page for every code."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import specc.sema
from specc.cli.render import render
from specc.diagnostics import Diagnostic, Label
from specc.sema import elaborate
from specc.sema.codes import CODES
from specc.sema.report import Library
from specc.source import Source, Span
from specc.syntax import parser

MEASURED = {"E0606"}  # found when a file is exported: tests/cli/test_quantized.py
BAD = Path(__file__).parents[1] / "bad"
FILES = sorted(p.relative_to(BAD) for p in BAD.glob("[EW]0[2-9]*/*.spec") if not p.name.startswith("_"))


def said(path: Path) -> list[Diagnostic]:
    source, unreadable = parser.read(path)
    if source is None:
        return list(unreadable)
    file, mistakes = parser.parse(source)
    return [*mistakes, *elaborate(file, source).diagnostics]


def shown(found: Diagnostic) -> str:
    """The whole message; lines of the library count from the head of their definition, so that it may grow above."""

    def settled(label: Label) -> Label:
        source = label.span.source
        if not isinstance(source, Library):
            return label
        return replace(label, span=Span(Source(source.name, source.text), label.span.start, label.span.stop))

    return render(replace(found, labels=tuple(map(settled, found.labels)))) + "\n"


@pytest.mark.parametrize("path", FILES, ids=str)
def test_message(path: Path, golden: Callable[[Path, str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BAD)
    found = said(path)
    assert [d.code for d in found] == [path.parent.name]
    golden(BAD / path.with_suffix(".txt"), shown(found[0]))


@pytest.mark.parametrize("path", FILES, ids=str)
def test_message_is_located_in_the_users_text(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BAD)
    (found,) = said(path)
    assert found.span.source.name.startswith(path.parent.name)
    assert found.span.text.strip()
    assert not found.message[0].isupper()
    assert not found.message.endswith(".")


def test_every_code_has_a_page_and_a_file() -> None:
    folder = Path(specc.sema.__file__).parent
    raised = {
        code
        for path in folder.glob("*.py")
        if path.name != "codes.py"
        for code in re.findall(r'"([EW]0\d{3})"', path.read_text(encoding="utf-8"))
    }
    assert raised == set(CODES) - MEASURED
    assert raised == {path.parent.name for path in FILES}


def test_every_text_has_its_spec() -> None:
    assert {p.with_suffix(".spec").relative_to(BAD) for p in BAD.glob("[EW]0[2-9]*/*.txt")} == set(FILES)


@pytest.mark.parametrize("code", sorted(CODES))
def test_page_is_filled_in(code: str) -> None:
    page = CODES[code]
    assert page.title and page.title[0].islower() and not page.title.endswith(".")
    assert page.why.endswith(".") and "  " not in page.why
    assert page.example.endswith("\n") and page.instead.endswith("\n") and page.example != page.instead
