"""Gulrajani et al. 2017: a slope of one between pairs gives a critic whose gap is the distance; a box does not."""

import adversarial_tools as adversarial
import numpy as np
import pytest
import tools
import torch
from projects import imported

from specc import driver
from specc.reference.interpret import run
from specc.runtime.readers import READERS

SPEC = "adversarial/wgan_gp.spec"


def test_the_penalty_of_a_linear_critic_is_exact():
    program = tools.model(SPEC, "linear")
    x = np.random.default_rng(0).normal(size=(4, 3))
    for a in ([3.0, 4.0, 0.0], [0.6, 0.0, 0.8], [0.1, -0.2, 0.2]):
        (value,) = run(program, "penalty", {"x": x}, {"a": np.array(a)})
        np.testing.assert_allclose(value, (np.linalg.norm(a) - 1) ** 2, atol=1e-12)


def test_the_gradient_of_the_penalty_is_that_of_differences(tmp_path):
    """Through the slope of a network without kinks, at which the slope would jump."""
    smooth = "model smooth from base.apart { network D(x) -> scalar = dense(width = 16, depth = 2, act = silu) }\n"
    driver.emit(tools.model(tools.variant(tmp_path, SPEC, smooth)), "pytorch", tmp_path)
    with imported(tmp_path) as project:
        torch.manual_seed(0)
        model, x = project.model.Model(), torch.randn(16, 2)
        weight = model.D.linear2.weight
        way = torch.randn_like(weight)

        def loss(step: float = 0) -> torch.Tensor:
            torch.manual_seed(1)  # the same pairs and points between them
            with torch.no_grad():
                weight.add_(step * way)
            return project.objective.loss(model, x)

        found = (torch.autograd.grad(loss(), weight)[0] * way).sum().item()
        h = 1e-3
        ahead, behind = loss(h).item(), loss(-2 * h).item()
    assert abs(found) > 0.01
    assert found == pytest.approx((ahead - behind) / (2 * h), rel=0.02)


def test_the_critic_takes_several_batches_for_one_of_the_generator():
    rounds, generator = tools.model(SPEC, "wgan_gp").routine
    assert (rounds.times, rounds.steps[0].entries, generator.entries) == (3, ("wasserstein_D",), ("wasserstein_G",))
    assert tools.model(SPEC, "clipped").routine[0].steps[1].maps is not None


def gap_and_slope(name: str) -> tuple[float, float]:
    """The critic's gap between the two normals, and its mean slope between pairs of them."""
    folder = tools.train(SPEC, name)
    rng = np.random.default_rng(0)
    made, u = rng.normal(size=(4000, 2)), rng.random((4000, 1))
    real = rng.normal(size=(4000, 2)) + np.array([1, 0])
    value = [tools.ask(folder, SPEC, name, "value", x=x.astype(np.float32)).mean() for x in (real, made)]
    slope = tools.ask(folder, SPEC, name, "slope", x=(u * real + (1 - u) * made).astype(np.float32)).mean()
    return float(value[0] - value[1]), float(slope)


@pytest.mark.slow
def test_the_gap_is_the_distance(record_property):
    """The penalised critic's optimum is 1 + 1 / (2 * 10). Measured with a rate that decays, seeds 0 to 2: 1.054, 1.054, 1.053,
    slopes 1.048 to 1.050; with a constant one the last steps' noise gave 1.097 and 1.114."""
    gap, slope = gap_and_slope("apart")
    record_property("gap, slope", f"{gap:.3f}, {slope:.3f}")
    assert gap == pytest.approx(1, abs=0.1) and slope == pytest.approx(1, abs=0.1)
    clipped = gap_and_slope("apart_clipped")
    record_property("clipped", "{:.4f}, {:.4f}".format(*clipped))
    assert max(clipped) < 0.05


@pytest.mark.slow
def test_eight_modes(record_property):
    data = READERS["gaussians"].function(4000, np.random.default_rng(1), k=8, radius=1.4107, std=0.0705)["x"]
    distance = {}
    for name in ("wgan_gp", "clipped"):
        made = tools.sample(tools.train(SPEC, name), SPEC, name, "one_step", 4000)
        distance[name] = adversarial.sliced_wasserstein(made, data)
        if name == "wgan_gp":
            assert adversarial.modes(made, adversarial.ring(1.4107), within=0.4) == 8
    record_property("sliced distances", distance)
    assert distance["wgan_gp"] <= 0.8 * distance["clipped"]  # measured


def strings(steps: int | None) -> tuple[float, int]:
    """The share of neighbours that may stand side by side, and how many of 2,000 strings differ."""
    made = tools.sample(tools.train(SPEC, "strings", steps=steps), SPEC, "strings", "one_step", 2000)
    return float((made[:, 1:] // 2 == made[:, :-1] % 4).mean()), len(np.unique(made, axis=0))


@pytest.mark.slow
def test_strings_are_spelt_without_a_policy_gradient(record_property):
    """A critic of certainties teaches chances. The catalogue has 0.81 and 1999, and 0.78 to 0.80 with weights in a box, so that
    this says that it works and not that the penalty is needed."""
    valid, different = strings(None)
    record_property("valid neighbours, different strings", f"{valid:.3f}, {different}")
    assert valid >= 0.7 and different >= 1500
    assert strings(1)[0] < 0.35  # chance is 0.25
