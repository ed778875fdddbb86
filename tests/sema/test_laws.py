"""Laws as values: densities against SciPy's, draws against densities, divergences against sums over a grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from specc.reference.interpret import run
from specc.runtime.ort import example_seeds
from specc.sema import elaborate
from specc.source import Source
from specc.syntax.parser import parse

M, S = 0.3, 0.7
CONTINUOUS: dict[str, tuple[str, Any, tuple[float, float]]] = {  # the law, SciPy's, and where there is some density
    "normal": (f"normal({M}, {S})", stats.norm(M, S), (-6, 6)),
    "uniform": (f"uniform({M}, {S})", stats.uniform(M, S - M), (M, S)),
    "lognormal": (f"lognormal({M}, {S})", stats.lognorm(S, scale=np.exp(M)), (1e-3, 40)),
    "logistic": (f"logistic({M}, {S})", stats.logistic(M, S), (-20, 20)),
    "gumbel": (f"gumbel({M}, {S})", stats.gumbel_r(M, S), (-4, 20)),
    "laplace": (f"laplace({M}, {S})", stats.laplace(M, S), (-15, 15)),
    "gamma": ("gamma(2.5, 1.5)", stats.gamma(2.5, scale=1 / 1.5), (0.01, 20)),
    "small gamma": ("gamma(0.4, 1.5)", stats.gamma(0.4, scale=1 / 1.5), (0.01, 20)),
    "beta": ("beta(2.5, 0.7)", stats.beta(2.5, 0.7), (0.01, 0.99)),
    "student_t": (f"student_t(5, {M}, {S})", stats.t(5, M, S), (-15, 15)),
}


def program(body: str, entry: str = "query ask") -> Any:
    source = Source("test.spec", f'specc 1\nmodel m {{\n  data x: vector(3) from npy("none.npy")\n  {entry} {{ {body} }}\n}}\n')
    file, mistakes = parse(source)
    made = elaborate(file, source)
    assert not mistakes and not made.diagnostics, [d.message for d in (*mistakes, *made.diagnostics)]
    return made.programs["m"]


def ask(body: str, x: np.ndarray) -> np.ndarray:
    return run(program(body), "ask", {"x": x}, {})[0]


def draw(body: str, n: int) -> np.ndarray:
    return run(program(body, "sampler ask"), "ask", {"seed": example_seeds(0, n)}, {})[0]


@pytest.mark.parametrize("name", CONTINUOUS)
def test_density(name: str) -> None:
    law, known, (low, high) = CONTINUOUS[name]
    x = np.random.default_rng(0).uniform(low, high, (50, 3))
    each = ask(f"return {law}.logp(x, axis = [])", x)
    np.testing.assert_allclose(each, known.logpdf(x), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(ask(f"return {law}.logp(x)", x), known.logpdf(x).sum(axis=1), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_draws_follow_the_density(name: str) -> None:
    law, known, _ = CONTINUOUS[name]
    drawn = draw(f"v ~ {law[:-1]}, like = x)\n return v", 2000)
    assert stats.kstest(drawn.ravel(), known.cdf).pvalue > 1e-3


NOT_CLOSED = {
    ("gamma", "entropy"),
    ("small gamma", "entropy"),
    ("beta", "entropy"),
    ("student_t", "std"),
    ("student_t", "entropy"),
}
MOMENTS = [(n, m) for n in CONTINUOUS for m in ("mean", "std", "entropy") if (n, m) not in NOT_CLOSED]


@pytest.mark.parametrize("name, moment", MOMENTS)
def test_moments(name: str, moment: str) -> None:
    law, known, _ = CONTINUOUS[name]
    found = ask(f"q = {law}\n return batch.each(q.{moment})", np.ones((1, 3)))
    np.testing.assert_allclose(found, getattr(known, moment)(), rtol=1e-5)


def test_logit_normal() -> None:
    x = np.random.default_rng(0).uniform(0.01, 0.99, (50, 3))
    known = stats.norm(M, S).logpdf(np.log(x / (1 - x))) - np.log(x * (1 - x))
    np.testing.assert_allclose(ask(f"return logit_normal({M}, {S}).logp(x, axis = [])", x), known, rtol=1e-6)


def test_a_draw_of_one_number_counts_once_and_a_vector_by_its_size() -> None:
    one, three = (
        ask("return batch.each(normal().entropy)", np.ones((1, 3))),
        ask("return batch.each(normal(like = x).entropy)", np.ones((1, 3))),
    )
    np.testing.assert_allclose(three, 3 * one)


@pytest.mark.parametrize("name", ["normal", "laplace", "lognormal"])
def test_divergence_is_the_integral(name: str) -> None:
    q, p = f"{name}(0.3, 0.7)", f"{name}(-0.2, 1.4)"
    grid = np.linspace(1e-4 if "log" in q else -25, 60 if "log" in q else 25, 400_001)[:, None].repeat(3, axis=1)
    lq, lp = (ask(f"return {law}.logp(x[0])", grid) for law in (q, p))
    known = np.trapezoid(np.exp(lq) * (lq - lp), grid[:, 0])
    np.testing.assert_allclose(ask(f"return batch.each(kl({q}, {p}))", grid[:1]), known, rtol=1e-3)


def test_discrete_laws() -> None:
    x = np.random.default_rng(0).normal(size=(20, 3))
    share = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(ask("return categorical(x).entropy", x), -(share * np.log(share)).sum(axis=1))
    flat = np.full(3, 1 / 3)
    np.testing.assert_allclose(
        ask("return kl(categorical(x), categorical(0 * x))", x), (share * np.log(share / flat)).sum(axis=1)
    )
    index = "i = where(x[0] > 0, 2, 1)\n return categorical(x).logp(i)"
    np.testing.assert_allclose(ask(index, x), np.log(share)[np.arange(20), np.where(x[:, 0] > 0, 2, 1)])
    p = 1 / (1 + np.exp(-x))
    np.testing.assert_allclose(
        ask("return bernoulli(sigmoid(x)).logp(x > 0)", x), np.where(x > 0, np.log(p), np.log1p(-p)).sum(axis=1), rtol=1e-6
    )
    known = (p * np.log(p / 0.3) + (1 - p) * np.log((1 - p) / 0.7)).sum(axis=1)
    np.testing.assert_allclose(ask("return kl(bernoulli(sigmoid(x)), bernoulli(0.3))", x), known, rtol=1e-6)


def test_a_law_of_ones_own() -> None:
    text = """
