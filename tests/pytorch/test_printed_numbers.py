"""Functions of plain numbers as printed: Python's own, with the literals that a person would write."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from projects import imported
from specc.backends.pytorch.expressions import Level
from specc.backends.pytorch.numbers import literal, number

from specc import driver

TEXT = """specc 1
model clocked {
  data x: vector(2) from moons
  param w: vector(2) = 1
  loss late(first = 0.05, last = 0.005) {
    g = last + (first - last) * (1 + cos(pi * progress)) / 2
    h = sin(2 * pi * progress) * tanh(progress) + exp(-3 * progress) + sqrt(progress)
    minimize g * sum((w - x)^2) + h * sum(w^2)
  }
  query score { return sum(w * x) }
  train { optimizer = sgd(lr = 1e-2); steps = 2; batch = 8 }
}
"""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.05 - 0.005, "0.045"),
        (0.1 + 0.2, "0.3"),
        (1 / 3, "0.3333333333333333"),
        (0.1234567890123456, "0.1234567890123456"),
        (1e-5, "1e-5"),
        (math.pi, "math.pi"),
        (-math.pi, "-math.pi"),
        (2.0, "2"),
    ],
)
def test_a_literal_is_what_was_meant(value: float, text: str) -> None:
    assert literal(value) == text
    assert abs(eval(text) - value) <= math.ulp(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1 / 7, "1 / 7"),
        (2 / 17, "2 / 17"),
        (math.log(1000) / 31, "math.log(1000) / 31"),
        (math.log(2 * math.pi) / 2, "math.log(2 * math.pi) / 2"),
        (math.sqrt(2), "math.sqrt(2)"),
        (-math.sqrt(4.01), "-math.sqrt(4.01)"),
        (1 / math.sqrt(18), "1 / math.sqrt(18)"),
        (3 * math.pi / 4, "3 * math.pi / 4"),
        (1 - 0.99, "1 - 0.99"),
        (0.002 ** (1 / 7), "0.002 ** (1 / 7)"),
        (0.49999599998399985, "0.49999599998399985"),
        (0.1 + 0.2, "0.3"),
        (0.05, "0.05"),
    ],
)
def test_what_was_worked_out_is_written_as_it_was(value: float, text: str) -> None:
    assert number(value).text == text
    assert number(value).at(Level.ATOM).startswith("(") == (number(value).level < Level.ATOM)


@given(st.floats(-1e6, 1e6) | st.builds(lambda p, q: p / q, st.integers(-999, 999), st.integers(1, 999)))
def test_no_text_is_another_number(value: float) -> None:
    assert abs(eval(number(value).text, {"math": math}) - value) <= math.ulp(value)


def test_turns_are_products() -> None:
    assert [number(v).text for v in (2 * math.pi, -math.pi / 2)] == ["2 * math.pi", "-math.pi / 2"]
    assert number(2 * math.pi).at(Level.POWER) == "(2 * math.pi)"


def test_numbers_of_the_clock_are_no_tensors(tmp_path: Path) -> None:
    (tmp_path / "s.spec").write_text(TEXT)
    (program,) = driver.check(tmp_path / "s.spec").programs.values()
    driver.emit(program, "pytorch", tmp_path / "project")
    text = (tmp_path / "project" / "objective.py").read_text()
    assert "g = 0.005 + 0.045 * (1 + math.cos(math.pi * progress)) / 2\n" in text
    assert "math.sin(2 * math.pi * progress) * math.tanh(progress) + math.exp(-3 * progress) + math.sqrt(progress)" in text
    assert "float64" not in text and "torch.tensor" not in text
    with imported(tmp_path / "project") as found:
        model, x, p = found.model.Model(), torch.tensor([[0.0, 3.0]]), 0.3
        g = 0.005 + 0.045 * (1 + math.cos(math.pi * p)) / 2
        h = math.sin(2 * math.pi * p) * math.tanh(p) + math.exp(-3 * p) + math.sqrt(p)
        assert found.objective.loss(model, x, progress=p).item() == pytest.approx(g * 5 + h * 2, rel=1e-6)
