"""Stages: what they take over from their parents, whose weights their networks have, and what their hashes cover."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from specc import driver
from specc.ir.document import from_json, to_json
from specc.ir.ops import Op
from specc.ir.paths import parameters
from specc.ir.program import Average, Program, Share, walk
from specc.ir.verify import verify
from specc.passes.count import network_calls
from specc.reference.interpret import evaluate, run
from specc.sema import elaborate
from specc.source import Source
from specc.syntax.parser import parse

BASE = """specc 1
# The teacher.
model base {
  data x: vector(2) from moons
  condition y: class(2) with { drop = 0.1 }
  process linear
  backbone mlp(width = 8, depth = 1)
  predict velocity
  guidance cfg(scale = 3)
  sampler euler(steps = 4)
  train { steps = 7; batch = 4; ema = 0.9 }
}
"""
STUDENT = """# The student.
stage student from base {
  teacher = frozen(base)
  loss imitation {
    t ~ times()
    e ~ source()
    z = draw(x, e, t)
    minimize mean((velocity(z, t) - teacher.velocity(z, t))^2)
  }
  sampler one { z ~ prior(); return z - velocity(z, t_max) }
}
"""


def programs(text: str, folder: Path | None = None) -> dict[str, Program]:
    path = (folder or Path("/")) / "s.spec"
    if folder is None:
        source = Source("s.spec", text)
        made = elaborate(parse(source)[0], source)
    else:
        path.write_text(text)
        made = driver.check(path)
    errors = [f"{d.span}: {d.code} {d.message}" for d in made.diagnostics if d.severity == "error"]
    assert not errors, errors
    for program in made.programs.values():
        verify(program)
    return made.programs


def weights(program: Program, scale: dict[str, float]) -> dict[str, np.ndarray]:
    """The same numbers below every root, times a factor of the root's own."""
    out = {}
    for path, shape in parameters(program.functions, program.networks).items():
        root = max((r for r in scale if path.startswith(f"{r}.")), key=len)
        rng = np.random.default_rng(len(path.removeprefix(root)))
        out[path] = scale[root] * rng.standard_normal(shape)
    return out


def test_a_stage_takes_over_what_it_does_not_say() -> None:
    made = programs(BASE + STUDENT)
    base, student = made["base"], made["student"]
    assert student.data == base.data and student.conditions == base.conditions and student.train == base.train
    assert [e.name for e in student.entries.values()] == ["imitation", "one"]  # samplers of its own: not the parent's
    assert student.networks["backbone"] == student.networks["teacher.backbone"]  # one code, two sets of weights


def test_its_program_says_which_weights_come_from_where() -> None:
    (parent,) = (made := programs(BASE + STUDENT))["student"].parents
    assert (parent.name, parent.digest, parent.averaged) == ("base", made["base"].digest, True)
    assert set(parent.shares) == {
        Share(path="teacher.backbone", of="backbone", frozen=True),
        Share(path="backbone", of="backbone"),
    }
    assert made["student"].untrained("teacher.backbone") and not made["student"].untrained("backbone")
    assert made["student"].entries["imitation"].over == ("backbone",)
    assert from_json(to_json(made["student"])) is not None
    assert from_json(to_json(made["student"])).parents == made["student"].parents


def test_a_network_that_is_said_anew_starts_afresh() -> None:
    anew = STUDENT.replace("  loss", "  backbone mlp(width = 16)\n  loss")
    (parent,) = programs(BASE + anew)["student"].parents
    assert parent.shares == (Share(path="teacher.backbone", of="backbone", frozen=True),)


def test_a_copy_is_trained_beside() -> None:
    text = STUDENT.replace("frozen(base)", "copy(base)")
    student = programs(BASE + text)["student"]
    assert Share(path="teacher.backbone", of="backbone") in student.parents[0].shares
    assert set(student.entries["imitation"].over) == {"backbone", "teacher.backbone"}


def test_a_teacher_is_itself_and_guided_where_that_is_asked() -> None:
    """velocity at scale 3 is free + 3 (conditional - free), of the teacher's weights."""
    text = BASE + STUDENT.replace(
        "  sampler",
        "  query plain { return teacher.velocity(x, 0.5) }\n  query free { return unconditional(teacher.velocity(x, 0.5)) }\n"
        "  query led { return teacher.guided.velocity(x, 0.5) }\n  sampler",
    )
    program = driver.prepare(programs(text)["student"])
    x = {"x": np.array([[0.3, -1.0], [2.0, 0.1]]), "y": np.array([0, 1])}

    def ask(name: str, scale: float) -> np.ndarray:
        return run(program, name, x, weights(program, {"backbone": 1.0, "teacher.backbone": scale}), dtype="float64")[0]

    assert np.abs(ask("plain", 1.0) - ask("plain", 2.0)).max() > 0.1  # they are the teacher's own
    np.testing.assert_allclose(ask("led", 2.0), ask("free", 2.0) + 3 * (ask("plain", 2.0) - ask("free", 2.0)), rtol=1e-9)


