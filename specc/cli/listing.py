"""`specc list`: the library, one definition a line."""

from __future__ import annotations

import difflib
import shutil
import sys
from itertools import groupby
from textwrap import shorten

import click

from specc.cli.common import as_json
from specc.sema.library import Entry, catalogue


@click.command("list")
@click.argument("kind", required=False)
@click.option("--json", "machine", is_flag=True, help="One JSON list on stdout.")
def command(kind: str | None, machine: bool) -> None:
    """Show the definitions of a KIND (process, sampler, loss...), or of all kinds."""
    rows = catalogue()
    kinds = sorted({row.kind for row in rows})
    if kind is not None:
        known = {kind, kind.removesuffix("s"), kind.removesuffix("es")} & set(kinds)
        if not known:
            near = difflib.get_close_matches(kind, kinds, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(kinds)}"
            raise click.UsageError(f"no kind `{kind}`; {hint}")
        rows = [row for row in rows if row.kind in known]
    if machine:
        as_json([as_dict(row) for row in rows])
    elif sys.stdout.isatty():
        table(rows)
    else:
        for row in rows:
            click.echo(f"{row.kind} {row.signature}" + (f"  # {row.summary}" if row.summary else ""))


def as_dict(row: Entry) -> dict[str, str]:
    where = f"specs/std/{row.file}:{row.line}"
    return {"kind": row.kind, "name": row.name, "signature": row.signature, "doc": row.summary, "where": where}


def table(rows: list[Entry]) -> None:
    """For people: a heading for each kind, the signatures in one column, what they are in the other."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    width = shutil.get_terminal_size((100, 24)).columns
    column = min(max(len(row.signature) for row in rows) + 4, width // 2)
    for kind, members in groupby(rows, key=lambda row: row.kind):
        console.print(Text(f"\n{kind}", style="bold"))
        for row in members:
            signature = shorten(row.signature, column - 4, placeholder=" ...)")
            line = Text(f"  {signature:<{column - 2}}", style="cyan")
            line.append(shorten(row.summary, max(width - column, 20), placeholder=" ..."), style="default")
            console.print(line, soft_wrap=True)
