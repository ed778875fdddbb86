"""Training with several players as it is printed: the order of a step, exact resumption, states, gradients of gradients."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from projects import imported
from warm import python

from specc import driver
from specc.ir.program import Program
from specc.passes.count import parameters
from specc.reference.interpret import run

SPEC = """specc 1
model everything {
  data x: vector(2) from eight_gaussians
  latent z: vector(4) ~ uniform(-1, 1)
  param w: vector(8) = normal(1) on sphere
  state length: scalar = 1
  state seen: scalar = 0
  memory pool: like(x) with { size = 64; initial = normal(1) }
  network G(z) -> like(x) = mlp(width = 8)
  network T(z) -> like(x) = mlp(width = 8)
  network H(x) -> vector(8) = mlp(width = 8)
  loss game(c = 0.5) {
    old = pool.read()
    for k in 1..3 {
      minimize sum(w * H(old)) - sum(w * H(x)) + sum(grad(sum(w * H(x)), x)^2) over [H, w]
      update H = clip(H, -c, c)
    }
    n = mean(G(z)^2)
    pool.write(G(z))
    update length = 0.9 * length + 0.1 * batch.mean(n) every 2
    minimize (n - length)^2 over G every 4 when progress < 0.5
    together {
      minimize -sum(stop(w) * H(G(z))) over G
      minimize mean((T(z) - stop(G(z)))^2) over T["*.weight"]
    }
    update T = 0.9 * T + 0.1 * G
    update seen = seen + batch.size
  }
  sampler one { return G(z) + length }
  train { optimizer = adam(lr = 1e-3); optimizer G = adam(lr = 2e-4, betas = [0.0, 0.9]); steps = 10; batch = 32; ema = 0.9 }
}
"""
TURN = '''
        """What a step does, in order: each objective with the parameters of its moment and draws of its own."""
        step = self.step
        progress = self.step / self.args.steps
        for _ in range(3):
            batch = next(batches)
            self.minimize("H_w", game_H_w, batch)
            with torch.no_grad():
                for parameter in self.model.H.parameters():
                    parameter.copy_(update_H(parameter))
        if step % 4 == 0 and progress < 0.5:
            self.minimize("G", game_G, batch, writes=("pool", "length"), step=step)
        self.gradient("G", game_G_2, batch)
        self.gradient("T_weight", game_T_weight, batch)
        self.descend("G")
        self.descend("T_weight")
        with torch.no_grad():
            for parameter, G in zip(self.model.T.parameters(), self.model.G.parameters(), strict=True):
                parameter.copy_(update_T(parameter, G))
        self.update(game_update, batch, writes=("seen",))
'''


def compiled(text: str, folder: Path) -> Program:
    path = folder / "m.spec"
    path.write_text(text)
    checked = driver.check(path)
    assert not checked.failed, checked.diagnostics
    (program,) = checked.programs.values()
    driver.emit(program, "pytorch", folder / "project")
    return program


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("players")
    compiled(SPEC, folder)
    return folder / "project"


def train(project: Path, *arguments: object) -> str:
    """What it prints."""
    done = python("train.py", *arguments, cwd=project)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_a_step_reads_as_the_loss_does(everything: Path) -> None:
    text = (everything / "train.py").read_text()
    assert TURN in text
    assert "BATCHES = 3" in text and "after(self.step * BATCHES)" in text
    assert "G_BETAS = (0.0, 0.9)" in text  # PyTorch refuses the integer 0 beside a float
    assert '"H_w": torch.optim.Adam([*model.H.parameters(), model.w], lr=LEARNING_RATE' in text
    assert 'fnmatch(name, "T.*.weight")' in text


def test_resuming_is_exact(everything: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for arguments in ((whole,), (parts, "--stop-after", 5), (parts, "--resume")):
        train(everything, "--steps", 10, "--seed", 3, "--out", *arguments)
    for name in ("model", "ema", "optimizer"):
        assert (whole / f"{name}.safetensors").read_bytes() == (parts / f"{name}.safetensors").read_bytes(), name


def test_what_training_leaves(everything: Path, tmp_path: Path) -> None:
    train(everything, "--steps", 3, "--out", tmp_path)
    from safetensors.torch import load_file

    after, average = (load_file(tmp_path / f"{name}.safetensors") for name in ("model", "ema"))
    assert float(after["seen"]) == 3 * 32
    assert float(average["seen"]) == float(after["seen"])  # a state is not averaged
    assert float(after["length"]) != 1
    assert all(float(v.abs().max()) <= 0.5 for k, v in after.items() if k.startswith("H."))
    header, *rows = (tmp_path / "log.csv").read_text().splitlines()
    assert header == "step,game_H_w,game_G,game_G_2,game_T_weight,length,seen,examples_per_second,learning_rate"
    assert all(np.isfinite([float(v) for v in row.split(",")]).all() for row in rows)


def test_an_objective_that_is_never_due_leaves_its_column_empty(tmp_path: Path) -> None:
    loss = "minimize D(x)^2 over D\n    minimize D(x) over D when step > 100"
    compiled(
        f"specc 1\nmodel m {{\n  data x: vector(2) from moons\n  network D(x) -> scalar = mlp(width = 4)\n"
        f"  loss l {{\n    {loss}\n  }}\n  query value {{ return D(x) }}\n}}\n",
        tmp_path,
    )
    train(tmp_path / "project", "--steps", 2, "--out", tmp_path / "run")
    assert (tmp_path / "run" / "log.csv").read_text().splitlines()[1].split(",")[1:3][1] == ""


PENALTY = """specc 1
model m {
  data x: vector(2) from moons
  network D(x) -> scalar = mlp(width = 4, depth = 2)
  state a: scalar = 1
  loss l {
    s = sum(grad(D(x), x)^2)
    update a = batch.mean(s)
    minimize s + (D(x) - a)^2
  }
  query value { return D(x) }
}
"""


def test_a_gradient_of_a_gradient_is_that_of_the_reference(tmp_path: Path) -> None:
    """Value, new state, and derivatives in all parameters, against finite differences of the reference."""
    program = compiled(PENALTY, tmp_path)
    rng = np.random.default_rng(0)
    weights = {path: rng.normal(size=shape) for path, shape in parameters(program).items()}
    x = rng.normal(size=(5, 2))
    with imported(tmp_path / "project") as project:
        model = project.model.Model().double()
        model.load_state_dict({k: torch.from_numpy(np.asarray(v)) for k, v in weights.items()})
        value, state = project.objective.loss(model, torch.from_numpy(x))
        value.backward()
        found = {k: p.grad.numpy() for k, p in model.named_parameters()}

    def reference(moved: dict[str, np.ndarray]) -> float:
        return float(run(program, "l", {"x": x}, moved)[0].mean())

    want, new = run(program, "l", {"x": x}, weights)
    assert value.item() == pytest.approx(want.mean(), rel=1e-9)
    assert float(state) == pytest.approx(float(new), rel=1e-9)
    for path in ("D.linear.weight", "D.layer.0.linear.bias", "D.linear2.weight"):
        for place in np.ndindex(weights[path].shape[:1]):
            index = (*place, *(0,) * (weights[path].ndim - 1))
            up, down = ({**weights, path: weights[path].copy()} for _ in range(2))
            up[path][index] += 1e-5
            down[path][index] -= 1e-5
            # the state that the objective reads is the one of its own pass, and no gradient passes through it
            slope = (reference(up) - reference(down)) / 2e-5
            held = 2 * float((run(program, "value", {"x": x}, weights)[0] - new).mean())
            moved = (float(run(program, "l", {"x": x}, up)[1]) - float(run(program, "l", {"x": x}, down)[1])) / 2e-5
            assert found[path][index] == pytest.approx(slope + held * moved, rel=1e-4, abs=1e-6), (path, index)


def test_the_summary_is_one_line_of_json(everything: Path, tmp_path: Path) -> None:
    printed = train(everything, "--steps", 1, "--out", tmp_path)
    assert np.isfinite(json.loads(printed.splitlines()[-1])["loss"])
