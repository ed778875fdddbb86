"""Hidden labels that are summed out: against sums over all of them, and expectation maximisation against textbooks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sema_helpers import errors, program
from specc.backends.onnx.write import initial

from specc import driver
from specc.ir.program import Program
from specc.reference.interpret import run
from specc.runtime.ort import example_seeds

PARENT = (0, 0, 1, 1, 0)  # of each place; the first is the root
CHAIN = (0, 0, 1, 2, 3)
K = 3
TREE = """specc 1
model m {{
  data x: tokens(5, 2) from parity(length = 5)
  state root: vector(3) ~ dirichlet
  state edge: tensor(4, 3, 3) ~ dirichlet
  law_of(i) = edge[i - 1]
  query logp(seen: matrix(5, 3)) {{ return tree_logp(seen, root, law_of{parent}) }}
  query given(seen: matrix(5, 3)) {{ return grad(tree_logp(seen, root, law_of{parent}), seen) }}
  sampler draw(seen: matrix(5, 3)) {{ z ~ tree_labels(upward(seen, law_of{parent}), root, law_of{parent}); return z }}
}}
"""


def graph(text: str) -> Program:
    return driver.prepare(program(text))


def by_hand(seen: np.ndarray, root: np.ndarray, edge: np.ndarray, parent: tuple[int, ...]) -> tuple[float, np.ndarray]:
    """log p of what is seen, and the law of each label given it, by a sum over all labels."""
    total, given = 0.0, np.zeros_like(seen)
    for z in itertools.product(range(K), repeat=len(parent)):
        p = root[z[0]] * np.prod([edge[i - 1, z[parent[i]], z[i]] for i in range(1, len(z))])
        p *= np.exp(sum(seen[i, z[i]] for i in range(len(z))))
        total += p
        given[range(len(z)), z] += p
    return float(np.log(total)), given / total


def laws(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.dirichlet(np.ones(shape[-1]), size=shape[:-1])


@pytest.mark.parametrize("parent", [PARENT, CHAIN], ids=["tree", "chain"])
def test_labels_are_summed_out(parent: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    weights = {"root": laws(rng, K), "edge": laws(rng, 4, K, K)}
    weights["edge"][2, 1] = [0, 1, 0]  # edges that are not there
    seen = rng.normal(size=(4, 5, K)) * 3 - 40
    array = graph(TREE.format(parent="" if parent == CHAIN else f", {list(parent)}"))
    found = [
        run(array, name, {"x": np.zeros((4, 5), int), "seen": seen}, weights, dtype="float64")[0] for name in ("logp", "given")
    ]
    for i, one in enumerate(seen):
        logp, given = by_hand(one, weights["root"], weights["edge"], parent)
        assert abs(found[0][i] - logp) < 1e-10
        np.testing.assert_allclose(found[1][i], given, atol=1e-10)


@pytest.mark.parametrize("parent", [PARENT, CHAIN], ids=["tree", "chain"])
def test_labels_are_drawn_given_what_is_seen(parent: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    weights = {"root": laws(rng, K), "edge": laws(rng, 4, K, K)}
    seen, n = rng.normal(size=(5, K)), 3000
    array = graph(TREE.format(parent="" if parent == CHAIN else f", {list(parent)}"))
    given = {"seed": example_seeds(0, n), "seen": np.tile(seen, (n, 1, 1))}
    z = run(array, "draw", given, weights, dtype="float64")[0]
    _, exact = by_hand(seen, weights["root"], weights["edge"], parent)
    often = np.stack([(z == label).mean(axis=0) for label in range(K)], axis=-1)
    assert np.abs(often - exact).max() < 4 * np.sqrt(0.25 / n)


HMM = """specc 1
model m {
  data x: tokens(6, 4) from markov(length = 6, vocab = 4)
  state first: vector(2) ~ dirichlet
  state step_law: matrix(2, 2) ~ dirichlet
  state said: matrix(2, 4) ~ dirichlet
  loss learn {
    seen = transpose(log(said), 1, 0)[x]
    lp = tree_logp(seen, first, i => step_law)
    update first = em(first, lp, prior = 0)
    update step_law = em(step_law, lp, prior = 0)
    update said = em(said, lp, prior = 0)
  }
  train { batch = 50 }
}
"""


def test_a_hidden_markov_model_learns_as_baum_and_welch_say() -> None:
    """One law of all steps: the flow of a weight is summed over the places that use it."""
    rng = np.random.default_rng(0)
    first, step, said = laws(rng, 2), laws(rng, 2, 2), laws(rng, 2, 4)
    x = rng.integers(4, size=(50, 6))
    found = run(graph(HMM), "learn_update", {"x": x}, {"first": first, "step_law": step, "said": said}, dtype="float64")
    starts, moves, words = np.zeros(2), np.zeros((2, 2)), np.zeros((2, 4))
    for row in x:
        a, b = [first * said[:, row[0]]], [np.ones(2)]
        for w in row[1:]:
            a.append(a[-1] @ step * said[:, w])
        for w in row[:0:-1]:
            b.insert(0, step @ (said[:, w] * b[0]))
        total = a[-1].sum()
        starts += a[0] * b[0] / total
        for i, w in enumerate(row):
            words[:, w] += a[i] * b[i] / total
        for i in range(5):
            moves += a[i][:, None] * step * said[:, row[i + 1]] * b[i + 1] / total
    for have, want in zip(found, (starts, moves, words), strict=True):
        np.testing.assert_allclose(have, want / want.sum(axis=-1, keepdims=True), atol=1e-12)


MIXTURE = """specc 1
model m {
  data x: vector(2) from moons
  state weights: vector(3) = 0.3333333
  state means: matrix(3, 2) ~ normal
  loss learn {
    each = -sum((expand(x, like = means, axis = 0) - means)^2, axis = 1) / 2
    responsible = grad(logsumexp(log(weights) + each), each)
    count = batch.sum(responsible)
    update weights = count / sum(count)
    update means = batch.sum(outer(responsible, x)) / expand(count, like = means, axis = 1)
  }
  train { batch = 64 }
}
"""


def test_a_mixture_learns_by_its_responsibilities() -> None:
    rng = np.random.default_rng(0)
    x, weights, means = rng.normal(size=(64, 2)), laws(rng, 3), rng.normal(size=(3, 2))
    found = run(graph(MIXTURE), "learn_update", {"x": x}, {"weights": weights, "means": means}, dtype="float64")
    shares = weights * np.exp(-((x[:, None] - means) ** 2).sum(axis=-1) / 2)
    shares /= shares.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found[0], shares.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(found[1], shares.T @ x / shares.sum(axis=0)[:, None], atol=1e-12)


def test_a_start_is_drawn_or_computed_from_the_first_batch() -> None:
    made = program("""specc 1
