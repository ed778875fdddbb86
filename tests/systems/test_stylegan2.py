"""Karras et al. 2020: styles without statistics of the data, a generator whose paths have one length, and rare penalties."""

import numpy as np
import pytest
import tools
import torch
from projects import imported
from torch.nn import functional as F

from specc import driver
from specc.passes.count import parameters
from specc.reference.interpret import run

SPEC = "adversarial/stylegan2.spec"


@pytest.fixture(scope="module")
def layer(tmp_path_factory):
    """The modulated convolution of a fresh generator."""
    folder = tmp_path_factory.mktemp("stylegan2")
    driver.emit(tools.model(SPEC, "stylegan2"), "pytorch", folder)
    with imported(folder) as project, torch.no_grad():
        torch.manual_seed(0)
        yield project.model.Model().S.layer2.modulated


def test_outputs_have_unit_variance_whatever_the_styles(layer):
    torch.manual_seed(1)
    h, style = torch.randn(16, 32, 32, 32), 0.2 + 2 * torch.rand(16, 32)
    with torch.no_grad():
        out = layer(h, style)[:, :, 1:-1, 1:-1]
        assert out.std().item() == pytest.approx(1, abs=0.05)
        maps = out.std(dim=(2, 3))
        assert maps.min().item() >= 0.85 and maps.max().item() <= 1.15
        torch.testing.assert_close(layer(h, 7 * style), layer(h, style), rtol=1e-4, atol=1e-4)
        plain = F.conv2d(h * style[:, :, None, None], layer.kernel / (32 * 9) ** 0.5, padding=1)
        assert abs(plain.std().item() - 1) > 0.2  # without demodulation the styles set the scale


def test_it_is_the_convolution_with_a_kernel_for_each_example(layer):
    torch.manual_seed(2)
    h, style = torch.randn(4, 32, 8, 8), 0.2 + 2 * torch.rand(4, 32)
    with torch.no_grad():
        for one, s, out in zip(h, style, layer(h, style), strict=True):
            w = layer.kernel / (32 * 9) ** 0.5 * s[:, None, None]
            w = w / torch.sqrt((w**2).sum(dim=(1, 2, 3), keepdim=True) + 1e-8)
            torch.testing.assert_close(F.conv2d(one[None], w, padding=1)[0], out, rtol=1e-4, atol=1e-4)


