"""Song et al. 2023: the boundary holds by construction, distillation and training agree along paths, and one step samples."""

from itertools import pairwise

import numpy as np
import pytest
import tools

from specc.runtime import ort
from specc.runtime.metrics.distances import energy_distance

SPEC = "fewstep/consistency_models.spec"
LOW, HIGH = 0.002, 80.0


def ring(n, seed=0):
    rng = np.random.default_rng(seed)
    angle = rng.integers(8, size=n) * np.pi / 4
    return 0.7 * np.stack([np.cos(angle), np.sin(angle)], axis=1) + 0.07 * rng.standard_normal((n, 2))


def test_at_the_smallest_time_the_map_is_the_identity():
    out, z = np.random.default_rng(0).standard_normal((2, 50, 2)) * 30
    at = np.full(50, LOW)
    np.testing.assert_allclose(tools.curve(SPEC, "distilled", "denoise_of", out, z, at), z, atol=1e-12)
    assert np.abs(tools.curve(SPEC, "distilled", "denoise_of", out, z, 2 * at) - z).max() > 0.05  # and nowhere else
    assert (
        np.abs(
            tools.curve("diffusion/edm.spec", "edm", "denoise_of", out[:, None, :, None], z[:, None, :, None], at)[:, 0, :, 0]
            - z
        ).max()
        > 0.05
    )  # EDM's own skip


def test_a_sampler_of_k_steps_calls_the_network_k_times():
    assert [tools.calls(SPEC, "distilled", e) for e in ("one", "two", "edit")] == [1, 2, 4]
    assert tools.calls(SPEC, "ring", "heun") == 35


def test_times_of_a_coarse_grid_are_those_of_the_paper(tmp_path):
    """Any n of t_i = (eps^(1/7) + (i - 1) / (n - 1) (T^(1/7) - eps^(1/7)))^7, with i from 0 here."""
    i = np.arange(18.0)
    want = (LOW ** (1 / 7) + i / 17 * (HIGH ** (1 / 7) - LOW ** (1 / 7))) ** 7
    timed = tools.variant(tmp_path, SPEC, "model timed from base.ring { query time { return spaced(x[0], 18) } }")
    np.testing.assert_allclose(tools.apply(timed, "timed", "time", x=np.stack([i, i], 1)), want, rtol=1e-12)


def test_editing_keeps_what_is_known(tmp_path):
    """With weights as they start: the known coordinate is the reference's, the other one is the sampler's."""
    from specc.backends.onnx.export import export
    from specc.backends.onnx.write import initial

    array = tools.graph(SPEC, "distilled")
    export(array, "edit", initial(array), tmp_path / "edit.onnx")
    given = {"reference": np.full((3, 2), 0.25, np.float32), "known": np.tile(np.float32([1, 0]), (3, 1))}
    made = ort.load(tmp_path / "edit.onnx").sample(3, 0, conditions=given)
    np.testing.assert_array_equal(made[:, 0], 0.25)
    assert np.abs(made[:, 1] - 0.25).min() > 1e-3


# Trained ------------------------------------------------------------------------------------------------------------


def truth(z, t):
    """The posterior mean of the ring."""
    angle = np.arange(8) * np.pi / 4
    centres = 0.7 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    var = 0.0049 + t**2
    logits = -((z[:, None] - centres) ** 2).sum(axis=2) / (2 * var)
    share = np.exp(logits - logits.max(axis=1, keepdims=True))
    mean = (share / share.sum(axis=1, keepdims=True)) @ centres
    return mean + 0.0049 / var * (z - mean)


def path(n, times):
    """The same noise along the exact ODE, at falling times."""
    z = HIGH * np.random.default_rng(1).standard_normal((n, 2))
    grid = np.geomspace(HIGH, LOW, 2001)
    seen = {}
    for t, s in pairwise(grid):
        for wanted in times:
            if s < wanted <= t:
                seen[wanted] = z + (wanted - t) * (z - truth(z, t)) / t
        d = (z - truth(z, t)) / t
        y = z + (s - t) * d
        z = z + (s - t) * (d + (y - truth(y, s)) / s) / 2
    return [seen[t] for t in times]


def distance(name, entry="one"):
    return energy_distance(tools.sample(tools.train(SPEC, name), SPEC, name, entry, 4000), ring(4000))


@pytest.mark.slow
def test_distillation_takes_one_step(record_property):
    """26 s of training; energy distance 0.0023, the catalogue's 0.0032 and 0.0029; one Euler step of the teacher 0.498.

    The headline's ten times the teacher's with 35 calls is recorded and not asserted, for it divides by noise: with four seeds
    the teacher's is 0.0002 to 0.0018, and that of two sets of 4,000 examples of one law -0.0003 to 0.0008.
    """
    one, two = distance("distilled"), distance("distilled", "two")
    start = HIGH * np.random.default_rng(0).standard_normal((4000, 2))
    jump = energy_distance(truth(start, HIGH), ring(4000))
    teacher = energy_distance(tools.exact(SPEC, "ring", "heun", 4000), ring(4000))
    record_property("one step, two steps, a step of the teacher, 35 calls", f"{one:.4f}, {two:.4f}, {jump:.3f}, {teacher:.5f}")
    assert one <= 0.01
    assert one <= 0.02 * jump
    assert two <= 1.05 * one


@pytest.mark.slow
def test_distilled_maps_agree_along_paths(record_property):
    times = [20.0, 5.0, 1.0, 0.5, 0.2, 0.05]
    folder, along = tools.train(SPEC, "distilled"), path(500, times)
    maps = [
        tools.ask(folder, SPEC, "distilled", "map", x=z.astype(np.float32), t=np.full(500, t, np.float32))
        for z, t in zip(along, times, strict=True)
    ]
    means = [truth(z, t) for z, t in zip(along, times, strict=True)]

    def gap(values):
        return np.mean([np.abs(a - b).mean() for i, a in enumerate(values) for b in values[:i]])

    record_property("map, posterior mean", f"{gap(maps):.3f}, {gap(means):.3f}")
    assert gap(maps) <= 0.3 * gap(means)


@pytest.mark.slow
def test_without_the_boundary_nothing_anchors_the_target(record_property):
    """32 s; 0.43 against 0.0023."""
    free = distance("free")
    record_property("one step", f"{free:.2f}")
    assert free >= 100 * distance("distilled")


@pytest.mark.slow
def test_training_without_a_teacher(record_property, tmp_path):
    """27 s each; 0.022 with one noise for both neighbours, 0.46 with a fresh one for the nearer."""
    text = (tools.SPECS / "std" / "consistency.spec").read_text()
    loss = text[text.index("loss consistency_training") : text.index("# To the data at once")]
    fresh = loss.replace("consistency_training(", "fresh(").replace("y = draw(x, e, s)", "w ~ source()\n  y = draw(x, w, s)")
    variant = tools.variant(tmp_path, SPEC, f"{fresh}\nmodel fresh from base.trained {{ loss fresh(most = 20) }}\n")
    same = distance("trained")
    other = energy_distance(tools.sample(tools.train(variant, "fresh"), variant, "fresh", "one", 4000), ring(4000))
    record_property("same noise, fresh noise", f"{same:.3f}, {other:.3f}")
    assert same <= 0.06
    assert other >= 5 * same
