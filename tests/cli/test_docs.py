"""The pages that are made from tables are the ones in `docs/`."""

from collections.abc import Callable
from pathlib import Path

from click.testing import Result

from specc.cli.explain import everything

Specc = Callable[..., Result]

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_of_diagnostics_is_up_to_date() -> None:
    assert (DOCS / "diagnostics.md").read_text(encoding="utf-8") == everything(), "run `make docs`"


def test_explain_all_writes_it(specc: Specc) -> None:
    assert specc("explain", "--all").stdout == everything()


def test_the_readme_shows_the_demo_spec_as_it_is() -> None:
    assert (DOCS.parent / "specs/diffusion/ddpm.spec").read_text() in (DOCS.parent / "README.md").read_text()
