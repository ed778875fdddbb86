"""Chen et al. 2024: one network for every vector of noise levels, so that a schedule matrix decides how a sequence is drawn."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import tools

from specc.passes.count import parameters
from specc.reference.interpret import run
from specc.runtime.ort import example_seeds
from specc.runtime.readers import READERS

SPEC = "diffusion/diffusion_forcing.spec"
N, LEVELS, RHO = 8, 20, 0.9


def alpha(t):
    return np.sqrt(1 / (1 + 1e3 ** (2 * t - 1)))


def sigma(t):
    return np.sqrt(1 / (1 + 1e3 ** (1 - 2 * t)))


def signals(n, seed=0):
    return READERS["autoregressive"].function(n, np.random.default_rng(seed))["x"]


def test_the_signals_are_stationary():
    x = signals(10_000)[..., 0]
    np.testing.assert_allclose(x.var(axis=0), 1, atol=0.06)
    np.testing.assert_allclose([(x[:, 0] * x[:, k]).mean() for k in range(5)], RHO ** np.arange(5), atol=0.06)


# The schedule matrix


@pytest.mark.parametrize(("sampler", "slant"), [("whole", 0), ("pyramid", 8), ("one_by_one", 40)])
def test_rows_of_the_schedule(sampler, slant):
    """T + floor(u (H - 1)) intervals; no element changes once it is clean, and each is shown a level that it was trained on."""
    assert tools.calls(SPEC, "forcing", sampler) == 40 + slant * (N - 1)
    program, trace = tools.graph(SPEC, "forcing"), []
    rng = np.random.default_rng(0)
    weights = {path: 0.5 * rng.standard_normal(shape) for path, shape in parameters(program).items()}
    run(program, sampler, {"seed": example_seeds(0, 3)}, weights, dtype="float64", trace=trace)
    steps = [s for s in trace if len(s.indices) == 1 and s.before[0].shape == (3, N, 1)]
    rows = np.clip(40 + slant * np.arange(N) - np.arange(len(steps) + 1)[:, None], 0, 40)
    assert (rows[0] == 40).all() and (rows[-1] == 0).all() and (np.diff(rows, axis=0) <= 0).all()
    for now, following, step in zip(rows, rows[1:], steps, strict=False):
        moved = (step.before[0] != step.after[0]).any(axis=(0, 2))
        np.testing.assert_array_equal(moved[now == 0], False)
        np.testing.assert_array_equal(moved[following < now], True)


def test_elements_have_levels_of_their_own():
    program = tools.graph(SPEC, "forcing")
    function = program.functions[program.by_role("objective")[0].function]
    made = {v.name: v for n in function.block.nodes for v in n.outputs if v.name}
    assert made["t"].type.shape == ("B", N)


def test_the_network_is_causal():
    program, rng = tools.graph(SPEC, "forcing"), np.random.default_rng(1)
    weights = {path: 0.5 * rng.standard_normal(shape) for path, shape in parameters(program).items()}
    x, t = signals(1)[0], rng.uniform(0, 1, N)
    late = np.where(np.arange(N)[:, None] < 5, x, -x)
    out = [run(program, "denoise", {"x": v[None], "t": t[None]}, weights)[0][0] for v in (x, late)]
    np.testing.assert_array_equal(out[0][:5], out[1][:5])
    assert np.abs(out[0][5:] - out[1][5:]).min() > 0


def test_fused_weights_are_the_recurrence():
    program = tools.graph(SPEC, "fused")
    entry = program.by_role("objective")[0]
    function = program.functions[entry.function]
    made = {v.name: v for n in function.block.nodes for v in n.outputs if v.name}
    shown = replace(function, block=replace(function.block, results=(made["s"], made["weight"])))
    looked = replace(program, functions=program.functions | {function.name: shown})
    weights = {path: np.zeros(shape) for path, shape in parameters(program).items()}
    s, weight = run(looked, entry.name, {"x": signals(50)}, weights, dtype="float64", rng=np.random.default_rng(0))
    past, wanted = np.zeros(50), []
    for i in range(N):
        wanted.append(5 * (1 - (1 - 0.98 * past) * (1 - s[:, i])))
        past = 0.98 * past + 0.02 * s[:, i]
    np.testing.assert_allclose(weight, np.stack(wanted, axis=1), rtol=1e-6)
    assert weight.std() > 0.5


# The optimal causal estimate at any levels is a Kalman filter


def kalman(y, t):
    """E[x_i | y_1..i] for y_i = alpha(t_i) x_i + sigma(t_i) e."""
    mean, var, out = np.zeros(len(y)), np.ones(len(y)), []
    for i in range(N):
        if i:
            mean, var = RHO * mean, RHO**2 * var + 1 - RHO**2
        a, s = alpha(t[:, i]), sigma(t[:, i])
        gain = var * a / (a**2 * var + s**2)
        mean, var = mean + gain * (y[:, i] - a * mean), (1 - gain * a) * var
        out.append(mean)
    return np.stack(out, axis=1)


def levels(kind, n, rng):
    grid = np.arange(LEVELS) / (LEVELS - 1)
    match kind:
        case "random":
            return rng.choice(grid, (n, N))
        case "equal":
            return np.repeat(rng.choice(grid, (n, 1)), N, axis=1)
        case "clean past":
            return np.concatenate([np.zeros((n, N - 1)), np.ones((n, 1))], axis=1)
        case "half past":
            return np.concatenate([np.full((n, N - 1), grid[LEVELS // 2]), np.ones((n, 1))], axis=1)
        case _:
            return np.repeat(np.linspace(0, 1, N).round(2)[None], n, axis=0)


CASES = ("random", "equal", "clean past", "half past", "pyramid")


def errors(name):
    """RMS distance from the filter at the last element, in units of the filter's own size."""
    folder, found = tools.train(SPEC, name), {}
    for k, kind in enumerate(CASES):
        rng = np.random.default_rng(k)
        x, t = signals(4000, k)[..., 0], levels(kind, 4000, rng)
        y = alpha(t) * x + sigma(t) * rng.standard_normal(x.shape)
        best = kalman(y, t)[:, -1]
        out = tools.ask(folder, SPEC, name, "denoise", x=y[..., None].astype(np.float32), t=t.astype(np.float32))
        found[kind] = float(np.sqrt(((out[:, -1, 0] - best) ** 2).mean() / (best**2).mean()))
    return found


