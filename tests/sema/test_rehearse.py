"""Samplers tried out before there is a network: what is found, where, and what is left alone."""

from __future__ import annotations

import pytest
from sema_helpers import codes, elaborated, errors, text

from specc.sema.rehearse import visited


def sampler(body: str) -> str:
    return text(sampler=f"sampler mine {{\n{body}\n}}")


def test_a_division_at_the_end_is_found_with_its_time() -> None:
    (found,) = errors(text(predict="predict x0", sampler="sampler heun(steps = 40)"))
    assert found.code == "E0406"
    assert "s = 0 (turn 39 of 39)" in found.message
    assert found.span.text == "heun(steps = 40)"
    (label,) = found.labels
    assert label.span.text == "(z - alpha(t) * out) / sigma(t)"


def test_the_way_out_is_one() -> None:
    spec = text(process="process linear with { t_end = 1e-3 }", predict="predict x0", sampler="sampler heun(steps = 40)")
    assert codes(spec) == []


def test_a_sampler_that_stops_before_is_left_alone() -> None:
    assert codes(text(predict="predict x0", sampler="sampler euler(steps = 40)")) == []


@pytest.mark.parametrize(
    "body",
    [
        "z ~ prior()\nw = where(z > 100, z / (t_min * z), z)\nreturn w",  # the branch that divides by zero is not taken
        "z ~ prior()\nu = z[0]\nreturn z * min(1 / abs(u - u), 5)",  # infinity on the way to a number
        "z ~ prior()\nreturn sqrt(denoise(z, 0.5))",  # a root that exists or not as the network likes
        "z ~ prior()\nreturn log(velocity(z, 0.5))",
    ],
)
def test_what_is_not_known_to_go_wrong_is_left_alone(body: str) -> None:
    assert codes(sampler(body)) == []


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("z ~ prior()\nu = z[0]\nreturn z / (u - u)", "divides by zero here"),
        ("z ~ prior()\nu = z[0]\nreturn z * log(u - u)", "takes the logarithm of zero or less here"),
        ("z ~ prior()\nreturn sqrt(-1 - z^2)", "takes the root of a negative number here"),
        ("z ~ prior()\nfor k in 1..100 { z = exp(10 + abs(z)) }\nreturn z", "leaves the range of numbers here"),
    ],
)
def test_what_went_wrong_is_said_at_its_expression(body: str, why: str) -> None:
    (found,) = errors(sampler(body))
    assert (found.code, found.labels[0].text) == ("E0406", why)


def test_an_argument_of_the_network_counts() -> None:
    (found,) = errors(text(predict="predict edm"))
    assert found.code == "E0406" and "t = 1" in found.message


def test_an_item_out_of_range_is_found() -> None:
    (found,) = errors(sampler("z ~ prior()\nv = zeros(3) + 1\nfor k in 1..3 { z = z * v[k] }\nreturn z"))
    assert found.code == "E0303" and "turn 3 of 3" in found.message


def test_large_examples_and_endless_loops_are_cheap() -> None:
    large = text(data='data x: image(3, 4096, 4096) from npy("x.npy")', backbone="backbone unet(width = 8)")
    assert elaborated(large).programs
    assert elaborated(text(sampler="sampler euler(steps = 1000000)")).programs


def test_the_ends_of_a_loop_are_always_visited() -> None:
    for count in range(1, 200):
        for few in (False, True):
            rounds = visited(count, few)
            assert rounds == sorted(set(rounds)) and {0, count - 1} <= set(rounds) <= set(range(count))


def test_an_error_of_the_network_is_followed_into_the_state() -> None:
    """`eps` at the noise end is safe in small steps and unsafe in large ones; only the large ones are warned about."""

    def steps(n: int) -> str:
        return text(process="process vp_cosine", predict="predict eps", sampler=f"sampler ddim(steps = {n})")

    assert codes(steps(500)) == []
    (found,) = elaborated(steps(5)).diagnostics
    assert (found.code, found.severity) == ("W0406", "warning")
    assert "t = 0.9999, s = 0.7999 (turn 1 of 5)" in found.message


def test_a_prediction_that_is_clipped_is_well_conditioned() -> None:
    predict = "predict eps with {\n  denoise(z, t) = clip(denoise_of(out(z, t), z, t), -1, 1)\n"
    predict += "  noise_of(z, t) = (z - alpha(t) * denoise(z, t)) / sigma(t)\n}"
    assert codes(text(process="process vp_cosine", predict=predict, sampler="sampler ddim(steps = 5)")) == []


def test_a_network_that_ignores_its_inputs() -> None:
    spec = text(
        "network size_of(z, t) = counted",
        before="network counted(z: vector(n), t: scalar) -> scalar { return n }",
        sampler="sampler mine { z ~ prior(); for k in 1..3 { z = z + size_of(z, t_max) * velocity(z, t_max) }; return z }",
    )
    assert codes(spec) == []
