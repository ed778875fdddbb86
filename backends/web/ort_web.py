"""ONNX Runtime for browsers: which version, which of its files, and how they get here.

The package is fetched once, by npm, into a cache, and taken from there if its hash is the one below. Without npm, or
without a network, it is given by hand: the package's file, or a folder that has its `dist`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

VERSION = "1.30.0"
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
FILES = (
    *("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"),
    *("ort.min.mjs", "ort-wasm-simd-threaded.jsep.mjs", "ort-wasm-simd-threaded.jsep.wasm"),  # with WebGPU, and with doubles
)
PACKAGE = f"onnxruntime-web@{VERSION}"
BY_HAND = f"fetch it where there is a network, `npm pack {PACKAGE}`, and give it with --ort-web onnxruntime-web-{VERSION}.tgz"


class RuntimeMissingError(Exception):
    """The runtime is not to be had, or it is not the one that is pinned. `help` is the way out."""

    def __init__(self, message: str, help: str = BY_HAND) -> None:
        super().__init__(message)
        self.help = help


def place(folder: Path, given: Path | None = None) -> None:
    """Put the runtime's files into a folder. given: a folder or the package's file, in place of the cache."""
    folder.mkdir(parents=True, exist_ok=True)
    if given is not None and given.is_dir():
        _copied(given, folder)
    else:
        _unpacked(given or fetched(), folder)


def cached() -> Path:
    """Where the package's file is kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "specc" / f"onnxruntime-web-{VERSION}.tgz"


def fetched() -> Path:
    """The package's file in the cache, fetched if it is not there."""
    file = cached()
    if file.exists() and integrity(file) == INTEGRITY:
        return file
    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeMissingError(f"{PACKAGE} is not in {file.parent}, and npm, which would fetch it, is not installed")
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        done = subprocess.run([npm, "pack", PACKAGE, "--silent"], cwd=folder, capture_output=True, text=True, check=False)
        found = list(Path(folder).glob("*.tgz"))
        if done.returncode != 0 or len(found) != 1:
            said = (done.stderr.strip().splitlines() or ["no file"])[-1]
            raise RuntimeMissingError(f"npm could not fetch {PACKAGE}: {said}")
        _right(found[0])
        os.replace(found[0], file)
    return file


def integrity(file: Path) -> str:
    """A file's hash as npm writes it."""
    with file.open("rb") as stream:
        return "sha512-" + base64.b64encode(hashlib.file_digest(stream, "sha512").digest()).decode()


def _right(file: Path) -> None:
    if (found := integrity(file)) != INTEGRITY:
        raise RuntimeMissingError(f"{file} is not {PACKAGE}: its hash is {found[:19]}..., not {INTEGRITY[:19]}...")


def _unpacked(file: Path, folder: Path) -> None:
    _right(file)
    with tarfile.open(file) as package:
        for name in FILES:
            stream = package.extractfile(f"package/dist/{name}")
            assert stream is not None, "the hash was right"
            with stream, (folder / name).open("wb") as out:
                shutil.copyfileobj(stream, out)


def _copied(given: Path, folder: Path) -> None:
    """Of a folder: the package's own, or its `dist`."""
    dist = given / "dist" if (given / "dist").is_dir() else given
    if missing := [name for name in FILES if not (dist / name).is_file()]:
        raise RuntimeMissingError(f"{dist} has no {missing[0]}")
    described = dist.parent / "package.json"
    version = json.loads(described.read_text(encoding="utf-8")).get("version") if described.exists() else VERSION
    if version != VERSION:
        raise RuntimeMissingError(f"{given} has version {version} of onnxruntime-web; {VERSION} is the one that was tried")
    for name in FILES:
        shutil.copyfile(dist / name, folder / name)
