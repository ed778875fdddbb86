"""What `specc sample` refuses of a run: wrong inputs, as wrong usage, and weights that are damaged or of another spec."""

from __future__ import annotations

import functools
import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from command_line import specc as process
from command_line import trained

pytest.importorskip("torch")

Specc = Callable[..., Result]
SPEC = """\
specc 1
model digits {
  data x: image(1, 8, 8) in [-1, 1] from digits
  condition y: class(10)
  condition low = stack([mean(x), sum(x)])
  process linear
  backbone net(z: image(1, 8, 8), t: scalar, y: class(10), low: vector(2)) -> like(z) {
    h = linear(concat([flatten(z), low, reshape(t, 1)]), 8) + embedding(y, 8)
    return reshape_like(linear(silu(h), size(z)), z)
  }
  predict velocity
  sampler fast = euler(steps = input(2))
  sampler given(at: like(x)) { return at }
  query far { return sum(x^2) }
  train { steps = 1; batch = 16; picture_every = 0 }
}
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("run"), SPEC)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("y=77", "y is a class, 0 to 9"),
        ("y=cut.npz", "y: cut.npz cannot be read: "),
        ("low=1", "low is 2 numbers, not 1"),
        ("steps=0", "--steps is 1 or more"),
        ("steps=-1", "--steps is 1 or more"),
    ],
)
def test_a_wrong_input_is_wrong_usage(whole: Path, tmp_path: Path, given: str, said: str) -> None:
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 cut")
    done = process("sample", whole, "-n", 3, "--set", given, "-o", "x.npz", cwd=tmp_path)
    assert done.returncode == 2 and f"error: {said}" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "x.npz").exists()


def test_evaluating_a_sampler_that_must_be_told_more_is_wrong_usage(whole: Path) -> None:
    done = process("evaluate", whole, "--sampler", "given")
    assert done.returncode == 2 and "the sampler given needs --at" in done.stderr, done.stderr


@pytest.mark.parametrize("script", ["sample.py", "query.py"])
@pytest.mark.parametrize("before", [None, b"what was there"])
def test_a_full_disk_leaves_what_was_there(whole: Path, tmp_path: Path, script: str, before: bytes | None) -> None:
    """No file may grow beyond 1 KiB, which ends a write in the middle as a full disk does."""
    np.savez(tmp_path / "data.npz", x=np.zeros((500, 1, 8, 8), np.float32))
    more = ["--data", str(tmp_path / "data.npz")] if script == "query.py" else ["-n", "50"]
    out = tmp_path / "out" / "x.npz"
    out.parent.mkdir()
    if before is not None:
        out.write_bytes(before)
    command = [sys.executable, str(whole / "project" / script), str(whole), *more, "--out", str(out)]
    small = functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (1024, 1024))
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=small)
    assert done.returncode == 3 and f"error: {out} could not be written: " in done.stderr, done.stderr
    assert {p.name: p.read_bytes() for p in out.parent.iterdir()} == ({} if before is None else {"x.npz": before})


@pytest.mark.parametrize(
    ("file", "content"), [("model.safetensors", b"\x10"), ("model.safetensors", None), ("state.json", b"[]")]
)
def test_a_damaged_run_says_how_to_make_it_again(specc: Specc, run: Path, file: str, content: bytes | None) -> None:
    (run / file).unlink()
    if content is not None:
        (run / file).write_bytes(content)
    done = specc("sample", run, "-o", run / "x.npz")
    assert done.exit_code == 3
    assert f"help: train it again: specc train {run / 'spec.spec'} -o {run}" in done.stderr


def of_another_spec(run: Path) -> tuple[str, str]:
    """Let the checkpoint be one of another spec, whose weights have the same shapes; both hashes."""
    state = json.loads((run / "state.json").read_text())
    (run / "state.json").write_text(json.dumps(state | {"digest": "0" * 64}))
    return state["digest"][:12], "0" * 12


def test_weights_of_another_spec_are_refused_with_both_hashes(specc: Specc, run: Path) -> None:
    hashes = of_another_spec(run)
    done = specc("sample", run, "-o", run / "x.npz")
    assert done.exit_code == 3 and all(h in done.stderr for h in hashes), done.stderr
    assert "help: " in done.stderr and not (run / "x.npz").exists()


@pytest.mark.parametrize("script", ["sample.py", "query.py"])
def test_the_scripts_refuse_them_too(run: Path, tmp_path: Path, script: str) -> None:
    hashes = of_another_spec(run)
    np.savez(tmp_path / "data.npz", x=np.zeros((1, 1, 8, 8), np.float32))
    more = ["--data", str(tmp_path / "data.npz")] if script == "query.py" else []
    command = [sys.executable, str(run / "project" / script), str(run), *more, "--out", str(run / "x.npz")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3 and all(h in done.stderr for h in hashes), done.stderr
    assert not (run / "x.npz").exists()
