"""The elaborator: names, shapes, functions, draws, loops, networks, guidance, models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sema_helpers import codes, elaborated, entry, errors, loss, model, network, nodes, ops, program, sampler, text

from specc.ir.ops import Op
from specc.ir.program import Program
from specc.ir.types import EXAMPLE, DType
from specc.passes.count import parameters
from specc.reference.interpret import run
from specc.sema import elaborate
from specc.syntax.parser import parse, read

LOSS = "t ~ times()\ne ~ source()\nz = draw(x, e, t)\n"
GAP = "minimize mean((out(z, t) - target(x, e, t))^2)"


def result(made: Program, name: str, **inputs: object) -> np.ndarray:
    rng = np.random.default_rng(0)
    weights = {path: rng.normal(size=shape) for path, shape in parameters(made).items()}
    return run(made, name, inputs, weights)[0]


# Names


def test_an_inline_body_sees_the_model_around_it() -> None:
    made = sampler("z ~ prior()\nreturn scale * z", "scale = 3", process="process vp", predict="predict v")
    plain = sampler("z ~ prior()\nreturn z", process="process vp", predict="predict v")
    seed = np.arange(4)
    assert np.allclose(result(made, "mine", seed=seed), 3 * result(plain, "mine", seed=seed))


def test_a_network_does_not_see_the_model_around_it() -> None:
    spec = text("scale = 3", before="network mine(z: vector(n), t: scalar) -> like(z) { return scale * linear(z, n) }")
    assert "E0201" in codes(spec.replace("mlp(width = 8)", "mine"))


def test_kinds_have_names_of_their_own() -> None:
    made = model(
        before="network linear_(z: vector(n), t: scalar) -> like(z) { return linear(z, n) }\n"
        "weight linear_ for gaussian { of_x0(t) = 1 }",
        backbone="backbone linear_",
    )
    assert set(made.networks) == {"backbone"}


def test_a_bare_word_is_what_its_parameter_may_be() -> None:
    uniform, karras = (model(sampler=f"sampler heun(steps = 4{s})") for s in (", spacing = uniform", ""))
    assert entry(uniform, "heun").doc != entry(karras, "heun").doc
    assert len(ops(entry(uniform, "heun"))) != len(ops(entry(karras, "heun")))


def test_a_definition_of_the_file_hides_the_librarys_with_a_warning() -> None:
    spec = text(before="sampler euler(steps = 2) for gaussian { z ~ prior(); return 0 * z }")
    assert codes(spec) == ["W0701", "W0702"]  # it does not read `steps` either


def test_did_you_mean() -> None:
    (found,) = errors(text(sampler="sampler mine { z ~ priro(); return z }"))
    assert found.help == "did you mean `prior`?"
    assert found.span.text == "priro"


# Shapes


@pytest.mark.parametrize(
    ("expression", "code"),
    [("z + zeros(3)", "E0302"), ("z * ones(1)", "E0302"), ("z + ones(2, 2)", "E0302"), ("max(z, ones(3))", "E0302")],
)
def test_nothing_is_broadcast_silently(expression: str, code: str) -> None:
    assert codes(text(sampler=f"sampler mine {{ z ~ prior(); return {expression} }}")) == [code]


def test_a_scalar_combines_with_anything() -> None:
    made = sampler("z ~ prior()\nu = sum(z)\nreturn 2 * z + u - 1")
    assert result(made, "mine", seed=np.arange(3)).shape == (3, 2)


def test_expand_names_the_new_axes() -> None:
    made = network(
        "a = linear(z, 3)\nb = expand(z, like = zeros(2, 3), axis = 1) + expand(a, like = zeros(2, 3))\nreturn sum(b, axis = 1)"
    )
    assert made.functions["mine"].block.results[0].type.shape == (2,)


def test_sizes_in_types_are_variables() -> None:
    made = network("return linear(z, n)")
    assert parameters(made)["backbone.linear.weight"] == (2, 2)


# Functions


def test_equations_become_functions_of_their_names() -> None:
    made = model(process="process vp", predict="predict eps", sampler="sampler ddim(steps = 3)")
    assert {"alpha", "sigma", "denoise_of"} <= set(made.functions)
    assert made.functions["alpha"].kind == "function"
    assert made.functions["alpha"].doc == "alpha(t) = exp(log_alpha(t))  [process vp]"
    called = {n["function"] for n in nodes(entry(made, "ddim"), Op.CALL)}
    assert {"alpha.2", "sigma.2"} <= called  # times of a sampler are shared, those of an objective vary by example


def test_a_function_that_calls_a_network_is_inlined() -> None:
    made = model()
    assert not {"velocity", "out"} & set(made.functions)
    assert [n["bundle"] for n in nodes(entry(made, "euler"), Op.CALL) if n["bundle"]] == ["backbone"]


def test_constants_are_not_written_as_functions() -> None:
    made = model(process="process ve", predict="predict eps", sampler="sampler heun(steps = 3)")
    assert "alpha" not in made.functions  # alpha(t) = 1


def test_local_functions_and_methods() -> None:
    made = sampler("f(u) = 2 * u\ng(u) {\n v = f(u)\n return v + 1\n}\nz ~ prior()\nreturn g(z)")
    plain = sampler("z ~ prior()\nreturn 2 * z + 1")
    assert np.allclose(result(made, "mine", seed=np.arange(2)), result(plain, "mine", seed=np.arange(2)))


def test_derivatives_are_exact() -> None:
    made = sampler("f(u) = u^3 + exp(2 * u)\nz ~ prior()\nreturn z * f'(0.5) + 0 * f'(z[0])")
    plain = sampler("z ~ prior()\nreturn z * (3 * 0.25 + 2 * exp(1))")
    assert np.allclose(result(made, "mine", seed=np.arange(2)), result(plain, "mine", seed=np.arange(2)))


def test_pipes_and_function_values() -> None:
    made = sampler("apply(f, u) = f(u)\nz ~ prior()\nreturn apply(u => u + 1, z) |> abs")
    assert (result(made, "mine", seed=np.arange(3)) >= 0).all()


# Draws


def places(made: Program, name: str) -> list[int]:
    return [n["place"] for op in (Op.NORMAL, Op.UNIFORM) for n in nodes(entry(made, name), op)]


def test_draws_have_places_in_text_order() -> None:
    made = sampler("a ~ normal(like = x)\nb ~ uniform(0, 1)\nc ~ normal(like = x)\nreturn a + b * c")
    assert sorted(places(made, "mine")) == [0, 1, 2]


def test_two_draws_of_one_law_differ() -> None:
    made = sampler("q = normal(like = x)\na ~ q\nb ~ q\nreturn a - b")
    assert (result(made, "mine", seed=np.arange(3)) != 0).all()


def test_code_that_draws_nothing_moves_no_place() -> None:
    before = sampler("a ~ normal(like = x)\nb ~ normal(like = x)\nreturn a + 2 * b")
    after = sampler("f(u) = 2 * u\nk = 3 - 1\na ~ normal(like = x)\nif k == 2 { m = 1 }\nb ~ normal(like = x)\nreturn a + f(b)")
    assert np.allclose(result(before, "mine", seed=np.arange(4)), result(after, "mine", seed=np.arange(4)))


def test_a_draw_in_a_loop_takes_its_index() -> None:
    made = sampler("z ~ prior()\nfor k in 1..3 { w ~ normal(like = z); z = z + w }\nreturn z")
    (drawn,) = [n for n in nodes(entry(made, "mine"), Op.NORMAL) if len(n.inputs) == 2]
    (loop,) = nodes(entry(made, "mine"), Op.FOR)
    assert drawn.inputs[1].id == loop.regions[0].params[0].id


def test_samplers_draw_by_seed_and_objectives_do_not() -> None:
    made = model()
    assert all(n["keyed"] for n in nodes(entry(made, "euler"), Op.NORMAL))
    assert not any(n["keyed"] for op in (Op.NORMAL, Op.UNIFORM) for n in nodes(entry(made, "mse"), op))


# Loops


def test_repeat_is_one_function_with_parameters_of_its_own_each_time() -> None:
    made = network("h = linear(z, 8)\nrepeat 3 { h = silu(linear(h, 8)) }\nreturn linear(h, n)")
    (turn,) = nodes(made.functions["mine"], Op.REPEAT)
    assert (turn["count"], turn["carried"]) == (3, 1)
    names = list(parameters(made))
    assert "backbone.layer.2.linear.weight" in names and "backbone.layer.3.linear.weight" not in names


def test_repeat_of_one_network_keeps_its_name() -> None:
    made = network("h = z\nrepeat 2 { h = mlp(h, hidden = 4) }\nreturn h")
    assert "backbone.mlp.1.linear.weight" in parameters(made)


def test_repeat_captures_what_it_reads() -> None:
    made = network("k = linear(fourier(t), 8)\nh = linear(z, 8)\nrepeat 2 { h = linear(h, 8) + k }\nreturn linear(h, n)")
    (turn,) = nodes(made.functions["mine"], Op.REPEAT)
    assert len(turn.inputs) == 2 and turn["carried"] == 1


def test_static_for_writes_the_turns_out_and_shapes_may_change() -> None:
    made = network("h = z\nstatic for w in [4, 8, 16] { h = linear(h, w) }\nreturn linear(h, n)")
    assert [s for p, s in parameters(made).items() if p.endswith("weight")] == [(4, 2), (8, 4), (16, 8), (2, 16)]


def test_static_for_counts_down() -> None:
    made = network(
        "h = z\nskips = []\n"
        "static for i in 1..2 { h = linear(h, 4 * i)\n skips = skips + [h] }\n"
        "static for i in 2..1 { h = linear(concat(h, skips[i - 1]), 4) }\nreturn linear(h, n)"
    )
    assert parameters(made)["backbone.linear3.weight"] == (4, 16)


def test_a_loop_carries_what_it_reassigns() -> None:
    made = sampler("z ~ prior()\nk = 0\nfor (t, s) in grid(5) { z = z / 2; k = k + 1; unused = z }\nreturn z + k")
    (loop,) = nodes(entry(made, "mine"), Op.FOR)
    assert [v.name for v in loop.outputs] == ["z", "k"]


def test_what_a_loop_carries_may_be_the_same_for_all_examples_after_a_turn() -> None:
    turn = "z = z + (s - t) * v\nv = [1.0, 2.0]"
    made = sampler(f"z ~ prior()\nv = z\nfor (t, s) in grid(3) {{\n{turn}\n}}\nreturn z")
    start = result(sampler("z ~ prior()\nreturn z"), "mine", seed=np.arange(8))
    np.testing.assert_allclose(result(made, "mine", seed=np.arange(8)), start - start / 3 - 2 / 3 * np.array([1, 2]), rtol=1e-6)


def test_a_carried_number_that_comes_to_vary_varies_from_the_start() -> None:
    made = sampler("z ~ prior()\nk = 0\nfor i in 1..3 { k = k + sum(z) }\nreturn z * k")
    (loop,) = nodes(entry(made, "mine"), Op.FOR)
    assert EXAMPLE in loop.outputs[0].type.axes


def test_if_is_resolved_while_compiling_or_selects() -> None:
    static = sampler("z ~ prior()\nif 1 < 2 { z = 2 * z } else { z = nonsense }\nreturn z")
    assert Op.WHERE not in ops(entry(static, "mine"))
    select = sampler("z ~ prior()\nif sum(z) > 0 { z = 2 * z } else { z = -z }\nreturn z")
    assert Op.WHERE in ops(entry(select, "mine"))
    got, plain = (result(m, "mine", seed=np.arange(8)) for m in (select, sampler("z ~ prior()\nreturn z")))
    assert np.allclose(got, np.where(plain.sum(1, keepdims=True) > 0, 2 * plain, -plain))


def test_a_while_has_a_limit() -> None:
    made = sampler("z ~ prior()\nn = batch.each(0.0)\nwhile n < 2 + sum(z^2) limit 50 { n = n + 1 }\nreturn 0 * z + n")
    (loop,) = nodes(entry(made, "mine"), Op.WHILE)
    assert loop["limit"] == 50
    assert len(set(result(made, "mine", seed=np.arange(20))[:, 0])) > 1


# Networks


def test_layers_are_numbered_from_the_second_on() -> None:
    assert list(parameters(network("return linear(silu(linear(z, 4)), n)"))) == [
        "backbone.linear.weight",
        "backbone.linear.bias",
        "backbone.linear2.weight",
        "backbone.linear2.bias",
    ]


def test_tags_name_layers_and_networks() -> None:
    made = network(
        'a = linear(z, 4) tag "enter"\nstatic for i in 1..2 { a = mlp(a, hidden = 4) tag "level.{i}" }\nreturn linear(a, n)'
    )
    assert {"backbone.enter.weight", "backbone.level.1.linear.weight", "backbone.level.2.linear2.bias"} <= set(parameters(made))


def test_parameters_keep_their_paths_when_others_come() -> None:
    small = parameters(network('h = linear(z, 4) tag "a"\nh = linear(h, n) tag "b"\nreturn h'))
    large = parameters(network('h = linear(z, 4) tag "a"\nh = linear(silu(h), 4)\nh = linear(h, n) tag "b"\nreturn h'))
    assert set(small) < set(large)


def test_a_network_is_written_once_for_each_shape() -> None:
    made = network("return mlp(mlp(z, hidden = 4), hidden = 4) + mlp(linear(z, 6), hidden = 4, width = n)")
    assert sorted(name for name in made.functions if name.startswith("mlp")) == ["mlp", "mlp.2"]


def test_bare_parameters() -> None:
    made = network("param w: matrix(n, n) = normal(0.02)\nparam b: vector(n)\nreturn z @ w + b")
    assert parameters(made) == {"backbone.w": (2, 2), "backbone.b": (2,)}


def test_a_network_takes_conditions_by_name() -> None:
    made = model("condition y: class(3) with { drop = 0.1 }")
    assert parameters(made)["backbone.embedding.weight"] == (4, 8)  # the null class is an index of its own
    made = model(
        "condition label: class(3)",
        "condition size = sum(x^2)",
        before="network mine(z: vector(n), t: scalar, size: scalar, label: any) -> like(z) {\n"
        "return linear(z, n) + embedding(label, n) * size\n}",
        backbone="backbone mine",
    )
    assert [i.name for i in made.entries["euler"].inputs] == ["seed", "label", "size"]


def test_knobs_of_networks_are_bound_by_name_or_place() -> None:
    wide, narrow = (parameters(model(backbone=f"backbone {b}")) for b in ("mlp(8, depth = 2)", "mlp(width = 8, depth = 2)"))
    assert wide == narrow


# Inputs, guidance, conditions


def test_an_input_is_an_input_of_the_sampler_and_a_number_elsewhere() -> None:
    made = model("condition y: class(3) with { drop = 0.1 }", "guidance cfg(scale = input(2.0))")
    (scale,) = [i for i in made.entries["euler"].inputs if i.role == "argument"]
    assert (scale.name, scale.default, scale.type.dtype) == ("scale", 2.0, DType.FLOAT)
    assert not [i for i in made.entries["mse"].inputs if i.role == "argument"]


def test_an_input_takes_its_default() -> None:
    made = sampler("z ~ prior()\nreturn gain * z", "gain = input(2.0)")
    plain = sampler("z ~ prior()\nreturn z")
    (argument,) = [i for i in made.entries["mine"].inputs if i.role == "argument"]
    seed = np.arange(3)
    assert np.allclose(result(made, "mine", seed=seed), 2 * result(plain, "mine", seed=seed))
    assert np.allclose(result(made, "mine", seed=seed, **{argument.name: 5.0}), 5 * result(plain, "mine", seed=seed))


def test_guidance_rewrites_samplers_and_not_losses() -> None:
    made = model("condition y: class(3) with { drop = 0.1 }", "guidance cfg(scale = 2)")
    assert len([n for n in nodes(entry(made, "euler"), Op.CALL) if n["bundle"]]) == 2
    assert len([n for n in nodes(entry(made, "mse"), Op.CALL) if n["bundle"]]) == 1


def test_guidance_of_scale_one_is_the_conditional_model() -> None:
    y = "condition y: class(3) with { drop = 0.1 }"
    guided, plain = model(y, "guidance cfg(scale = 1)"), model(y)
    given = {"seed": np.arange(3), "y": np.array([0, 1, 2])}
    assert np.allclose(result(guided, "euler", **given), result(plain, "euler", **given))


def test_scale_zero_forgets_the_condition() -> None:
    made = model("condition y: class(3) with { drop = 0.1 }", "guidance cfg(scale = input(2.0))")
    samples = [result(made, "euler", seed=np.arange(3), y=np.full(3, k), scale=0.0) for k in (0, 2)]
    assert np.allclose(*samples)


def test_a_condition_drops_out_in_training_only() -> None:
    made = model("condition y: class(3) with { drop = 0.1 }")
    assert Op.WHERE in ops(entry(made, "mse")) and Op.WHERE not in ops(entry(made, "euler"))


def test_derived_conditions_are_computed_in_training_and_given_in_sampling() -> None:
    made = model(
        "condition c = sum(x^2)",
        before="network mine(z: vector(n), t: scalar, c: scalar) -> like(z) { return linear(z, n) * c }",
        backbone="backbone mine",
    )
    assert [i.name for i in made.entries["mse"].inputs] == ["x"]
    assert [(i.name, i.role) for i in made.entries["euler"].inputs] == [("seed", "seed"), ("c", "condition")]


# Objectives


def test_each_minimize_is_an_objective_in_text_order() -> None:
    made = loss(
        f"{LOSS}{GAP} over backbone\nminimize mean((D(x) - 1)^2) over D",
        "network D(x) -> scalar = critic",
        before="network critic(x: vector(n)) -> scalar { return sum(linear(x, 1)) }",
    )
    assert [(e.name, e.over) for e in made.by_role("objective")] == [
        ("mine_backbone", ("backbone",)),
        ("mine_D", ("D",)),
    ]


def test_an_objective_is_one_number_per_example() -> None:
    (value,) = entry(model(), "mse").block.results
    assert value.type.shape == () and EXAMPLE in value.type.axes


def test_without_a_loss_the_target_is_regressed() -> None:
    assert set(model().entries) == {"mse", "euler"}


def test_weights_mean_the_same_for_every_target() -> None:
    """snr-weighted regression of x is the regression of eps, whichever of the two the network is asked for."""
    shared = dict(process="process vp with { t_end = 0.2 }", backbone="backbone mine", sampler="sampler ddim(steps = 2)")
    exact = "network mine(z: vector(n), t: scalar) -> like(z) { return 0 * linear(z, n) }"
    as_eps = model("loss mse", before=exact, predict="predict eps", **shared)
    assert [e.role for e in as_eps.entries.values()] == ["objective", "sampler"]


# Models from models, imports


def test_a_model_from_another_replaces_what_it_says_anew() -> None:
    spec = text() + "model n from m {\n process trigonometric\n sampler heun(steps = 3)\n}\n"
    made = program(spec, "n")
    assert set(made.entries) == {"mse", "euler", "heun"}
    assert "cos" in made.functions["alpha"].doc
    assert set(elaborated(spec).programs) == {"m", "n"}


def test_a_model_may_replace_a_number_of_its_parent() -> None:
    spec = text("k = 2", sampler="sampler mine { z ~ prior(); return k * z }") + "model n from m { k = 5 }\n"
    seed = np.arange(2)
    assert np.allclose(2.5 * result(program(spec, "m"), "mine", seed=seed), result(program(spec, "n"), "mine", seed=seed))


def write(folder: Path, name: str, spec: str) -> Path:
    path = folder / name
    path.write_text(spec, encoding="utf-8")
    return path


def check(path: Path) -> tuple[set[str], list[str]]:
    source, _ = read(path)
    assert source is not None
    file, mistakes = parse(source)
    made = elaborate(file, source)
    return set(made.programs), [d.code for d in (*mistakes, *made.diagnostics)]


def test_imports_bring_definitions_and_models(tmp_path: Path) -> None:
    write(tmp_path, "base.spec", text(before="weight flat for gaussian { of_target(t) = 1 }"))
    body = "loss mse(weight = flat)"
    path = write(tmp_path, "main.spec", f'specc 1\nimport "base.spec" as base\nmodel n from base.m {{ {body} }}\n')
    assert check(path) == ({"n"}, [])


def test_what_an_imported_file_defines_may_be_called_by_its_alias(tmp_path: Path) -> None:
    twice = "function twice(u) { return 2 * u }\n"
    write(tmp_path, "base.spec", text(before=twice + "weight flat for gaussian { of_target(t) = 1 }"))
    head = 'specc 1\nimport "base.spec" as base\n'
    for body in ("loss base.mse", "loss mse(weight = base.flat)", "query q(a: scalar) { return base.twice(a) + twice(a) }"):
        path = write(tmp_path, "main.spec", f"{head}model n from base.m {{ {body} }}\n")
        assert check(path) == ((set(), ["E0203"]) if "base.mse" in body else ({"n"}, []))
    path = write(tmp_path, "main.spec", f"{head}model n from base.m {{ query q(a: scalar) {{ return base.thrice(a) }} }}\n")
    assert check(path) == (set(), ["E0201"])


def test_a_spec_that_comes_with_the_language_may_be_imported(tmp_path: Path) -> None:
    for name in ("ddpm.spec", "diffusion/ddpm.spec"):
        path = write(tmp_path, "main.spec", f'specc 1\nimport "{name}" as base\nmodel n from base.ddpm {{ times uniform }}\n')
        assert check(path) == ({"n"}, [])
    path = write(tmp_path, "main.spec", 'specc 1\nimport "dpm.spec" as base\nmodel n from base.ddpm { times uniform }\n')
    assert check(path)[1] == ["E0210", "E0203"]


def test_a_file_may_be_imported_by_two_ways(tmp_path: Path) -> None:
    write(tmp_path, "inner.spec", "specc 1\nweight flat for gaussian { of_target(t) = 1 }\n")
    write(tmp_path, "outer.spec", 'specc 1\nimport "inner.spec" as inner\n')
    both = 'specc 1\nimport "outer.spec" as outer\nimport "inner.spec" as inner\n'
    assert check(write(tmp_path, "main.spec", both + text("loss mse(weight = outer.flat)")[8:])) == ({"m"}, [])
    write(tmp_path, "other.spec", "specc 1\nweight flat for gaussian { of_target(t) = 2 }\n")
    clash = write(tmp_path, "clash.spec", both.replace('"inner', '"other') + text("loss mse(weight = flat)")[8:])
    assert check(clash)[1] == ["E0208"]


def test_imports_are_relative_to_the_file_that_imports(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    write(tmp_path / "parts", "inner.spec", "specc 1\nweight flat for gaussian { of_target(t) = 1 }\n")
    write(tmp_path / "parts", "outer.spec", 'specc 1\nimport "inner.spec" as inner\n')
    path = write(tmp_path, "main.spec", 'specc 1\nimport "parts/outer.spec" as parts\n' + text("loss mse(weight = flat)")[8:])
    assert check(path) == ({"m"}, [])


def test_with_replaces_members() -> None:
    made = model(process="process linear with { t_end = 0.25 }")
    assert 0.75 in [n["value"] for n in nodes(entry(made, "euler"), Op.CONST)]  # from 1 down to t_end


def test_every_default_has_an_origin() -> None:
    found = {(d.section, d.knob): d for d in elaborated(text()).defaults}
    assert found["coupling", ""].value == "independent" and found["coupling", ""].origin == "default"
    assert found["sampler euler", "steps"].value == "4"
