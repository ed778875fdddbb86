"""Shah, Gromis, Pinto 2024: samplers, guidance and schedules as a grid over one network."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import tools

from specc.ir.ops import Op
from specc.ir.program import walk
from specc.ir.text import to_text
from specc.reference.interpret import run
from specc.runtime.ort import example_seeds

SPEC = "diffusion/ddpm_ddim_cfg_report.spec"
LATENT = "diffusion/ddpm_ddim_cfg_report_latent.spec"
SCHEDULES = {"linear": "vp_discrete(steps = 1000)", "cosine": "vp_cosine", "sigmoid": "vp_sigmoid"}
SAMPLERS = {"ancestral": 1000, "few": 10, "ddim": 50, "many": 100}
STRENGTHS = (None, 1, 3)  # w; no guidance


def trained_from(path, name):
    """All that training reads of a model: its objectives and what they call, the data and the settings."""
    program = tools.model(path, name)
    objectives = {k: e for k, e in program.entries.items() if e.role == "objective"}
    kept = {}

    def visit(function):
        if function not in kept:
            kept[function] = program.functions[function]
            for node in walk(kept[function].block):
                if node.op in (Op.CALL, Op.REPEAT):
                    visit(node["function"])

    for entry in objectives.values():
        visit(entry.function)
    return to_text(replace(program, name="", doc="", digest="", functions=kept, entries=objectives))


def test_only_what_differs_is_trained_anew(tmp_path):
    """Of 72 cells six train, after one autoencoder; the others differ in what samples, and find the network there."""
    spaces, text = ("report", "latent"), f'import "{tools.SPECS / LATENT}" as coded\n'
    for space, schedule in product(spaces, SCHEDULES):
        base = schedule if space == "report" and schedule != "linear" else space  # as the spec has them
        process = "" if base in SCHEDULES else f"process {SCHEDULES[schedule]}"
        file = "coded" if base == "latent" else "base"
        text += f"model {space}_{schedule} from {file}.{base} {{ {process} }}\n"
        text += f"model {space}_{schedule}_guided from {space}_{schedule} {{ guidance cfg }}\n"
    path = tools.variant(tmp_path, SPEC, text)
    found, hits = {}, 0
    for space, schedule, sampler, w in product(spaces, SCHEDULES, SAMPLERS, STRENGTHS):
        name = f"{space}_{schedule}" + ("_guided" if w is not None else "")
        assert tools.calls(path, name, sampler) == SAMPLERS[sampler] + (space == "latent")  # the decoder is the last
        stage = trained_from(path, name)
        hits += stage in found
        found.setdefault(stage, set()).add((space, schedule))
    assert len(found) == 6 and hits == 66
    assert all(len(cells) == 1 for cells in found.values())
    coders = {parent.digest for space, k in product(spaces, SCHEDULES) for parent in tools.model(path, f"{space}_{k}").parents}
    assert len(coders) == 1


T = 1000
BETA = np.linspace(1e-4, 0.02, T)
BAR = np.concatenate([[1.0], np.cumprod(1 - BETA)])


def test_eta_one_with_all_steps_is_the_posterior():
    """On normal data, whose exact e is known: the same noise through the paper's posterior, step by step."""
    rng = np.random.default_rng(0)
    start, inside = rng.standard_normal((64, 2)), rng.standard_normal((T, 64, 2))
    z = np.sqrt(1 - BAR[T]) * start
    for n, w in zip(range(T, 0, -1), inside, strict=True):
        bar, before, beta = BAR[n], BAR[n - 1], BETA[n - 1]
        e = np.sqrt(1 - bar) / (0.09 * bar + 1 - bar) * z
        mean = (z - beta / np.sqrt(1 - bar) * e) / np.sqrt(1 - beta)
        z = mean + np.sqrt(beta * (1 - before) / (1 - bar)) * w

    def drawn(entry):
        seeds = {"seed": np.zeros(64, int)}
        return run(tools.graph(SPEC, "normal"), entry, seeds, {}, noise={0: start, 1: inside})[0]

    np.testing.assert_allclose(drawn("markov"), z, atol=1e-6)
    np.testing.assert_allclose(drawn("ancestral"), z, atol=1e-6)
    assert np.abs(drawn("half") - z).max() > 0.05


def test_without_weight_guidance_is_conditional_sampling():
    from specc.passes.count import parameters

    rng = np.random.default_rng(0)
    params = {k: rng.standard_normal(s) / 8 for k, s in parameters(tools.graph(SPEC, "report")).items()}
    given = {"seed": example_seeds(0, 40), "y": np.arange(40) % 10}
    conditional = run(tools.graph(SPEC, "report"), "ddim", given, params)[0]
    for w, same in ((0, True), (1, False)):
        guided = run(tools.graph(SPEC, "guided"), "ddim", {**given, "scale": 1.0 + w}, params)[0]
        assert (np.abs(guided - conditional).max() < 1e-9) == same