REPEATED = """stage half for n in [4, 2, 1] from base {
  teacher = frozen(parent)
  loss imitation { minimize mean((velocity(x, 0.5) - n * teacher.velocity(x, 0.5))^2) }
  sampler euler(steps = n)
}
"""


def test_a_repeated_stage_follows_from_the_one_before() -> None:
    made = programs(BASE + REPEATED)
    assert list(made) == ["base", "half_4", "half_2", "half_1"]
    for before, after in zip(list(made)[:-1], list(made)[1:], strict=True):
        assert [p.digest for p in made[after].parents] == [made[before].digest]
        assert set(made[after].networks) == {"backbone", "teacher.backbone"}
    assert len({p.digest for p in made.values()}) == 4
    graphs = [driver.prepare(program) for program in made.values()]
    assert [network_calls(g, "euler").calls for g in graphs] == [4, 4, 2, 1]
    lanes = [max(n["lanes"] for n in walk(g.functions["euler"].block) if n.op is Op.CALL) for g in graphs]
    assert lanes == [2, 1, 1, 1]  # guidance stays behind with the parent's samplers


def test_a_view_of_a_stage_reaches_its_own_teacher() -> None:
    text = (
        BASE
        + STUDENT
        + """
stage third from student {
  before = frozen(student)
  query old { return before.teacher.velocity(x, 0.5) }
}
"""
    )
    third = programs(text)["third"]
    assert "before.teacher.backbone" in third.networks
    assert "teacher.backbone" in third.networks  # of the loss that it takes over
    assert Share(path="teacher.backbone", of="teacher.backbone", frozen=True) in third.parents[0].shares
    assert third.entries["imitation"].over == ("backbone",)
    assert Share(path="before.teacher.backbone", of="teacher.backbone", frozen=True) in third.parents[0].shares


def test_a_stage_of_another_file(tmp_path: Path) -> None:
    (tmp_path / "base.spec").write_text(BASE)
    text = 'specc 1\nimport "base.spec" as there\n' + STUDENT.replace("from base", "from there.base").replace(
        "(base)", "(there.base)"
    )
    student = programs(text, tmp_path)["student"]
    assert student.parents[0].digest == programs(BASE)["base"].digest


def test_errors_of_a_parent_are_told_once_and_its_stage_is_left() -> None:
    source = Source("s.spec", (BASE + STUDENT).replace("process linear", "process liner"))
    made = elaborate(parse(source)[0], source)
    assert {(d.code, str(d.span)) for d in made.diagnostics if d.severity == "error"} == {("E0203", "s.spec:6:11")}
    assert not made.programs


def test_parameters_and_states_of_no_network_come_along() -> None:
    text = """specc 1
model base {
  data x: vector(2) from moons
  param w: vector(2) = 1
  state a: scalar = 0
  loss size { update a = 0.9 * a + 0.1 * batch.mean(sum(x)); minimize sum((x - w)^2) }
  query far { return x - w - a }
}
stage nearer from base {
  before = frozen(base)
  loss size { minimize sum((x - w)^2) + sum((w - before.w)^2) }
}
"""
    nearer = programs(text)["nearer"]
    assert {(s.path, s.of, s.frozen) for s in nearer.parents[0].shares} == {
        ("before_w", "w", True), ("w", "w", False), ("a", "a", False)
    }  # fmt: skip
    assert nearer.entries["size"].over == ("w",)


# Hashes


def test_a_hash_covers_the_model_and_its_parents_and_no_other() -> None:
    before = {name: p.digest for name, p in programs(BASE + STUDENT).items()}
    assert before["base"] == programs(BASE)["base"].digest
    stage = {
        name: p.digest for name, p in programs(BASE + STUDENT.replace("mean(", "2 * mean(").replace("The st", "A st")).items()
    }
    assert stage["base"] == before["base"] and stage["student"] != before["student"]
    parent = {name: p.digest for name, p in programs(BASE.replace("steps = 7", "steps = 8") + STUDENT).items()}
    assert parent["base"] != before["base"] and parent["student"] != before["student"]


# Averages


AVERAGED = (
    BASE
    + """stage student from base {
  loss follow(slow = 0.9) {
    target = ema(backbone, SLOW)
    minimize mean((velocity(x, 0.5) - stop(target.velocity(x, 0.5)))^2)
  }
}
"""
)


