"""Chen et al. 2019: blocks x + g(x) whose change of volume is estimated without bias, and without memory for its gradient."""

import subprocess
import sys

import numpy as np
import pytest
import tools

from specc import driver
from specc.passes.count import parameters
from specc.reference.interpret import run
from specc.runtime.readers.moons import draw

SPEC = "likelihood/residual_flows.spec"
LINEAR = """
network linear_map(x: vector(d)) -> like(x) {
  param w: matrix(d, d) = zeros
  return w @ x
}
model often from base.residual_flow {
  data x: vector(6) from npy("none.npy")
  bijection f = residual(net = linear_map, reached = k => min(1, 0.5^(k - 3)), most = 100)
  query estimate(x, v: vector(6), n: scalar) { return f(x, probe = v, terms = n) }
  query exact { return f(x) }
}
model seldom from base.often { bijection f = residual(net = linear_map, reached = k => min(1, 0.85^(k - 3)), most = 100) }
model cut from base.often { bijection f = residual(net = linear_map) }
""".replace("base.often", "often")
N = 20_000


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    return tools.variant(tmp_path_factory.mktemp("residual"), SPEC, LINEAR)


def symmetric(c):
    q, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))
    return -c * q @ np.diag(np.linspace(0.5, 1, 6)) @ q.T


def terms(p, n=N, seed=1):
    return 2 + np.random.default_rng(seed).geometric(p, size=n)


def probes(n=N):
    return np.random.default_rng(2).normal(size=(n, 6))


@pytest.mark.parametrize("name, c, p", [("often", 0.65, 0.5), ("seldom", 0.9, 0.15)])
def test_the_estimate_has_no_bias(spec, name, c, p):
    w = {"f.g.w": symmetric(c)}
    known = np.linalg.slogdet(np.eye(6) + w["f.g.w"])[1]

    def apart(model, n):
        inputs = {"x": np.zeros((N, 6)), "v": probes(), "n": n.astype(float)}
        found = run(tools.graph(spec, model), "estimate", inputs, w)[1]
        return abs(found.mean() - known) / (found.std() / np.sqrt(N))

    assert apart(name, terms(p)) < 3
    assert apart("cut", np.full(N, 2)) > 20  # two terms and no more
    found = run(tools.graph(spec, name), "exact", {"x": np.zeros((1, 6))}, w)[1][0]
    assert found == pytest.approx(known, abs=1e-9)


GRADIENT = """
import numpy as np, torch
from model import Model

given = np.load("given.npz")
model = Model().double()
with torch.no_grad():
    model.f.g.w.copy_(torch.from_numpy(given["w"]))
parts = []
for v, n in zip(given["v"].reshape(20, -1, 6), given["n"].reshape(20, -1)):
    x = torch.zeros(len(v), 6, dtype=torch.float64)
    logdet = model.f(x, torch.from_numpy(v), torch.from_numpy(n))[1]
    parts.append(torch.autograd.grad(logdet.mean(), model.f.g.w)[0].numpy())
np.save("found.npy", np.stack(parts))
"""


def test_its_gradient_is_that_of_the_determinant(spec, tmp_path):
    """Of 20 parts of 20000 draws, the mean within their scatter of (I + J)^-T, in the generated project."""
    driver.emit(tools.model(spec, "often"), "pytorch", tmp_path)
    w = symmetric(0.65)
    np.savez(tmp_path / "given.npz", w=w, v=probes(), n=terms(0.5).astype(float))
    subprocess.run([sys.executable, "-c", GRADIENT], cwd=tmp_path, check=True)
    found = np.load(tmp_path / "found.npy")
    apart = (found.mean(axis=0) - np.linalg.inv(np.eye(6) + w).T) / (found.std(axis=0, ddof=1) / np.sqrt(20))
    assert np.sqrt((apart**2).mean()) < 1.5  # about 1 where only chance is left
    short = (found.mean(axis=0) - np.eye(6)) / (found.std(axis=0, ddof=1) / np.sqrt(20))
    assert np.sqrt((short**2).mean()) > 10  # the first term alone


def randomly(program, size=0.5, seed=0):
    rng = np.random.default_rng(seed)
    around = {"scale": 1.0}
    return {p: around.get(p.rsplit(".", 1)[-1], 0.0) + size * rng.normal(size=s) for p, s in parameters(program).items()}


