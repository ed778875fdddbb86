"""Readers of data: their stated statistics, their options and the table."""

import ast
import inspect
import math
import sys

import numpy as np
import pytest
from scipy import stats

from specc.runtime.readers import READERS

N = 40_000
WHOLE = ("markov", "parity")  # of integers: see test_readers_of_integers.py
ENDLESS = [name for name, row in READERS.items() if row.kind == "endless" and name not in WHOLE]
SHAPES = {
    "tones": (1, 1024),
    "hawkes": (64,),
    "graphs": (20, 20),
    "autoregressive": (8, 1),
    "bouncing": (16, 2),
}  # of an example, where it is no point of the plane


def draw(name, n=N, seed=0, **options):
    return READERS[name].function(n, np.random.default_rng(seed), **options)


@pytest.mark.parametrize("name", READERS)
def test_table_matches_the_functions(name):
    row = READERS[name]
    parameters = list(inspect.signature(row.function).parameters.items())
    fixed = 1 if row.kind == "finite" else 2
    assert [n for n, _ in parameters[:fixed]] == (["split"] if row.kind == "finite" else ["n", "rng"])
    assert {n: p.default for n, p in parameters[fixed:]} == dict(row.options)


@pytest.mark.parametrize("name", READERS)
def test_a_reader_stands_alone(name):
    """Its text runs in a generated project: it imports the standard library and the packages of its row, nothing else."""
    distributions = {"sklearn": "scikit-learn", "PIL": "pillow"}
    tree = ast.parse(READERS[name].text)
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module
            imported.add(node.module.split(".")[0])
    foreign = {distributions.get(m, m) for m in imported - set(sys.stdlib_module_names)}
    assert foreign == set(READERS[name].packages)
    assert ast.get_docstring(tree)


@pytest.mark.parametrize("name", ENDLESS)
def test_endless_fields(name):
    fields = draw(name, 257)
    shape = SHAPES.get(name, (2,))
    assert tuple(fields) == READERS[name].fields
    assert fields["x"].shape == (257, *shape) and fields["x"].dtype == (np.int64 if name == "graphs" else np.float32)
    if "y" in fields:
        assert fields["y"].shape == (257,) and fields["y"].dtype == np.int64
    again, other = draw(name, 257), draw(name, 257, seed=1)
    assert np.array_equal(fields["x"], again["x"]) and not np.array_equal(fields["x"], other["x"])
    assert draw(name, 0)["x"].shape == (0, *shape)


@pytest.mark.parametrize(
    "name, options, modes", [("eight_gaussians", {}, 8), ("gaussians", {"k": 5}, 5), ("gaussians", {"k": 1}, 1)]
)
def test_gaussians(name, options, modes):
    radius, std = (5, math.sqrt(0.1)) if name == "eight_gaussians" else (2, 0.2)
    fields = draw(name, **options)
    x, y = fields["x"], fields["y"]
    assert stats.chisquare(np.bincount(y, minlength=modes)).pvalue > 0.001 or modes == 1
    for mode in range(modes):
        centre = radius * np.array([math.cos(2 * math.pi * mode / modes), math.sin(2 * math.pi * mode / modes)])
        rest = (x[y == mode] - centre) / std
        assert np.abs(rest.mean(axis=0)).max() < 0.07
        assert np.abs(np.cov(rest.T) - np.eye(2)).max() < 0.1
    whitened = (x - radius * np.stack([np.cos(2 * np.pi * y / modes), np.sin(2 * np.pi * y / modes)], axis=-1)) / std
    assert stats.kstest(whitened.ravel(), "norm").pvalue > 0.001


