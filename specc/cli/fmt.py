"""`specc fmt`: specs in the one way to write them."""

from __future__ import annotations

import difflib
from pathlib import Path

import click

from specc import driver
from specc.cli.common import SPEC, report, say, stop
from specc.cli.files import replace_text


@click.command("fmt")
@click.argument("files", nargs=-1, required=True, type=SPEC)
@click.option("--check", "only_check", is_flag=True, help="Change nothing; exit code 1 when a file is not formatted.")
@click.option("--diff", is_flag=True, help="Change nothing; print what would change.")
def command(files: tuple[Path, ...], only_check: bool, diff: bool) -> None:
    """Format each of FILES in place. Comments and meaning stay as they are; a file that does not parse is left alone."""
    failed = changed = 0
    for path in files:
        source, text, diagnostics = driver.formatted(path)
        report(diagnostics)
        if source is None or text is None:
            failed += 1
        elif text != source.text:
            changed += 1
            if diff:
                before, after = source.text.splitlines(keepends=True), text.splitlines(keepends=True)
                click.echo("".join(difflib.unified_diff(before, after, f"{path}", f"{path} (formatted)")), nl=False)
            elif only_check:
                click.echo(f"{path} is not formatted")
            else:
                replace_text(path, text)
                click.echo(f"formatted {path}")
    if not failed and not changed:
        say("nothing to change")
    stop(1 if failed or (changed and (only_check or diff)) else 0)