def test_an_average_is_a_network_over_other_weights() -> None:
    program = programs(AVERAGED.replace("SLOW", "slow"))["student"]
    assert program.averages == (Average(path="target", of="backbone", decay=0.9),)
    assert program.networks["target"] == program.networks["backbone"] and program.untrained("target")
    assert program.entries["follow"].over == ("backbone",)
    assert {s.path for s in program.parents[0].shares} == {"backbone"}  # it starts where its network does
    value = run(
        driver.prepare(program),
        "follow",
        {"x": np.ones((2, 2)), "y": np.zeros(2, int)},
        weights(program, {"backbone": 1.0, "target": 1.0}),
        dtype="float64",
    )[0]
    np.testing.assert_allclose(value, 0, atol=1e-12)


def test_a_decay_may_depend_on_how_far_training_is() -> None:
    program = programs(AVERAGED.replace("SLOW", "1 - (1 - slow) * exp(-progress) / (1 + step)"))["student"]
    (average,) = program.averages
    assert isinstance(average.decay, str)
    function = program.functions[average.decay]
    got = evaluate(function, [np.array(3), np.array(0.5)], program.functions)[0]
    np.testing.assert_allclose(got, 1 - 0.1 * np.exp(-0.5) / 4, rtol=1e-12)
    assert average.decay in driver.prepare(program).functions  # passes keep what only the trainer calls


@pytest.mark.parametrize(
    ("decay", "code"),
    [("mean(x)", "E0305"), ("1", "E0601"), ("-0.1", "E0601"), ("mean(velocity(x, 0.5))", "E0305")],
)
def test_a_decay_is_one_number_at_each_step(decay: str, code: str) -> None:
    source = Source("s.spec", AVERAGED.replace("SLOW", decay))
    made = elaborate(parse(source)[0], source)
    assert code in {d.code for d in made.diagnostics}


HELD = """specc 1
model a {
  data x: vector(2) from moons
  param codes: matrix(3, 2) = normal(1)
  look(v) = sum(codes[0] * v)
  loss fit { minimize sum((codes[0] - x)^2) }
  query score { return look(x) }
}
stage b from a {
  before = frozen(a)
  loss fit { minimize sum((codes[0] - before.codes[1])^2) }
  query score { return before.look(x) + look(x) }
}
stage c from b {
  older = frozen(b)
  query score { return older.look(x) + before.look(x) + sum(older.before.codes) }
}
stage d from a {
  param before_codes: vector(2) = 1
  before = frozen(a)
  query score { return before.look(x) + sum(before_codes) }
}
"""


def test_a_parameter_of_a_parent_comes_from_there() -> None:
    """Under a path without dots, in each program of a chain, and apart from a parameter that the stage calls so itself."""
    made = programs(HELD)
    shares = {name: {(s.path, s.of) for s in made[name].parents[0].shares if s.frozen} for name in "bcd"}
    assert shares["b"] == {("before_codes", "codes")}
    assert shares["c"] == {
        ("before_codes", "before_codes"),
        ("older_codes", "codes"),
        ("older_before_codes", "before_codes"),
    }
    assert shares["d"] == {("before_codes_", "codes")}
    assert [(b.path, b.shape, b.trainable) for b in made["d"].bare if b.path.startswith("before")] == [
        ("before_codes", (2,), True),
        ("before_codes_", (3, 2), False),
    ]


def test_a_sampler_of_a_parent_is_a_function() -> None:
    """As it is there, guided, with knobs and defaults; its draws are those of a sampler that is written out."""
    parent = BASE.replace(
        "sampler euler(steps = 4)", "sampler fast = euler(steps = 4)\n  sampler own(k = 2) { e ~ prior(); return k * e }"
    )
    lines = "sampler one { return teacher.fast() }\n  sampler two { return teacher.own() }\n"
    lines += "  sampler six { return teacher.own(k = 6) }\n"
    student = STUDENT.replace("  sampler one { z ~ prior(); return z - velocity(z, t_max) }", f"  {lines}")
    student = student.replace("- teacher.velocity(z, t)", "- teacher.fast()")
    made = {name: driver.prepare(program) for name, program in programs(parent + student).items()}
    assert network_calls(made["student"], "one") == network_calls(made["base"], "fast")
    inputs = {"seed": np.arange(3), "y": np.array([0, 1, 1])}
    scale = {"backbone": 1.0, "teacher.backbone": 2.0}

    def draw(model: str, name: str, scale: dict[str, float]) -> np.ndarray:
        program = made[model]
        return run(program, name, inputs, weights(program, scale))[0]

    theirs = draw("base", "fast", {"backbone": 2.0})
    np.testing.assert_array_equal(draw("student", "one", scale), theirs)
    assert np.abs(theirs - draw("base", "fast", {"backbone": 1.0})).max() > 0.1
    np.testing.assert_array_equal(draw("student", "two", scale), draw("base", "own", {"backbone": 2.0}))
    np.testing.assert_allclose(draw("student", "six", scale), 3 * draw("student", "two", scale))


