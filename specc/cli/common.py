"""What the subcommands share: reading a spec, reporting what was found, and the ways to fail."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from specc.cli import render
from specc.diagnostics import Diagnostic

if TYPE_CHECKING:
    from specc.driver import Checked
    from specc.ir.program import Program

SPEC = click.Path(path_type=Path)  # what is wrong with the file itself is a diagnostic too
UNREADABLE = {"E0151", "E0152"}  # no such file; a folder


SEED = click.IntRange(-(2**42), 2**42)  # of samples: times the stride between two of them, it is still a seed of 64 bits
SEED_OF_TRAINING = click.IntRange(0, 2**63 - 1)


class Failure(click.ClickException):
    """Something failed while running: exit code 3. `help` is the way out."""

    exit_code = 3

    def __init__(self, message: str, help: str = "") -> None:
        super().__init__(message)
        self.help = help

    def show(self, file: object = None) -> None:
        click.echo(f"error: {self.message}", err=True)
        if self.help:
            click.echo(f"help: {self.help}", err=True)


def report(diagnostics: Iterable[Diagnostic], *, err: bool = True) -> None:
    """Print diagnostics for people, errors first within a file's order."""
    found = tuple(diagnostics)
    stream = sys.stderr if err else sys.stdout
    colour = stream.isatty()
    for diagnostic in found:
        click.echo(render.render(diagnostic, colour=colour) + "\n", err=err)
    if text := render.summary(found):
        click.echo(text, err=err)


def checked(path: Path, model: str | None = None) -> Checked:
    """A spec without errors, its warnings printed; with errors, they are printed and the exit code is 1."""
    from specc import driver

    result = driver.check(path, model)
    report(result.diagnostics)
    if result.failed:
        stop(exit_code(result))
    return result


def exit_code(*results: Checked) -> int:
    """1 for errors in a spec; 2, wrong usage, when there is no such spec; else 0."""
    codes = {d.code for result in results for d in result.diagnostics if d.severity == "error"}
    return 2 if codes & UNREADABLE else 1 if codes else 0


def one(result: Checked, path: Path) -> Program:
    """The program of a spec with one model; several without a choice among them are a mistake in the usage."""
    programs = result.programs
    if len(programs) == 1:
        return next(iter(programs.values()))
    if not programs:
        raise click.UsageError(f"{path} has no model, only definitions")
    raise click.UsageError(f"{path} has several models; choose with --model: {', '.join(programs)}")


def absent(kind: str, name: str, known: Iterable[str]) -> NoReturn:
    """There is no such sampler, input, ... of a spec or run."""
    there = list(known)
    close = difflib.get_close_matches(name, there, n=1)
    hint = f"did you mean `{close[0]}`?" if close else f"there are {', '.join(there)}" if there else "there is none"
    raise click.UsageError(f"no {kind} `{name}`; {hint}")


def stop(code: int) -> NoReturn:
    click.get_current_context().exit(code)


def say(text: str) -> None:
    """A word for people, out of the way of what scripts read."""
    click.echo(text, err=True)


def as_json(value: object) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))