def fresh(program, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {path: rng.normal(size=shape) * (0.3 if len(shape) > 1 else 0.1) for path, shape in parameters(program).items()}


def jacobian(program, weights: dict[str, np.ndarray], v: np.ndarray, h: float = 1e-5) -> np.ndarray:
    """(n, 64, 8) at points v (n, 8), by central differences of the exact network."""
    columns = []
    for k in range(8):
        move = h * np.eye(8)[k]
        up, down = (run(program, "picture", {"v": v + m, "x": np.zeros((len(v), 2))}, weights)[0] for m in (move, -move))
        columns.append((up - down).reshape(len(v), 64) / (2 * h))
    return np.stack(columns, axis=-1)


def test_the_estimate_is_the_size_of_the_jacobian():
    """The root mean square of |u' J| is |J| / 8 on pictures of 8 by 8."""
    program = tools.graph(SPEC, "ill")
    weights, v = fresh(program), np.random.default_rng(3).normal(size=8)
    given = {"v": np.tile(v, (20_000, 1)), "x": np.zeros((20_000, 2)), "seed": np.arange(20_000)}
    found = run(program, "norm2", given, weights)[0]
    want = np.linalg.norm(jacobian(program, weights, v[None])[0]) / 8
    assert np.sqrt(found.mean()) == pytest.approx(want, rel=0.01)


@pytest.mark.slow
def test_paths_of_one_length_are_well_conditioned(record_property):
    """The regulariser alone, 600 steps; the catalogue has condition numbers of 44 to 54 before and about 3 after."""
    program, v = tools.graph(SPEC, "ill"), np.random.default_rng(5).normal(size=(64, 8))

    def measured(steps: int) -> tuple[float, float]:
        found = {k: np.asarray(a, dtype=float) for k, a in tools.weights(tools.train(SPEC, "ill", steps=steps)).items()}
        j = jacobian(program, found, v)
        size = np.linalg.norm(j, axis=(1, 2))
        return float(np.median(np.linalg.cond(j))), float(size.std() / size.mean())

    before, after = measured(1), measured(600)
    record_property("condition and variation before and after", f"{before}, {after}")
    assert after[0] <= before[0] / 5  # measured 47.1 and 5.5
    assert after[1] <= 0.8 * before[1]  # 0.157 and 0.110


def test_rare_penalties_leave_rates_and_memories_as_they_were():
    """k steps of the loss and one of its penalty are k + 1 of Adam's: with c = k / (k + 1), rates times c and memories to the
    power c make them k."""
    program = tools.model(SPEC, "stylegan2")
    settings = dict(program.train)
    of = {"D": dict(dict(settings["optimizers"])["D"].options), "S": dict(settings["optimizer"].options)}
    for player, every in (("D", 16), ("S", 8)):
        turns = [s.every for s in program.routine if player in program.entries[s.entries[0]].over]
        assert sorted(turns) == [1, every]
        c = every / sum(every // e for e in turns)
        assert of[player]["lr"] == pytest.approx(2e-3 * c) and of[player]["betas"] == pytest.approx((0, 0.99**c))


def test_styles_are_mixed():
    """In 0.9 of the examples the later layers, two of them or one, have the style of another draw."""
    program = tools.graph(SPEC, "stylegan2")
    given = {"x": np.zeros((4000, 1, 8, 8)), "seed": np.arange(4000)}
    w, own, other = run(program, "styles", given, fresh(program))
    assert (w[:, 0] == own).all()
    later = (w[:, 1:] == other[:, None]).all(axis=-1)
    assert ((w[:, 1:] == own[:, None]).all(axis=-1) ^ later).all()
    shares = [(later.sum(axis=1) == k).mean() for k in range(3)]
    np.testing.assert_allclose(shares, [0.1, 0.45, 0.45], atol=0.03)
    assert later[later.any(axis=1)][:, 1].all()  # from some layer on


def test_a_picture_has_its_place_among_the_styles():
    """Pictures of the generator's own, from the mean style. Without the term against it, noise maps hide what styles miss."""
    program, seed = tools.graph(SPEC, "stylegan2"), np.arange(4)
    weights = fresh(program)
    x = run(program, "truncated", {"seed": seed + 100, "psi": 1.0}, weights)[0]
    first = run(program, "first", {"x": x, "seed": seed}, weights)[0]
    found, hidden = run(program, "inverse", {"x": x, "seed": seed}, weights)
    free = run(program, "inverse", {"x": x, "seed": seed, "honest": 0.0}, weights)[1]
    assert ((found - x) ** 2).mean() <= 0.2 * ((first - x) ** 2).mean()  # measured 0.10
    assert hidden.max() <= 0.01 * free.min()  # 8e-5 against 0.03


def test_the_critic_sees_how_much_a_batch_differs():
    program, rng = tools.graph(SPEC, "stylegan2"), np.random.default_rng(9)
    weights, x = fresh(program), rng.normal(size=(4, 1, 8, 8))
    alone, together = (run(program, "judge", {"x": v}, weights)[0] for v in (np.repeat(x[:1], 4, axis=0), x))
    np.testing.assert_allclose(alone, alone[0], atol=1e-6)
    assert abs(together[0] - alone[0]) > 0.01
    np.testing.assert_allclose(run(program, "judge", {"x": x[::-1]}, weights)[0], together[::-1], atol=1e-5)


def test_a_rare_penalty_weighs_as_much_as_a_frequent_one(tmp_path):
    program = tools.model(SPEC, "stylegan2")
    lazy = {s.entries[0]: s.every for s in program.routine if s.every > 1}
    assert lazy == {"nonsaturating_D_2": 16, "path_length": 8}
    weights, x = fresh(program), np.random.default_rng(6).normal(size=(3, 1, 8, 8))

    def critic(gamma: float) -> float:
        made = "z => S(expand(F(z), like = matrix(3, 32)), e)"
        text = f"model always from base.stylegan2 {{ loss nonsaturating({made}, D, gamma = {gamma}) }}\n"
        always = tools.model(tools.variant(tmp_path, SPEC, text))
        assert always.routine == ()
        return run(always, "nonsaturating_D", {"x": x}, weights, rng=np.random.default_rng(7))[0].mean()

    rare = run(program, "nonsaturating_D_2", {"x": x}, weights)[0].mean()
    assert rare == pytest.approx(16 * (critic(1.0) - critic(0.0)), rel=1e-6)