model m {
  data x: vector(2) from moons
  state centre: vector(2) = batch.mean(x)
  param w: vector(2) = 2 * centre
  state share: vector(4) ~ dirichlet(2)
  state count: scalar = 0
  loss fit { minimize sum((w - x)^2) over w }
}
""")
    (start,) = made.by_role("start")
    assert start.writes == ("centre", "w", "share")
    x = np.random.default_rng(0).normal(size=(5, 2))
    centre, w, share = run(made, start.name, {"x": x}, initial(made), dtype="float64")
    np.testing.assert_allclose(centre, x.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(w, 2 * centre, atol=1e-12)
    assert abs(share.sum() - 1) < 1e-6
    assert (share > 0).all()


def test_a_start_is_one_for_all_examples() -> None:
    (said,) = errors(
        "specc 1\nmodel m {\n  data x: vector(2) from moons\n  state a: vector(2) = 2 * x\n  loss l { update a = 0 * a }\n}\n"
    )
    assert said.code == "E0301"
    assert "one for all examples" in said.message


def test_a_start_sees_those_before_it() -> None:
    lines = "\n".join(["state b: vector(2) = 2 * a", "state a: vector(2) = batch.mean(x)", "loss l { update a = a + b }"])
    (said,) = errors(f"specc 1\nmodel m {{\n  data x: vector(2) from moons\n{lines}\n}}\n")
    assert said.code == "E0305"
    assert said.message == "a start before this one reads `a`"


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ("loss l { state a: vector(2) = batch.mean(x); update a = x }", "E0305"),  # known while compiling, in a loss
        ("network f(x) -> scalar { param w: vector(2) ~ normal; return sum(w * x) }\nloss l { minimize f(x) }", "E0204"),
    ],
)
def test_where_starts_are_computed(lines: str, code: str) -> None:
    found = errors(f"specc 1\nmodel m {{\n  data x: vector(2) from moons\n{lines}\n}}\n")
    assert [d.code for d in found] == [code]
