"""Carbone 2024: chains, weights and ways of training, against quadrature and enumeration."""

import numpy as np
import pytest
import tools
from specc.backends.onnx.export import export

from specc.reference.interpret import run
from specc.runtime import ort

SPEC, CLASSES = "energy/ebm_hitchhiker.spec", "energy/ebm_hitchhiker_classes.spec"
GRID = np.linspace(-4, 4, 80001)


def loaded(folder, spec, name, entry, weights):
    path = folder / f"{name}-{entry}.onnx"
    export(tools.graph(spec, name), entry, weights, path)
    return ort.load(path, threads=1)


def test_chains_on_a_double_well(tmp_path):
    """E[x^2] is 0.8632. Measured with 8,000 chains: metropolis 0.7 %, mala 0.4 %, hmc 0.8 %; langevin -1.0, -3.4 and -8.2 % at
    h = 0.01, 0.02, 0.04, so that a mala that takes every step (h = 0.05) would be 10 % off."""
    p = np.exp(-2 * (GRID**2 - 1) ** 2 - 0.3 * GRID)
    true = (p * GRID**2).sum() / p.sum()

    def error(entry, n=8000, **arguments):
        chains = loaded(tmp_path, SPEC, "well", entry, {}).sample(n, 1, arguments=arguments)
        return (chains.astype(float) ** 2).mean() / true - 1

    for entry in ("mh", "adjusted", "hamiltonian"):
        assert abs(error(entry)) < 0.02, entry
    one, two, four = (error("ula", h=h) for h in (0.01, 0.02, 0.04))
    assert -0.02 < one < 0 and two < 1.5 * one and four < 1.5 * two


def test_the_mean_weight_is_the_ratio_of_constants(tmp_path):
    """Jarzynski's equality holds for any step: measured -0.188 for -0.190, weighted mass 0.151, unweighted 0.318."""
    x, a = loaded(tmp_path, SPEC, "annealed", "moved", {}).sample(20000, 3).T
    weight = np.exp(a.astype(float))
    p = np.exp(-2 * (GRID**2 - 1) ** 2 - GRID)
    log_ratio = np.log(p.sum() * (GRID[1] - GRID[0])) - np.log(2 * np.pi) / 2
    assert abs(np.log(weight.mean()) - log_ratio) < 0.03
    mass = p[GRID > 0].sum() / p.sum()
    assert abs((weight * (x > 0)).sum() / weight.sum() - mass) < 0.015
    assert (x > 0).mean() - mass > 0.1  # the chains alone come too late
    assert np.log(np.exp(-a.astype(float)).mean()) > log_ratio + 1  # the sign matters


def ring_of_spins(coupling, field=0.1, n=24):
    """log Z by the two eigenvalues of the transfer matrix."""
    middle = np.exp(coupling) * np.cosh(field)
    apart = np.sqrt(np.exp(2 * coupling) * np.sinh(field) ** 2 + np.exp(-2 * coupling))
    return np.log((middle + apart) ** n + (middle - apart) ** n)


def test_annealed_importance_sampling_finds_the_constant_of_a_ring_of_spins(record_property):
    """Measured 24.185 for 24.176 with a standard error of 0.019; agreement of neighbours 0.709 with weights, 0.682 without, for
    0.706. One step has no weights to speak of: 1 chain of 4,000 counts, against 1,665."""
    made = run(tools.graph(SPEC, "ising"), "moved", {"seed": np.arange(4000), "steps": 30}, {}, dtype="float32")[0]
    spins, log_weight = made[:, :-1], made[:, -1].astype(float)
    weight = np.exp(log_weight - log_weight.max())
    found = 24 * np.log(2) + log_weight.max() + np.log(weight.mean())
    error = weight.std() / weight.mean() / np.sqrt(len(weight))
    record_property("log Z, its error, truth", f"{found:.3f}, {error:.3f}, {ring_of_spins(0.8):.3f}")
    assert error < 0.03 and abs(found - ring_of_spins(0.8)) < 3 * error
    assert 24 * np.log(2) + log_weight.mean() < ring_of_spins(0.8) - 0.1  # a bound from below, by what the chains lag behind
    agree = (spins * np.roll(spins, 1, axis=1)).mean(axis=1)
    true = (ring_of_spins(0.8001) - ring_of_spins(0.7999)) / 2e-4 / 24
    assert abs((weight * agree).sum() / weight.sum() - true) < 0.01
    assert true - agree.mean() > 0.02


