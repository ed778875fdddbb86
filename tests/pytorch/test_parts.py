"""The parts that projects are made of, as the Python that they are."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from specc.backends.pytorch.choose import choose
from specc.backends.pytorch.parts import checkpoint
from specc.backends.pytorch.parts.ahead import Prepared, ahead
from specc.backends.pytorch.parts.assign import assign
from specc.backends.pytorch.parts.loader_endless import Batches as Endless
from specc.backends.pytorch.parts.loader_finite import Batches as Finite
from specc.backends.pytorch.parts.pictures import picture

from specc.reference import externs

# Loaders


def finite(size: int, rank: int = 0, world: int = 1, seed: int = 0) -> Finite:
    return Finite({"x": np.arange(10), "y": np.arange(10) % 3}, size, seed, rank, world)


def test_a_pass_meets_every_example_once() -> None:
    seen = torch.cat([finite(4).batch(k)[0] for k in range(5)])  # two passes
    assert sorted(seen[:10].tolist()) == sorted(seen[10:].tolist()) == list(range(10))
    assert seen[:10].tolist() != seen[10:].tolist()
    x, y = finite(4).batch(7)
    assert (y == x % 3).all()


def test_a_batch_is_a_function_of_its_number() -> None:
    loader = finite(4)
    late = [loader.batch(k)[0].tolist() for k in (5, 6, 0, 5)]
    assert late == [finite(4).batch(k)[0].tolist() for k in (5, 6, 0, 5)]
    stream = finite(4).after(5)
    assert [next(stream)[0].tolist() for _ in range(2)] == late[:2]
    assert finite(4, seed=1).batch(5)[0].tolist() != late[0]


def test_processes_share_a_batch() -> None:
    for make in (finite, endless):
        whole = make(6).batch(3)[0]
        shares = [make(6, rank, 3).batch(3)[0] for rank in range(3)]
        assert torch.equal(whole, torch.cat(shares))


def test_a_batch_may_be_larger_than_the_data() -> None:
    x, _ = finite(25).batch(1)
    assert len(x) == 25 and np.bincount(x).min() >= 2


def endless(size: int, rank: int = 0, world: int = 1) -> Endless:
    return Endless(lambda n, rng: {"x": rng.standard_normal((n, 2))}, size, 0, rank, world)


def test_an_endless_batch_is_a_function_of_its_number() -> None:
    late = endless(8).batch(200)[0]
    loader = endless(8)
    for k in (0, 63, 64, 200):
        loader.batch(k)
    assert torch.equal(loader.batch(200)[0], late)
    assert not torch.equal(loader.batch(201)[0], late)


# Work ahead


def noisy(x: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
    return x, torch.randn(len(x), generator=generator)


def test_batches_ahead_come_in_order_and_repeat() -> None:
    make = Prepared(lambda k: (torch.full((3,), float(k)),), noisy, seed=5)
    first = list(ahead(make, 0, 9))
    assert [b[0][0].item() for b in first] == list(range(9))
    again = list(ahead(make, 6, 9))
    assert all(torch.equal(a[1], b[1]) for a, b in zip(first[6:], again, strict=True))
    assert not torch.equal(first[0][1], first[1][1])


def test_what_goes_wrong_ahead_is_raised_here() -> None:
    def broken(k: int) -> tuple[torch.Tensor, ...]:
        raise ValueError(f"row {k} is broken")

    with pytest.raises(ValueError, match="row 0 is broken"):
        next(ahead(Prepared(broken, noisy, seed=0), 0, 3))


def test_an_error_of_training_ends_its_workers() -> None:
    """They ignore the signal that a job is ended with, and Python's own end waits for them."""
    code = (
        "import torch; from ahead import Prepared, ahead\n"
        "batches = ahead(Prepared(lambda k: (torch.zeros(2),), lambda x, g: (x,), 0), 0, 10**6)\n"
        "next(batches); raise RuntimeError('no memory')"
    )
    folder = Path(checkpoint.__file__).parent
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and done.stderr.count("RuntimeError") == 1 and done.stderr.endswith("no memory\n")


# Assignment