@pytest.mark.parametrize("said", ["teacher.fast", "frozen(base).fast", "teacher.fast(steps = 2)"])
def test_a_sampler_of_a_parent_is_taken_by_name(said: str) -> None:
    base, student = BASE.replace("sampler euler", "sampler fast = euler"), STUDENT.split("  sampler one")[0]
    body = said if said.endswith(")") else f"{said}()"
    short, long = (
        programs(f"{base}{student}  sampler taken {text}\n}}\n")["student"] for text in (f"= {said}", f"{{ return {body} }}")
    )
    steps = 2 if said.endswith(")") else 4
    assert network_calls(driver.prepare(short), "taken") == network_calls(driver.prepare(long), "taken")
    found = network_calls(driver.prepare(short), "taken")
    assert found is not None and found.calls == steps
    rng = np.random.default_rng(0)
    weights = {path: rng.normal(size=shape) for path, shape in parameters(short.functions, short.networks).items()}
    given = {"seed": np.arange(3), "y": np.zeros(3, int)}
    np.testing.assert_array_equal(run(short, "taken", given, weights)[0], run(long, "taken", given, weights)[0])


def test_a_stage_leaves_optimizers_of_players_that_it_does_not_train() -> None:
    game = """specc 1
model game {
  data x: vector(2) from moons
  latent z: vector(2) ~ normal
  network G(z) -> like(x) = dense(width = 4, depth = 1)
  network D(x) -> scalar = dense(width = 4, depth = 1)
  loss both {
    minimize D(x) - D(stop(G(z))) over D
    minimize -D(G(z)) over G
  }
  sampler one { return G(z) }
  train { optimizer = adam(lr = 1e-3); optimizer D = adam(lr = 4e-3); optimizer G = adam(lr = 2e-3) }
}
stage half from game {
  teacher = frozen(game)
  loss imitation { minimize sum((G(z) - teacher.G(z))^2) over G }
}
"""
    made = programs(game)
    assert [dict(made[name].setting("optimizers")).keys() for name in ("game", "half")] == [{"D", "G"}, {"G"}]


@pytest.mark.parametrize("name", ["exact", "normal", "letters", "cosine", "channel"])
def test_a_parent_hides_no_other_word(name: str) -> None:
    """Models are a kind of their own: what is called like one is still itself, in stages too."""
    base = f"""specc 1
model {name} {{
  data x: vector(2) from moons
  process linear
  coupling minibatch_ot(solver = exact)
  backbone mlp(width = 8, depth = 1)
  predict velocity
  sampler euler(steps = 4)
  train {{ decay = cosine }}
}}
"""
    stage = f"""
stage student from {name} {{
  teacher = frozen({name})
  param w: vector(2) = normal(0.02)
  loss imitation {{
    e ~ normal(0, 1, like = x)
    partner = batch.take(e, batch.assign(batch.cost(x, e, sqdist), solver = exact))
    minimize mean((velocity(x, 0.5) - teacher.velocity(x, 0.5) + w * partner)^2)
  }}
}}
stage read from {name} {{
  data x: tokens(8, 27) from text("corpus.txt", level = letters)
  process masking
  coupling independent
  backbone transformer(dim = 8, depth = 1, heads = 1)
  predict logits
  loss masked_elbo
  sampler ancestral(steps = 2)
}}
"""
    made = programs(base + stage)
    assert made["student"].parents[0].name == name
    assert made["read"].data[0].reader.get("level") == "letters"


def test_a_parent_that_is_not_there_has_a_neighbour() -> None:
    text = (BASE + STUDENT).replace("frozen(base)", "frozen(bsae)")
    source = Source("s.spec", text)
    (found,) = elaborate(parse(source)[0], source).diagnostics
    assert (found.code, found.help) == ("E0304", "did you mean `base`?")


def test_a_patch_of_the_parent_is_one_of_the_stage() -> None:
    """Its network is the stage's, changed at the same place."""
    patch = '  patch louder from backbone { at "linear"(h) = 2 * h }\n  sampler loud = louder.euler(steps = 2)\n'
    made = programs(BASE.replace("  train", f"{patch}  train") + "stage more from base { train { steps = 3 } }\n")
    rng = np.random.default_rng(0)
    weights = {
        path: rng.normal(size=shape) for path, shape in parameters(made["more"].functions, made["more"].networks).items()
    }
    given = {"seed": np.arange(3), "y": np.zeros(3, int)}
    loud, plain = (run(made["more"], name, given, weights)[0] for name in ("loud", "euler"))
    np.testing.assert_array_equal(loud, run(made["base"], "loud", given, weights)[0])
    assert np.abs(loud - plain).max() > 1e-3
