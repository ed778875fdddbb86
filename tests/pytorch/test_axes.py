"""Groups and parts of a batch, several times and times for each element: the reference, PyTorch and ONNX Runtime agree."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
from projects import agree
from specc.backends.onnx.export import export

from specc.driver import prepare
from specc.ir.ops import Op
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


# Times for each element


SEQUENCES = {"data": 'data x: sequence(4, 3) from npy("x.npy")', "process": "process vp", "predict": "predict v"}
NET = """backbone net(z: sequence(n, d), t: vector(n)) -> like(z) {
  return linear(z, d) * expand(sin(t), like = z, axis = 1)
}"""


def test_equations_hold_for_each_element(tmp_path: Path) -> None:
    query = "query main(t: vector(4)) { return stack([denoise(x, t), noise_of(x, t), velocity(x, t), draw(x, 2 * x, t)]) }"
    x, t = examples(5, 4, 3), np.random.default_rng(0).uniform(0.1, 0.9, (5, 4)).astype(np.float32)
    got, printed = ways(program(query, "times t: vector(4) = uniform", **SEQUENCES, backbone=NET), tmp_path, x=x, t=t)
    net = NET.replace("vector(n)", "scalar").replace("sin(t)", "sin(t) * ones(n)")
    one = program(query.replace("vector(4)", "scalar"), **SEQUENCES, backbone=net)
    for k in range(4):  # the same numbers as with that one time for all elements
        (alone,) = run(one, "main", {"x": x, "t": t[:, k]}, weights(one))
        np.testing.assert_allclose(got[:, :, k], alone[:, :, k], rtol=1e-4, atol=1e-4)
    assert "alpha(t)[:, :, None] * x" in printed


def test_times_are_drawn_for_each_element() -> None:
    made = program("times t: vector(4) = logit_normal", "loss mse(weight = min_snr)", **SEQUENCES, backbone=NET)
    (objective,) = made.by_role("objective")
    (value,) = run(made, objective.name, {"x": examples(3, 4, 3)}, weights(made), rng=np.random.default_rng(0))
    draws = [n["shape"] for n in made.functions[objective.function].block.nodes if n.op is Op.NORMAL]
    assert draws == [(4,), (4, 3)] and value.shape == (3,)


def test_a_sampler_walks_through_rows_of_times() -> None:
    rows = "[[1, 1, 1, 1], [0.5, 0.6, 0.7, 0.8], [0.1, 0.2, 0.3, 0.4]]"
    body = f"z ~ prior()\nfor (now, next) in pairs({rows}) {{ z = z + expand(next - now, like = z, axis = 1) }}\nreturn z"
    made = program(f"sampler main {{\n{body}\n}}", **SEQUENCES, backbone="", sampler="")
    (z,) = run(made, "main", {"seed": np.arange(2)}, {})
    still = program("sampler main { z ~ prior(); return z }", **SEQUENCES, backbone="")
    (start,) = run(still, "main", {"seed": np.arange(2)}, {})
    np.testing.assert_allclose(z - start, np.broadcast_to([[-0.9], [-0.8], [-0.7], [-0.6]], z.shape), atol=1e-6)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("times t: vector(5) = uniform", "E0301"),
        ("times t: 4 = uniform", "E0304"),
        ("query main(t: vector(4)) { return alpha(t) * x }", "E0302"),
        ("query main(t: vector(4)) { return mean(x, like = sum(x, axis = 0)) }", "E0302"),
    ],
)
def test_times_that_lie_along_nothing(line: str, code: str) -> None:
    assert code in codes(text(line, **SEQUENCES, backbone=NET, sampler=""))


# Matrices


def test_matrices_of_numbers_and_of_run_time(tmp_path: Path) -> None:
    body = "m = matrix([[t, 0.5], [0.5, 2]]) + identity(2)\nl = cholesky(m)\nreturn stack([m, l, inv(m)])"
    t = np.array([0.1, 1, 3], dtype=np.float32)
    made = program(f"query main(t: scalar) {{\n{body}\n}}", backbone="", data="data x: vector(2) from moons")
    got, printed = ways(made, tmp_path, x=examples(3, 2), t=t)
    m = np.array([[[1 + u, 0.5], [0.5, 3]] for u in t])
    np.testing.assert_allclose(got, np.stack([m, np.linalg.cholesky(m), np.linalg.inv(m)], axis=1), rtol=1e-5, atol=1e-6)
    assert "torch.linalg.cholesky(m)" in printed


def test_a_matrix_acts_on_the_parts_of_a_state(tmp_path: Path) -> None:
    body = "y, v = act(matrix([[0, 1], [2, 0]]), stack([x, 3 * x]))\nreturn y + 10 * v"
    x = examples(4, 1, 2, 2)
    made = program(f"query main {{\n{body}\n}}", data='data x: image(1, 2, 2) from npy("x.npy")', backbone="")
    got, _ = ways(made, tmp_path, x=x)
    np.testing.assert_allclose(got, 23 * x, rtol=1e-5)


DRIFT, SPREAD = [[-0.5, 3, 0], [-2, -9, 1], [0, 0.5, -1]], [[0.2, 0, 0], [0, 4, 0.5], [0, 0.5, 1]]


def test_a_linear_equation_moves_a_normal_law(tmp_path: Path) -> None:
    body = f"p, s = transition(matrix({DRIFT}), matrix({SPREAD}), t)\nreturn stack([p, s])"
    t = np.array([1e-3, 0.2, 2.0], dtype=np.float32)
    made = program(f"query main(t: scalar) {{\n{body}\n}}", backbone="")
    got, _ = ways(made, tmp_path, x=examples(3, 2), t=t)
    for k, a in enumerate(t.astype(float)):
        f, d = np.array(DRIFT), np.array(SPREAD)
        p, still = scipy.linalg.expm(a * f), scipy.linalg.solve_continuous_lyapunov(f, -2 * d)
        np.testing.assert_allclose(got[k, 0], p, rtol=2e-5, atol=1e-6)
        np.testing.assert_allclose(got[k, 1], still - p @ still @ p.T, rtol=2e-5, atol=1e-6)


def test_numbers_of_matrices_are_known_while_compiling() -> None:
    lines = [
        "a = matrix([[1, 0], [0, 2]]) @ matrix([[0, 1], [-1, 0]])",
        "query main { y, v = act(a, stack([x, x])); return y + v }",
    ]
    made = program(*lines, backbone="")
    constants = [n["value"] for n in prepare(made).functions["main"].block.nodes if n.op is Op.CONST]
    assert constants == [(0, 1, -2, 0)]
    for word, code in (
        ("semidefinite(matrix([[1, 2], [2, 1]]))", "E0408"),
        ("transpose(identity(2)) == -identity(2)", "E0408"),
    ):
        body = f"query main {{\nrequire {word}\nreturn x\n}}"
        assert codes(text(body, sampler="")) == [code]
    assert not codes(text("query main {\nrequire semidefinite(matrix([[1, 1], [1, 1]]))\nreturn x\n}", sampler=""))
    assert codes(text("query main {\nrequire semidefinite(matrix([[x[0], 1], [1, 1]]))\nreturn x\n}", sampler="")) == ["E0305"]


@pytest.mark.parametrize(
    "made", ["matrix([[1, 2], [3]])", "inv(matrix([[1, 2, 3], [4, 5, 6]]))", "stack([x, x[0]])", "identity(0)"]
)
def test_what_is_no_matrix(made: str) -> None:
    assert codes(text(f"query main {{ return {made} }}", sampler=""))[0] in ("E0301", "E0601")


# Maps between two times


CLASSES = "condition y: class(3) with { drop = 0.1 }"
MAP = """backbone net(z: vector(2), t: scalar, s: scalar, y: any) -> like(z) {
  return z * (s + 0.5) + t * where(y == 3, 1.0, 2.0)
}"""


def test_guidance_of_one_time_passes_the_other_by() -> None:
    lines = (CLASSES, "guidance cfg(scale = 3)", "sampler jumps(steps = 1)")
    parts = {"process": "process linear", "predict": "predict mean_velocity", "backbone": MAP, "sampler": ""}
    made = program(*lines, **parts)
    z, jump = (
        program(*g, f"sampler main {{ z ~ prior(); return {e} }}", **parts)
        for g, e in ((lines[:1], "z"), (lines[:2], "jump(z, 1, 0)"))
    )
    given = {"seed": np.arange(4), "y": np.array([0, 1, 2, 0])}
    (start,), (end,), (whole,) = (run(p, n, given, {}) for p, n in ((z, "main"), (jump, "main"), (made, "jumps")))
    np.testing.assert_allclose(end, start - (start * 0.5 + 1 + 3 * (2 - 1)), rtol=1e-6)  # at s = 0, whatever guidance says of t
    np.testing.assert_allclose(whole, end, rtol=1e-6)


def test_a_network_takes_the_conditions_that_its_head_names() -> None:
    loss = "loss l { t ~ uniform(0, 1); minimize mean((f(x, t, t / 2) - x)^2) }"
    for head, many in (("f(z, t, s, y)", 4), ("f(z, t, s)", 3)):
        spec = text(
            CLASSES, f"network {head} -> like(x) = mlp(width = 4)", loss, backbone="", process="", predict="", sampler=""
        )
        made = elaborated(spec).programs["m"]
        function = made.functions[made.by_role("objective")[0].function]
        (call,) = [n for n in function.block.nodes if n.op is Op.CALL and n["bundle"] == "f"]
        assert len(call.inputs) == many
