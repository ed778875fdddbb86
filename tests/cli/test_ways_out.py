"""What goes wrong around a run ends in one message, the exit code of its kind, and a way to go on: never in a traceback."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import Result
from command_line import specc as process
from command_line import trained

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

Specc = Callable[..., Result]
SPEC = """\
specc 1
model points {
  data x: vector(2) from moons
  process linear
  backbone mlp(width = 8, depth = 2)
  predict velocity
  sampler fast = euler(steps = 3)
  sampler batches(batch = input(1.0), x = input(2.0)) { z ~ prior(); return batch * z + x }
  train { optimizer = adam(lr = 1e-3); steps = 2; batch = 16; ema = 0.9; picture_every = 0 }
}
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("run"), SPEC)


@pytest.mark.parametrize("command", [["sample", "-o", "x.npz"], ["export", "-o", "x.onnx"], ["evaluate"]])
def test_a_misspelt_sampler_is_wrong_usage(specc: Specc, whole: Path, command: list[str]) -> None:
    result = specc(command[0], whole, "--sampler", "fats", *command[1:])
    assert result.exit_code == 2
    assert "no sampler `fats`; did you mean `fast`?" in result.stderr


def test_a_quantisation_that_is_not_there(specc: Specc, whole: Path) -> None:
    result = specc("export", whole, "--sampler", "fast", "--quantize", "w8", "-o", "x.onnx")
    assert result.exit_code == 2 and "no `quantize` section `w8`; there is none" in result.stderr


def test_a_model_without_a_loss_is_not_trained(specc: Specc, tmp_path: Path) -> None:
    spec = tmp_path / "asked.spec"
    spec.write_text("specc 1\nmodel asked {\n  data x: vector(2) from moons\n  query size { return sum(x^2) }\n}\n")
    result = specc("train", spec, "-o", tmp_path / "run")
    assert result.exit_code == 3 and "nothing to train" in result.stderr and "--target onnx" in result.stderr


def test_an_input_that_no_sampler_has_is_wrong_usage(specc: Specc, whole: Path) -> None:
    result = specc("sample", whole, "--sampler", "batches", "--set", "batc=3", "-o", "x.npz")
    assert result.exit_code == 2 and "no condition or input `batc`; did you mean `batch`?" in result.stderr


def test_inputs_may_be_called_as_options_and_outputs_are(whole: Path, tmp_path: Path) -> None:
    inputs = ["--set", "batch=0", "--set", "x_=5"]
    done = process("sample", whole, "--sampler", "batches", "-n", 3, *inputs, "-o", tmp_path / "a.npz")
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "a.npz")["x"], np.full((3, 2), 5))


def test_a_picture_or_text_that_samples_do_not_have(whole: Path, tmp_path: Path) -> None:
    done = process("sample", whole, "-n", 2, "-o", tmp_path / "a.txt")
    assert done.returncode == 3 and "write .npz" in done.stderr
    assert not list(tmp_path.glob("a.*"))


def test_a_place_that_cannot_be_written(specc: Specc, whole: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = process("sample", whole, "-n", 2, "-o", tmp_path / "file" / "a.npz")
    assert done.returncode == 3 and "could not be written" in done.stderr and "Traceback" not in done.stderr
    result = specc("train", whole / "spec.spec", "-o", tmp_path / "file" / "run")
    assert result.exit_code == 3 and "could not be written" in result.stderr


def test_files_are_called_what_they_are(specc: Specc, whole: Path) -> None:
    result = specc("export", whole, "--sampler", "fast", "-o", "x.txt")
    assert result.exit_code == 2 and "x.txt should end in .onnx" in result.stderr


def test_resuming_what_never_began(specc: Specc, whole: Path, tmp_path: Path) -> None:
    result = specc("train", whole / "spec.spec", "-o", tmp_path / "new", "--resume")
    assert result.exit_code == 3 and "begin without --resume" in result.stderr
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("file", "content"), [("ema.safetensors", b"\x10"), ("ema.safetensors", None), ("state.json", b"[]"), ("state.json", None)]
)
def test_a_damaged_checkpoint(specc: Specc, run: Path, file: str, content: bytes | None) -> None:
    (run / file).unlink()
    if content is not None:
        (run / file).write_bytes(content)
    result = specc("export", run, "--sampler", "fast", "-o", run / "x.onnx")
    assert result.exit_code == 3
    assert "cannot be read" in result.stderr or "has no weights" in result.stderr
    assert "attribute" not in result.stderr and f"specc train {run / 'spec.spec'} -o {run}" in result.stderr


