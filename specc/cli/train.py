"""`specc train`: a spec compiled into a run and trained there, with progress on stderr and a last line of JSON on stdout."""

from __future__ import annotations

from pathlib import Path

import click

from specc import driver
from specc.cli.common import SPEC, Failure, checked, one, say
from specc.cli.runs import Run, python


@click.command("train")
@click.argument("spec", type=SPEC)
@click.option("-o", "--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="The folder of the run.")
@click.option("--steps", type=click.IntRange(min=1), help="Optimizer steps, instead of the spec's.")
@click.option("--seed", type=int, help="0 if not given, or that of the checkpoint.")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint of the run.")
@click.option("--model", help="One of several models in SPEC.")
@click.argument("more", nargs=-1, type=click.UNPROCESSED)
def command(
    spec: Path, out: Path, steps: int | None, seed: int | None, resume: bool, model: str | None, more: tuple[str, ...]
) -> None:
    """Compile SPEC into a run and train it. What follows `--` goes to train.py as it stands: -- --device cuda --compile."""
    found = checked(spec, model)
    program = one(found, spec)
    run = Run(out)
    lock = run.locked()
    if resume and lock is not None and lock["digest"] != program.digest:
        raise Failure(
            f"{out} was trained with another spec: its hash is {lock['digest'][:12]}, that of {spec} {program.digest[:12]}",
            "resume with the spec of the run, or train into another folder",
        )
    try:
        driver.emit(program, "pytorch", run.project)
        assert found.source is not None
        run.keep(program, found.source.text)
    except OSError as error:
        raise Failure(f"{out} could not be written: {error.strerror or error}") from None
    say(f"{program.name}: {spec} -> {run.project}")
    arguments = ["--out", str(out)]
    if seed is not None:
        arguments += ["--seed", str(seed)]
    if steps is not None:
        arguments += ["--steps", str(steps)]
    if resume:
        arguments.append("--resume")
    python(run.project / "train.py", *arguments, *more)