@pytest.mark.parametrize("n", [1, 2, 40])
def test_prices_do_not_change_the_best_matching(n: int) -> None:
    rng = np.random.default_rng(n)
    for scale in (1e-6, 1.0, 1e6):
        x, e = scale * rng.standard_normal((2, n, 2))
        cost = ((x[:, None] - e[None]) ** 2).sum(-1)
        columns = assign(torch.from_numpy(cost)).numpy()
        want = externs.assign(cost)
        assert sorted(columns) == list(range(n))
        np.testing.assert_allclose(cost[np.arange(n), columns].sum(), cost[np.arange(n), want].sum(), rtol=1e-12)
    zeros = assign(torch.zeros(n, n)).tolist()
    assert sorted(zeros) == list(range(n))


def test_the_stable_matching_is_that_of_the_reference() -> None:
    cost = np.random.default_rng(0).random((20, 20))
    assert assign(torch.from_numpy(cost), solver="stable").tolist() == externs.assign(cost, solver="stable").tolist()


# Checkpoints

TENSORS = {"model": {"a.weight": torch.arange(6.0).reshape(2, 3)}, "optimizer": {"step": torch.tensor(3.0)}}


def saved(run: Path, step: int) -> None:
    checkpoint.write(run, {f: {k: v + step for k, v in t.items()} for f, t in TENSORS.items()}, {"step": step})


def content(run: Path) -> tuple[float, float, int]:
    tensors, state = checkpoint.read(run, ["model", "optimizer"])
    return tensors["model"]["a.weight"][0, 0].item(), tensors["optimizer"]["step"].item(), state["step"]


def test_a_checkpoint_reads_back(tmp_path: Path) -> None:
    saved(tmp_path / "run", 1)
    saved(tmp_path / "run", 2)
    assert content(tmp_path / "run") == (2, 5, 2)
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["model.safetensors", "optimizer.safetensors", "state.json"]


@pytest.mark.parametrize("fail_at", range(1, 6))
def test_a_failure_at_any_write_leaves_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fail_at: int
) -> None:
    saved(tmp_path, 1)
    calls = 0
    real = os.fsync

    def failing(handle: int) -> None:
        nonlocal calls
        calls += 1
        if calls == fail_at:
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(OSError, match="No space"):
        saved(tmp_path, 2)
    monkeypatch.setattr(os, "fsync", real)
    values = content(tmp_path)
    assert values in ((1, 4, 1), (2, 5, 2))  # one or the other, never a mixture
    assert values == (1, 4, 1) or fail_at == 5


def test_a_crash_between_files_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path, 1)
    real, calls = os.replace, 0

    def crashing(source: Path, target: Path) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(os, "replace", crashing)
    with pytest.raises(KeyboardInterrupt):
        saved(tmp_path, 2)
    monkeypatch.setattr(os, "replace", real)
    assert content(tmp_path) == (2, 5, 2)


def test_a_broken_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(checkpoint.CheckpointError, match="no checkpoint"):
        checkpoint.read(tmp_path, ["model"])
    saved(tmp_path, 1)
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(checkpoint.CheckpointError, match=r"model\.safetensors cannot be read"):
        checkpoint.read(tmp_path, ["model"])
    (tmp_path / "state.json").write_text("[1]")
    with pytest.raises(checkpoint.CheckpointError, match="does not say"):
        checkpoint.read(tmp_path, ["model"])


def test_parameters_that_do_not_fit_are_named() -> None:
    layer = torch.nn.Linear(2, 3)
    good = dict(layer.state_dict())
    with pytest.raises(checkpoint.CheckpointError, match="bias is missing"):
        checkpoint.fill(layer, {"weight": good["weight"]}, "f")
    with pytest.raises(checkpoint.CheckpointError, match="other is not a parameter"):
        checkpoint.fill(layer, good | {"other": good["bias"]}, "f")
    with pytest.raises(checkpoint.CheckpointError, match=r"\(3, 4\), not \(3, 2\)"):
        checkpoint.fill(layer, good | {"weight": torch.zeros(3, 4)}, "f")


