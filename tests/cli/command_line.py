"""The command line as a process of its own, as a person calls it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def specc(*args: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "specc.cli.main", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


def trained(folder: Path, text: str) -> Path:
    """The folder of a run of the spec with this text."""
    (folder / "model.spec").write_text(text)
    done = specc("train", folder / "model.spec", "-o", folder / "run")
    assert done.returncode == 0, done.stderr
    return folder / "run"
