"""`specc explain CODE`: the page of a diagnostic."""

from __future__ import annotations

import difflib
import sys

import click

from specc.sema.codes import CODES as MEANING
from specc.syntax.codes import CODES as FORM
from specc.syntax.codes import Page

PAGES: dict[str, Page] = dict(sorted({**FORM, **MEANING}.items()))
OPENING = """\
# Diagnostics

Every code that `specc` can give, as `specc explain CODE` prints it. Codes are stable: one that is not used any more is not
used again. `specc explain --all` writes this page.
"""


@click.command("explain")
@click.argument("code", required=False)
@click.option("--all", "every", is_flag=True, help="All pages, as Markdown.")
def command(code: str | None, every: bool) -> None:
    """Say what a code such as E0307 means, why it matters and what to write instead."""
    if every:
        click.echo(everything(), nl=False)
        return
    if code is None:
        raise click.UsageError("name a code, such as E0307, or ask for --all")
    wanted = code.strip().upper().removeprefix("ERROR[").removesuffix("]")
    if wanted not in PAGES:
        near = difflib.get_close_matches(wanted, PAGES, n=3)
        raise click.UsageError(f"no code `{code}`" + (f"; near it are {', '.join(near)}" if near else ""))
    text = markdown(wanted, PAGES[wanted])
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.markdown import Markdown

        Console().print(Markdown(text))
    else:
        click.echo(text, nl=False)


def markdown(code: str, page: Page) -> str:
    return (
        f"## {code}: {page.title}\n\n{page.why}\n\nExample:\n\n```\n{page.example.rstrip()}\n```\n\n"
        f"Instead:\n\n```\n{page.instead.rstrip()}\n```\n"
    )


def everything() -> str:
    return "\n".join([OPENING, *(markdown(code, page) for code, page in PAGES.items())])
