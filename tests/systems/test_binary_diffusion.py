"""Kinakh and Voloshynovskiy 2024: a lossless code of tables, noise that flips bits, and a network that names both sides."""

import numpy as np
import pytest
import tools

from specc.reference.interpret import run
from specc.runtime.readers import READERS, bit_table

SPEC = "discrete/binary_diffusion.spec"
TABLE = "mixed:3000"
NUMBERS = ("size", "rate")


@pytest.fixture(scope="module")
def rows():
    columns = bit_table.columns_of(TABLE)
    return columns, bit_table.code_of(columns, "label", 32)


def bits(split):
    data = READERS["bit_table"].function(split, path=TABLE, label="label")
    return data["x"], data["y"]


def test_the_code_loses_nothing(rows):
    columns, code = rows
    x = bit_table.encode(columns, code)
    assert x.shape == (3000, 2 + 2 + 2 + 32 + 32) and set(np.unique(x)) == {0, 1}
    back = bit_table.decode(x, code)
    for name, own in code.items():
        if name in NUMBERS:
            given = np.array([float(v) for v in columns[name]])
            assert np.abs(given - back[name]).max() <= (own[1] - own[0]) / (2**32 - 1) * (1 + 1e-6)
        else:
            assert back[name] == columns[name]


def test_codes_of_no_word_are_the_last_word(rows):
    _, code = rows
    x = np.ones((1, 70), np.int64)
    assert bit_table.decode(x, code)["c"] == ["c2"]  # three words in two bits


@pytest.mark.parametrize("t", [0.0, 0.3, 1.0])
def test_bits_flip_with_their_chance(t):
    x, _ = bits("test")
    given = {"x": x, "y": np.zeros(len(x), np.int64), "t": np.full(len(x), t)}
    program = tools.graph(SPEC, "table")
    wanted = [i.name for i in program.entries["noisy"].inputs]
    z = run(program, "noisy", {k: given[k] for k in wanted if k in given}, {})[0]
    level = (np.sqrt(1 / 70) + (np.sqrt(0.5) - np.sqrt(1 / 70)) * t) ** 2
    assert set(np.unique(z)) <= {0, 1}
    assert abs((z != x).mean() - level) < 0.01
    np.testing.assert_array_equal(z ^ (z != x), x)


def test_five_levels_call_the_network_five_times():
    assert tools.calls(SPEC, "table", "five") == 5
    assert tools.calls(SPEC, "table", "ancestral") == 50


# A trained model --------------------------------------------------------------------------------------------------------


def features(columns, code):
    parts = [np.array(columns[n])[:, None] if n in NUMBERS else np.array(columns[n])[:, None] == code[n] for n in code]
    return np.concatenate([p.astype(float) for p in parts], axis=1)


def forest(x, y, code):
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(100, random_state=0, n_jobs=1).fit(features(bit_table.decode(x, code), code), y)


def informative(x):
    """The bits of words, and the four highest of each number."""
    return np.concatenate([x[:, :6], x[:, 6:10], x[:, 38:42]], axis=1)


def mutual(x):
    """The mutual information of every two bits."""
    out, p = [], x.mean(axis=0)
    for i in range(x.shape[1]):
        for j in range(i):
            value = 0.0
            for a in (0, 1):
                for b in (0, 1):
                    both = ((x[:, i] == a) & (x[:, j] == b)).mean()
                    alone = (p[i] if a else 1 - p[i]) * (p[j] if b else 1 - p[j])
                    value += both * np.log((both + 1e-12) / (alone + 1e-12))
            out.append(value)
    return np.array(out)


@pytest.mark.slow
def test_generated_rows_train_a_classifier(rows, record_property):
    _, code = rows
    x, y = bits("train")
    fresh = {name: values[3000:] for name, values in bit_table.columns_of("mixed:12000").items()}  # no rows of the table
    real, labels = features(fresh, code), np.array(fresh["label"]).astype(int)
    trained = tools.train(SPEC, "table")
    rng = np.random.default_rng(0)
    made = tools.sample(trained, SPEC, "table", "ancestral", len(x), y=y)
    strong = tools.sample(trained, SPEC, "table", "ancestral", len(x), y=y, scale=2.0)
    few = tools.sample(trained, SPEC, "table", "five", len(x), y=y, scale=2.0)
    flips = tools.sample(trained, SPEC, "mask", "ancestral", len(x), y=y)
    alone = np.stack([rng.permutation(column) for column in x.T], axis=1)
    sets = {"real": x, "plain": made, "guided": strong, "five calls": few, "by flips": flips, "independent": alone}
    right = {name: forest(v, y, code).score(real, labels) for name, v in sets.items()}
    record_property("rows of the law told right", {name: round(v, 3) for name, v in right.items()})
    assert min(right[name] for name in ("plain", "guided", "five calls")) >= right["real"] - 0.09
    assert right["independent"] <= right["real"] - 0.3
    assert right["by flips"] > right["independent"]
    # pairs of bits, against bits by themselves
    wanted = mutual(informative(x))
    share = np.concatenate([x[y == k].mean(axis=0, keepdims=True) for k in (0, 1)]).mean(axis=0)
    independent = (rng.random(x.shape) < share).astype(int)
    gap, gap_alone = (np.abs(mutual(informative(v)) - wanted).mean() for v in (made, independent))
    # guidance
    judge = forest(x, y, code)
    agreed = [(judge.predict(features(bit_table.decode(v, code), code)) == y).mean() for v in (made, strong)]
    record_property("mutual information off by", f"{gap:.4f}, {gap_alone:.4f} by independent bits")
    record_property("agreement, plain and guided", [round(float(v), 3) for v in agreed])
    assert gap_alone >= 1.8 * gap
    assert agreed[1] >= agreed[0] + 0.05


@pytest.mark.slow
def test_both_heads_learn():
    """The flips are told better than from each bit's own frequency."""
    weights, (x, y) = tools.weights(tools.train(SPEC, "table")), bits("test")
    t = (np.sqrt(0.2) - np.sqrt(1 / 70)) / (np.sqrt(0.5) - np.sqrt(1 / 70))  # flips(t) = 0.2
    flipped = np.random.default_rng(0).random(x.shape) < 0.2
    z = np.where(flipped, 1 - x, x)
    given = {"x": x, "y": y, "z": z, "t": np.full(len(x), t)}
    program = tools.graph(SPEC, "table")
    wanted = [i.name for i in program.entries["heads"].inputs]
    made = run(program, "heads", {k: given[k] for k in wanted}, weights, dtype="float32")[0][:, 1]
    p = bits("train")[0].mean(axis=0)
    one = np.where(z == 1, 1 - p, p) * 0.2  # flipped: x is the other value
    alone = one / (one + np.where(z == 1, p, 1 - p) * 0.8)
    cost = np.where(flipped, np.logaddexp(0, -made), np.logaddexp(0, made))
    cost_alone = -np.where(flipped, np.log(alone + 1e-12), np.log(1 - alone + 1e-12))
    assert informative(cost).mean() <= 0.96 * informative(cost_alone).mean()
