"""Belghazi et al. 2018: a network bounds the mutual information, and a running mean takes the bias off its gradient."""

import numpy as np
import pytest
import tools
import torch
from projects import imported

from specc import driver
from specc.runtime.readers import READERS

SPEC = "adversarial/mine.spec"
TRUTH = 0.8304  # -log(1 - 0.81) / 2


def derivative(folder, name: str, batch: int, batches: int) -> tuple[float, float]:
    """The mean derivative of the bound's second term in a, and its standard error, in the generated project."""
    driver.emit(tools.model(SPEC, name), "pytorch", folder)
    torch.manual_seed(0)
    found = []
    with imported(folder) as project:
        model = project.model.Model()
        for k in range(batches + 500):
            x = torch.randn(batch, 2)
            value, log_mean = project.objective.loss(model, x)
            # the objective is second term - E[T], and E[T] has the derivative of x z
            slope = torch.autograd.grad(value, model.a)[0] + (x[:, 0] * x[:, 1]).mean()
            model.log_mean.copy_(log_mean)
            if k >= 500:
                found.append(float(slope))
    return float(np.mean(found)), float(np.std(found) / np.sqrt(batches))


def test_the_running_mean_takes_the_bias_off_the_gradient(tmp_path, record_property):
    """T = a x z at a = 0.3: a / (1 - a^2) = 0.3297. The catalogue has 0.325 with and 0.218 without at batches of four."""
    corrected, error = derivative(tmp_path / "corrected", "closed", 4, 2000)
    biased, _ = derivative(tmp_path / "biased", "biased", 4, 2000)
    record_property("corrected, its error, biased", f"{corrected:.3f}, {error:.3f}, {biased:.3f}")
    assert abs(corrected - 0.3297) <= 3 * error
    assert 0.3297 - biased >= 4 * abs(corrected - 0.3297) and biased == pytest.approx(0.218, abs=0.02)


def test_its_means_are_right_where_the_exponential_is_beyond_every_float(tmp_path):
    """At a = 150 exp(T) overflows float32: plain means were infinite, and their gradients not a number."""
    driver.emit(tools.model(SPEC, "closed"), "pytorch", tmp_path)
    torch.manual_seed(0)
    with imported(tmp_path) as project:
        model, x = project.model.Model(), torch.randn(64, 2)
        model.a.data.fill_(150)
        value, log_mean = project.objective.loss(model, x)
        slope = float(torch.autograd.grad(value, model.a)[0])
    (u, v), w = x.double().T, x[:, 1].double().roll(-1)
    expected = torch.logaddexp(torch.tensor(0.99).log(), torch.tensor(0.01).log() + (150 * u * w).exp().mean().log())
    assert not torch.isfinite((150 * u * w).float().exp().mean())
    assert float(log_mean) == pytest.approx(float(expected), rel=1e-6)
    assert slope == pytest.approx(float(((150 * u * w - expected).exp() * u * w - u * v).mean()), rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("batch", "without"), [(4, 0.218), (8, 0.271), (32, 0.315)])
def test_the_gradient_has_no_bias_at_any_batch(tmp_path, batch, without, record_property):
    """20,000 batches each; without the running mean what the catalogue has for that size."""
    corrected, error = derivative(tmp_path / "corrected", "closed", batch, 20_000)
    biased, other = derivative(tmp_path / "biased", "biased", batch, 20_000)
    record_property("corrected, its error, biased", f"{corrected:.4f}, {error:.4f}, {biased:.4f}")
    assert abs(corrected - 0.3297) <= 3 * error
    assert biased == pytest.approx(without, abs=3 * other + 5e-3) and biased < 0.3297 - 3 * other
    if batch == 4:
        assert 0.3297 - biased >= 4 * abs(corrected - 0.3297)


def value(joint: np.ndarray, product: np.ndarray) -> float:
    """Donsker and Varadhan's, of what T says of pairs."""
    return float(joint.mean() - np.logaddexp.reduce(product.astype(float)) + np.log(len(product)))


def bound(name: str, n: int = 20_000, d: int = 1, spec: str = SPEC) -> tuple[float, float]:
    """The bound on ten sets of n fresh pairs, with its standard error."""
    folder, values = tools.train(spec, name), []
    for seed in range(10):
        x = np.random.default_rng(seed).normal(size=(n, 2 * d)).astype(np.float32)
        joint, product = tools.answers(folder, spec, name, "bound", x=x)
        values.append(value(joint, product))
    return float(np.mean(values)), float(np.std(values) / np.sqrt(len(values)))


