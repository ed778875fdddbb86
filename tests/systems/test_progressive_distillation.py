"""Salimans and Ho 2022: one step of the student is two of its teacher's, six times in a row, and v is what survives it."""

import numpy as np
import pytest
import tools
from specc.backends.onnx.write import initial

from specc import driver
from specc.reference.interpret import run
from specc.runtime.metrics.distances import energy_distance

SPEC = "fewstep/progressive_distillation.spec"
ROUNDS = (32, 16, 8, 4, 2, 1)


def ring(n, seed=0):
    rng = np.random.default_rng(seed)
    angle = rng.integers(8, size=n) * np.pi / 4
    return np.stack([np.cos(angle), np.sin(angle)], axis=1) + 0.1 * rng.standard_normal((n, 2))


# The loss of a student whose network answers nothing is the weighted size of its goal: what it is to answer shows.
PROBE = """
model probe from base.half_2 {{
  query steps(t: scalar) {{
    s = t - 0.5
    m = t - 0.25
    y = alpha(m) * teacher.denoise(x, t) + sigma(m) * teacher.noise_of(x, t)
    y = alpha(s) * teacher.denoise(y, m) + sigma(s) * teacher.noise_of(y, m)
    goal = (y - sigma(s) / sigma(t) * x) / (alpha(s) - sigma(s) / sigma(t) * alpha(t))
    e = (x - alpha(t) * goal) / sigma(t)
    return (y, alpha(s) * goal + sigma(s) * e, goal, teacher.denoise(x, t))
  }}
}}
"""


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    """Where two steps of a teacher lead, where one step towards the goal leads, the goal, and the teacher's own x."""
    variant = tools.variant(tmp_path_factory.mktemp("probe"), SPEC, PROBE.format())
    z = np.random.default_rng(0).standard_normal((64, 2))
    weights = {k: v.astype(float) for k, v in initial(tools.model(variant, "probe")).items()}
    return run(tools.graph(variant, "probe"), "steps", {"x": z, "t": np.full(64, 0.8)}, weights, dtype="float64")


def test_one_step_to_the_goal_lands_where_two_steps_of_the_teacher_do(probe):
    two, one, goal, x = probe
    np.testing.assert_allclose(one, two, atol=1e-12)
    assert np.abs(goal - x).max() > 0.01  # the teacher's own prediction leads elsewhere


def test_v_and_its_two_readings():
    """x = alpha z - sigma v and e = sigma z + alpha v."""
    v, z = np.random.default_rng(0).standard_normal((2, 50, 2))
    t = np.linspace(0.02, 1, 50)
    a, s = (f(np.pi / 2 * t)[:, None] for f in (np.cos, np.sin))
    np.testing.assert_allclose(tools.curve(SPEC, "full", "denoise_of", v, z, t), a * z - s * v, atol=1e-12)
    np.testing.assert_allclose(tools.curve(SPEC, "full", "noise_of_out", v, z, t), s * z + a * v, atol=1e-12)


def test_a_chain_of_stages_halves_the_calls():
    programs = [tools.model(SPEC, f"half_{n}") for n in ROUNDS]
    assert [tools.calls(SPEC, p.name, "ddim") for p in programs] == list(ROUNDS)
    for before, after in zip([tools.model(SPEC, "full"), *programs[:-1]], programs, strict=True):
        assert [p.digest for p in after.parents] == [before.digest]
    assert sum(p.setting("steps") for p in programs) <= 1.1 * tools.model(SPEC, "full").setting("steps")


def distance(spec, name, **inputs):
    return energy_distance(tools.sample(tools.train(spec, name), spec, name, "ddim", 4000, **inputs), ring(4000))


@pytest.mark.slow
def test_few_steps_are_as_good_as_many(record_property):
    """48 s and 6 times 25 s of training: 4 steps 0.00055 (undistilled 0.0195, 64 steps 0.00053), 1 step 0.0010 (0.659)."""
    four, one = distance(SPEC, "half_4"), distance(SPEC, "half_1")
    before = {n: distance(SPEC, "full", steps=n) for n in (64, 4, 1)}
    record_property(
        "4 steps, 1 step; undistilled 64, 4, 1", f"{four:.5f}, {one:.5f}; {', '.join(f'{v:.5f}' for v in before.values())}"
    )
    assert four <= 0.3 * before[4]
    assert four <= 1.5 * before[64]
    assert one <= 0.05 * before[1]


@pytest.mark.slow
def test_a_student_that_names_the_noise_fails_in_one_or_two_steps(tmp_path, record_property):
    """x = (z - sigma e) / alpha for alpha >= 0.001: at alpha = 0 the noise says nothing of x, and the checker refuses."""
    text = (tools.SPECS / SPEC).read_text().replace("predict v", "predict eps").replace("mse(weight = truncated_snr)", "mse")
    (tmp_path / "refused.spec").write_text(text)
    assert [d.code for d in driver.check(tmp_path / "refused.spec", "full").diagnostics] == ["E0405"]
    (tmp_path / "noise.spec").write_text(text.replace("trigonometric", "trigonometric over t in [0, 0.99936338]"))
    spec = str(tmp_path / "noise.spec")
    found = {n: (distance(spec, f"half_{n}"), distance(SPEC, f"half_{n}")) for n in (2, 1)}
    record_property("by the noise and by v, in 2 and 1 steps", {n: [round(v, 4) for v in found[n]] for n in found})
    assert all(noise >= 10 * v for noise, v in found.values())
