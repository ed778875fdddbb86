"""`specc check`: what is wrong with specs, and with `--explain` what was filled in."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import click

from specc import driver
from specc.cli.common import SPEC, as_json, exit_code, report, stop
from specc.sema import Default


@click.command("check")
@click.argument("files", nargs=-1, required=True, type=SPEC)
@click.option("--json", "machine", is_flag=True, help="One JSON list of diagnostics on stdout.")
@click.option("--explain", is_flag=True, help="Every default that was filled in, and where it comes from.")
def command(files: tuple[Path, ...], machine: bool, explain: bool) -> None:
    """Check each of FILES; exit code 1 when there is an error in one."""
    results = [driver.check(path) for path in files]
    found = tuple(diagnostic for result in results for diagnostic in result.diagnostics)
    if machine:
        as_json([diagnostic.as_dict() for diagnostic in found])
    else:
        report(found, err=False)
        if explain:
            for path, result in zip(files, results, strict=True):
                click.echo(f"{path}\n{table(result.defaults)}")
        elif not found:
            click.echo(f"{len(files)} specs, no errors" if len(files) > 1 else f"{files[0]}: no errors")
    stop(exit_code(*results))


def table(defaults: tuple[Default, ...]) -> str:
    """Every setting by section, one a line: what it is, its value, where it comes from."""
    if not defaults:
        return "  nothing to fill in\n"
    rows: list[tuple[str, Default | None]] = []
    for section, members in groupby(defaults, key=lambda d: d.section):
        named: list[Default] = []
        knobs: list[Default] = []
        for d in members:
            (knobs if d.knob else named).append(d)
        rows += [(f"  {section}", d) for d in named]
        rows += [] if named else [(f"  {section}", None)]
        rows += [(f"    {d.knob}", d) for d in knobs]
    left = max(len(text) for text, _ in rows)
    value = max(len(d.value) for d in defaults)
    lines = [text if d is None else f"{text:<{left}} = {d.value:<{value}}  # {d.origin}" for text, d in rows]
    return "\n".join(lines) + "\n"
