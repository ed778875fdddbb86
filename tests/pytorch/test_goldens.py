"""Whole projects as they are printed, to be read as code when they change: `pytest tests/pytorch/test_goldens.py --update`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from specc.backends.pytorch.project import project

from specc import driver
from specc.passes import PYTORCH, run

SPECS = Path(__file__).parents[2] / "specs"
GOLDENS = Path(__file__).parents[1] / "goldens"


CASES = {  # specs, and which of their models
    "flow/ot_cfm.spec": "ot_cfm",
    "diffusion/ddpm.spec": "ddpm",
    "adversarial/r3gan.spec": "r3gan",
    "discrete/md4.spec": "md4",
    "likelihood/glow.spec": "glow",
    "fewstep/consistency_models.spec": "distilled",
}
WHOLE = {"ot_cfm", "ddpm"}  # with the files that are the same everywhere
SAME = {"checkpoint.py", "loader.py", "log.py", "noise.py", "parallel.py", "pictures.py"}


def printed(spec: str, name: str) -> dict[str, str]:
    """The files of a project by name; the hash of the spec, which says nothing to a reader, is left out."""
    program = driver.check(SPECS / spec).programs[name]
    files = project(run(program, PYTORCH))
    return {
        file: text.replace(program.digest, "<digest>").replace(program.digest[:8], "<digest>")
        for file, text in files.items()
        if name in WHOLE or file not in SAME
    }


@pytest.mark.parametrize("spec", CASES)
def test_project(spec: str, golden: Callable[[Path, str], None]) -> None:
    folder = GOLDENS / Path(spec).stem
    files = printed(spec, CASES[spec])
    for name, text in files.items():
        golden(folder / f"{name}.txt", text)  # not .py: nothing collects, checks or formats it
    assert {p.name for p in folder.iterdir()} == {f"{name}.txt" for name in files}


def test_a_project_is_the_same_in_every_process(tmp_path: Path) -> None:
    """Nothing goes by the order of a set: schedules share names here, and are numbered."""
    spec = SPECS / "diffusion" / "noise_scheduling.spec"
    for seed in ("1", "2"):
        command = [sys.executable, "-m", "specc.cli.main", "compile", str(spec), "--target", "pytorch"]
        command += ["--model", "noise_scheduling", "-o", str(tmp_path / seed)]
        subprocess.run(command, env=os.environ | {"PYTHONHASHSEED": seed}, check=True, capture_output=True, timeout=300)
    first, second = ({f.name: f.read_text() for f in (tmp_path / seed).iterdir()} for seed in ("1", "2"))
    assert first == second
