"""`specc compile`: a spec as files for a target."""

from __future__ import annotations

from pathlib import Path

import click

from specc import driver
from specc.cli.common import SPEC, Failure, checked, one, say


@click.command("compile")
@click.argument("spec", type=SPEC)
@click.option("--target", type=click.Choice(list(driver.TARGETS)), default="pytorch", show_default=True)
@click.option("-o", "--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="The folder to write into.")
@click.option("--model", help="One of several models in SPEC.")
def command(spec: Path, target: str, out: Path, model: str | None) -> None:
    """Write SPEC as a PyTorch project, as ONNX files with initial weights, or as the IR in JSON."""
    program = one(checked(spec, model), spec)
    try:
        files = driver.emit(program, target, out)
    except OSError as error:
        raise Failure(f"{out} could not be written: {error.strerror or error}") from None
    except refusals(target) as error:
        raise Failure(f"{program.name} cannot be written for {target}: {error}") from None
    for file in files:
        click.echo(file)
    if target == "pytorch":
        say(f"next: python {out / 'train.py'}")


def refusals(target: str) -> tuple[type[Exception], ...]:
    """What a backend raises for what it cannot say. Asked for only then, since it imports the backend."""
    if target != "onnx":
        return (ValueError,)
    from specc.backends.onnx.emit import UnsupportedError

    return (ValueError, UnsupportedError)