law triangle(width = 1) {
  draw(like) {
    u ~ uniform(0, 1, like = like)
    v ~ uniform(0, 1, like = like)
    return width * (u + v - 1)
  }
  mean = 0
  logp(v) = log(1 - abs(v) / width) - log(width)
}
model m {
  data x: vector(3) from npy("none.npy")
  query ask { return triangle(2).logp(x) }
  sampler drawn { v ~ triangle(2, like = x); return v }
}
"""
    source = Source("test.spec", f"specc 1{text}")
    file, _ = parse(source)
    made = elaborate(file, source)
    assert not made.diagnostics
    x = np.random.default_rng(0).uniform(-1.9, 1.9, (50, 3))
    found = run(made.programs["m"], "ask", {"x": x}, {})[0]
    known = stats.triang(0.5, -2, 4)
    np.testing.assert_allclose(found, known.logpdf(x).sum(axis=1), rtol=1e-6)
    drawn = run(made.programs["m"], "drawn", {"seed": example_seeds(0, 2000)}, {})[0]
    assert stats.kstest(drawn.ravel(), known.cdf).pvalue > 1e-3


def test_mixture_of_vectors() -> None:
    """One choice for the example: k normals in three dimensions."""
    body = """
  m = concat([reshape(x - 1, 1, 3), reshape(x + 2, 1, 3)])
  q = mixture(x[0:2], normal(m, 0.5))
"""
    x = np.random.default_rng(0).normal(size=(20, 3))
    share = np.exp(x[:, :2]) / np.exp(x[:, :2]).sum(axis=1, keepdims=True)
    parts = np.stack([stats.norm(x - 1, 0.5).logpdf(0.3).sum(axis=1), stats.norm(x + 2, 0.5).logpdf(0.3).sum(axis=1)], axis=1)
    known = np.log((share * np.exp(parts)).sum(axis=1))
    np.testing.assert_allclose(ask(f"{body} return q.logp(fill(0.3, like = x))", x), known, rtol=1e-6)
    mean = share[:, :1] * (x - 1) + share[:, 1:] * (x + 2)
    np.testing.assert_allclose(ask(f"{body} return q.mean", x), mean, rtol=1e-6)


def test_mixture_of_numbers() -> None:
    """A choice for each of three numbers; what is drawn follows the density."""
    body = "q = mixture(matrix_of([0.5, -0.2], x), logistic(matrix_of([-2, 1], x), 0.3))"
    helper = "function matrix_of(v, x) = expand(v + zeros(2), like = matrix(2, 3), axis = 1)"
    source = f"""specc 1
{helper}
model m {{
  data x: vector(3) from npy("none.npy")
  query ask {{ {body}; return q.logp(x) }}
  sampler drawn {{ {body}; v ~ q; return v }}
}}
"""
    file, mistakes = parse(Source("test.spec", source))
    made = elaborate(file, Source("test.spec", source))
    assert not mistakes and not made.diagnostics, [d.message for d in (*mistakes, *made.diagnostics)]
    w = np.exp([0.5, -0.2]) / np.exp([0.5, -0.2]).sum()
    laws = [stats.logistic(-2, 0.3), stats.logistic(1, 0.3)]
    x = np.random.default_rng(0).normal(size=(20, 3))
    known = np.log(sum(p * law.pdf(x) for p, law in zip(w, laws, strict=True))).sum(axis=1)
    np.testing.assert_allclose(run(made.programs["m"], "ask", {"x": x}, {})[0], known, rtol=1e-6)
    drawn = run(made.programs["m"], "drawn", {"seed": example_seeds(0, 2000)}, {})[0]
    assert stats.kstest(drawn.ravel(), lambda v: sum(p * law.cdf(v) for p, law in zip(w, laws, strict=True))).pvalue > 1e-3


PUSHED = {
    "exp": ("pushforward(normal(0.3, 0.7), u => exp(u))", stats.lognorm(0.7, scale=np.exp(0.3)), (0.1, 5)),
    "affine": ("pushforward(uniform(0, 1), u => 3 - 2 * u)", stats.uniform(1, 2), (1.01, 2.99)),
    "sigmoid": ("pushforward(logistic(0, 1), u => sigmoid(u))", stats.uniform(0, 1), (0.01, 0.99)),
}


@pytest.mark.parametrize("name", ["exp", "affine", "sigmoid"])
def test_pushforward(name: str) -> None:
    law, known, (low, high) = PUSHED[name]
    x = np.random.default_rng(0).uniform(low, high, size=(20, 3))
    np.testing.assert_allclose(ask(f"return {law}.logp(x)", x), known.logpdf(x).sum(axis=1), rtol=1e-6, atol=1e-9)


def test_pushforward_of_a_scale_that_varies_by_example() -> None:
    x = np.random.default_rng(0).uniform(0.5, 2, size=(20, 3))
    found = ask("return pushforward(laplace(0, 1), u => x[0] * u + x[1]).logp(x[2])", x)
    np.testing.assert_allclose(found, stats.laplace(x[:, 1], x[:, 0]).logpdf(x[:, 2]), rtol=1e-6)


@pytest.mark.parametrize(
    "f, code", [("u => cos(u)", "E0423"), ("u => sum(u)", "E0521"), ("u => flip(u)", "E0521"), ("3", "E0304")]
)
def test_what_a_law_is_not_pushed_through(f: str, code: str) -> None:
    source = Source(
        "t.spec",
        f"""specc 1
