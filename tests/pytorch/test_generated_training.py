"""A generated project as its user runs it: whole, interrupted, resumed, refused, on a full disk, from a hostile spec."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from warm import python

from specc import driver
from specc.passes.count import parameters

SPECS = Path(__file__).parents[2] / "specs"
CHECKPOINT = ("model.safetensors", "ema.safetensors", "optimizer.safetensors")


def project(spec: Path, folder: Path) -> Path:
    checked = driver.check(spec)
    assert not checked.failed, checked.diagnostics
    driver.emit(next(iter(checked.programs.values())), "pytorch", folder)
    return folder


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project(SPECS / "flow" / "ot_cfm.spec", tmp_path_factory.mktemp("plane"))


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project(SPECS / "diffusion" / "ddpm.spec", tmp_path_factory.mktemp("digits"))


def train(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return python("train.py", *arguments, cwd=folder, timeout=900)


def test_the_code_stands_alone(digits: Path) -> None:
    for file in digits.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = (
                [a.name for a in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            assert not any(n.split(".")[0] == "specc" for n in names), file
    formatted = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--check", "--line-length", "128", str(digits)], capture_output=True, text=True
    )
    assert formatted.returncode == 0, formatted.stdout


def test_parameters_have_the_paths_of_the_spec(digits: Path) -> None:
    (program,) = driver.check(SPECS / "diffusion" / "ddpm.spec").programs.values()
    code = (
        "import json; from model import Model; print(json.dumps({k: list(v.shape) for k, v in Model().state_dict().items()}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=digits, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {k: list(v) for k, v in parameters(program).items()}


def test_resuming_is_exact(plane: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for arguments in ((whole,), (parts, "--stop-after", 7), (parts, "--resume")):
        done = train(plane, "--steps", 20, "--seed", 3, "--out", *arguments)
        assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["steps"] == 20
    assert "loss=" in done.stderr and "examples/s=" in done.stderr
    for name in CHECKPOINT:
        assert (whole / name).read_bytes() == (parts / name).read_bytes(), name
    other = train(plane, "--steps", 20, "--seed", 4, "--out", tmp_path / "other")
    assert other.returncode == 0
    assert (tmp_path / "other" / "model.safetensors").read_bytes() != (whole / "model.safetensors").read_bytes()


@pytest.mark.parametrize("send", [os.kill, os.killpg])
def test_a_signal_saves_and_the_run_goes_on(send: Callable[[int, int], None], plane: Path, tmp_path: Path) -> None:
    """To the process alone, or to all of a job: also to those that work on batches ahead."""
    command = [sys.executable, "train.py", "--steps", "1000000", "--out", str(tmp_path / "run")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = subprocess.Popen(command, cwd=plane, start_new_session=True, **pipes)
    assert running.stderr is not None
    seen = ""
    while "step/s" not in seen and running.poll() is None:
        seen += running.stderr.read(64)
    time.sleep(0.5)
    send(running.pid, signal.SIGTERM)
    out, _ = running.communicate(timeout=120)
    assert running.returncode == 0
    reached = json.loads(out.splitlines()[-1])["steps"]
    assert 0 < reached < 1_000_000
    done = train(plane, "--steps", reached + 2, "--resume", "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["steps"] == reached + 2


def test_a_foreign_checkpoint_is_refused_with_both_hashes(plane: Path, digits: Path, tmp_path: Path) -> None:
    assert train(plane, "--steps", 1, "--out", tmp_path / "run").returncode == 0
    refused = train(digits, "--steps", 2, "--resume", "--out", tmp_path / "run")
    assert refused.returncode not in (0, 1)
    for folder in (plane, digits):
        assert json.loads((folder / "spec.lock.json").read_text())["digest"][:12] in refused.stderr


def test_a_full_disk_leaves_the_checkpoint_before(plane: Path, tmp_path: Path) -> None:
    """Nothing can be brought to the disk any more: what the system says of a full one."""
    run = tmp_path / "run"
    assert train(plane, "--steps", 3, "--out", run).returncode == 0
    before = {name: (run / name).read_bytes() for name in CHECKPOINT}
    code = (
        "import errno, os, runpy, sys\n"
        "def full(_): raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))\n"
        "os.fsync = full; sys.path.insert(0, '.'); sys.argv = ['train.py', *sys.argv[1:]]\n"
        "runpy.run_path('train.py', run_name='__main__')"
    )
    command = [sys.executable, "-c", code, "--steps", "6", "--resume", "--out", str(run)]
    done = subprocess.run(command, cwd=plane, capture_output=True, text=True, timeout=60)
    assert done.returncode == 3, done.stderr[-500:]
    assert "No space left" in done.stderr and "the one before is whole" in done.stderr and "Traceback" not in done.stderr
    assert {name: (run / name).read_bytes() for name in CHECKPOINT} == before


def test_a_missing_file_of_data_is_named(tmp_path: Path) -> None:
    spec = tmp_path / "m.spec"
    spec.write_text(
        'specc 1\nmodel m {\n  data x: vector(2) from npy("nowhere.npy")\n  process linear\n  backbone mlp(width = 8)\n'
        "  predict velocity\n  sampler euler(steps = 2)\n}\n"
    )
    done = train(project(spec, tmp_path / "p"), "--steps", 1, "--out", tmp_path / "run")
    assert done.returncode == 3
    assert "nowhere.npy" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("option", "code", "said"),
    [(("--steps", 0), 2, "--steps"), (("--batch", -4), 2, "1 or more"), (("--device", "phone"), 3, "error: --device phone: ")],
)
def test_what_makes_no_sense_is_refused(option: tuple[object, ...], code: int, said: str, plane: Path, tmp_path: Path) -> None:
    done = train(plane, "--out", tmp_path / "run", *option)
    assert done.returncode == code and said in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_compiled_and_in_half_precision(digits: Path, tmp_path: Path) -> None:
    """Steps of the same draws: compiled they have the same loss, in bfloat16 nearly, and another."""
    loss = {}
    for name, options in {"plain": (), "compiled": ("--compile",), "half": ("--precision", "bf16")}.items():
        done = train(digits, "--steps", 3, "--device", "cpu", "--out", tmp_path / name, *options)
        assert done.returncode == 0, done.stderr[-2000:]
        loss[name] = json.loads(done.stdout.splitlines()[-1])["loss"]
    assert loss["compiled"] == pytest.approx(loss["plain"], rel=1e-4)
    assert loss["half"] == pytest.approx(loss["plain"], rel=0.02) and loss["half"] != loss["plain"]


@pytest.mark.parametrize(
    "comment", ['"""', "\\", "{x} {{y}} % \"quoted\" 'twice'", "żółć 数学 \U0001f600", '"""; import os; """']
)
def test_texts_of_a_spec_stay_texts(comment: str, tmp_path: Path) -> None:
    spec = tmp_path / "m.spec"
    spec.write_text(
        f'specc 1\n# {comment}\nmodel m {{\n  data x: vector(2) from npy("a\\"b{{c}}.npy")  # {comment}\n  process linear\n'
        f"  backbone mlp(width = 8)  # {comment}\n  predict velocity\n  sampler euler(steps = 2)\n}}\n"
    )
    for file in project(spec, tmp_path / "p").glob("*.py"):
        tree = ast.parse(file.read_text())
        assert not any(
            isinstance(n, ast.Import) and n.names[0].name == "os" and file.name == "objective.py" for n in ast.walk(tree)
        )


@pytest.mark.slow
def test_two_processes_share_a_batch(plane: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "train.py", "--steps", "4"]
    done = subprocess.run([*command, "--out", str(tmp_path / "run")], cwd=plane, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1])["steps"] == 4
