"""Graves et al. 2023: messages and Bayes' rule end where the closed form says, two losses agree, and parity is learnt."""

import itertools

import numpy as np
import pytest
import tools
from specc.backends.onnx.write import initial

from specc.ir.ops import Op
from specc.reference.interpret import run
from specc.runtime.readers import READERS

SPEC = "discrete/bayesian_flow_networks.spec"
EVEN = [bits for bits in itertools.product((0, 1), repeat=4) if sum(bits) % 2 == 0]


def ask(name, query, x, seed=0, spec=SPEC):
    given = {"x": x, "seed": np.arange(len(x)) + seed * len(x)}
    return run(tools.graph(spec, name), query, given, {}, dtype="float64")[0]


def close(a, b, n):
    """Means and variances of two normal samples (n, ...) within 3 standard errors, at every place."""
    assert (np.abs(a.mean(axis=0) - b.mean(axis=0)) < 3 * np.sqrt((a.var(axis=0) + b.var(axis=0)) / n)).all()
    assert (np.abs(np.log(a.var(axis=0) / b.var(axis=0))) < 3 * 2 / np.sqrt(n)).all()


N = 100_000  # chains
KINDS = """
model four from base.parity {
  data x: tokens(1, 4) from markov
  process of_classes(accuracy_1 = 3)
}
model one from base.plane { query updates(steps = 1) }
model grey from base.plane { data x: vector(2) in [-1, 1] levels 17 from moons(scale = 0.5); predict bins }
"""


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    return tools.variant(tmp_path_factory.mktemp("specs"), SPEC, KINDS)


def test_messages_about_classes_add_up(kinds):
    """Logits have mean accuracy (K e_x - 1) and variance accuracy K."""
    x = np.full((N, 1), 2)
    after, closed = (ask("four", query, x, seed, kinds) for seed, query in enumerate(("updates", "at_the_end")))
    close(after, closed, N)
    np.testing.assert_allclose(after[:, 0].mean(axis=0), 3 * (4 * np.eye(4)[2] - 1), atol=3 * np.sqrt(12 / N))
    np.testing.assert_allclose(after.var(axis=0), 12, rtol=3 * np.sqrt(2 / N))


@pytest.mark.parametrize("name", ["plane", "grey"])
def test_messages_about_numbers_add_up(name, kinds):
    """So they do whatever is made of them: numbers or bins."""
    spec = SPEC if name == "plane" else kinds
    x = np.tile([0.3, -0.8], (N, 1))
    after, closed = (ask(name, query, x, seed, spec) for seed, query in enumerate(("updates", "at_the_end")))
    close(after, closed, N)
    share = 1 - 0.05**2
    np.testing.assert_allclose(after.mean(axis=0), share * x[0], atol=3 * np.sqrt(share * (1 - share) / N))
    np.testing.assert_allclose(after.var(axis=0), share * (1 - share), rtol=3 * np.sqrt(2 / N))


def test_the_precision_grows_by_a_power():
    t = np.linspace(0, 1, 51)
    np.testing.assert_allclose(1 + tools.curve(SPEC, "plane", "accuracy", t), 0.05 ** (-2 * (1 - t)), rtol=1e-12)


def test_one_message_is_worth_as_many_as_add_up_to_it(kinds):
    x = np.tile([0.3, -0.8], (N, 1))
    close(ask("one", "updates", x, 1, kinds), ask("plane", "updates", x), N)


def in_steps(steps, weights, tmp_path, n=20_000, words=EVEN):
    """The cost of `steps` messages, with each noise of a message beside its opposite."""
    spec = tools.variant(tmp_path, SPEC, f"model costs from base.parity {{ query in_steps(steps = {steps}) }}")
    rng, half = np.random.default_rng(0), n // 2
    x = np.array(words)[rng.integers(0, len(words), half)]
    program = tools.graph(spec, "costs")
    block = program.functions[program.entries["in_steps"].function].block
    *_, message = (node for node in block.nodes if node.op is Op.NORMAL)
    e = rng.standard_normal((half, *message.outputs[0].type.shape[1:]))
    given = {"x": np.concatenate([x, x]), "seed": np.tile(np.arange(half), 2)}
    noise = {message["place"]: np.concatenate([e, -e])}
    made = run(program, "in_steps", given, weights, dtype="float64", noise=noise)[0]
    pairs = (made[:half] + made[half:]) / 2
    return pairs.mean(), pairs.std() / np.sqrt(half)


def in_time(weights, n=40_000, words=EVEN):
    rng = np.random.default_rng(1)
    x = np.array(words)[rng.integers(0, len(words), n)]
    made = run(tools.graph(SPEC, "parity"), "continuous_time", {"x": x}, weights, dtype="float64", rng=rng)[0]
    return made.mean()


def constant():
    """Weights of a network that knows nothing: its answers are even chances."""
    return {path: 0 * value for path, value in initial(tools.model(SPEC, "parity")).items()}


def test_many_messages_cost_as_much_as_continuous_time(tmp_path):
    """Of a network that knows nothing: K accuracy_1 E[t] |e_x - 1/2|^2 over four bits is 16, and one message log 2 a bit."""
    assert abs(in_time(constant()) - 16) < 0.2
    (many, error), (one, _) = (in_steps(steps, constant(), tmp_path) for steps in (1000, 1))
    assert error < 0.2 and abs(many / 16 - 1) < 0.04
    assert one < 4 * np.log(2)