def latent_weights(name="latent"):
    """Random weights; the states of the autoencoder are numbers too."""
    from specc.passes.count import parameters

    rng = np.random.default_rng(0)
    return {k: rng.standard_normal(s) / 8 for k, s in parameters(tools.graph(LATENT, name)).items()}


def mlp(params, path, v):
    """Three layers of the autoencoder, by hand."""
    for i, layer in enumerate(("linear", "linear2", "linear3")):
        v = v @ params[f"{path}.{layer}.weight"].T + params[f"{path}.{layer}.bias"]
        v = v / (1 + np.exp(-v)) if i < 2 else v
    return v


def test_latents_are_scaled_on_the_way_in_and_out():
    """What is noised is the mean over the root of the mean square, and samples are decoded from the same units."""
    params, x = latent_weights(), np.random.default_rng(1).standard_normal((20, 1, 8, 8))
    code = mlp(params, "vae.encoder", x.reshape(20, 64))[:, :16]
    first, y = "vae.decoder.linear.weight", np.arange(20) % 10
    for factor in (0.25, 1.0, 4.0):
        params["vae_power"] = np.array(factor)
        told = run(tools.graph(LATENT, "latent"), "code", {"x": x}, params)[0]
        np.testing.assert_allclose(told, code / np.sqrt(factor), atol=1e-9)
        plain = run(tools.graph(LATENT, "unscaled"), "code", {"x": x}, params)[0]
        np.testing.assert_allclose(plain, code, atol=1e-9)
        given = {"seed": example_seeds(0, 20), "y": y}
        # The network's c is the same for every factor: only the way back differs.
        scaled = run(tools.graph(LATENT, "latent"), "ddim", given, params)[0]
        bare = {**params, first: np.sqrt(factor) * params[first]}
        np.testing.assert_allclose(scaled, run(tools.graph(LATENT, "unscaled"), "ddim", given, bare)[0], atol=1e-9)
    assert tools.calls(LATENT, "latent_guided", "ddim") == 51  # each of the two conditions at once; the decoder


@pytest.mark.slow
def test_guided_ddim_is_truer_than_ddpm_at_a_tenth_of_the_calls():
    from specc.runtime.metrics.features import digits_features
    from specc.runtime.metrics.manifold import precision_recall
    from specc.runtime.readers import READERS

    probe = digits_features()
    real = 2 * READERS["digits"].function("all")["x"] - 1
    y = np.arange(1000) % 10
    folder = tools.train(SPEC, "report")
    ddpm = probe.accuracy(tools.sample(folder, SPEC, "report", "ancestral", 1000), y)
    accuracy, recall = {}, {}
    for w in (0, 1, 3):
        x = tools.sample(folder, SPEC, "guided", "ddim", 1000, scale=1.0 + w)
        accuracy[w], recall[w] = probe.accuracy(x, y), precision_recall(real[:1000], x, k=5).recall
    assert accuracy[1] >= accuracy[0] + 0.1
    assert accuracy[3] >= accuracy[1]
    assert recall[3] <= 0.5 * recall[0]
    calls = tools.calls(SPEC, "guided", "ddim"), tools.calls(SPEC, "report", "ancestral")
    assert 2 * calls[0] <= calls[1] / 10  # the network runs for the class and for none
    assert accuracy[1] >= ddpm > accuracy[0]  # without guidance the few steps lose


FREE = """
model latent from base.latent { predict eps }
model unscaled from base.unscaled { predict eps }
"""


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_latents_that_are_not_scaled_make_worse_samples(seed, tmp_path, record_property):
    """Sliced distances of 1000 samples of DDIM-50. The autoencoder's numbers are of size 2.5: a sampler that keeps x0 in the
    range of the data, as this grid's does, cuts them where it leaves numbers of unit size alone.

    That is all that scaling does here: without the clip the two are alike, since the linear schedule, which ends at a
    signal of 0.006, suits numbers of size 0.5 to 10 as well (of 30 or of 0.1 it is clearly worse).
    """
    from specc.runtime.metrics.distances import sliced_wasserstein
    from specc.runtime.readers import READERS

    real = (2 * READERS["digits"].function("all")["x"] - 1).reshape(1797, -1)[:1000]
    free, distance = tools.variant(tmp_path, LATENT, FREE), {}
    for name, (path, word) in product(("latent", "unscaled"), ((LATENT, "clipped"), (free, "free"))):
        x = tools.sample(tools.train(LATENT, name, seed=seed), path, name, "ddim", 1000)
        distance[name, word] = sliced_wasserstein(x.reshape(1000, -1), real)
    record_property("sliced distances", {" ".join(k): round(v, 3) for k, v in distance.items()})
    assert distance["unscaled", "clipped"] >= 1.5 * distance["latent", "clipped"]
    assert distance["latent", "clipped"] <= 1.1 * distance["latent", "free"]  # the clip is no handicap
    assert distance["unscaled", "free"] <= 1.1 * distance["latent", "free"]
