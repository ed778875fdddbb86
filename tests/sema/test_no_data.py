"""Models without data: what counts their examples, and what gradients pass through."""

from __future__ import annotations

import numpy as np
import sema_helpers as h
from specc.backends.pytorch.write import emit

from specc.ir.liveness import felt
from specc.ir.ops import Op
from specc.passes import GRAPH, run
from specc.reference.interpret import run as evaluate

MODEL = """specc 1
model m {
  network f(z) -> scalar = mlp(width = 4)
  param c: scalar = 1
  loss fit {
    z ~ normal(like = vector(2))
    total = 0
    for k in 1..3 { total = total + f(z) }
    minimize (total + c)^2
  }
  query number { return 2 * batch.index }
  query asked(v: vector(2)) { e ~ normal(like = v); return sum(v + 0 * e) + c }
  train { optimizer = adam(lr = 1e-3); optimizer c = adam(lr = 0.1); warmup = 5 }
}
"""


def roles(name: str) -> list[tuple[str, str]]:
    return [(i.name, i.role) for i in h.program(MODEL).entries[name].inputs]


def test_examples_are_numbers_where_nothing_else_counts_them() -> None:
    assert roles("fit") == [("index", "index")]
    assert roles("number") == [("index", "index")]
    assert roles("asked") == [("seed", "seed"), ("v", "condition")]


def test_a_query_without_inputs_runs() -> None:
    made = run(h.program(MODEL), GRAPH)
    np.testing.assert_array_equal(evaluate(made, "number", {"index": np.arange(3)}, {})[0], [0, 2, 4])


def test_an_objective_trains_what_it_reaches_inside_of_a_loop() -> None:
    assert h.program(MODEL).entries["fit"].over == ("f", "c")


def test_options_belong_to_parameters() -> None:
    text = emit(h.program(MODEL))["train.py"]
    assert '[{"params": model.f.parameters()}, {"params": [model.c], "lr": C_LEARNING_RATE}]' in text
    assert "C_LEARNING_RATE = 0.1" in text and "C_BETAS" not in text
    assert 'group["lr"] = group["initial_lr"] * schedule(self.step, self.args.steps)' in text


def test_the_project_has_numbers_for_data() -> None:
    files = emit(h.program(MODEL))
    space: dict[str, object] = {}
    exec(files["data.py"], space)
    examples = space["examples"](4, np.random.default_rng(0))  # type: ignore[operator]
    np.testing.assert_array_equal(examples["index"], [0, 1, 2, 3])
    assert '"-n"' in files["query.py"]


def chain(end: str) -> str:
    return f"""specc 1
model m {{
  data x: vector(2) from moons
  network U(x) -> scalar = mlp(width = 4)
  loss fit {{
    y = x - grad(U(x), x)
    minimize U(x) - U({end}) over U
  }}
}}
"""


def test_a_gradient_keeps_its_graph_where_another_one_passes() -> None:
    assert "create_graph=True" in emit(h.program(chain("y")))["objective.py"]
    stopped = emit(h.program(chain("stop(langevin(U, x, steps = 2))")))["objective.py"]
    assert "torch.autograd.grad(" in stopped and "create_graph" not in stopped


def test_felt_does_not_cross_a_stop() -> None:
    for end, count in (("y", 1), ("stop(y)", 0)):
        block = h.entry(h.program(chain(end)), "fit").block
        found = [n.op for n in felt(block, {block.results[0].id})]
        assert found.count(Op.GRAD) == count


def test_updates_run_without_gradients() -> None:
    text = (
        chain("x").replace("loss fit {", "state a: scalar = 0\n  loss fit {").replace("over U", "over U\n update a = U(x)[0]")
    )
    text = text.replace("minimize U(x) - U(x)", "minimize U(x)").replace("U(x)[0]", "batch.mean(U(x))")
    assert "@torch.no_grad()\ndef fit_update(" in emit(h.program(text))["objective.py"]
