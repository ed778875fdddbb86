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
from specc.runtime import ort
from specc.runtime.readers import READERS

SPEC = "diffusion/repa.spec"
ALONE = """
stage alone from base.encoder {
  condition y: class(10) with { drop = 0.1 }
  process linear
  backbone dit(dim = 64, depth = 4, heads = 4)
  predict velocity
  loss mse
  sampler ode = euler(steps = 50)
  query error(e: like(x), t: scalar) { return mean((out(draw(x, e, t), t) - target(x, e, t))^2) }
  query hidden(e: like(x), t: scalar) { return tap(backbone, "dit_block.1")(draw(x, e, t), t) }
  train { optimizer = adamw(lr = 1e-3); steps = 1500; batch = 64; ema = 0.99 }
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


# Trained: against the model alone, and against one that turns to an encoder which has learnt nothing -----------------------

STEPS = 600
GOAL = "model look from base.repa { query goal { return f.features(x) } }"


def runs(folder, seed):
    """The spec, model and run of each of the three after as many steps."""
    alone, blank = tools.variant(folder, SPEC, ALONE), folder / "blank.spec"
    blank.write_text((tools.SPECS / SPEC).read_text().replace("adam(lr = 1e-3); steps = 600", "adam(lr = 1e-12); steps = 1"))
    specs = {"repa": (SPEC, "repa"), "alone": (alone, "alone"), "blank": (str(blank), "repa")}
    return {kind: (*own, tools.train(*own, steps=STEPS, seed=seed)) for kind, own in specs.items()}


def noisy(split, copies, t=None, seed=0):
    """Digits with noise: at one time and without their class, or as in training."""
    found, rng = READERS["digits"].function(split), np.random.default_rng(seed)
    x, y = (np.tile(found[k], (copies, *[1] * (found[k].ndim - 1))) for k in "xy")
    told = rng.random(len(y)) < (0.9 if t is None else 0)
    times = rng.random(len(y)) if t is None else np.full(len(y), t)
    given = {"x": (2 * x - 1).astype(np.float32), "t": times.astype(np.float32), "y": np.where(told, y, 10)}
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


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """The shares of digits that a line tells, (seeds, 2): aligned and alone."""
    found = [runs(tmp_path_factory.mktemp("told"), seed) for seed in (0, 1)]
    return np.array([[told_by_a_line(own[kind]) for kind in ("repa", "alone")] for own in found])


@pytest.mark.slow
def test_hidden_tokens_know_more_of_the_class(tmp_path, told, record_property):
    """With seeds 0 and 1: 0.552 and 0.517 of the digits told, against 0.505 and 0.501 by the model alone, and cosines of 0.756
    and 0.730 against 0.743 and 0.712 by a projector that is fitted afterwards."""
    look, cosines = tools.variant(tmp_path, SPEC, GOAL), []
    for seed in (0, 1):
        found = runs(tmp_path, seed)
        own = hidden(found["repa"], noisy("test", 3, 0.5, seed=1)[0])[1].mean()
        goal = partial(tools.ask, found["repa"][2], look, "look", "goal")
        cosines.append([float(own), fitted_afterwards(found["alone"], goal)])
    record_property("digits told, aligned and alone", np.round(told, 3).tolist())
    record_property("cosine, trained and fitted afterwards", np.round(cosines, 3).tolist())
    assert (told[:, 0] > told[:, 1]).all()
    assert all(own >= 0.5 and own > after for own, after in cosines)


@pytest.mark.slow
@pytest.mark.xfail(strict=True, reason="after 600 steps 4.7 and 1.6 points, with two seeds")
def test_the_class_is_five_points_clearer(told, record_property):
    """The catalogue's. The same objective in a loop by hand had 4.6 and 6.2: seeds are as far apart as what is asked for."""
    gain = told[:, 0] - told[:, 1]
    record_property("points", np.round(100 * gain, 1).tolist())
    assert gain.mean() >= 0.05


@pytest.mark.slow
@pytest.mark.xfail(strict=True, reason="digits of 8 by 8 whose class is told leave an encoder nothing to add to the velocity")
def test_it_learns_faster_than_the_model_alone(tmp_path, record_property):
    """The catalogue's 0.95 of the held-out error at equal steps. Measured 0.4590 and 0.4584 with seeds 0 and 1, against 0.4585
    and 0.4562 alone and 0.4572 and 0.4554 with an encoder that has learnt nothing. The Frechet distances of 1,500 samples, by
    the same objective in a loop by hand, are no clearer: 5.9 and 5.6, against 6.9 and 5.4 alone and 6.3 and 4.9."""
    ratios = []
    for seed in (0, 1):
        given, y = noisy("test", 4, seed=2)
        errors = {k: tools.ask(f, s, n, "error", **given | {"y": y}).mean() for k, (s, n, f) in runs(tmp_path, seed).items()}
        record_property(f"errors with seed {seed}", {k: round(float(v), 4) for k, v in errors.items()})
        ratios.append((errors["repa"] / errors["alone"], errors["blank"] / errors["alone"]))
    assert all(aligned <= 0.95 < blank for aligned, blank in ratios)


@pytest.mark.slow
def test_hidden_tokens_of_noisy_digits_turn_to_those_of_clean_ones(record_property):
    """16 minutes of training on a busy machine; at t = 0.5 the cosine is 0.81, and 0.93 where the class is told."""
    found = READERS["digits"].function("test")
    x = (2 * found["x"] - 1).astype(np.float32)
    folder = tools.train(SPEC, "repa")
    path = folder / "hidden.onnx"
    export(tools.graph(SPEC, "repa"), "hidden", tools.weights(folder), path)
    loaded, e = ort.load(path, threads=1), np.random.default_rng(0).standard_normal(x.shape).astype(np.float32)
    given = {"x": x, "e": e, "t": np.full(len(x), 0.5, np.float32), "y": np.full(len(x), 10)}
    _, cosine = loaded.run(loaded.feeds(np.arange(len(x)), arguments=given)).values()
    record_property("cosine", f"{cosine.mean():.2f}")
    assert cosine.mean() >= 0.5
