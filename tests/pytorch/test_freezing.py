"""`freeze`: what is frozen keeps its bits through training, in a stage and among players; the rest moves."""

from __future__ import annotations

import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from warm import python

from specc import driver

pytest.importorskip("torch")
BASE = """specc 1
model base {
  data x: vector(2) from moons
  process linear
  backbone mlp(width = 8, depth = 2)
  predict velocity
  sampler euler(steps = 2)
  train { steps = 2; batch = 8; picture_every = 0 }
}
"""
STAGE = BASE + 'stage head from base {\n  freeze backbone["linear.*"]\n  freeze backbone["linear3.bias"]\n}\n'
GAME = """specc 1
model game {
  data x: vector(2) from moons
  latent z: vector(2) ~ normal
  network G(z) -> like(x) = dense(width = 8, depth = 1)
  network D(x) -> scalar = dense(width = 8, depth = 1)
  param w: scalar = 1
  freeze G["*.bias"]
  freeze w
  loss both {
    minimize D(x) - w * D(stop(G(z))) over D
    minimize -D(G(z)) + w over [G, w]
  }
  sampler one { return G(z) }
  train { optimizer = sgd; optimizer G = sgd(lr = 0.1); steps = 2; batch = 8; picture_every = 0 }
}
"""


def trained(text: str, model: str, folder: Path, *arguments: str) -> dict[str, np.ndarray]:
    """The weights after two steps, by path."""
    (folder / "s.spec").write_text(text)
    checked = driver.check(folder / "s.spec", model)
    assert not checked.failed, checked.diagnostics
    project = folder / f"{model}_project"
    driver.emit(checked.programs[model], "pytorch", project)
    done = python("train.py", "--out", folder / model, "--device", "cpu", *arguments, cwd=project)
    assert done.returncode == 0, done.stderr[-2000:]
    formatted = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--check", "--line-length", "128", project / "train.py"]
    )
    assert formatted.returncode == 0
    return load_file(folder / model / "model.safetensors")


def test_a_stage_leaves_what_is_frozen_as_its_parent_had_it(tmp_path: Path) -> None:
    before = trained(STAGE, "base", tmp_path)
    after = trained(STAGE, "head", tmp_path, "--parent", str(tmp_path / "base"))
    stays = {k for k in before if fnmatch(k, "backbone.linear.*") or k == "backbone.linear3.bias"}
    assert len(stays) == 3
    assert {k for k, v in before.items() if np.array_equal(v, after[k])} == stays
    (program,) = driver.check(tmp_path / "s.spec", "head").programs.values()
    assert next(iter(program.by_role("objective"))).over == ("backbone", "!backbone.linear.*", "!backbone.linear3.bias")


def test_players_leave_what_is_frozen(tmp_path: Path) -> None:
    free = trained(GAME.replace('  freeze G["*.bias"]\n  freeze w\n', ""), "game", tmp_path)
    held = trained(GAME, "game", tmp_path)
    biases = {k for k in held if fnmatch(k, "G.*.bias")}
    assert biases and held["w"] == 1 and free["w"] != 1
    assert all(not np.array_equal(free[k], held[k]) for k in biases)
    assert [e.over for e in driver.check(tmp_path / "s.spec").programs["game"].by_role("objective")] == [
        ("D",),
        ("G", "!G.*.bias"),
    ]


@pytest.mark.parametrize(
    ("said", "code", "line", "words"),
    [
        ("freeze backbone", "E0501", 6, "all that this objective reaches is frozen"),
        ('freeze backbone["conv.*"]', "E0505", 8, "nothing to freeze"),
        ("freeze loss", "E0201", 8, "no `loss` here"),
        ("freeze 3", "E0304", 8, "a set of parameters is a network"),
    ],
)
def test_what_cannot_be_frozen(tmp_path: Path, said: str, code: str, line: int, words: str) -> None:
    (tmp_path / "s.spec").write_text(BASE.replace("  train", f"  {said}\n  train"))
    (found,) = driver.check(tmp_path / "s.spec").diagnostics
    assert (found.code, found.span.line) == (code, line)
    assert words in found.message


ALIKE = """specc 1
model alike {
  data x: vector(2) from moons
  network F(x) -> scalar = dense(width = 8, depth = 1)
  network F2(x) -> scalar = dense(width = 8, depth = 1)
  loss one { minimize (F(x) - F2(x))^2 over [OVER] }
  query gap { return F(x) - F2(x) }
  train { optimizer = sgd(lr = 0.1); steps = STEPS; batch = 8; picture_every = 0 }
}
"""


@pytest.mark.parametrize(("over", "moves"), [("F", ["F.*"]), ('F["*.bias"]', ["F.*.bias"])])
def test_an_objective_trains_what_stands_after_over_and_no_name_that_begins_alike(
    over: str, moves: list[str], tmp_path: Path
) -> None:
    text = ALIKE.replace("OVER", over)
    one, two = (trained(text.replace("STEPS", n), "alike", tmp_path / n) for n in ("1", "2") if not (tmp_path / n).mkdir())
    assert {k for k in one if not np.array_equal(one[k], two[k])} == {k for k in one if any(fnmatch(k, p) for p in moves)}
