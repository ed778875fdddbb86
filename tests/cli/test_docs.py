"""The pages that are made from tables are the ones in `docs/`."""

import re
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

from specc.cli.explain import everything
from specc.sema.builtins import FUNCTIONS

Specc = Callable[..., Result]

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_of_diagnostics_is_up_to_date() -> None:
    assert (DOCS / "diagnostics.md").read_text(encoding="utf-8") == everything(), "run `make docs`"


def test_explain_all_writes_it(specc: Specc) -> None:
    assert specc("explain", "--all").stdout == everything()


def test_the_readme_shows_the_demo_spec_as_it_is() -> None:
    assert (DOCS.parent / "specs/diffusion/ddpm.spec").read_text() in (DOCS.parent / "README.md").read_text()


def test_the_first_spec_of_the_language_page_is_right(specc: Specc, tmp_path: Path) -> None:
    text = (DOCS / "language.md").read_text(encoding="utf-8")
    path = tmp_path / "first.spec"
    path.write_text(text.split("```\n")[1])
    assert path.read_text().startswith("specc 1\n")
    assert specc("check", path).exit_code == 0
    assert specc("fmt", "--check", path).exit_code == 0


def test_the_language_page_names_every_function_of_the_compiler() -> None:
    text = (DOCS / "language.md").read_text(encoding="utf-8")
    missing = [name for name in FUNCTIONS if not re.search(rf"\b{name}\b", text)]
    assert not missing
