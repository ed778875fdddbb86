"""`specc train`: a spec compiled into a run and trained there, with progress on stderr and a last line of JSON on stdout.

A file with stages is a chain of runs: OUT/NAME for each of its models, parents first.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from specc import driver
from specc.cli.common import SEED_OF_TRAINING, SPEC, Failure, checked, one, say
from specc.cli.runs import Run, python

if TYPE_CHECKING:
    from specc.ir.program import Program

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command("train")
@click.argument("spec", type=SPEC)
@click.option("-o", "--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="The folder of the run.")
@click.option("--steps", type=click.IntRange(min=1), help="Optimizer steps, instead of the spec's.")
@click.option("--seed", type=SEED_OF_TRAINING, help="0 if not given, or that of the checkpoint.")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint of the run.")
@click.option("--model", help="One of several models or stages in SPEC.")
@click.option("--parent", "parents", type=FOLDER, multiple=True, help="The run of a stage's parent; beside OUT if not given.")
@click.argument("more", nargs=-1, type=click.UNPROCESSED)
def command(
    spec: Path,
    out: Path,
    steps: int | None,
    seed: int | None,
    resume: bool,
    model: str | None,
    parents: tuple[Path, ...],
    more: tuple[str, ...],
) -> None:
    """Compile SPEC into a run and train it. What follows `--` goes to train.py as it stands: -- --device cuda --compile.

    A SPEC with stages is trained from its first model to its last stage, each in a folder of OUT; --model names one of them.
    """
    found = checked(spec, model)
    assert found.source is not None
    text = found.source.text
    arguments = ["--seed", str(seed)] if seed is not None else []
    arguments += ["--steps", str(steps)] if steps is not None else []
    programs = chain(found.programs)
    if not programs:
        train(one(found, spec), spec, text, Run(out), parents, resume, [*arguments, *more])
        return
    if parents:
        raise click.UsageError("--parent is for one stage; name it with --model")
    for program in programs:
        run = Run(out / program.name)
        if train(program, spec, text, run, (), resume and run.newest("state.json").exists(), [*arguments, *more]):
            return


def chain(programs: dict[str, Program]) -> list[Program]:
    """The stages among several models, and the models that they start from, parents first; nothing where there are none."""
    if len(programs) == 1:
        return []
    digests = {parent.digest for program in programs.values() for parent in program.parents}
    return [p for p in programs.values() if p.parents or p.digest in digests]


def train(
    program: Program, spec: Path, text: str, run: Run, parents: Sequence[Path], resume: bool, arguments: list[str]
) -> bool:
    """One model into one run. Whether it was asked to stop, and the stages after it should not begin."""
    from specc.backends.pytorch.data import drawn

    out, lock = run.folder, run.locked()
    if not program.by_role("objective"):
        way = f"`specc compile {spec} --target onnx -o DIR` writes its samplers and queries"
        raise Failure(f"{program.name} has no loss: there is nothing to train", way)
    if resume and lock is not None and lock["digest"] != program.digest:
        raise Failure(
            f"{out} was trained with another spec: its hash is {lock['digest'][:12]}, that of {spec} {program.digest[:12]}",
            "resume with the spec of the run, or train into another folder",
        )
    if resume and not run.newest("state.json").exists():
        raise Failure(f"there is no checkpoint in {out}", "begin without --resume")
    for code in (d.code for d in program.data if d.code is not None):
        was = (lock or {}).get("readers", {}).get(code.file, code.sha256)
        if resume and was != code.sha256:
            say(f"warning: {code.file} is not as {out} was trained with it: its hash was {was[:12]} and is {code.sha256[:12]}")
    lenders = [] if resume else lent(program, run, parents)
    try:
        if not resume and (before := run.set_aside(filter(None, map(drawn, program.data)))) is not None:
            say(f"{out} holds a trained run, which is now {before}")
        driver.emit(program, "pytorch", run.project)
        run.keep(program, text)
    except OSError as error:
        raise Failure(f"{out} could not be written: {error.strerror or error}") from None
    say(f"{program.name}: {spec} -> {run.project}")
    begin = ["--resume"] if resume else ["--parent", *map(str, lenders)] if lenders else []
    asked = python(run.project / "train.py", "--out", str(out), *begin, *arguments, usage=2)
    if asked:
        say(f"{program.name} stopped as asked and is saved in {out}; the same command with --resume goes on")
    return asked


def lent(program: Program, run: Run, given: Sequence[Path]) -> list[Path]:
    """The runs of the parents whose weights are needed: those given, or the ones of their names beside this run."""
    if given and not program.parents:
        raise click.UsageError(f"{program.name} is no stage: it has no parents")
    digests = {folder: (Run(folder).locked() or {}).get("digest") for folder in given}
    out = []
    for parent in program.parents:
        if not parent.shares:
            continue
        beside = run.folder.absolute().parent / parent.name
        folders = digests or {beside: (Run(beside).locked() or {}).get("digest")}
        found = next((folder for folder, digest in folders.items() if digest == parent.digest), None)
        if found is None:
            seen = ", ".join(
                f"that of {folder} is {digest[:12] if digest else 'missing'}" for folder, digest in folders.items()
            )
            message = f"{program.name} starts from {parent.name}, whose hash is {parent.digest[:12]}; {seen}"
            raise Failure(message, "train the parent with this spec, and name its run with --parent")
        out.append(found)
    return out