def test_turns_of_a_machine_reach_its_law(tmp_path):
    """Against all 2^12 hidden states, whose energies add up to the visible means."""
    rng = np.random.default_rng(0)
    weights = {"W": 0.3 * rng.normal(size=(12, 64)), "a": 0.3 * rng.normal(size=64), "b": 0.3 * rng.normal(size=12)}
    weights = {k: v.astype(np.float32) for k, v in weights.items()}
    v = loaded(tmp_path, CLASSES, "rbm", "turns", weights).sample(2000, 0)
    mean, _ = machine(weights)
    assert np.abs(v.mean(axis=0) - mean).max() < 0.06  # 5 standard errors
    shifted, _ = machine(weights | {"b": -weights["b"] - 1})
    assert np.abs(v.mean(axis=0) - shifted).max() > 0.1


def machine(w):
    """The mean of the visible bits, and the logarithm of the constant."""
    h = (np.arange(2**12)[:, None] >> np.arange(12)) & 1
    field = h @ w["W"].astype(float) + w["a"]
    log = h @ w["b"].astype(float) + np.logaddexp(0, field).sum(axis=1)
    p = np.exp(log - log.max())
    return (p / p.sum()) @ (1 / (1 + np.exp(-field))), log.max() + np.log(p.sum())


def tilt_and_mass(name, steps=None):
    found = tools.weights(tools.train(SPEC, name, steps=steps))
    p = np.exp(-6 * (GRID**2 - 1) ** 2 - found["U.tilt"] * np.tanh(4 * GRID))
    return found, p[GRID > 0].sum() / p.sum(), np.log(p.sum() * (GRID[1] - GRID[0]))


@pytest.mark.slow
def test_only_weights_see_the_mass_of_modes():
    """The data have 0.8 on the right. Measured: weights 0.808, noise-contrastive 0.794; contrastive divergence 0.513; score
    matching and denoising 1.000, since the data are a mixture of normals, and the scores fit the shape of its modes by a tilt
    that has nothing to do with mass. Persistent chains without weights give 1.000 after 600 steps, for they do not cross and
    the tilt runs away, and 0.000 after 1,100, when they did cross at last."""
    found, mass, log_z = tilt_and_mass("contrasted")
    assert abs(mass - 0.8) < 0.03
    assert abs(found["log_z"] - log_z) < 0.15  # 0.010 for -0.071: these modes are not quite the model's
    _, mass, _ = tilt_and_mass("weighted")
    assert abs(mass - 0.8) < 0.03
    _, mass, _ = tilt_and_mass("cd1")
    assert abs(mass - 0.8) > 0.2
    _, mass, _ = tilt_and_mass("persistent", steps=600)
    assert mass > 0.97
    for name in ("persistent", "score", "denoised"):
        _, mass, _ = tilt_and_mass(name)
        assert abs(mass - 0.8) > 0.1, name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sampler"),
    [("ebm", "chain"), ("gan", "one_step"), ("vae", "decoded"), ("flow", "inverse"), ("cnf", "heun"), ("diffusion", "sde")],
)
def test_a_class_of_the_table_trains_and_samples(name, sampler):
    """Eight normals at radius 2: measured share within 0.6 of the radius 0.99, 1.00, 0.82, 0.80, 0.99 and 0.97."""
    points = tools.sample(tools.train(CLASSES, name), CLASSES, name, sampler, 500)
    assert (np.abs(np.hypot(*points.T) - 2) < 0.6).mean() > 0.75


@pytest.mark.slow
def test_a_machine_learns_digits():
    """Exact log-likelihood of the data by all hidden states, against that of independent pixels."""
    from specc.runtime.readers import READERS

    found = tools.weights(tools.train(CLASSES, "rbm"))
    x = np.rint(READERS["digits"].function("train")["x"]).reshape(-1, 64)
    _, log_z = machine(found)
    energy = -x @ found["a"] - np.logaddexp(0, x @ found["W"].T + found["b"]).sum(axis=1)
    mean = np.clip(x.mean(axis=0), 1e-3, 1 - 1e-3)
    apart = (x * np.log(mean) + (1 - x) * np.log(1 - mean)).sum(axis=1).mean()
    assert (-energy - log_z).mean() > apart + 2