@pytest.mark.slow
def test_levels_of_their_own_serve_every_vector_of_levels(record_property):
    own, equal, teacher = (errors(name) for name in ("forcing", "equal", "teacher"))
    for name, found in (("own levels", own), ("equal levels", equal), ("clean past", teacher)):
        record_property(name, {k: round(v, 3) for k, v in found.items()})
    # Measured 0.08, 0.15, 0.11, 0.11, 0.17 with levels of their own and 0.54, 0.07, 0.88, 0.57, 0.80 with equal ones.
    assert max(own.values()) <= 0.25
    assert min(v for k, v in equal.items() if k != "equal") >= 0.4
    assert min(v for k, v in teacher.items() if k != "clean past") >= 0.4


def by_filter(slant, n=3000, steps=40):
    """The sampler with the exact causal estimate in the network's place."""
    z = sigma(np.ones(N)) * np.random.default_rng(0).standard_normal((n, N))
    rows = np.clip(steps + slant * np.arange(N) - np.arange(steps + slant * (N - 1) + 1)[:, None], 0, steps) / steps
    for now, following in itertools.pairwise(rows):
        y = np.where(now == 0, alpha(0.0) * z, z)
        x0 = kalman(y, np.repeat(now[None], n, axis=0))
        moved = alpha(following) * x0 + sigma(following) * (y - alpha(now) * x0) / sigma(now)
        z = np.where(now == 0, z, np.where(following == 0, x0, moved))
    return z


