"""Huang et al. 2024: a relativistic game that is flat on both sides converges, on networks without normalisation."""

import re

import numpy as np
import pytest
import tools

from specc.ir.ops import Op
from specc.ir.program import walk
from specc.reference.interpret import run
from specc.runtime.metrics.distances import energy_distance
from specc.runtime.readers import READERS

SPEC = "adversarial/r3gan.spec"


def radius(name: str, steps: int) -> float:
    found = tools.weights(tools.train(name, steps=steps) if name.endswith(".spec") else tools.train(SPEC, name, steps=steps))
    return float(np.hypot(found["theta"], found["psi"]).item())


def test_the_game_of_two_numbers_converges_with_the_penalty_alone(tmp_path, record_property):
    free = tools.variant(tmp_path, SPEC, FREE)
    flat, orbit = radius("dirac", 2000), radius(free, 2000)
    record_property("radius with and without", f"{flat:.1e}, {orbit:.2f}")
    assert flat < 1e-6  # measured 0 in single precision
    assert orbit > 0.2  # measured 0.37, as the catalogue has it


FREE = """
model free from base.dirac {
  loss game {
    D(v) = sum(psi * v)
    together {
      minimize softplus(D(stop(theta)) - D(x)) over psi
      minimize softplus(D(x) - sum(stop(psi) * theta)) over theta
    }
  }
}
"""


def values(name: str, shift: float, entry: str) -> np.ndarray:
    """The values of an objective in double precision, with a constant added to what the critic says."""
    program = tools.model(SPEC, "r3gan") if name == "r3gan" else tools.model(name)
    rng = np.random.default_rng(0)
    from specc.passes.count import parameters

    weights = {path: rng.normal(size=shape) * 0.3 for path, shape in parameters(program).items()}
    weights["D.linear.bias"] = weights["D.linear.bias"] + shift
    inputs = {"x": np.random.default_rng(1).normal(size=(2, 1, 8, 8)), "progress": 0.5}
    return run(program, entry, inputs, weights, rng=np.random.default_rng(2))[0]


def test_a_constant_in_the_critic_changes_nothing(tmp_path):
    for entry in ("relativistic_D", "relativistic_G"):
        np.testing.assert_allclose(values("r3gan", 3.0, entry), values("r3gan", 0.0, entry), atol=1e-10)
    other = tools.variant(tmp_path, SPEC, "model apart from base.r3gan { loss nonsaturating(G, D) }\n")
    for entry in ("nonsaturating_D", "nonsaturating_G"):
        assert np.abs(values(other, 3.0, entry) - values(other, 0.0, entry)).max() > 0.1


def test_no_normalisation_and_blocks_that_start_as_the_identity():
    program = tools.model(SPEC, "r3gan")
    used = {n.op for f in program.functions.values() if f.kind == "network" for n in walk(f.block)}
    assert not used & {Op.LAYERNORM, Op.GROUPNORM, Op.RMSNORM}
    blocks = [f for f in program.functions.values() if re.match("residual", f.name)]
    assert blocks
    for block in blocks:
        starts = [n["init"] for n in walk(block.block) if n.op is Op.PARAM and n["path"].endswith("weight")]
        assert [s[0] for s in starts] == ["normal", "normal", "zeros"]  # and nothing is added after the last
        ((last),) = [n for n in block.block.nodes if n.outputs[0] is block.block.results[0]]
        assert last.op is Op.ADD and block.block.params[0] in last.inputs


@pytest.mark.slow
def test_far_from_the_data_slopes_at_generated_points_stay_small(tmp_path, record_property):
    """The largest root mean square slope at the points over 600 steps; the catalogue has 4.57 against 0.66."""
    one = tools.variant(tmp_path, SPEC, "model one from base.far { loss game { " + ONE + " } }\n")
    both, real = (float(tools.weights(tools.train(s, n))["peak"]) for s, n in ((SPEC, "far"), (one, "one")))
    record_property("peak with both and with R1 only", f"{both:.2f}, {real:.2f}")
    assert real >= 4 * both  # measured


ONE = """
    fake = 3 + points[batch.index]
    held = stop(fake)
    slope = slope2(D, held)
    update peak = max(peak, sqrt(batch.mean(slope)))
    minimize softplus(D(held) - D(x)) + slope2(D, x) / 2 over D
    minimize softplus(D(x) - D(fake)) over points
"""


GRID = [[k // 5 - 2.0, k % 5 - 2.0] for k in range(25)]


@pytest.mark.slow
def test_twenty_five_normals_are_nearer_with_penalties(tmp_path, record_property):
    """The catalogue has 0.0054 with both penalties and 0.0153 without, and asks for 0.02, in that order; here 0.0101 and
    0.0150, 0.67 times. Its headline, 0.6 times, is of one seed and an unnamed rate, and smaller than what seeds differ by: a
    plain copy of this training ended at 0.0211, 0.0109, 0.0066 with and 0.0506, 0.0094, 0.0072 without. The means are 0.57
    times, by one run, the medians 1.2 times; 500, 1,000 and 1,500 steps before the end the means were 0.09, 0.58 and 2.0
    times. So the order is of this seed."""
    free = tools.variant(tmp_path, SPEC, "model free from base.grid { loss relativistic(G, D, gamma = 0) }\n")
    data = READERS["mixture"].function(4000, np.random.default_rng(3), centres=GRID, noise=0.05)["x"]
    made = [tools.sample(tools.train(s, n), s, n, "one_step", 4000) for s, n in ((SPEC, "grid"), (free, "free"))]
    found = [energy_distance(m, data) for m in made]
    record_property("energy distance with and without", "{:.4f}, {:.4f}".format(*found))
    assert found[0] <= 0.02 and found[0] <= found[1]
