"""Projects with a reader of the spec's own: the file as it is, and data.py, which holds what it gives to the spec."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from specc.backends.pytorch import emit

from specc import driver
from specc.cli.common import Failure
from specc.cli.examples import examples
from specc.cli.runs import Run

SPEC = """\
specc 1
reader mine(path, scale = 1.0, names = [], deep = false) -> vector(2) = extern("my_data.py:load") {
  field y: class(3)
  field weight
}
model m {
  data x: vector(2) in [-1, 1] from mine("it's \\"here\\"", names = [a, b])
  condition label: class(3)
  field weight: scalar
  process linear
  backbone mlp(width = 8)
  predict velocity
  sampler euler(steps = 2)
}
"""
HEAD = "import numpy as np\n\n\ndef load(split, path, scale, names, deep):\n"
GOOD = """\
    assert (path, scale, names, deep) == ("it's \\"here\\"", 1.0, ("a", "b"), False)
    n = 30 if split == "train" else 10
    return {"x": np.full((n, 2), 0.5), "y": np.arange(n) % 3, "weight": np.ones(n, np.float32), "other": "kept out"}
"""


def made(folder: Path, body: str, spec: str = SPEC, file: str = "my_data.py", head: str = HEAD) -> Run:
    """A run with a project, and nothing trained."""
    (folder / file).write_text(head + body)
    (folder / "m.spec").write_text(spec.replace("my_data.py", file))
    found = driver.check(folder / "m.spec")
    assert not found.failed, found.diagnostics
    driver.emit(found.programs["m"], "pytorch", folder / "run" / "project")
    return Run(folder / "run")


def read(run: Run, split: str = "train", count: int = 7) -> dict[str, np.ndarray]:
    return examples(run, split, count, np.random.default_rng(0))


def test_examples_are_what_the_file_gives(tmp_path: Path) -> None:
    run = made(tmp_path, GOOD)
    assert (run.project / "my_data.py").read_text() == HEAD + GOOD
    assert {k: (v.shape, v.dtype.name) for k, v in read(run).items()} == {
        "x": ((30, 2), "float32"),
        "weight": ((30,), "float32"),
        "label": ((30,), "int64"),
    }
    assert len(read(run, "test")["x"]) == 10
    assert "specc" not in "".join(ast.unparse(n) for n in ast.parse((run.project / "data.py").read_text()).body[1:])
    (hash_,) = json.loads((run.project / "spec.lock.json").read_text())["readers"].values()
    assert len(hash_) == 64


def given(**changed: str) -> str:
    """The body of a reader that gives these arrays, as Python."""
    arrays = {"x": "np.zeros((9, 2))", "y": "np.zeros(9, int)", "weight": "np.ones(9)"} | changed
    return f"    return dict({', '.join(f'{k}={v}' for k, v in arrays.items() if v)})\n"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (given(x="np.zeros((9, 3))"), "`x` of shape (9, 3), not examples of shape (2,)"),
        (given(x="np.zeros((0, 2))"), "`x` of shape (0, 2)"),
        (given(x="np.float32(1)"), "`x` of shape ()"),
        (given(x="[['a', 'b']]"), "`x` as <U1, not float32"),
        (given(x="np.where(np.arange(18).reshape(9, 2) == 11, np.nan, 0.0)"), "nan in `x` of example 5, which is not finite"),
        (given(x="np.full((9, 2), 1e300)"), "inf in `x` of example 0, which is not finite"),
        (given(x="np.linspace(0, 1.5, 18).reshape(9, 2)"), "of example 6, which is not from -1 to 1"),
        (given(weight="np.where(np.arange(9) == 8, np.inf, 1.0)"), "inf in `weight` of example 8"),
        (given(y="np.arange(9)"), "3 in `y` of example 3, which is not from 0 to 2"),
        (given(y="np.arange(9) - 1"), "-1 in `y` of example 0"),
        (given(y="np.ones(9)"), "`y` as float64, not int64"),
        (given(y="np.zeros(8, int)"), "9 examples of `x` and 8 of `y`"),
        (given(weight=""), "gives no `weight`, but x, y"),
        ("    return [1, 2]\n", "gives a list, not arrays by name"),
        ("    rows = {}\n    return rows[path]\n", "my_data.py:6: KeyError: 'it\\'s \"here\"' at `return rows[path]`"),
        ("    return np.load(path)\n", "my_data.py:5: FileNotFoundError"),
        ("    raise ValueError('no')\n", "my_data.py:5: ValueError: no"),
    ],
)
def test_what_does_not_fit_is_said_with_its_place(tmp_path: Path, body: str, words: str) -> None:
    with pytest.raises(Failure) as caught:
        read(made(tmp_path, body))
    assert words in caught.value.message
    assert "my_data.py" in caught.value.message
    assert "the reader mine of" in caught.value.message or "my_data.py:" in caught.value.message


def test_a_file_that_fails_when_it_is_imported(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"my_data\.py:1: ZeroDivisionError"):
        read(made(tmp_path, GOOD, head=f"1 / 0\n{HEAD}"))


def test_rounding_to_float32_leaves_no_range(tmp_path: Path) -> None:
    assert read(made(tmp_path, given(x="np.full((9, 2), np.float32(1) + np.float32(1.2e-7))")))["x"].max() > 1


def test_a_law_draws_as_many_as_are_wanted(tmp_path: Path) -> None:
    head = "import numpy as np\n\n\ndef load(n, rng, **settings):\n"
    fields = '"y": np.zeros(len(x), int), "weight": x[:, 0]}\n'
    run = made(tmp_path, f'    x = rng.uniform(-1, 1, (n, 2))\n    return {{"x": x, {fields}', head=head)
    assert len(read(run)["x"]) == 7 and len(np.unique(read(run)["x"])) == 14
    few = made(tmp_path, f'    x = rng.uniform(-1, 1, (3, 2))\n    return {{"x": x, {fields}', head=head)
    with pytest.raises(Failure, match="3 examples where 7 are wanted"):
        read(few)


def test_names_that_others_import_are_left_to_them(tmp_path: Path) -> None:
    """The copy of a file called as one of the project, of Python or a package has another name; messages keep the author's."""
    for file in ("data.py", "train.py", "random.py", "traceback.py", "torch.py", "print.py", "source.py"):
        run = made(tmp_path, GOOD, file=file)
        assert set(read(run)) == {"x", "weight", "label"}
        made(tmp_path, "    raise KeyError\n", file=file)
        with pytest.raises(Failure, match=rf"read: {file}:5: KeyError"):
            read(run)


