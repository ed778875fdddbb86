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


PAGES = [
    DOCS.parent / "README.md",
    *(p for p in sorted(DOCS.glob("*.md")) if p.name != "diagnostics.md"),
]  # that has tests of its own
FENCED = {page.name: re.findall(r"```\w*\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL) for page in PAGES}


def test_every_whole_spec_of_the_pages_is_right(specc: Specc, tmp_path: Path) -> None:
    whole = [(name, text) for name, texts in FENCED.items() for text in texts if text.startswith("specc 1\n")]
    assert len(whole) >= 2
    for name, text in whole:
        path = tmp_path / "s.spec"
        path.write_text(text)
        assert specc("check", path).exit_code == 0, f"{name}:\n{text}"


def test_every_command_of_the_pages_is_one(specc: Specc) -> None:
    lines = [line.split("#")[0] for texts in FENCED.values() for text in texts for line in text.splitlines()]
    commands = [line.split() for line in lines if line.startswith("specc ") and line.split()[1:2] != ["1"]]
    assert len(commands) >= 8
    helped = {name: specc(name, "--help").stdout for name in {words[1] for words in commands}}
    for _, name, *arguments in commands:
        for option in (a for a in arguments if re.match(r"-{1,2}[a-z]", a)):
            assert re.search(rf"(?<![\w-]){option}\b", helped[name]), f"specc {name} has no option {option}"
