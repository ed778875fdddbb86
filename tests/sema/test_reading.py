"""What a model asks of its data is what the reader declares."""

from __future__ import annotations

from pathlib import Path

import pytest

from specc import driver

REST = "process linear\nbackbone mlp(width = 8)\npredict velocity\nsampler euler(steps = 2)"


def codes(folder: Path, text: str) -> list[tuple[str, int]]:
    path = folder / "m.spec"
    path.write_text(f"specc 1\nmodel m {{\n{text}\n{REST}\n}}")
    return [(d.code, d.span.line) for d in driver.check(path).diagnostics if d.severity == "error"]


@pytest.mark.parametrize(
    ("reader", "classes"),
    [
        ("moons", 2),
        ("gaussians(k = 7)", 7),
        ("checkerboard(cells = 5)", 13),
        ("pinwheel(arms = 4)", 4),
        ("mixture(centres = [[0, 1], [1, 0], [1, 1]])", 3),
    ],
)
def test_classes_follow_the_knobs_of_the_reader(reader: str, classes: int, tmp_path: Path) -> None:
    data = f"data x: vector(2) from {reader}\ncondition label"
    assert codes(tmp_path, f"{data}: class({classes})") == []
    for other in (classes - 1, classes + 1):
        assert codes(tmp_path, f"{data}: class({other})") == [("E0312", 4)]
    assert codes(tmp_path, f"{data}: vector(2)") == [("E0312", 4)]


def test_a_mixture_has_the_dimension_of_its_centres(tmp_path: Path) -> None:
    assert codes(tmp_path, "data x: vector(3) from mixture(centres = [[0, 0, 1], [0, 1, 0]])") == []
    assert codes(tmp_path, "data x: vector(2) from mixture(centres = [[0, 0, 1], [0, 1, 0]])") == [("E0301", 3)]


def test_files_tell_their_classes_themselves(tmp_path: Path) -> None:
    assert codes(tmp_path, 'data x: vector(2) from csv("a.csv", label = "kind")\ncondition y: class(4)') == []
    assert codes(tmp_path, 'data x: vector(2) from npy("a.npy")\ncondition y: class(4)') == [("E0312", 4)]


def test_a_model_that_is_not_trained_reads_nothing(tmp_path: Path) -> None:
    path = tmp_path / "m.spec"
    body = "data x: vector(2) from ring\ncondition y: class(2)\nsampler s { e ~ normal(like = x); return e + y }"
    path.write_text(f"specc 1\nmodel m {{\n{body}\n}}")
    assert not driver.check(path).failed
