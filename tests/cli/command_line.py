"""The command line as a process of its own, as a person calls it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from warm import python


def specc(*args: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return python("-m", "specc.cli.main", *args, cwd=cwd)


def trained(folder: Path, text: str) -> Path:
    """The folder of a run of the spec with this text."""
    (folder / "model.spec").write_text(text)
    done = specc("train", folder / "model.spec", "-o", folder / "run")
    assert done.returncode == 0, done.stderr
    return folder / "run"
