"""Several networks and objectives: latents, bare parameters, states, updates, and the routine that a loss comes to."""

from __future__ import annotations

import numpy as np
import pytest
import sema_helpers as h

from specc.ir.document import from_json, to_json
from specc.ir.ops import Op
from specc.ir.program import Bare, Program, Step, chosen
from specc.ir.text import to_text
from specc.passes import GRAPH, run
from specc.passes.count import parameters
from specc.reference.interpret import run as evaluate

GAN = """
  data x: vector(2) from eight_gaussians
  latent z: vector(3) ~ normal
  network G(z) -> like(x) = mlp(width = 4)
  network D(x) -> scalar = mlp(width = 4)
  state a: scalar = 2
"""


def game(loss: str, *more: str) -> Program:
    return h.program("\n".join(["specc 1", "model m {", GAN, *more, f"  loss game {{\n{loss}\n}}", "}"]))


def numbers(made: Program, name: str, **given: object) -> tuple[np.ndarray, ...]:
    """An entry on two examples, with weights from a fixed seed and draws of one half."""
    rng = np.random.default_rng(0)
    weights = {path: rng.normal(size=shape) for path, shape in parameters(made).items()}
    weights |= {b.path: np.full(b.shape, 2.0) for b in made.bare}
    x = np.array([[0.5, -1.0], [2.0, 0.25]])
    return evaluate(made, name, {"x": x, **given}, weights, draws=lambda op, place, shape, indices: np.full(shape, 0.5))


# Latents


def test_a_latent_is_drawn_in_each_entry_and_keyed_in_samplers() -> None:
    made = game("minimize D(x) - D(stop(G(z))) over D\nminimize -D(G(z)) over G", "sampler one { return G(z) }")
    for name, keyed in (("game_D", False), ("game_G", False), ("one", True)):
        (draw,) = h.nodes(h.entry(made, name), Op.NORMAL)
        assert (draw["shape"], draw["keyed"], draw.out.name) == ((3,), keyed, "z")


def test_a_latent_may_have_any_law() -> None:
    made = game("minimize D(G(z)) + sum(u) over G", "latent u: vector(2) ~ uniform(-1, 1)")
    assert [n["shape"] for n in h.nodes(h.entry(made, "game"), Op.UNIFORM)] == [(2,)]


# Objectives and what they train


def test_without_over_an_objective_trains_what_it_reaches() -> None:
    made = game("minimize D(stop(G(z))) + w", "param w: scalar = 0")
    assert made.entries["game"].over == ("D", "w")


def test_sets_of_parameters() -> None:
    made = game('minimize D(x) + w over [D, w]\nminimize D(G(z)) over G["*.bias"]', "param w: scalar = 0")
    assert [e.over for e in made.by_role("objective")] == [("D", "w"), ("G.*.bias",)]
    trained = [p for p in parameters(made) if chosen(p, ("G.*.bias",))]
    assert trained == ["G.linear.bias", "G.layer.0.linear.bias", "G.layer.1.linear.bias", "G.linear2.bias"]


def test_a_function_stands_for_the_networks_that_it_names() -> None:
    made = h.program(
        f"specc 1\nmodel m {{\n{GAN}\n loss hinge(c => G(c), v => D(v))\n}}\n"
        "loss hinge(make, critic) {\n  minimize relu(1 - critic(x)) over critic\n  minimize critic(make(z)) over make\n}"
    )
    assert [e.over for e in made.by_role("objective")] == [("D",), ("G",)]


def test_a_function_stands_for_what_is_behind_its_calls_too() -> None:
    made = h.program(
        f"specc 1\nfunction doubled(v) {{ return 2 * v }}\nmodel m {{\n{GAN}\n param w: vector(3) = 1\n loss l {{\n"
        "  shaped(c) = doubled(c) * w\n  made(c) = G(shaped(c))\n  minimize D(made(z)) over made\n}\n}"
    )
    assert made.entries["l"].over == ("G", "w")


def test_a_network_takes_arguments_by_the_names_in_its_head() -> None:
    made = game("minimize E(x, u) over E", "latent u: scalar ~ uniform", "network E(x, t) -> scalar = mlp(width = 4)")
    assert [v.name for v in made.functions[made.networks["E"]].block.params] == ["z", "t"]


def test_parameters_go_through_their_constraint() -> None:
    made = game(
        "minimize sum(w * x) + s over [w, s]", "param w: vector(2) = normal(1) on sphere", "param s: scalar = 0 on positive"
    )
    weights = {"w": np.array([3.0, 4.0]), "s": np.array(-1.0), "a": np.array(0.0)}
    (value,) = evaluate(made, "game", {"x": np.array([[1.0, 0.0], [0.0, 1.0]])}, weights)
    np.testing.assert_allclose(value, np.array([0.6, 0.8]) + np.exp(-1))


# Text order


