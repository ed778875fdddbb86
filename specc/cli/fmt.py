"""`specc fmt`: specs in the one way to write them."""

from __future__ import annotations

import difflib
from pathlib import Path

import click

from specc import driver
from specc.cli.common import SPEC, UNREADABLE, report, say, stop
from specc.cli.files import replace_text
from specc.syntax.parser import STDIN


@click.command("fmt")
@click.argument("files", nargs=-1, required=True, type=SPEC)
@click.option("--check", "only_check", is_flag=True, help="Change nothing; exit code 1 when a file is not formatted.")
@click.option("--diff", is_flag=True, help="Change nothing; print what would change.")
def command(files: tuple[Path, ...], only_check: bool, diff: bool) -> None:
    """Format each of FILES in place, or what comes in on stdin (-) to stdout. Comments and meaning stay as they are; a file
    that does not parse is left alone."""
    failed = changed = 0
    unreadable = False
    for path in files:
        source, text, diagnostics = driver.formatted(path)
        report(diagnostics)
        if source is None or text is None:
            failed += 1
            unreadable |= any(d.code in UNREADABLE for d in diagnostics)
        elif text != source.text:
            changed += 1
            if diff:
                before, after = source.text.splitlines(keepends=True), text.splitlines(keepends=True)
                click.echo("".join(difflib.unified_diff(before, after, f"{path}", f"{path} (formatted)")), nl=False)
            elif only_check:
                click.echo(f"{path} is not formatted")
            elif path == STDIN:
                click.echo(text, nl=False)
            else:
                replace_text(path, text)
                click.echo(f"formatted {path}")
        elif path == STDIN and not only_check and not diff:
            click.echo(text, nl=False)
    if not failed and not changed:
        say("nothing to change")
    stop(2 if unreadable else 1 if failed or (changed and (only_check or diff)) else 0)
