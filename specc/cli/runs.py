"""A run: the folder that `specc train` fills, and that sampling, exporting and evaluating read.

RUN/spec.spec          the spec as it was trained, letter by letter
RUN/spec.lock.json     the resolved spec, its hash and the versions, from the generated project
RUN/project/           the generated project
RUN/...                what its train.py writes: checkpoints, logs, pictures
"""

from __future__ import annotations

import itertools
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from specc.cli.common import Failure
from specc.cli.files import replace_text
from specc.record import record

if TYPE_CHECKING:
    import numpy as np

    from specc.ir.program import Program


@record
class Run:
    folder: Path

    @property
    def project(self) -> Path:
        return self.folder / "project"

    @property
    def spec(self) -> Path:
        return self.folder / "spec.spec"

    @property
    def ir(self) -> Path:
        return self.folder / "program.json"

    @property
    def lock(self) -> Path:
        return self.folder / "spec.lock.json"

    def locked(self) -> dict[str, Any] | None:
        """The lock file; None where nothing was trained yet."""
        try:
            found = json.loads(self.lock.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise Failure(f"{self.lock} cannot be read: {error}", "train again into another folder") from None
        if not isinstance(found, dict) or not isinstance(found.get("digest"), str):
            raise Failure(f"{self.lock} is not a lock file", "train again into another folder")
        return found

    def keep(self, program: Program, text: str) -> None:
        """Write down what is trained here, after its project."""
        from specc.ir.document import to_json

        replace_text(self.spec, text)
        replace_text(self.ir, to_json(program))
        for code in (d.code for d in program.data if d.code is not None):
            replace_text(self.folder / code.file, code.text)  # beside the spec, which asks for it
        replace_text(self.lock, (self.project / "spec.lock.json").read_text(encoding="utf-8"))

    def set_aside(self, drawn: Iterable[str]) -> Path | None:
        """Where the trained run of this folder is from now on, so that another one begins here and nothing is lost.

        drawn: files of data that parents drew, which the next run takes if they are of the same parents.
        """
        if not self.newest("state.json").exists():
            return None
        whole = self.folder.resolve()
        if Path.cwd().is_relative_to(whole):
            raise Failure(f"{whole} holds a trained run, and is where you are", "train into another folder")
        free = (whole.with_name(f"{whole.name}.{n}") for n in itertools.count(1))
        before = whole.rename(next(folder for folder in free if not folder.exists()))
        whole.mkdir()
        for file in (before / name for name in drawn if (before / name).exists()):
            shutil.copy2(file, whole)
        return before

    def program(self) -> Program:
        """The program that was trained, at example level."""
        from specc.ir.document import DocumentError, from_json

        lock = self.locked()
        if lock is None or not self.ir.exists():
            raise click.UsageError(f"{self.folder} is not a run: `specc train SPEC -o {self.folder}` makes one")
        try:
            program = from_json(self.ir.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, DocumentError) as error:
            raise Failure(f"{self.ir} cannot be read: {error}", "train again into another folder") from None
        self.belongs(self.ir, program.digest, lock["digest"])
        return program

    def belongs(self, file: Path, digest: object, wanted: str) -> None:
        if digest != wanted:
            raise Failure(
                f"{file} is of another spec: its sha256 is {str(digest)[:12]}, that of {self.lock} is {wanted[:12]}",
                "train again into another folder",
            )

    def weights(self, program: Program) -> dict[str, np.ndarray]:
        """The weights by path, those of the average if the spec trains with one. Needs no torch."""
        with self.checkpoint(program.digest, bool(program.setting("ema"))) as held:
            return {name: held.get_tensor(name) for name in held.keys()}  # noqa: SIM118

    @contextmanager
    def checkpoint(self, digest: str, averaged: bool) -> Iterator[Any]:
        """The open file of the weights that samplers use, of the spec with this digest."""
        from safetensors import SafetensorError, safe_open

        again = f"train it again: specc train {self.spec} -o {self.folder}"
        state, file = (self.newest(n) for n in ("state.json", "ema.safetensors" if averaged else "model.safetensors"))
        if not state.exists() or not file.exists():
            raise Failure(f"{self.folder} has no weights yet", again)
        try:
            known = json.loads(state.read_text(encoding="utf-8"))
            if not isinstance(known, dict):
                raise ValueError(f"{state.name} is none")
            self.belongs(state, known.get("digest"), digest)
            with safe_open(file, "np") as held:
                yield held
        except (OSError, ValueError, SafetensorError) as error:
            raise Failure(f"the checkpoint in {self.folder} cannot be read: {error}", again) from None

    def symbols(self) -> str | None:
        """The symbols of a text that was learnt, in the order of their tokens."""
        file = self.folder / "symbols.txt"
        return file.read_text(encoding="utf-8") if file.exists() else None

    def newest(self, name: str) -> Path:
        """A file of the checkpoint, also when a crash came while the new ones were taking their places."""
        ready = self.folder / ".ready" / name
        return ready if ready.exists() else self.folder / name


def python(script: Path, *arguments: str, usage: int | None = None) -> bool:
    """Run a script of a project to its end: its output is ours, our signals are its own. Raises Failure if it fails.

    usage: the code with which it says that an argument is wrong, which is wrong usage of ours too.
    Whether a signal came: then a training has saved itself and stopped early.
    """
    if not script.exists():
        raise click.UsageError(f"there is no {script}: `specc train SPEC -o {script.parent.parent}` makes it")
    process = subprocess.Popen([sys.executable, str(script), *arguments])
    asked: list[int] = []

    def passed_on(number: int, _: object) -> None:
        asked.append(number)
        process.send_signal(number)

    before = {number: signal.signal(number, passed_on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        code = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if code == usage:
        raise click.exceptions.Exit(2)
    if code != 0:
        how = f"was stopped by signal {-code}" if code < 0 else f"ended with code {code}"
        raise Failure(f"{script.name} {how}")
    return bool(asked)