def test_a_network_that_knows_costs_nothing(tmp_path):
    """One word is all the data, and the network says it whatever it sees."""
    weights, word = constant(), (0, 1, 1, 0)
    (last,) = [path for path, value in weights.items() if value.shape == (8,) and path.endswith("bias")]
    weights[last] = 100 * (2 * np.eye(2)[list(word)] - 1).reshape(8)
    assert abs(in_time(weights, 1000, [word])) < 1e-9
    assert all(abs(in_steps(steps, weights, tmp_path, 1000, [word])[0]) < 1e-9 for steps in (1, 10))
    assert in_time(weights, 1000) > 1  # of other words


def test_a_draw_from_the_bins_is_one_of_them():
    """Of seventeen centres, in the range of the data, whatever the network says."""
    rng = np.random.default_rng(0)
    weights = {path: rng.normal(size=v.shape) / 8 for path, v in initial(tools.model(SPEC, "grey")).items()}
    x = run(tools.graph(SPEC, "grey"), "ancestral", {"seed": np.arange(4)}, weights, dtype="float32")[0]
    centres = (2 * np.arange(17) + 1) / 17 - 1
    assert np.abs(x[..., None] - centres).min(axis=-1).max() < 1e-6
    assert len(np.unique(x.round(4))) > 3


def test_calls():
    assert tools.calls(SPEC, "parity", "ancestral") == 21  # the last one is the sample


@pytest.mark.slow
def test_parity_is_learnt_message_by_message(tmp_path):
    trained = tools.train(SPEC, "parity")
    x = tools.sample(trained, SPEC, "parity", "ancestral", 4000)
    even = x.sum(axis=1) % 2 == 0
    assert even.mean() >= 0.93
    words, counts = np.unique(x[even], axis=0, return_counts=True)
    assert len(words) == 8 and counts.min() > 0.05 * len(x)
    at_once = tools.sample(trained, SPEC, "parity", "one_call", 4000)
    assert abs((at_once.sum(axis=1) % 2 == 0).mean() - 0.5) < 0.05  # every bit by itself
    weights = tools.weights(trained)
    costs = [in_steps(steps, weights, tmp_path) for steps in (1, 10, 100, 1000)]
    assert all(a - b > -3 * (e + f) for (a, e), (b, f) in itertools.pairwise(costs))
    assert costs[0][0] > 1.1 * costs[-1][0]
    assert abs(costs[-1][0] / in_time(weights) - 1) < 0.04


LETTERS = """
model messages from base.parity {
  data x: tokens(16, 27) from text("python:manual", level = letters, stride = 4)
  process of_classes(accuracy_1 = 0.75)
  backbone transformer(dim = 64, depth = 2, heads = 4, positions = rotary)
  sampler ancestral(steps = 20)
  query last { z ~ draw(x, t_min); return sum(cross_entropy(logits(z, t_min), x)) }
  train { optimizer = adamw(lr = 2e-3); steps = 1000; batch = 64; warmup = 50; decay = cosine; ema = 0.99 }
}

process uniform_noise for jumping over t in [0, 1] {
  state z: tokens(n, vocab)
  keep(t) = cos(pi / 2 * t)^2
  draw(x, t) {
    m ~ bernoulli(keep(t), like = x)
    u ~ uniform(like = x)
    return where(m, x, int(u * vocab))
  }
  before(w, z, t, s) {
    r = keep(t) / keep(s)
    v = w / (keep(t) * onehot(z, vocab) + (1 - keep(t)) / vocab)
    some = expand(sum(v, axis = -1), like = v, axis = -1)
    return (r * onehot(z, vocab) + (1 - r) / vocab) * (keep(s) * v + (1 - keep(s)) / vocab * some)
  }
  bridge(z, x, t, s) { y ~ categorical(log(max(before(onehot(x, vocab), z, t, s), 1e-30))); return y }
  prior() { u ~ uniform(like = z); return int(u * vocab) }
}
loss bound_in_steps(steps = 1000) for jumping {
  u ~ uniform()
  s = floor(u * steps) / steps
  t = s + 1 / steps
  z ~ draw(x, t)
  q = before(1.0 * onehot(x, vocab), z, t, s)
  p = before(softmax(logits(z, t)), z, t, s)
  minimize steps * sum(q * (log(max(q, 1e-30)) - log(max(p, 1e-30))))
}
model noise {
  data x: tokens(16, 27) from text("python:manual", level = letters, stride = 4)
  backbone transformer(dim = 64, depth = 2, heads = 4, positions = rotary)
  train { optimizer = adamw(lr = 2e-3); steps = 1000; batch = 64; warmup = 50; decay = cosine; ema = 0.99 }
  process uniform_noise
  predict logits
  loss bound_in_steps
  sampler ancestral(steps = 20)
}
"""


@pytest.mark.slow
def test_letters_cost_no_more_than_by_noise_on_tokens(tmp_path, record_property):
    """Against a chain that replaces letters by any others (Austin et al. 2021), by one network trained as long for both."""
    spec = tools.variant(tmp_path, SPEC, LETTERS)
    x = READERS["text"].function("test", path="python:manual", level="letters", n=16)["x"]
    bits = {}
    for name, loss in (("messages", "continuous_time"), ("noise", "bound_in_steps")):
        weights, rng = tools.weights(tools.train(spec, name)), np.random.default_rng(0)
        made = [run(tools.graph(spec, name), loss, {"x": x}, weights, dtype="float32", rng=rng)[0] for _ in range(8)]
        bits[name] = np.mean(made) / (16 * np.log(2))
    given = {"x": x, "seed": np.arange(len(x))}
    last = run(tools.graph(spec, "messages"), "last", given, tools.weights(tools.train(spec, "messages")), dtype="float32")[0]
    bits["messages"] += last.mean() / (16 * np.log(2))  # of x itself, after all the messages
    record_property("bits a letter", {k: round(float(v), 3) for k, v in bits.items()})
    assert bits["messages"] <= bits["noise"]
