"""Integers from the data to the sample: their spaces, what is picked by them, their laws, and processes that jump."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from specc import driver
from specc.ir.ops import Op
from specc.ir.program import Program
from specc.reference.interpret import run

TOKENS = "data x: tokens(4, 3) from markov"


def program(tmp_path: Path, sections: str, before: str = "") -> Program:
    path = tmp_path / "spec.spec"
    path.write_text(f"specc 1\n{before}\nmodel m {{\n{sections}\n}}\n", encoding="utf-8")
    checked = driver.check(path)
    assert not checked.failed, [f"{d.code}: {d.message}" for d in checked.diagnostics]
    return driver.prepare(checked.programs["m"])


def errors(tmp_path: Path, sections: str, before: str = "") -> list[str]:
    path = tmp_path / "spec.spec"
    path.write_text(f"specc 1\n{before}\nmodel m {{\n{sections}\n}}\n", encoding="utf-8")
    return [f"{d.code} {d.message}" for d in driver.check(path).diagnostics if d.severity == "error"]


def ask(tmp_path: Path, query: str, data: str = TOKENS, before: str = "", **inputs: np.ndarray) -> list[np.ndarray]:
    made = program(tmp_path, f"{data}\n{query}", before)
    entry = made.by_role("query")[0]
    return list(run(made, entry.name, inputs, {}, dtype="float64", rng=np.random.default_rng(0)))


# What is picked by integers ----------------------------------------------------------------------------------------------


def test_a_value_at_each_place(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    logits, x = rng.normal(size=(5, 4, 3)), rng.integers(0, 3, (5, 4))
    query = "query q(v: tensor(4, 3)) { return pick(v, x), cross_entropy(v, x), onehot(x, 3), v[1] }"
    picked, lost, one, row = ask(tmp_path, query, x=x, v=logits)
    own = np.take_along_axis(logits, x[..., None], axis=-1)[..., 0]
    np.testing.assert_allclose(picked, own)
    np.testing.assert_allclose(lost, np.log(np.exp(logits).sum(axis=-1)) - own)
    np.testing.assert_array_equal(one, np.eye(3)[x])
    np.testing.assert_allclose(row, logits[:, 1])


def test_picking_has_a_gradient(tmp_path: Path) -> None:
    x = np.array([[2, 0, 1, 1]])
    v = np.random.default_rng(1).normal(size=(1, 4, 3))
    (slope,) = ask(tmp_path, "query q(v: tensor(4, 3)) { return grad(sum(cross_entropy(v, x)), v) }", x=x, v=v)
    p = np.exp(v) / np.exp(v).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(slope, p - np.eye(3)[x], rtol=1e-6)


def test_parts_of_given_sizes_and_integers_made(tmp_path: Path) -> None:
    x = np.array([[0, 1, 2, 1]])
    query = "query q { a, b = split(x, [1, 3]); return a, b, fill(2, like = x), zeros(like = x), int(2.9 * x), int(x > 0) }"
    a, b, two, none, cut, truth = ask(tmp_path, query, x=x)
    assert (a.tolist(), b.tolist()) == ([[0]], [[1, 2, 1]])
    assert all(v.dtype.kind == "i" for v in (two, none, cut, truth))
    assert (two.tolist(), none.tolist()) == ([2] * 4, [0] * 4)
    assert (cut.tolist(), truth.tolist()) == ([[0, 2, 5, 2]], [[0, 1, 1, 1]])


@pytest.mark.parametrize(
    "query, said",
    [
        ("query q { return cross_entropy(x, x) }", "E0301"),
        ("query q(v: tensor(3, 4)) { return pick(v, x) }", "E0301"),
        ("query q(v: vector(4)) { return onehot(v, 3) }", "E0304"),
        ("query q { a, b = split(x, [1, 2]); return a + b }", "E0301"),
        ("query q { k ~ categorical(onehot(x, 3), precision = float16); return k }", "E0304"),
        ("sampler s { z ~ normal(like = x); return z }", "E0301 `s` returns floats, and the data are ints"),
    ],
)
def test_what_does_not_fit(tmp_path: Path, query: str, said: str) -> None:
    assert [e.startswith(said) for e in errors(tmp_path, f"{TOKENS}\n{query}")] == [True]


# Spaces ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data, values",
    [
        ("x: tokens(4, 3) from markov", 3),
        ("x: bits(4) from parity", 2),
        ("x: counts(2) in [0, 9] from markov(length = 2)", 10),
        ("x: tokens(64, 17) from digits |> tokens(levels = 17)", 17),
        ("x: counts(1, 8, 8) in [0, 16] from digits |> counts(levels = 17)", 17),
    ],
)
def test_definitions_see_how_many_values_there_are(tmp_path: Path, data: str, values: int) -> None:
    made = program(tmp_path, f"data {data}\nquery q {{ return sum(x) + vocab }}")
    (space,) = (d.space for d in made.data)
    assert (space.dtype, space.classes) == ("int", values)
    x = np.zeros((1, *space.shape), np.int64)
    assert run(made, "q", {"x": x}, {})[0] == [values]


@pytest.mark.parametrize(
    "data, said",
    [
        ("x: counts(2) from markov", "E0601 counts have a range that begins at 0"),
        ("x: counts(2) in [1, 9] from markov", "E0601"),
        ("x: tokens(4) from markov", "E0206"),
        ("x: tokens(4, 3) from digits", "E0301"),
        ("x: tokens(5, 3) from markov(length = 4)", "E0301 `markov` gives tokens(4, 3)"),
        ("x: bits(4) from markov(vocab = 3)", "E0301"),
    ],
)
def test_spaces_that_make_no_sense(tmp_path: Path, data: str, said: str) -> None:
    found = errors(tmp_path, f"data {data}\nquery q {{ return sum(x) }}")
    assert [e.startswith(said) for e in found] == [True], found


def test_an_embedding_has_a_row_for_each_value_of_the_state(tmp_path: Path) -> None:
    net = "backbone net(z: tokens(n, v), t: scalar) { return linear(embedding(z, 5), v - 1) }"
    rest = "process masking\nbackbone net\npredict logits\nloss masked_elbo\nsampler ancestral"
    made = program(tmp_path, f"{TOKENS}\n{rest}", net)
    shapes = {n["path"]: n["shape"] for f in made.functions.values() for n in f.block.nodes if n.op is Op.PARAM}
    assert shapes["embedding.weight"] == (4, 5)  # three symbols and the mask


# Laws --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.0, 0.02, 0.5, 0.7, 1.0])
def test_binomial(tmp_path: Path, p: float) -> None:
    x = np.tile([0, 1, 5, 9], (20_000, 1))
    data = "data x: counts(4) in [0, 9] from markov"
    (k,) = ask(tmp_path, "query q(p: scalar) { k ~ binomial(x, p, 9); return k }", data, x=x, p=np.full(len(x), p))
    assert k.dtype.kind == "i"
    for i, n in enumerate((0, 1, 5, 9)):
        seen = np.bincount(k[:, i], minlength=n + 1) / len(x)
        np.testing.assert_allclose(seen, stats.binom(n, p).pmf(np.arange(n + 1)), atol=0.016)


@pytest.mark.parametrize("rate", [0.0, 0.3, 6.0])
def test_poisson_ends_at_most(tmp_path: Path, rate: float) -> None:
    n = 20_000
    given = {"x": np.zeros((n, 4), np.int64), "rate": np.full(n, rate)}
    (k,) = ask(tmp_path, "query q(rate: scalar) { k ~ poisson(rate, 5); return k }", **given)
    wanted = stats.poisson(rate).pmf(np.arange(6))
    wanted[5] = 1 - wanted[:5].sum()
    np.testing.assert_allclose(np.bincount(k, minlength=6) / n, wanted, atol=0.016)


def test_geometric(tmp_path: Path) -> None:
    (k,) = ask(tmp_path, "query q { k ~ geometric(0.3); return k }", x=np.zeros((20_000, 4), np.int64))
    np.testing.assert_allclose(np.bincount(k, minlength=5)[:5] / len(k), 0.3 * 0.7 ** np.arange(5), atol=0.016)


def test_an_inverse_of_a_rising_and_a_falling_function(tmp_path: Path) -> None:
    u = np.array([0.04, 0.25, 0.81])
    query = "query q(u: scalar) { return inverse(t => t^2, u, low = 0, high = 1), inverse(t => 1 - t^3, low = 0, high = 1)(u) }"
    up, down = ask(tmp_path, query, x=np.zeros((3, 4), np.int64), u=u)
    np.testing.assert_allclose(up, np.sqrt(u), atol=1e-9)
    np.testing.assert_allclose(down, np.cbrt(1 - u), atol=1e-9)


@pytest.mark.parametrize("precision, reached", [("float32", False), ("float64", True)])
def test_fine_noise_reaches_the_rare(tmp_path: Path, precision: str, reached: bool) -> None:
    """A value of e^-20 beside one that is nearly sure, at the extreme numbers that a draw of 24 bits can give."""
    query = f"query q(v: vector(2)) {{ k ~ categorical(v, precision = {precision}); return k }}"
    made = program(tmp_path, f"{TOKENS}\n{query}")
    extreme = iter([[0.5, 2.0**-25 if reached else 1 - 2.0**-24], [0.5, 2.0**-25]])

    def draws(op: Op, place: int, shape: tuple[int, ...], indices: tuple[int, ...]) -> np.ndarray:
        return np.array([next(extreme)], dtype=np.float32)

    given = {"x": np.zeros((1, 4), np.int64), "v": np.array([[0.0, -20.0]])}
    (k,) = run(made, "q", given, {}, dtype="float32", draws=draws)
    assert k.tolist() == [int(reached)]


# Interfaces --------------------------------------------------------------------------------------------------------------

PROCESS = "process mine for fading over t in [0, 1] {{ {} }}"
FADING = "interface fading from kernel for process {{ keep(t); {} }}"
STEPS = "bridge(z, x, t, s) = where(keep(s) > 0.5, x, z); prior() = zeros(like = z)"
ALL = f"{TOKENS}\nprocess mine\npredict guessed\nsampler ancestral(steps = 2)\n"
GUESSED = "predict guessed for kernel { guess(z, t) = fill(2, like = z) }"


def world(rule: str, equations: str) -> str:
    return "\n".join([FADING.format(rule), PROCESS.format(equations), GUESSED])


def test_a_process_of_an_interface_of_ones_own(tmp_path: Path) -> None:
    made = program(tmp_path, ALL, world("", f"keep(t) = 1 - t; {STEPS}"))
    assert run(made, "ancestral", {"seed": np.arange(3)}, {})[0].tolist() == [[2] * 4] * 3


@pytest.mark.parametrize(
    "rule, equations, said",
    [
        ("", STEPS, "E0209 `process mine` does not give `keep(t)`"),
        ("", "keep(t) = 1 - t; prior() = zeros(like = z)", "E0209 `process mine` does not give `bridge(z, x, t, s)`"),
        ("", f"keep(t, s) = 1 - t; {STEPS}", "E0206 `keep` is to be given as `keep(t) = ...`"),
        ('require falls(keep), "keep falls"', f"keep(t) = t; {STEPS}", "E0408 keep falls"),
        ('require keep(t_max) < 0.1, "nothing stays"', f"keep(t) = 1 - t / 2; {STEPS}", "E0408 nothing stays"),
    ],
)
def test_what_an_interface_asks_is_proved(tmp_path: Path, rule: str, equations: str, said: str) -> None:
    found = errors(tmp_path, ALL, world(rule, equations))
    assert found and found[0].startswith(said), found


def test_a_knob_gives_what_is_declared(tmp_path: Path) -> None:
    process = f"process mine(keep = t => 1 - t) for fading over t in [0, 1] {{ {STEPS} }}"
    rule = 'require falls(keep), "keep falls"'
    before = "\n".join([FADING.format(rule), process, GUESSED])
    assert not errors(tmp_path, ALL, before)
    found = errors(tmp_path, ALL.replace("process mine", "process mine(keep = t => t)"), before)
    assert [e.startswith("E0408") for e in found] == [True]


def test_interfaces_that_lead_nowhere(tmp_path: Path) -> None:
    circle = "interface fading from fading for process { keep(t) }"
    process = PROCESS.format(f"keep(t) = 1 - t; {STEPS}")
    assert any(e.startswith("E0604") for e in errors(tmp_path, ALL, "\n".join([circle, process, GUESSED])))
    lost = "interface fading from kernels for process { keep(t) }"
    found = errors(tmp_path, ALL, "\n".join([lost, process, GUESSED]))
    assert any(e.startswith("E0203 there is no interface `kernels`") for e in found)


def test_a_range_of_times_of_ones_own(tmp_path: Path) -> None:
    query = "query q { return t_min + t_max - sum(x) }"
    made = program(tmp_path, f"{TOKENS}\nprocess masking over t in [0.25, 1]\n{query}")
    assert run(made, "q", {"x": np.zeros((1, 4), np.int64)}, {})[0] == [1.25]