@pytest.mark.slow
@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("rho", [0.0, 0.3, 0.6, 0.9])
def test_the_bound_is_close_to_the_information(rho, d, tmp_path, record_property):
    spec = tools.variant(tmp_path, SPEC, f"model pair from base.{['mine', 'plane'][d - 1]} {{ rho = {rho} }}")
    found, error = bound("pair", d=d, spec=spec)
    truth = -d / 2 * np.log(1 - rho**2)
    record_property("bound, error, truth", f"{found:.3f}, {error:.4f}, {truth:.4f}")
    assert abs(found - truth) <= max(0.03, 0.05 * truth)
    assert found <= truth + 3 * error


@pytest.mark.slow
def test_another_scale_loses_some_of_it_and_ranks_do_not(record_property):
    """z^3 / sqrt(15) says as much about x as z, and training finds less of it: 0.617 and 0.512 with seeds 0 and 1, 0.74 and
    0.62 of the truth (0.80 in the catalogue). It asks for 0.75 there or, with the rank of z in its place, for 0.9: measured
    0.775, 0.93 of it."""
    scaled, _ = bound("cubed")
    ranked, error = bound("ranked", 2000)  # among so many: a rank is a comparison with each
    record_property("cubed, ranked", f"{scaled:.3f}, {ranked:.3f}")
    assert 0.5 * TRUTH <= scaled <= 0.9 * TRUTH
    assert 0.9 * TRUTH <= ranked <= TRUTH + 3 * error
    assert ranked > scaled


@pytest.mark.slow
def test_a_code_that_is_to_show_keeps_modes(record_property):
    """Of 25, those that a tenth of what each should get comes near, within a quarter of the way to the next; two seeds: 18 and
    12 without the term, 20 and 20 with it. They are worth counting once samples have left the space between: of a uniform law a
    fifth is near one, and so it is here after 1,500 steps; in the end 0.73 and 0.71 without the term, 0.64 and 0.52 with it."""
    centres = np.array([[2 * (k // 5) - 4, 2 * (k % 5) - 4] for k in range(25)])
    modes, share = np.empty((2, 2), dtype=int), np.empty((2, 2))
    for k, seed in np.ndindex(2, 2):
        name = ("grid", "told")[k]
        x = tools.sample(tools.train(SPEC, name, seed=seed), SPEC, name, "one", 2500)
        apart = np.linalg.norm(x[:, None] - centres, axis=-1)
        near = apart.min(axis=1) < 0.5
        found = np.bincount(apart.argmin(axis=1)[near], minlength=25)
        modes[k, seed], share[k, seed] = (found >= 10).sum(), near.mean()
    record_property("modes without and with the term", modes.tolist())
    record_property("share of the samples near one", share.round(2).tolist())
    assert (modes[1] > modes[0]).all()
    assert share.min() >= 2 * 0.2


@pytest.mark.slow
def test_a_larger_beta_leaves_less_of_the_picture_in_the_code(record_property):
    """Of held-out digits, for beta = 0, 0.01, 0.03 and 0.3, means of three seeds: measured 4.25, 3.56, 3.13 and 1.55 nats by
    the bound, falling in each of them, and 0.961, 0.959, 0.952 and 0.925 of the classes right: the last is beyond the range
    in which accuracy stays."""
    x, y = (READERS["digits"].function("test")[k] for k in "xy")
    places = np.random.default_rng(0).permutation(np.tile(np.arange(len(x)), 20))
    given, names = (2 * x[places] - 1).astype(np.float32), ("bottleneck", "loose", "tight", "tighter")
    found = np.empty((3, 2, 4))  # seeds, information and accuracy, models
    for seed, k in np.ndindex(3, 4):
        run = tools.train(SPEC, names[k], seed=seed)
        joint, product, answer = tools.answers(run, SPEC, names[k], "told", x=given)
        found[seed, :, k] = value(joint, product), (answer.argmax(axis=1) == y[places]).mean()
    information, right = found.mean(axis=0)
    record_property("nats", information.round(2).tolist())
    record_property("accuracy", right.round(3).tolist())
    assert (np.diff(information) < 0).all()
    assert right[:3].min() >= right[0] - 0.02 > right[3]
