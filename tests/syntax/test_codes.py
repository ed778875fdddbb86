"""Every code has a page, and every page's texts do what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import specc.syntax.parser
from specc.source import Source
from specc.syntax.codes import CODES, Page
from specc.syntax.parser import parse

FOLDER = Path(specc.syntax.parser.__file__).parent


def test_every_code_has_a_page_and_is_used() -> None:
    used = {c for f in FOLDER.glob("*.py") if f.name != "codes.py" for c in re.findall(r"E0\d{3}", f.read_text())}
    assert used == set(CODES)


@pytest.mark.parametrize("code", [c for c in CODES if c < "E0150"])
def test_page(code: str) -> None:
    page: Page = CODES[code]
    assert page.title and page.why.endswith(".")
    assert code in {d.code for d in parse(Source("test.spec", page.example))[1]}
    assert parse(Source("test.spec", page.instead))[1] == ()