model m {{
  data x: vector(3) from npy("none.npy")
  query ask {{ return pushforward(normal(), {f}).logp(x) }}
}}
""",
    )
    assert code in [d.code for d in elaborate(parse(source)[0], source).diagnostics]


WHOLE: dict[str, tuple[str, Any]] = {
    "binomial": ("binomial(9, 0.3)", stats.binom(9, 0.3)),
    "poisson": ("poisson(2.5)", stats.poisson(2.5)),
    "geometric": ("geometric(0.3)", stats.geom(0.3, loc=-1)),
    "negative_binomial": ("negative_binomial(3, 0.4)", stats.nbinom(3, 0.4)),
}


@pytest.mark.parametrize("name", WHOLE)
def test_whole_numbers(name: str) -> None:
    """The chance of each count, and that draws have it: the number of draws at each count within four standard deviations."""
    law, known = WHOLE[name]
    x = np.tile(np.arange(9.0)[:, None], 3)
    np.testing.assert_allclose(ask(f"return {law}.logp(x, axis = [])", x), known.logpmf(x), rtol=1e-6, atol=1e-6)
    given = {"x": np.zeros((3000, 3)), "seed": example_seeds(0, 3000)}
    drawn = run(program(f"v ~ {law[:-1]}, like = x)\n return v"), "ask", given, {})[0].ravel()
    assert drawn.dtype.kind == "i"
    chance = known.pmf(np.arange(6))
    seen = np.bincount(drawn, minlength=6)[:6] / len(drawn)
    np.testing.assert_array_less(np.abs(seen - chance), 4 * np.sqrt(chance * (1 - chance) / len(drawn)))
    np.testing.assert_allclose(ask(f"return {law}.mean + 0 * x", x[:1]), known.mean(), rtol=1e-9)
    np.testing.assert_allclose(ask(f"return {law}.std + 0 * x", x[:1]), known.std(), rtol=1e-9)


def test_a_batch_in_another_order_and_its_spread() -> None:
    """A permutation: another one for other draws, nobody twice."""
    x = np.random.default_rng(0).normal(size=(50, 3))
    made = program("return batch.permute(x), batch.std(x)")
    orders = [run(made, "ask", {"x": x, "seed": example_seeds(seed, 50)}, {}, dtype="float64") for seed in (0, 1)]
    for mixed, spread in orders:
        np.testing.assert_array_equal(mixed[mixed[:, 0].argsort()], x[x[:, 0].argsort()])
        np.testing.assert_allclose(spread, np.broadcast_to(x.std(axis=0), spread.shape))
    assert (orders[0][0] != orders[1][0]).mean() > 0.9


def test_nearest_rows() -> None:
    x = np.random.default_rng(0).normal(size=(7, 3))
    rows = np.random.default_rng(1).normal(size=(5, 3)).round(2)
    found = run(program(f"return nearest_rows(stack({rows.tolist()}), x, k = 2)"), "ask", {"x": x}, {}, dtype="float64")[0]
    order = np.linalg.norm(rows - x[:, None], axis=-1).argsort(axis=1)[:, :2]
    np.testing.assert_allclose(found, rows[order])
