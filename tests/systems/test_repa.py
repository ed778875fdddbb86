"""Yu et al. 2025: hidden tokens that turn towards a frozen encoder's; without the term it is the model alone."""

import json
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import tools
import torch
from safetensors.numpy import load_file, save_file
from specc.backends.onnx.export import export
from specc.backends.onnx.write import initial

from specc import driver
from specc.runtime.readers import READERS

SPEC = "diffusion/repa.spec"
ALONE = """
stage alone from base.encoder {
  condition y: class(10) with { drop = 0.1 }
  process linear
  backbone dit(dim = 64, depth = 4, heads = 4, patch = 4)
  predict velocity
  loss mse
  sampler ode = euler(steps = 50)
  query error(e: like(x), t: scalar) { return mean((out(draw(x, e, t), t) - target(x, e, t))^2) }
  query hidden(e: like(x), t: scalar) { return tap(backbone, "dit_block.1")(draw(x, e, t), t) }
  train { optimizer = adamw(lr = 2e-3); steps = 600; batch = 64; ema = 0.99 }
}
"""


def three_steps(folder, spec, name, encoder=None):
    """The weights after three steps; the encoder is as it starts."""
    program = tools.model(spec, name)
    driver.emit(program, "pytorch", folder / name)
    command = [
        sys.executable,
        "train.py",
        "--steps",
        "3",
        "--batch",
        "8",
        "--out",
        str(folder / f"run_{name}"),
        "--device",
        "cpu",
    ]
    if any(p.shares for p in program.parents):
        (folder / "encoder").mkdir(exist_ok=True)
        save_file(encoder or initial(tools.model(SPEC, "encoder")), folder / "encoder" / "model.safetensors")
        (folder / "encoder" / "state.json").write_text(json.dumps({"step": 0, "digest": program.parents[0].digest}))
        command += ["--parent", str(folder / "encoder")]
    done = subprocess.run(command, cwd=folder / name, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return load_file(folder / f"run_{name}" / "model.safetensors")


def test_without_the_term_it_is_the_model_alone(tmp_path):
    """Bit by bit, from the same seed; with it, the first blocks and the projector move otherwise and the encoder stays."""
    alone = three_steps(tmp_path, tools.variant(tmp_path, SPEC, ALONE), "alone")
    zero = three_steps(tmp_path, SPEC, "unaligned")
    aligned = three_steps(tmp_path, SPEC, "repa")
    assert all(np.array_equal(zero[k], v) for k, v in alone.items() if k.startswith("backbone."))
    moved = {k for k, v in alone.items() if k.startswith("backbone.") and not np.array_equal(aligned[k], v)}
    assert any("dit_block.0" in k for k in moved)
    encoder = initial(tools.model(SPEC, "encoder"))
    assert all(np.array_equal(aligned[f"f.{k}"], v) for k, v in encoder.items() if k.startswith("features."))


def test_a_sampler_needs_neither_encoder_nor_projector(tmp_path):
    import onnx

    array = tools.graph(SPEC, "repa")
    weights = {k: v for k, v in initial(array).items() if k.startswith("backbone.")}
    export(array, "ode", weights, tmp_path / "ode.onnx")  # nothing else is asked for
    names = [t.name for t in onnx.load(tmp_path / "ode.onnx").graph.initializer]
    assert any("dit_block" in n for n in names) and not any("projector" in n or "features" in n for n in names)
    assert tools.calls(SPEC, "repa", "sde") == 250 + 1


# Trained: against the model alone. The class is told to one example in a hundred, so that hidden tokens have to find it ----

GOAL = "model look from base.repa { query goal { return f.features(x) } }"


def untold(text):
    assert text.count("drop = 0.1") == 1
    return text.replace("drop = 0.1", "drop = 0.99")


def trained(folder, kind, seed, steps=None):
    """The spec, model and run of the aligned model (`repa`) or of the one alone."""
    own = folder / "repa.spec"
    own.write_text(untold((tools.SPECS / SPEC).read_text()))
    spec = str(own) if kind == "repa" else tools.variant(folder, SPEC, untold(ALONE))
    return spec, kind, tools.train(spec, kind, steps=steps, seed=seed)


def noisy(split, copies, t=None, seed=0):
    """Digits with noise whose class is not told, at one time or at any."""
    found, rng = READERS["digits"].function(split), np.random.default_rng(seed)
    x, y = (np.tile(found[k], (copies, *[1] * (found[k].ndim - 1))) for k in "xy")
    times = rng.random(len(y)) if t is None else np.full(len(y), t)
    given = {"x": (2 * x - 1).astype(np.float32), "t": times.astype(np.float32), "y": np.full(len(y), 10)}
    return given | {"e": rng.standard_normal(x.shape).astype(np.float32)}, y


def hidden(run, given):
    spec, name, folder = run
    return tools.answers(folder, spec, name, "hidden", **given)


def told_by_a_line(run):
    """The share of held-out digits that a linear layer tells from the mean hidden token at t = 0.5."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    (seen, y), (test, wanted) = noisy("train", 3, 0.5), noisy("test", 20, 0.5, seed=1)
    line = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    line.fit(hidden(run, seen)[0].mean(axis=1), y)
    return line.score(hidden(run, test)[0].mean(axis=1), wanted)


def fitted_afterwards(run, goal, steps=600):
    """The cosine at t = 0.5 of a projector that is trained on the hidden tokens of a model which stays as it is."""
    from torch import nn

    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 64))
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    (seen, _), (test, _) = noisy("train", 2), noisy("test", 3, 0.5, seed=1)
    h, wanted = (torch.from_numpy(v) for v in (hidden(run, seen)[0], goal(x=seen["x"])))
    for _ in range(steps):
        some = torch.randint(len(h), (64,))
        loss = -torch.cosine_similarity(net(h[some]), wanted[some], dim=-1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        made, wanted = net(torch.from_numpy(hidden(run, test)[0])), torch.from_numpy(goal(x=test["x"]))
        return float(torch.cosine_similarity(made, wanted, dim=-1).mean())


@pytest.mark.slow
def test_the_class_is_five_points_clearer(tmp_path, record_property):
    """At equal steps. With a convolutional encoder, patches of two by two and nine in ten told their class it was not: 4.7 and
    1.6 points."""
    kinds = ("repa", "alone")
    told = np.array([[told_by_a_line(trained(tmp_path, kind, seed)) for kind in kinds] for seed in (0, 1)])
    record_property("digits told, aligned and alone", np.round(told, 3).tolist())
    assert (told[:, 0] - told[:, 1] >= 0.05).all()


@pytest.mark.slow
def test_hidden_tokens_of_noisy_digits_turn_to_those_of_clean_ones(tmp_path, record_property):
    """More than a projector can make of the hidden tokens of the model alone afterwards."""
    look, cosines = tools.variant(tmp_path, SPEC, GOAL), []
    for seed in (0, 1):
        aligned, alone = (trained(tmp_path, kind, seed) for kind in ("repa", "alone"))
        own = hidden(aligned, noisy("test", 3, 0.5, seed=1)[0])[1].mean()
        goal = partial(tools.ask, aligned[2], look, "look", "goal")
        cosines.append([float(own), fitted_afterwards(alone, goal)])
    record_property("cosine, trained and fitted afterwards", np.round(cosines, 3).tolist())
    assert all(own >= 0.5 and own > after for own, after in cosines)


@pytest.mark.slow
@pytest.mark.xfail(strict=True, reason="with seed 0 an error of 0.460 at the noisier times, and 0.454 by the model alone")
def test_it_learns_faster_than_the_model_alone(tmp_path, record_property):
    """The catalogue's 0.7 of the steps to the last held-out error of the model alone; 0.95 of it at equal steps is further off.
    In a loop by hand with one seed, whose encoder saw shifted digits too, it takes 0.74 of them for t in (0.4, 0.6), 0.62 in
    (0.6, 0.8), and all over all times. As there is no gain, none by an encoder that has learnt nothing is asked about."""
    given, steps = noisy("test", 8, seed=2)[0], {"repa": 420, "alone": None}
    noisier, ratios = given["t"] >= 0.5, []
    for seed in (0, 1):
        found = {kind: trained(tmp_path, kind, seed, n) for kind, n in steps.items()}
        errors = {kind: tools.ask(f, s, n, "error", **given) for kind, (s, n, f) in found.items()}
        for where, some in (("all", slice(None)), ("noisier", noisier)):
            means = {kind: round(float(e[some].mean()), 4) for kind, e in errors.items()}
            record_property(f"errors at {where} times with seed {seed}", means)
        ratios.append(errors["repa"][noisier].mean() / errors["alone"][noisier].mean())
    assert max(ratios) <= 1
