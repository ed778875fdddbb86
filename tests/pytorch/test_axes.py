"""Groups and parts of a batch, several times and times for each element: the reference, PyTorch and ONNX Runtime agree."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from projects import agree
from specc.backends.onnx.export import export

from specc.driver import prepare
from specc.ir.program import Program
from specc.reference.interpret import run
from specc.runtime.ort import load

sys.path.insert(0, str(Path(__file__).parents[1] / "passes"))
sys.path.insert(0, str(Path(__file__).parents[1] / "sema"))
from programs import weights
from sema_helpers import codes, elaborated, text


def program(*more: str, **replaced: str) -> Program:
    made = elaborated(text(*more, **{"sampler": "", "process": "", "predict": "", **replaced}))
    assert not made.diagnostics, [f"{d.code} {d.span}: {d.message}" for d in made.diagnostics]
    return made.programs["m"]


def ways(made: Program, folder: Path, **inputs: np.ndarray) -> tuple[np.ndarray, str]:
    """What the query `main` says, the same in all three; and its text in Python."""
    made_weights = {k: v.astype(np.float32) for k, v in weights(made).items()}
    printed = agree(made, inputs, made_weights)
    (want,) = run(made, "main", inputs, made_weights)
    export(prepare(made), "main", made_weights, folder / "main.onnx")
    loaded = load(folder / "main.onnx")
    (have,) = loaded.run(loaded.feeds(np.arange(len(want)), arguments=inputs)).values()
    np.testing.assert_allclose(have, want, rtol=2e-5, atol=2e-5)
    return want, printed


def examples(n: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(n).normal(size=(n, *shape)).astype(np.float32)


# Parts of a batch


MIXED = """query main {
  if batch.part(1 / 4) {
    a = backbone(x)
    y = 2 * a + batch.mean(x) + batch.index
    k = 1
  } else {
    y = x * x - batch.mean(x) + batch.size
    k = x[0]
  }
  return y + k
}"""


@pytest.mark.parametrize(("count", "cut"), [(8, 2), (6, 2), (5, 1), (1, 0)])
def test_a_part_of_the_batch_is_a_batch_of_its_own(count: int, cut: int, tmp_path: Path) -> None:
    x, made = examples(count, 2), program(MIXED)
    got, printed = ways(made, tmp_path, x=x)
    rest = x[cut:] ** 2 - x[cut:].mean(axis=0) + (count - cut) + x[cut:, :1]
    np.testing.assert_allclose(got[cut:], rest, rtol=1e-4, atol=1e-5)
    if cut:
        out = run(program("query main { return backbone(x) }"), "main", {"x": x[:cut]}, weights(made))[0]
        first = 2 * out + x[:cut].mean(axis=0) + np.arange(cut)[:, None] + 1
        np.testing.assert_allclose(got[:cut], first, rtol=1e-4, atol=1e-4)
    assert "cut = int(0.25 * len(x) + 0.5)" in printed and "torch.cat([" in printed


def test_parts_in_parts(tmp_path: Path) -> None:
    body = "if batch.part(1 / 2) { y = x } else { if batch.part(1 / 2) { y = -x } else { y = 10 * x } }"
    x = examples(8, 2)
    got, _ = ways(program(f"query main {{\n{body}\nreturn y }}", backbone=""), tmp_path, x=x)
    np.testing.assert_allclose(got, np.concatenate([x[:4], -x[4:6], 10 * x[6:]]), rtol=1e-6)


def test_terms_of_parts_are_minimised_together() -> None:
    parts = "if batch.part(3 / 4) { g = backbone(x) } else { g = x }"
    made = program(f"loss both {{\n{parts}\nminimize mean((backbone(x) - stop(g))^2)\n}}")
    assert [e.over for e in made.by_role("objective")] == [("backbone",)]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("if batch.part(3 / 2) { y = x } else { y = -x } return y", "E0601"),
        ("if batch.part(1 / 2) { y = -x } return x", "E0211"),
        ("if batch.part(1 / 2) { y = x } else { y = 1 } return y", "E0306"),
        ("if batch.part(1 / 2) { return x } else { y = 1 } return y", "E0211"),
    ],
)
def test_parts_that_make_no_batch(body: str, code: str) -> None:
    lines = body.replace("} return", "}\nreturn")
    assert codes(text(f"query main {{\n{lines}\n}}")) == [code]


# Groups


def test_a_group_shares_and_sees_its_members(tmp_path: Path) -> None:
    apart = "mean(sum((g.join(x) - expand(x, like = g.join(x)))^2, axis = 1))"
    x = examples(6, 2)
    query = f"query main {{\ng = batch.groups(3)\nreturn x[0] - g.share(x)[0] + {apart}\n}}"
    got, printed = ways(program(query, backbone=""), tmp_path, x=x)
    groups = x.reshape(2, 3, 2)
    far = ((groups[:, :, None] - groups[:, None]) ** 2).sum(-1).mean(-1)
    np.testing.assert_allclose(got, (groups[..., 0] - groups[:, :1, 0] + far).reshape(-1), rtol=1e-4, atol=1e-5)
    assert "x[peers]" in printed


def test_a_draw_per_group_is_one_for_its_members() -> None:
    made = program("query main {\ng = batch.groups(2)\nu ~ uniform(0, 1) per g\nreturn u\n}", backbone="")
    (u,) = run(made, "main", {"x": examples(6, 2), "seed": np.arange(6)}, {}, rng=np.random.default_rng(0))
    assert (u[::2] == u[1::2]).all() and len(np.unique(u)) == 3


@pytest.mark.parametrize(
    ("loss", "code"),
    [
        ("g = batch.groups(3)\nt ~ uniform(0, 1) per g\nminimize mean((backbone(x) - t * g.join(x)[0])^2)", "E0601"),
        ("g = batch.groups(0)\nminimize mean(g.join(backbone(x)))", "E0601"),
        ("t ~ uniform(0, 1) per 4\nminimize t * mean(backbone(x))", "E0204"),
    ],
)
def test_groups_that_do_not_fit(loss: str, code: str) -> None:
    assert codes(text(f"loss l {{\n{loss}\n}}", "train { batch = 64 }", process="", predict="", sampler="")) == [code]
