"""Groups of examples fill the batches of training, whatever their size is when training starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from specc import driver

TEXT = """specc 1
model grouped {
  data x: vector(2) from moons
  network f(x) -> vector(2) = mlp(width = 4)
  loss apart {
    g = batch.groups(4)
    minimize mean((f(x) - mean(g.join(x), axis = 0))^2)
  }
  query score { return f(x) }
  train { optimizer = sgd(lr = 1e-2); steps = 2; batch = 8 }
}
"""
ALONE = "import torch.distributed as d; d.init_process_group = lambda *_: None; import train; raise SystemExit(train.main())"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("groups")
    (out / "s.spec").write_text(TEXT)
    (program,) = driver.check(out / "s.spec").programs.values()
    assert program.groups == 4
    driver.emit(program, "pytorch", out / "project")
    return out / "project"


@pytest.mark.parametrize(
    ("batch", "world", "message"),
    [
        (12, 1, ""),
        (6, 1, "error: a batch of 6 does not consist of groups of 4: give a multiple of 4"),
        (12, 2, "error: a batch of 12 over 2 processes does not consist of groups of 4: give a multiple of 8"),
    ],
)
def test_a_batch_has_whole_groups(folder: Path, batch: int, world: int, message: str) -> None:
    code = ["train.py"] if world == 1 else ["-c", ALONE]
    command = [sys.executable, *code, "--device", "cpu", "--batch", str(batch)]
    environment = os.environ | {"RANK": "0", "WORLD_SIZE": str(world)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == (3 if message else 0), done.stderr
    assert not message or done.stderr.strip() == message