def test_blocks_contract_and_go_back(spec, tmp_path):
    text = """
model short from base.residual_flow {
  bijection f = residual(net = contracting(width = 16))
  query move { return f(x)[0] - x }
}
"""
    program = tools.graph(tools.variant(tmp_path, SPEC, text), "short")
    w, rng = randomly(program, 1.0), np.random.default_rng(1)
    a, b = rng.normal(size=(2, 500, 2)) * 2
    moved = [run(program, "move", {"x": v}, w)[0] for v in (a, b)]
    ratio = np.linalg.norm(moved[0] - moved[1], axis=1) / np.linalg.norm(a - b, axis=1)
    assert 0.05 < ratio.max() < 0.97**3  # three maps of at most 0.97 each
    z = run(program, "encode", {"x": a}, w)[0]
    assert np.abs(run(program, "decode", {"x": z}, w)[0] - a).max() < 1e-5


ASKED = "query claim(x, v: vector(2), n: scalar) { z, logdet = f(x, probe = v, terms = n); return -normal().logp(z) - logdet }"


@pytest.mark.slow
def test_the_density_integrates_to_one_and_training_without_bias_is_no_worse(tmp_path):
    asked = tools.variant(tmp_path, SPEC, "".join(f"model {m} from base.{m} {{ {ASKED} }}\n" for m in ("residual_flow", "cut")))
    line = np.linspace(-4, 4, 161)
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2).astype(np.float32)
    known, x = (draw(n, np.random.default_rng(n), noise=0.1)["x"] for n in (10_000, 4000))
    x = (x - known.mean(axis=0)) / known.std(axis=0)
    v = np.random.default_rng(1).normal(size=x.shape).astype(np.float32)
    exact, gap, error = {}, {}, {}
    for name, n in (("residual_flow", terms(0.5, len(x))), ("cut", np.full(len(x), 2))):
        folder = tools.train(SPEC, name)
        density = np.exp(-tools.ask(folder, SPEC, name, "nll", x=grid).astype(np.float64))
        assert density.sum() * (line[1] - line[0]) ** 2 == pytest.approx(1, abs=0.02)
        nll = tools.ask(folder, SPEC, name, "nll", x=x).astype(np.float64)
        claim = tools.ask(folder, asked, name, "claim", x=x, v=v, n=n.astype(np.float32)).astype(np.float64)
        exact[name], gap[name], error[name] = nll.mean(), (claim - nll).mean(), (claim - nll).std() / np.sqrt(len(x))
    assert exact["residual_flow"] <= exact["cut"] + 0.02  # measured 2.434, 2.473
    assert abs(gap["residual_flow"]) < 3 * error["residual_flow"]
    # The blocks of this net are far from their bound, and the cut series promises nothing yet: -0.001, with an error of 0.013.
    assert abs(gap["cut"]) < 0.1


@pytest.mark.slow
def test_the_cut_series_promises_more_than_it_has(record_property):
    """On wide data, for which blocks contract as much as they may. Measured 5.39 by the model cut after two terms, which takes
    itself for 4.92, and 5.33 by the one without bias, which is right about itself within its error of 0.04."""
    x = draw(4000, np.random.default_rng(4000), noise=0.1, scale=6.0)["x"].astype(np.float32)
    v = np.random.default_rng(1).normal(size=x.shape).astype(np.float32)
    exact, gap, error = {}, {}, {}
    for name, n in (("wide", terms(0.5, len(x))), ("wide_cut", np.full(len(x), 2))):
        folder = tools.train(SPEC, name)
        nll, claim = (
            tools.ask(folder, SPEC, name, query, x=x, **given).astype(np.float64)
            for query, given in (("nll", {}), ("claim", {"v": v, "n": n.astype(np.float32)}))
        )
        exact[name], gap[name], error[name] = nll.mean(), (claim - nll).mean(), (claim - nll).std() / np.sqrt(len(x))
    record_property("nats", {k: f"{exact[k]:.3f}, takes itself for {exact[k] + gap[k]:.3f}" for k in exact})
    assert exact["wide"] <= exact["wide_cut"]
    assert abs(gap["wide"]) < 3 * error["wide"]
    assert gap["wide_cut"] < -5 * error["wide_cut"]
