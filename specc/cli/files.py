"""Files written whole or not at all: a full disk or a kill leaves what was there before."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from specc.cli.common import Failure


def replace_text(path: Path, text: str) -> None:
    replace_bytes(path, text.encode("utf-8"))


def replace_bytes(path: Path, data: bytes) -> None:
    """Write a neighbour and rename it over `path`. Raises Failure, with `path` untouched."""
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, path.stat().st_mode if path.exists() else 0o666 & ~umask())
        os.replace(temporary, path)
    except OSError as error:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)
        raise Failure(f"{path} could not be written: {error.strerror or error}; what was there is as it was") from None


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