def test_the_routine_has_rounds_schedules_and_gradients_taken_together() -> None:
    made = game(
        """
        for k in 1..3 { minimize D(x) - D(stop(G(z))) over D; update D = clip(D, -1, 1) }
        minimize sum(grad(D(x), x)^2) over D every 4 when progress < 0.5
        together { minimize D(x) over D; minimize -D(G(z)) over G }
        update a = 2 * a
        """
    )
    rounds, lazy, both, last = made.routine
    assert rounds.times == 3 and [bool(s.entries) for s in rounds.steps] == [True, False]
    assert rounds.steps[1].over == ("D",) and made.functions[rounds.steps[1].maps or ""].kind == "function"
    assert (lazy.entries, lazy.every, bool(lazy.when)) == (("game_D_2",), 4, True)
    assert both.entries == ("game_D_3", "game_G")
    assert last == Step(entries=("game_update",)) and made.entries["game_update"].writes == ("a",)


def test_objectives_in_turn_need_no_routine() -> None:
    assert game("minimize D(x) over D\nminimize D(G(z)) over G").routine == ()


def test_an_update_before_an_objective_is_computed_with_it() -> None:
    made = game("n = D(G(z))\nupdate a = a / 2 + batch.mean(n)\nminimize (n - a)^2 over G")
    (only,) = made.entries.values()
    assert (only.role, only.writes, made.routine) == ("objective", ("a",), ())
    value, new = numbers(made, "game")
    (n,) = numbers(game("minimize D(G(z)) over G"), "game")
    assert new == pytest.approx(1 + n.mean())  # a was 2
    np.testing.assert_allclose(value, (n - new) ** 2)  # after its update the state is what the update says


def test_no_gradient_passes_through_a_state() -> None:
    made = game("update a = batch.mean(D(x))\nminimize (D(x) - a)^2 over D")
    stops = h.nodes(h.entry(made, "game"), Op.STOP)
    assert [made.functions["game"].block.results[1].id] == [n.out.id for n in stops]


def test_an_update_after_its_objective_sees_new_parameters() -> None:
    made = game("minimize D(x) over D\nupdate a = batch.mean(D(x))")
    assert [(e.role, e.writes) for e in made.entries.values()] == [("objective", ()), ("update", ("a",))]


def test_an_update_of_some_steps_keeps_the_state_in_the_others() -> None:
    made = game("update a = 5 every 3 when progress > 0.1\nminimize a * D(x) over D")
    due = [float(numbers(made, "game", step=s, progress=p)[1]) for s, p in ((3, 0.5), (4, 0.5), (3, 0.0))]
    assert due == [5, 2, 2]


def test_updates_that_are_due_at_other_times_are_steps_of_their_own() -> None:
    made = game("minimize D(x) over D\nupdate a = 1 every 2\nupdate b = 1 every 2\nupdate c = 1", *STATES)
    assert [(s.entries, s.every) for s in made.routine] == [(("game",), 1), (("game_update",), 2), (("game_update_2",), 1)]
    assert made.entries["game_update"].writes == ("a", "b")


STATES = ("state b: scalar = 0", "state c: scalar = 0")


def test_a_map_reads_other_sets_at_the_same_paths() -> None:
    made = game("minimize D(x) over D\nupdate T = 0.9 * T + 0.1 * D", "network T(x) -> scalar = mlp(width = 4)")
    step = made.routine[-1]
    assert (step.over, step.beside) == (("T",), ("D",))
    f = made.functions[step.maps or ""]
    assert [v.name for v in f.block.params] == ["T", "D"]


# Memories


def test_examples_read_and_write_rows_of_their_own() -> None:
    made = game(
        "v = pool.read()\npool.write(v + x)\nminimize D(x) + sum(stop(v)) over D",
        "memory pool: like(x) with { size = 5; initial = normal(1) }",
        "train { batch = 2 }",
    )
    assert made.bare == (
        Bare(path="a", shape=(), init=("constant", 2.0), trainable=False),
        Bare(path="pool", shape=(5, 2), init=("normal", 1.0), trainable=False),
    )
    pool = np.arange(10.0).reshape(5, 2)
    x = np.array([[0.5, -1.0], [2.0, 0.25]])
    weights = {p: np.zeros(s) for p, s in parameters(made).items()} | {"pool": pool}
    for program in (made, run(made, GRAPH)):
        value, new = evaluate(program, "game", {"x": x}, weights, draws=lambda op, place, shape, indices: np.full(shape, 0.9))
        np.testing.assert_allclose(value, [pool[4].sum(), pool[0].sum()])  # 0.9 of 5 rows is row 4; the next one is row 0
        want = pool.copy()
        want[[4, 0]] += x
        np.testing.assert_allclose(new, want)


# Documents


def test_what_a_loss_comes_to_reads_back_equal() -> None:
    made = game(
        "for k in 1..2 { minimize w * D(x) over [D, w] when step > 3 }\nupdate D = clip(D, -1, 1) every 5\nupdate a = step",
        "param w: scalar = 1",
        "train { optimizer D = adamw(lr = 0.1) }",
    )
    for program in (made, run(made, GRAPH)):
        assert to_json(from_json(to_json(program))) == to_json(program)
        assert from_json(to_json(program)).routine == made.routine
        assert from_json(to_json(program)).bare == made.bare
    text = to_text(made)
    for line in ("param w: float", "state a: float", "2 times", "map D by update_D(it) every 5", "writes a"):
        assert line in text
