"""Python in a process of its own that need not import PyTorch again: each is forked from one that has, and has done nothing
else. A process takes a second or two less; what it prints, how it ends and that it shares nothing with us are the same."""

from __future__ import annotations

import atexit
import io
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.reduction import DupFd
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["torch._dynamo", "safetensors.torch", "sklearn.datasets", "scipy.optimize"])


class Process:
    """As `subprocess.Popen([sys.executable, *command])`, of a script or `-m` and a module, with what the tests ask of it."""

    def __init__(self, command: list[str], cwd: Path | None = None, stdout: int = 1, stderr: int = 2) -> None:
        assert command[0] == sys.executable
        streams = DupFd(stdout), DupFd(stderr)
        self.process = SERVER.Process(target=_begin, args=(command[1:], cwd or Path.cwd(), *streams))
        self.process.start()

    def send_signal(self, number: int) -> None:
        os.kill(self.process.pid or 0, number)

    def wait(self, timeout: float | None = None) -> int:
        self.process.join(timeout)
        if self.process.exitcode is None:
            self.process.kill()
            raise subprocess.TimeoutExpired("python", timeout or 0)
        return self.process.exitcode


def python(*command: object, cwd: Path | None = None, timeout: float | None = 300) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments to its end."""
    args = [sys.executable, *map(str, command)]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        code = Process(args, cwd, out.fileno(), err.fileno()).wait(timeout)
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(args, code, out.read(), err.read())


@contextmanager
def scripts() -> Iterator[None]:
    """The command line starts the scripts of a project in this way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("specc.cli.runs.subprocess", SimpleNamespace(Popen=Process))
        yield


def _begin(command: list[str], cwd: Path, stdout: Any, stderr: Any) -> None:
    """In the new process: what the interpreter does before a script."""
    for number, stream in ((1, stdout), (2, stderr)):
        os.dup2(stream.detach(), number)
    sys.stdout, sys.stderr = (io.TextIOWrapper(os.fdopen(n, "wb"), "utf-8", line_buffering=n == 2) for n in (1, 2))
    multiprocessing.set_start_method(None, force=True)  # what it starts itself it starts as it would
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(cwd)
    try:
        _run(command, cwd)
    finally:
        atexit._run_exitfuncs()  # as Python itself would, and multiprocessing does not


def _run(command: list[str], cwd: Path) -> None:
    if command[0] == "-m":
        sys.argv, sys.path[0] = command[1:], str(cwd)
        with scripts():
            runpy.run_module(command[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv, sys.path[0] = command, str(Path(command[0]).resolve().parent)
        runpy.run_path(command[0], run_name="__main__")
