"""Chen et al. 2024: one network for every vector of noise levels, so that a schedule matrix decides how a sequence is drawn."""

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
    assert max(own.values()) <= 0.25
    assert min(v for k, v in equal.items() if k != "equal") >= 0.4
    assert min(v for k, v in teacher.items() if k != "clean past") >= 0.4


@pytest.mark.slow
def test_every_schedule_draws_the_signals(record_property):
    folder = tools.train(SPEC, "forcing")
    for sampler in ("whole", "pyramid", "one_by_one"):
        x = tools.sample(folder, SPEC, "forcing", sampler, 4000)[..., 0]
        near = (x[:, 1:] * x[:, :-1]).mean()
        record_property(sampler, f"variance {x.var():.3f}, neighbours {near:.3f}")
        assert 0.75 < x.var() < 1.15 and 0.7 < near / x.var() < 1