@pytest.mark.parametrize("file", ["spec.lock.json", "program.json"])
def test_a_damaged_run(specc: Specc, run: Path, file: str) -> None:
    (run / file).write_text("{")
    result = specc("export", run, "--sampler", "fast", "-o", run / "x.onnx")
    assert result.exit_code == 3 and f"{run / file} cannot be read" in result.stderr
    assert "train again into another folder" in result.stderr


def test_another_training_leaves_the_run_before_whole(specc: Specc, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (run / "mine.txt").write_text("a note")
    held = {p.name: p.read_bytes() for p in run.iterdir() if p.is_file()}
    for n in (1, 2):
        result = specc("train", run / "spec.spec", "-o", run, "--steps", 1, "--seed", n)
        assert result.exit_code == 0 and f"{run} holds a trained run, which is now {run}.{n}" in result.stderr
    assert {p.name: p.read_bytes() for p in run.with_name("run.1").iterdir() if p.is_file()} == held
    assert not (run / "mine.txt").exists()
    monkeypatch.chdir(run / "project")
    result = specc("train", run / "spec.spec", "-o", "..", "--steps", 1)
    assert result.exit_code == 3 and "is where you are" in result.stderr and (run / "state.json").exists()


@pytest.mark.parametrize("name", ["nowhere.spec", "."])
def test_formatting_what_is_no_file_is_wrong_usage(specc: Specc, tmp_path: Path, name: str) -> None:
    assert specc("fmt", tmp_path / name).exit_code == 2


def test_a_spec_may_come_on_stdin(specc: Specc, monkeypatch: pytest.MonkeyPatch) -> None:
    def given(text: str) -> None:
        monkeypatch.setattr("specc.syntax.parser.sys", SimpleNamespace(stdin=SimpleNamespace(buffer=io.BytesIO(text.encode()))))

    given(SPEC.replace("moons", "moon"))
    result = specc("check", "-")
    assert result.exit_code == 1 and "--> -:3:26" in result.stdout
    given(SPEC.replace("process linear", "process   linear"))
    result = specc("fmt", "-")
    assert (result.exit_code, result.stdout) == (0, SPEC)
    assert sys.stdin is not None


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b""])
def test_windows_texts(specc: Specc, tmp_path: Path, mark: bytes) -> None:
    path = tmp_path / "s.spec"
    path.write_bytes(mark + SPEC.replace("\n", "\r\n").encode())
    assert specc("check", path).exit_code == 0
    assert specc("fmt", path).exit_code == 0
    assert path.read_bytes() == SPEC.encode()


@pytest.mark.parametrize(
    ("command", "seed"), [("sample", "99999999999999999999"), ("evaluate", "-1"), ("train", "-1"), ("train", str(2**63))]
)
def test_a_seed_that_is_none(specc: Specc, whole: Path, tmp_path: Path, command: str, seed: str) -> None:
    what = whole / "spec.spec" if command == "train" else whole
    out = [] if command == "evaluate" else ["-o", tmp_path / "x.npz"]
    result = specc(command, what, "--seed", seed, *out)
    assert result.exit_code == 2 and "is not in the range" in result.stderr


def test_the_script_says_the_same_of_a_seed(whole: Path, tmp_path: Path) -> None:
    script = [sys.executable, str(whole / "project" / "sample.py"), str(whole)]
    done = subprocess.run([*script, "--seed", str(2**63)], capture_output=True, text=True)
    assert done.returncode == 2 and "at most 2**42" in done.stderr