def test_a_reader_called_as_one_of_the_library(tmp_path: Path) -> None:
    """It is the spec's own, without the habits of that name: `digits` come in [0, 1], `generated` from a parent."""
    for name in ("digits", "generated", "moons"):
        run = made(tmp_path, GOOD, SPEC.replace("mine(", f"{name}("))
        assert read(run)["x"].max() == 0.5


def test_numbers_become_integers_after_a_step(tmp_path: Path) -> None:
    spec = """\
specc 1
reader mine -> image(1, 2, 2) = extern("my_data.py:load")
model m {
  data x: tokens(4, 3) from mine |> tokens(levels = 3)
  backbone transformer(dim = 8, depth = 1, heads = 2, causal = true)
  loss next_token
  sampler ancestral
}
"""
    head = "import numpy as np\n\n\ndef load(split):\n"
    run = made(tmp_path, '    return {"x": np.tile([[0.0, 0.5], [1.0, 0.0]], (5, 1, 1, 1))}\n', spec, head=head)
    assert read(run)["x"].tolist() == [[0, 1, 2, 0]] * 5
    run = made(tmp_path, '    return {"x": np.full((5, 1, 2, 2), 1.5)}\n', spec, head=head)
    with pytest.raises(Failure, match="in `x` of example 0, which is not from 0 to 1"):
        read(run)


def test_the_project_follows_from_the_program_alone(tmp_path: Path) -> None:
    """The text goes with the program: what was checked is what is written, wherever the file is by then."""
    run = made(tmp_path, GOOD)
    program: Any = driver.check(tmp_path / "m.spec").programs["m"]
    (tmp_path / "my_data.py").unlink()
    assert emit(program)["my_data.py"] == (run.project / "my_data.py").read_text()