def test_the_state_of_an_optimizer_reads_back() -> None:
    names = ["a", "a.b"]
    made = []
    for _ in range(2):
        torch.manual_seed(0)
        parameters = [torch.nn.Parameter(torch.randn(3)) for _ in names]
        made.append((parameters, torch.optim.AdamW(parameters, lr=0.1)))
    (one, first), (two, second) = made
    for p in one:
        p.grad = torch.ones_like(p)
    first.step()
    checkpoint.fill_optimizer(second, names, checkpoint.optimizer_tensors(first, names))
    with torch.no_grad():
        for p, q in zip(one, two, strict=True):
            q.copy_(p)
            p.grad = q.grad = torch.full_like(p, 0.5)
    first.step()
    second.step()
    assert all(torch.equal(p, q) for p, q in zip(one, two, strict=True))


# Pictures, and choosing


def test_pictures(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    assert picture(rng.uniform(-2, 2, (7, 3, 8, 8)), tmp_path / "a.png")
    assert picture(rng.uniform(0, 1, (4, 1, 32, 32)), tmp_path / "b.png", 0, 1)
    assert picture(rng.standard_normal((50, 2)), tmp_path / "c.png", paths=rng.standard_normal((3, 50, 2)))
    assert not picture(rng.standard_normal((50, 5)), tmp_path / "d.png")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.png", "c.png"]
    assert all(p.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" for p in tmp_path.iterdir())


def test_choosing_lines() -> None:
    text = "a\n# << one\nb\n    # << not two\nc\n    # >>\n# >>\n# << knobs\nold\n# >>\nd\n"
    assert choose(text, {"one"}, {"knobs": "new"}) == "a\nb\nc\nnew\nd\n"
    assert choose(text, {"one", "two"}, {"knobs": "new"}) == "a\nb\nnew\nd\n"
    assert choose(text, ()) == "a\nd\n"


@pytest.mark.parametrize(
    ("text", "joined"),
    [
        ("def f(\n    a: int,\n    # << no\n    b: int,\n    # >>\n) -> int:\n", "def f(a: int) -> int:\n"),
        ("    x = f(\n        a,\n        g(b),\n    )\n", "    x = f(a, g(b))\n"),
        ("x = (\n    a,\n)\n", "x = (\n    a,\n)\n"),  # not a tuple any more
        ("x = f(\n    a,  # why\n)\n", "x = f(\n    a,  # why\n)\n"),
        (f"x = f(\n    {'a' * 120},\n    b,\n)\n", f"x = f(\n    {'a' * 120},\n    b,\n)\n"),
    ],
)
def test_what_is_left_of_a_call_goes_on_one_line(text: str, joined: str) -> None:
    assert choose(text, ()) == joined


# Marks

MARK = re.compile(r"^( *)# (<<|>>)(.*)$")


@pytest.mark.parametrize("file", sorted(Path(checkpoint.__file__).parent.glob("*.py")), ids=lambda f: f.stem)
def test_marks_balance_and_nest(file: Path) -> None:
    """Each `# << NAME` is closed by a `# >>` of its indentation, inside the one before it; nothing else looks like a mark."""
    unbalanced = marks(file.read_text(encoding="utf-8"))
    assert not unbalanced, f"{file.name}: {unbalanced}"


@pytest.mark.parametrize(
    "text",
    [
        "# << a\nx = 1\n",
        "x = 1\n# >>\n",
        "# << a\n# << b\n# >>\n",
        "# << a\n    # >>\n",
        "# <<\n# >>\n",
        "# << a\n# >> a\n",
        "# << a # << b\n# >>\n",
        "#<< a\n",
    ],
)
def test_marks_that_do_not_are_found(text: str) -> None:
    assert marks(text)


def marks(text: str) -> str:
    """What is wrong with the marks of a part, if anything."""
    opened: list[tuple[int, str]] = []
    for number, line in enumerate(text.split("\n"), 1):
        found = MARK.fullmatch(line)
        if found is None:
            if re.search(r"# ?(<<|>>)", line):
                return f"line {number} is no mark on a line of its own"
            continue
        indent, mark, name = found.groups()
        if mark == "<<":
            if not re.fullmatch(r"( not)? \w+", name):
                return f"line {number} marks {name!r}"
            opened.append((number, indent))
        elif name or not opened or opened.pop()[1] != indent:
            return f"line {number} closes nothing of its indentation"
    return f"line {opened[-1][0]} is not closed" if opened else ""
