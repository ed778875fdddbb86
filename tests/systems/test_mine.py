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
            value, mean_of_exp = project.objective.loss(model, x)
            # the objective is second term - E[T], and E[T] has the derivative of x z
            slope = torch.autograd.grad(value, model.a)[0] + (x[:, 0] * x[:, 1]).mean()
            model.mean_of_exp.copy_(mean_of_exp)
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


def bound(name: str, n: int = 20_000, d: int = 1, spec: str = SPEC) -> tuple[float, float]:
    """The bound on ten sets of n fresh pairs, with its standard error."""
    folder, values = tools.train(spec, name), []
    for seed in range(10):
        x = np.random.default_rng(seed).normal(size=(n, 2 * d)).astype(np.float32)
        joint, product = tools.answers(folder, spec, name, "bound", x=x)
        values.append(joint.mean() - np.log(np.exp(product.astype(float)).mean()))
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
    """Of 25, those that a tenth of what each should get comes near, within a quarter of the way to the next; two seeds."""
    centres = np.array([[2 * (k // 5) - 4, 2 * (k % 5) - 4] for k in range(25)])
    modes = {}
    for name in ("grid", "told"):
        modes[name] = []
        for seed in (0, 1):
            x = tools.sample(tools.train(SPEC, name, seed=seed), SPEC, name, "one", 2500)
            apart = np.linalg.norm(x[:, None] - centres, axis=-1)
            found = np.bincount(apart.argmin(axis=1)[apart.min(axis=1) < 0.5], minlength=25)
            modes[name].append(int((found >= 10).sum()))
    record_property("modes without and with the term", modes)
    assert all(told > alone for told, alone in zip(modes["told"], modes["grid"], strict=True))


@pytest.mark.slow
def test_a_larger_beta_leaves_less_of_the_picture_in_the_code(record_property):
    """Of held-out digits, for beta = 0, 0.03 and 0.3: measured 3.85, 2.62 and 2.10 nats by the bound, and 0.961, 0.958 and
    0.947 of the classes right."""
    x, y = (READERS["digits"].function("test")[k] for k in "xy")
    places = np.random.default_rng(0).permutation(np.tile(np.arange(len(x)), 20))
    information, right = [], []
    for name in ("bottleneck", "tight", "tighter"):
        given = (2 * x[places] - 1).astype(np.float32)
        joint, product, answer = tools.answers(tools.train(SPEC, name), SPEC, name, "told", x=given)
        information.append(float(joint.mean() - np.log(np.exp(product.astype(float)).mean())))
        right.append(float((answer.argmax(axis=1) == y[places]).mean()))
    record_property("nats", [round(v, 2) for v in information])
    record_property("accuracy", [round(v, 3) for v in right])
    assert information[0] > information[1] > information[2]
    assert min(right) >= right[0] - 0.02
