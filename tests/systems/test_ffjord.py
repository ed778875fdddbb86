"""Grathwohl et al. 2019: an unrestricted network as a flow, whose likelihood takes one product with a probe in training."""

import numpy as np
import pytest
import tools

from specc.passes.count import parameters
from specc.reference.interpret import run

SPEC = "likelihood/ffjord.spec"
ASKED = """
model asked from base.ffjord {
  query there { return f(x) }
  query estimate(x, e: vector(2)) { return f(x, probe = e) }
}
network straight(z: vector(d), t: scalar) -> like(z) { return linear(z, d, bias = false) }
model linear from base.ffjord {
  data x: vector(4) from npy("none.npy")
  bijection f = ode(net = straight, solver = rk4(steps = 40))
  query there { return f(x) }
}
model fine from base.ffjord { bijection f = ode(net = concatsquash(width = 32), solver = rk4(steps = 40)) }
"""
ADAPTIVE = """
model adaptive {
  data x: vector(2) from moons
  network f(z, t) = concatsquash(width = 32)
  query fixed { e ~ normal(like = x); return way((z, t) => e) }
  query resampled { return way((z, t) => again(z)) }
}
function again(z) { e ~ normal(like = z); return e }
# How far the solver comes in its rounds: time is carried beside z and its density.
function way(probe) {
  field(y, t) {
    z = y[0:2]
    return concat([f(z, t), reshape(divergence(u => f(u, t), z, probe = probe(z, t)), 1), ones(1)])
  }
  return dopri5(field, concat([x, zeros(2)]), rtol = 1e-3, atol = 1e-3, limit = ROUNDS)[3]
}
"""


def randomly(program, size, seed=0):
    rng = np.random.default_rng(seed)
    return {p: size * rng.normal(size=s) for p, s in parameters(program).items()}


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    return tools.variant(tmp_path_factory.mktemp("ffjord"), SPEC, ASKED)


def test_the_probe_estimates_the_trace(asked):
    program = tools.graph(asked, "asked")
    w, x = randomly(program, 0.5), np.random.default_rng(1).normal(size=(1, 2)).repeat(4096, axis=0)
    exact = run(program, "there", {"x": x[:1]}, w)[1][0]
    e = np.random.default_rng(2).choice([-1.0, 1.0], size=x.shape)

    def apart(e):
        found = run(program, "estimate", {"x": x, "e": e}, w)[1]
        return abs(found.mean() - exact) / (found.std() / 64)

    assert apart(e) < 3
    assert apart(0.7 * e) > 5  # a probe of another variance estimates something else


def test_a_linear_field_has_its_trace(asked):
    program = tools.model(asked, "linear")
    w, x = randomly(program, 0.4), np.random.default_rng(1).normal(size=(3, 4))
    z, logdet = run(program, "there", {"x": x}, w)
    (a,) = w.values()
    np.testing.assert_allclose(logdet, np.trace(a), atol=1e-4)
    values, vectors = np.linalg.eig(a)
    np.testing.assert_allclose(z, (x @ (vectors @ np.diag(np.exp(values)) @ np.linalg.inv(vectors)).T).real, atol=1e-6)


def test_the_way_back(asked):
    program = tools.model(asked, "fine")
    w, x = randomly(program, 0.5), np.random.default_rng(1).normal(size=(20, 2))
    z = run(program, "encode", {"x": x}, w)[0]
    assert np.abs(run(program, "decode", {"x": z}, w)[0] - x).max() < 1e-3  # measured 5e-9
    assert np.abs(z - x).max() > 0.1


def test_one_probe_for_the_whole_way(tmp_path):
    """A solver whose field is another at every look never finds that its steps are small enough."""

    def reached(query, rounds):
        spec = tools.variant(tmp_path, SPEC, ADAPTIVE.replace("ROUNDS", str(rounds)))
        program = tools.model(spec, "adaptive")
        w, x = randomly(program, 1.0), np.random.default_rng(1).normal(size=(6, 2))
        return run(program, query, {"x": x}, w)[0].min()

    assert reached("fixed", 8) > 1 - 1e-6
    assert reached("resampled", 40) < 0.9  # in five times the rounds; measured 0.2, and the end within 128


def exact_nll(folder, x, spec=SPEC, name="ffjord"):
    return tools.ask(folder, spec, name, "nll", x=x.astype(np.float32)).astype(np.float64)


def held_out(n=2000):
    from specc.runtime.readers.moons import draw

    train = draw(10_000, np.random.default_rng(0))["x"]
    x = draw(n, np.random.default_rng(1))["x"]
    return (x - train.mean(axis=0)) / train.std(axis=0)


@pytest.mark.slow
def test_the_density_of_moons():
    folder = tools.train(SPEC, "ffjord")
    assert exact_nll(folder, held_out()).mean() <= 1.7
    line = np.linspace(-3.5, 3.5, 141)
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    assert np.exp(-exact_nll(folder, grid)).sum() * (line[1] - line[0]) ** 2 == pytest.approx(1, abs=0.02)


@pytest.mark.slow
def test_without_the_trace_the_map_contracts(tmp_path):
    text = """
loss contracting(f = bijection) for bijection {
  e ~ rademacher(like = x)
  z, logdet = f(x, probe = e)
  minimize -normal().logp(z)
}
model without from base.ffjord { loss contracting }
"""
    spec = tools.variant(tmp_path, SPEC, text)
    trained, untrained = tools.train(spec, "without", steps=150), tools.train(spec, "without", steps=1)
    x = held_out()
    nll = [exact_nll(folder, x, spec, "without").mean() for folder in (trained, untrained)]
    assert nll[0] >= nll[1] + 3
