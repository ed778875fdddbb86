"""Zheng and Zhou 2021: plans by Bayes' theorem; forward ones cover modes, backward ones seek them."""

import functools

import adversarial_tools as adversarial
import numpy as np
import pytest
import tools

from specc.reference.interpret import run
from specc.runtime.readers import READERS

SPEC = "adversarial/conditional_transport.spec"


def value(x: np.ndarray, y: np.ndarray, rho: float, sharp: float) -> float:
    given = {"x": x, "y": y, "rho": rho, "sharp": sharp}
    return float(run(tools.graph(SPEC, "fixed"), "value", given, {}, dtype="float64")[0].mean())


@pytest.mark.parametrize("rho", [0.0, 0.3, 1.0])
def test_limits_on_a_batch(rho):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 2)), rng.normal(size=(8, 2)) + 1
    cost = ((x[:, None] - y) ** 2).sum(-1)
    assert value(x, y, rho, 0.0) == pytest.approx(cost.mean(), abs=1e-6)  # a constant distance: any pair
    nearest = rho * cost.min(axis=1).mean() + (1 - rho) * cost.min(axis=0).mean()
    assert value(x, y, rho, 1e4) == pytest.approx(nearest, abs=1e-6)  # a sharp one: the nearest
    # Rows of both plans sum to one: with all costs equal, whatever d says, the transport costs just that.
    assert value(np.zeros((8, 2)), np.ones((8, 2)), rho, 3.0) == pytest.approx(2, abs=1e-12)


def test_the_ends_of_rho_change_places_with_the_arguments():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(8, 2)), rng.normal(size=(8, 2)) + 1
    assert value(x, y, 0.2, 1.0) == pytest.approx(value(y, x, 0.8, 1.0), abs=1e-12)
    assert abs(value(x, y, 0.2, 1.0) - value(x, y, 0.8, 1.0)) > 1e-3


def test_a_critic_of_images_moves_once_for_five_of_the_others():
    critic, rounds = tools.model(SPEC, "images").routine
    program = tools.model(SPEC, "images")
    assert [program.entries[n].over for n in (*critic.entries, *rounds.steps[0].entries)] == [("T",), ("G", "N")]
    assert rounds.times == 5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "least"),
    [(("covering", "sweep", "seeking"), 0.9), (("learnt_covering", "learnt", "learnt_seeking"), 0.6)],
    ids=["by cost", "learnt"],
)
def test_rho_covers_or_seeks(names, least, record_property):
    """The spread of one normal for two modes, for rho = 1, 1/2 and 0. The catalogue has 1.41, 0.82 and 0.10 where the distance
    is the cost, and 0.78, 0.65 and 0.12 where a network learns it: measured 0.73, 0.71 and 0.07."""
    spread, places = [], []
    for name in names:
        made = tools.sample(tools.train(SPEC, name), SPEC, name, "one_step", 4000)
        spread.append(float(made.std() / np.sqrt(0.6 * 0.4 * 36 + 0.09)))
        places.append(float(made.mean()))
    record_property("spreads", [round(v, 2) for v in spread])
    assert spread[0] >= least and spread[2] <= 0.2
    assert spread[0] > spread[1] > spread[2]
    assert abs(places[2] + 3) <= 0.1


def mean_difference(a, b):
    """The sliced distance of the catalogue: of sorted projections, their mean difference."""
    directions = np.random.default_rng(0).standard_normal((2, 256))
    directions /= np.linalg.norm(directions, axis=0)
    return float(np.abs(np.sort(a @ directions, axis=0) - np.sort(b @ directions, axis=0)).mean())


@functools.cache
def ring() -> list[tuple[int, float]]:
    """How many modes of the ring are covered by transport and by a critic, and how far their samples are from the data."""
    data = READERS["gaussians"].function(4000, np.random.default_rng(1), k=8, radius=2, std=0.1)["x"]
    made = [tools.sample(tools.train(SPEC, name), SPEC, name, "one_step", 4000) for name in ("ct", "gan")]
    return [(adversarial.modes(m, adversarial.ring(2), within=0.5), mean_difference(m, data)) for m in made]


@pytest.mark.slow
def test_the_ring_is_covered_where_a_critic_loses_modes(record_property):
    """Equal steps of one generator, whose latent has 50 numbers as in the authors' own toy. That decides it: from two numbers,
    as many as the data have, a critic leads to all modes at 0.11 and transport is at 0.32. Written by hand, three starts of
    the networks here gave 8 modes each, at 0.21, 0.13 and 0.37; with a critic 7, 1 and 1, at 0.36, 1.37 and 1.28."""
    ct, gan = ring()
    record_property("modes and sliced distances", {"ct": ct, "gan": gan})
    assert ct[0] == 8
    assert gan[0] < 8 or gan[1] >= 1.25 * ct[1]
    assert ct[1] <= 0.8 * gan[1]