def test_moons():
    x, y = draw("moons", noise=0.0).values()
    np.testing.assert_allclose(np.linalg.norm(x[y == 0], axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(x[y == 1] - [1, 0.5], axis=1), 1, atol=1e-6)
    assert (x[y == 0, 1] >= 0).all() and (x[y == 1, 1] <= 0.5).all()
    np.testing.assert_allclose(x.mean(axis=0), [0.5, 0.25], atol=0.02)
    blurred = draw("moons", noise=0.05)["x"]
    np.testing.assert_allclose((blurred - x).std(axis=0), 0.05, rtol=0.02)


def test_checkerboard():
    x, y = draw("checkerboard").values()
    assert np.abs(x).max() <= 4 and set(y) == set(range(8))
    square = np.floor((x + 4) / 2).astype(int)
    assert (square.sum(axis=1) % 2 == 0).all()
    assert (square[y == 0] == 0).all() and (square[y == 7] == 3).all()
    assert stats.kstest(x[:, 0], "uniform", args=(-4, 8)).pvalue > 0.001
    assert stats.chisquare(np.bincount(y)).pvalue > 0.001


def test_pinwheel():
    x, y = draw("pinwheel").values()
    # Unwound by the twist and turned back, every arm is one normal around (2, 0).
    radius, angle = np.linalg.norm(x, axis=1) / 2, np.arctan2(x[:, 1], x[:, 0])
    for arm in range(5):
        turned = angle[y == arm] - 2 * np.pi * arm / 5 - 0.25 * np.exp(radius[y == arm])
        along, across = radius[y == arm] * np.cos(turned), radius[y == arm] * np.sin(turned)
        assert abs(along.mean() - 1) < 0.02 and abs(along.std() - 0.3) < 0.02
        assert abs(across.mean()) < 0.02 and abs(across.std() - 0.1) < 0.03


def test_ring():
    x = draw("ring")["x"].astype(float)
    assert stats.kstest((np.linalg.norm(x, axis=1) - 2) / 0.1, "norm").pvalue > 0.001
    assert stats.kstest(np.arctan2(x[:, 1], x[:, 0]), "uniform", args=(-np.pi, 2 * np.pi)).pvalue > 0.001


def test_mixture():
    centres = ((0.0, 0.0, 1.0), (2.0, 0.0, 0.0), (0.0, -3.0, 0.0))
    fields = draw("mixture", centres=centres, weights=(1, 2, 5), noise=0.25)
    x, y = fields["x"], fields["y"]
    assert stats.chisquare(np.bincount(y), N * np.array([1, 2, 5]) / 8).pvalue > 0.001
    assert stats.kstest(((x - np.array(centres)[y]) / 0.25).ravel(), "norm").pvalue > 0.001
    atoms = draw("mixture", centres=centres, noise=0.0)
    assert np.array_equal(atoms["x"], np.array(centres, dtype=np.float32)[atoms["y"]])
    with pytest.raises(ValueError, match="weight for each"):
        draw("mixture", 3, weights=(1,))


@pytest.mark.parametrize(
    "name, options",
    [("gaussians", {"k": 0}), ("checkerboard", {"cells": 0}), ("pinwheel", {"arms": 0}), ("mixture", {"centres": []})],
)
def test_nothing_to_draw_from(name, options):
    with pytest.raises(ValueError, match="at least one"):
        draw(name, 3, **options)


def test_digits():
    load = READERS["digits"].function
    train, test, both = load("train"), load("test"), load("all")
    assert train["x"].shape == (1438, 1, 8, 8) and test["x"].shape == (359, 1, 8, 8) and both["x"].shape == (1797, 1, 8, 8)
    assert train["x"].dtype == np.float32 and train["y"].dtype == np.int64
    assert set(np.unique(both["x"])) == {i / 16 for i in range(17)}
    share = np.bincount(test["y"]) / np.bincount(both["y"])
    assert np.abs(share - 0.2).max() < 0.003
    rows = lambda fields: {row.tobytes() for row in fields["x"]}
    assert not rows(train) & rows(test) and rows(train) | rows(test) == rows(both)
    assert np.array_equal(train["x"], load("train")["x"])
    assert float(both["x"].mean()) == pytest.approx(0.30526, abs=1e-4)  # 4.8842 of 16


@pytest.mark.parametrize("size", [16, 32])
def test_digits_repeat_pixels(size):
    load = READERS["digits"].function
    small, large = load("test")["x"], load("test", size=size)["x"]
    assert large.shape == (359, 1, size, size)
    step = size // 8
    for i in range(step):
        assert np.array_equal(large[:, :, i::step, step - 1 - i :: step], small)


def test_digits_refuse():
    load = READERS["digits"].function
    with pytest.raises(ValueError, match="8, 16 or 32"):
        load("train", size=28)
    with pytest.raises(ValueError, match="splits"):
        load("valid")


def test_tones():
    fields = draw("tones", 64, size=2048, rate=8000, partials=4)
    x = fields["x"][:, 0]
    assert np.abs(x).max() <= 1 and np.abs(x).max(axis=1).min() > 0.5
    spectrum = np.abs(np.fft.rfft(x * np.hanning(2048)))
    frequency = np.fft.rfftfreq(2048, 1 / 8000)
    near = np.abs((frequency / fields["f0"][:, None] + 0.5) % 1 - 0.5) * fields["f0"][:, None] < 16  # hertz from a partial
    assert ((spectrum**2 * near).sum(axis=1) / (spectrum**2).sum(axis=1)).min() > 0.95
    assert stats.kstest(np.log(draw("tones", 4000, size=8)["f0"] / 100) / math.log(4), "uniform").pvalue > 0.001


def compensators(fields, base, branching, decay):
    """The integral of each kind's intensity between its events, by the formula: exponential under the right process."""
    gaps = []
    for x, kind, mask in zip(fields["x"].astype(float), fields["kind"], fields["mask"], strict=True):
        times, kinds = x[mask == 1], kind[mask == 1]
        for k in range(len(base)):
            own = times[kinds == k]
            before = np.maximum(own[:, None] - times[None], 0)
            total = base[k] * own + (np.asarray(branching)[k][kinds] * (1 - np.exp(-decay * before))).sum(axis=1)
            gaps.extend(np.diff(total, prepend=0))
    return np.array(gaps)


def test_passes():
    """The holder alone passes, to another; passes back and the same way again come more often than at the base rate."""
    load = READERS["passes"].function
    fields = load("train", count=300)
    there, who, to = fields["mask"] == 1, fields["kind"] // 4, fields["kind"] % 4
    assert (who[:, 0] == 0).all() and (who != to)[there].all()
    assert (who[:, 1:] == to[:, :-1])[there[:, 1:]].all()
    assert (np.diff(fields["x"], axis=1) >= 0).all() and there[:, 0].all() and 5 < there.sum(axis=1).mean() < 60
    back = (to[:, 1:] == who[:, :-1])[there[:, 1:]].mean()
    assert back > 0.4
    plain = load("test", count=300, back=0.0, again=0.0)
    count = plain["mask"].sum(axis=1)
    assert count.mean() == pytest.approx(3 * 0.2 * 20, rel=0.05)
    assert (load("all", count=5, size=3)["end"] < 20).all()
    with pytest.raises(ValueError, match="two players"):
        load("train", players=1)


def test_hawkes():
    base, branching = (0.3, 0.2), ((0.15, 0.6), (0.675, 0.075))
    fields = draw("hawkes", 800, size=256)
    x, kind, mask, end = (fields[k] for k in ("x", "kind", "mask", "end"))
    assert (np.diff(x, axis=1) >= 0).all() and (end == 20).all() and (x[mask == 0] == 20).all() and (kind[mask == 0] == 0).all()
    rate = np.linalg.solve(np.eye(2) - np.array(branching), base)  # of the stationary process: the start is emptier
    counts = [((kind == k) & (mask == 1)).sum(axis=1).mean() / 20 for k in range(2)]
    assert all(0.7 * r < c < r for c, r in zip(counts, rate, strict=True))
    longer = draw("hawkes", 60, size=1024, horizon=300.0)  # the last gap of each sequence is cut off, and missing
    assert stats.kstest(compensators(longer, base, branching, 2.0), "expon").statistic < 0.01
    assert stats.kstest(compensators(longer, base, np.zeros((2, 2)), 2.0), "expon").statistic > 0.1
    short = draw("hawkes", 50, size=4)
    assert (short["end"][short["mask"].all(axis=1)] == short["x"][short["mask"].all(axis=1), -1]).all()
    with pytest.raises(ValueError, match="never end"):
        draw("hawkes", 2, branching=((1.0, 0.5), (0.5, 1.0)))


@pytest.mark.parametrize("family, options", [("barabasi_albert", {}), ("community", {"inside": 0.9}), ("ego", {})])
def test_graphs(family, options):
    fields = draw("graphs", 40, family=family, size=16, least=10, **options)
    x, mask = fields["x"], fields["mask"]
    assert (x == x.transpose(0, 2, 1)).all() and set(np.unique(x)) == {0, 1} and (x[:, range(16), range(16)] == 0).all()
    count = mask.sum(axis=1)
    assert (mask == (np.arange(16) < count[:, None])).all() and (x * (1 - mask[:, None]) == 0).all()
    assert (fields["degree"] == x.sum(axis=2)).all()
    edges = x.sum(axis=(1, 2)) / 2
    if family == "barabasi_albert":
        assert len(set(count)) > 3 and (edges == 2 * (count - 2)).all()
    if family == "ego":
        assert ((fields["degree"] == count[:, None] - 1) & (mask == 1)).any(axis=1).all()
    with pytest.raises(ValueError, match="graphs"):
        draw("graphs", 1, family="star")


def test_wav(tmp_path):
    import wave

    load = READERS["wav"].function
    rng = np.random.default_rng(0)
    samples = rng.integers(-32768, 32768, (1050, 2)).astype("<i2")
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(samples.tobytes())
    x = load("all", path=str(tmp_path), size=100)["x"]
    np.testing.assert_allclose(x.ravel(), samples[:1000].mean(axis=1) / 32768, atol=1e-6)
    assert load("train", path=str(tmp_path), size=100)["x"].shape == (9, 1, 100)
    with pytest.raises(ValueError, match="8000 samples a second"):
        load(path=str(tmp_path), size=100, rate=16000)
    (tmp_path / "b.wav").write_bytes(b"RIFF")
    with pytest.raises(ValueError, match=r"b\.wav: not a recording"):
        load(path=str(tmp_path), size=100)
    with pytest.raises(ValueError, match=r"no \.wav files"):
        load(path=str(tmp_path / "none"))


@pytest.mark.parametrize("turn", [0.0, 0.5])
def test_bouncing_points(turn):
    """Steps of one length, but for those that meet a wall, which are shorter; everywhere in the box alike."""
    x = draw("bouncing", 4000, turn=turn)["x"]
    steps = np.linalg.norm(np.diff(x, axis=1), axis=-1)
    inside = (np.abs(x[:, :-1]) < 1.5 - 0.375).all(axis=-1)
    np.testing.assert_allclose(steps[inside], 0.375, rtol=1e-5)
    assert steps.max() < 0.3751 and np.abs(x).max() <= 1.5 and (steps < 0.37).mean() > 0.1
    np.testing.assert_allclose(x[:, -1].std(axis=0), 1.5 / math.sqrt(3), rtol=0.05)
    v = np.diff(x, axis=1)[:, :2]
    straight = (v[:, 0] * v[:, 1]).sum(axis=-1)[inside[:, :2].all(axis=1)] / 0.375**2
    assert straight.mean() == pytest.approx(math.exp(-(turn**2) / 2), abs=0.01)
