"""`specc dump`: a spec as one stage of the compiler sees it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path

import click

from specc import driver
from specc.cli.common import SPEC, checked, exit_code, one, report, stop
from specc.source import Span

STAGES = ("syntax", "typed", "example", "array")


@click.command("dump")
@click.argument("spec", type=SPEC)
@click.option("--stage", type=click.Choice(STAGES), default="example", show_default=True)
@click.option("--model", help="One of several models in SPEC.")
def command(spec: Path, stage: str, model: str | None) -> None:
    """Print SPEC as the syntax tree, the resolved model, or the IR at example or array level."""
    if stage == "syntax":
        found = driver.check(spec, model)
        if found.file is None:
            report(found.diagnostics)
            stop(exit_code(found))
        click.echo("\n".join(outline(found.file)))
        return
    found = checked(spec, model)
    if stage == "typed":
        click.echo(found.outline.rstrip("\n"))
        return
    from specc.ir.text import show

    program = one(found, spec)
    click.echo(show(program if stage == "example" else driver.prepare(program)).rstrip("\n"))


def outline(node: object, name: str = "", depth: int = 0) -> Iterator[str]:
    """A tree of frozen nodes, a line each: the field it stands in, its kind, its plain values and its place."""
    if isinstance(node, tuple | list):
        if node and name:
            yield f"{'  ' * depth}{name}:"
        for item in node:
            yield from outline(item, "", depth + bool(name))
    elif is_dataclass(node):
        values = {f.name: getattr(node, f.name) for f in fields(node) if not f.name.endswith("span")}
        plain = {k: v for k, v in values.items() if isinstance(v, str | int | float | bool) and not (v is False or v == "")}
        span = getattr(node, "span", None)
        place = f"  @{span.line}:{span.column}" if isinstance(span, Span) else ""
        words = "".join(f" {k}={v!r}" for k, v in plain.items())
        yield f"{'  ' * depth}{name + ': ' if name else ''}{type(node).__name__}{words}{place}"
        for key, value in values.items():
            if is_dataclass(value) or (isinstance(value, tuple) and value):
                yield from outline(value, key, depth + 1)
    elif node is not None:
        yield f"{'  ' * depth}{name + ': ' if name else ''}{node!r}"