@pytest.mark.slow
def test_the_longer_an_element_waits_the_more_it_follows_the_past(record_property):
    """A causal estimate draws a sequence at once with too little between neighbours (0.9 in the data), and the better the
    more the past is done: 0.43, 0.63, 0.74 with the exact filter, 0.38, 0.49, 0.63 with the trained network."""
    folder, found = tools.train(SPEC, "forcing"), {}
    for sampler, slant in (("whole", 0), ("pyramid", 8), ("one_by_one", 40)):
        x, exact = tools.sample(folder, SPEC, "forcing", sampler, 2000)[..., 0], by_filter(slant)
        near = [float((v[:, 1:] * v[:, :-1]).mean()) for v in (x, exact)]
        record_property(sampler, f"{near[0]:.3f} against {near[1]:.3f} by the filter")
        assert abs(near[0] - near[1]) < 0.2
        found[sampler] = near[0]
    assert found["whole"] < found["pyramid"] - 0.05 < found["one_by_one"] - 0.1


# Longer than it was trained on, and towards a goal


@pytest.mark.slow
def test_a_ball_goes_on_past_the_length_of_the_data(record_property):
    """Four times as long, with what is done shown at a level that it has learnt: measured a size of 1.37 of the data's at step
    64, and an error of the speed of 0.147 in the first 15 steps and 0.168 in the last 8. Told that the past is half noise,
    which it is not, the network loses the speed: 0.361. (The catalogue has 0.354 for level -1, past the last one learnt. Sines
    and cosines of the level, or alpha and sigma, go on smoothly there, and nothing is lost: 0.153.)"""
    folder = tools.train(SPEC, "ball")
    data = READERS["bouncing"].function(1000, np.random.default_rng(0), length=64)["x"]
    late = {}
    for level in (2, 25):
        x = tools.sample(folder, SPEC, "longer", "pyramid", 16, context=level / 49)
        error = np.abs(np.linalg.norm(np.diff(x, axis=1), axis=-1) - 0.375)
        size = np.sqrt((x[:, -1] ** 2).mean() / (data**2).mean())
        early, late[level] = error[:, :15].mean(), error[:, -8:].mean()
        record_property(f"at level {level}", f"size {size:.2f}, error of the speed {early:.3f} and {late[level]:.3f}")
        if level == 2:
            assert size <= 1.5 and late[level] <= 1.5 * early
    assert late[25] >= 1.7 * late[2]


@pytest.mark.slow
def test_guidance_reaches_through_time(record_property):
    """Walks that end within 0.3 of a goal without a step of twice their speed. Measured 0.40 for the pyramid, 0.15 for the
    whole sequence at once, 0.06 without guidance. By the mean gradient of eight futures 0.35, of a single one 0.34, and 0.48 by
    both at twice the scale: no less, as the catalogue asks, and within the standard error of 0.05 no more."""
    folder, n = tools.train(SPEC, "walk"), 100
    goal = np.random.default_rng(0).uniform(-1.2, 1.2, (n, 2)).astype(np.float32)

    def success(name, sampler, scale=2.0):
        x = tools.sample(folder, SPEC, name, sampler, n, goal=goal, scale=scale)
        steps = np.linalg.norm(np.diff(x, axis=1), axis=-1)
        share = ((np.linalg.norm(x[:, -1] - goal, axis=-1) < 0.3) & (steps.max(axis=1) < 0.75)).mean()
        record_property(f"{name} {sampler} at {scale}", f"{share:.2f}")
        return share

    free, pyramid = success("walk", "pyramid", 0.0), success("walk", "pyramid")
    assert pyramid > 2 * free and pyramid >= success("walk", "whole")
    many = success("many", "pyramid")
    assert many > 2 * free and many >= success("single", "pyramid")
