"""Names that Python or nn.Module has taken: networks, parameters and states are trained, saved and lent under them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import warm
from safetensors.numpy import load_file

from specc import driver
from specc.passes.count import parameters

TEXT = """specc 1
model words {
  data x: vector(2) from mixture(centres = [[0.0, 0.0]], noise = 0.1)
  param class: vector(2) = 1
  param list: vector(2) = 1
  state def: scalar = 0
  network lambda(x) -> scalar = dense(width = 8, depth = 1)
  network print(x) -> scalar = dense(width = 8, depth = 1)
  network values(x) -> scalar = dense(width = 8, depth = 1)
  loss game {
    update def = def + 1
    minimize (lambda(x) - values(x))^2 + print(x)^2 over [lambda, print, values]
    minimize sum((class * x - 1)^2 + (list - x)^2) over [class, list]
  }
  query score { return lambda(x) + print(x) + sum(class * list) + def }
  train { optimizer = adam(lr = 1e-3); steps = 2; batch = 4 }
}
stage while from words {
  yield = frozen(words)
  loss game { minimize (lambda(x) - yield.lambda(x) - yield.values(x))^2 + sum((yield.class - class)^2) over lambda }
  query score { return lambda(x) + yield.lambda(x) + sum(yield.class) + yield.def }
}
"""


def python(folder: Path, *arguments: object) -> None:
    done = warm.python(*arguments, cwd=folder)
    assert done.returncode == 0, done.stderr


def test_they_keep_their_names(tmp_path: Path) -> None:
    (tmp_path / "s.spec").write_text(TEXT)
    checked = driver.check(tmp_path / "s.spec")
    assert not checked.failed, checked.diagnostics
    np.savez(tmp_path / "in.npz", x=np.ones((4, 2), np.float32))
    runs: dict[str, dict[str, np.ndarray]] = {}
    for name, given in (("words", ()), ("while", ("--parent", tmp_path / "words"))):
        program, folder = checked.programs[name], tmp_path / f"project_{name}"
        driver.emit(program, "pytorch", folder)
        python(folder, "train.py", "--device", "cpu", "--out", tmp_path / name, *given)
        python(folder, "query.py", tmp_path / name, "--data", tmp_path / "in.npz", "--out", tmp_path / f"{name}.npz")
        runs[name] = load_file(tmp_path / name / "model.safetensors")
        assert set(parameters(program)) <= set(runs[name])
    words, stage = runs["words"], runs["while"]
    assert words["def"] == 2 and not np.array_equal(words["class"], np.ones(2))
    # what is read through the parent has a path of its own, and the values of the parent's run
    lent = {"yield_class": "class", "yield_def": "def"} | {
        f"yield.{k}": k for k in words if k.startswith(("lambda.", "values."))
    }
    assert {k for k in stage if k.startswith("yield")} == set(lent)
    assert all(np.array_equal(stage[here], words[there]) for here, there in lent.items())
    assert not np.array_equal(stage["lambda.linear.weight"], words["lambda.linear.weight"])
