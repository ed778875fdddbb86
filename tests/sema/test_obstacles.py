"""Gradients in samplers that pass by what has none: loops that stop by themselves are refused only where one goes through."""

from __future__ import annotations

from pathlib import Path

import pytest

from specc import driver

SPEC = """specc 1
network settling(z: vector(2), t: scalar) {{
  w = linear(z, 2)
  n = batch.each(0.0)
  while n < 2 + sum(w^2) limit 9 {{ n = n + 1; w = 0.9 * w }}
  return {returned}
}}
model m {{
  data x: vector(2) from eight_gaussians
  process linear
  backbone settling
  predict velocity
  sampler guided {{
    z ~ normal(like = x)
    {lines}
    return z - grad({of}, z)
  }}
}}
"""
CALLED, CARRIED = "sum(backbone(z, 0.5))", "a = z; b = z; for k in 0..3 {{ {} = 0.5 * {}; b = backbone(b, 0.5) }}"


@pytest.mark.parametrize(
    ("returned", "lines", "of", "refused"),
    [
        ("w", "", CALLED, True),
        ("stop(w) * z", "", CALLED, False),
        ("w", CARRIED.format("a", "a"), "sum(a)", False),  # the loop carries the other along
        ("w", CARRIED.format("a", "(a + b)"), "sum(a)", True),  # two rounds from one to the other
        ("w", "b = backbone(stop(z), 0.5)", "sum(b * z)", False),
        ("w", "if mean(batch.mean(z)) > 0 { b = backbone(z, 0.5) } else { b = z }", "sum(b)", True),
    ],
)
def test_a_while_is_refused_where_a_gradient_goes_through(
    returned: str, lines: str, of: str, refused: bool, tmp_path: Path
) -> None:
    path = tmp_path / "m.spec"
    path.write_text(SPEC.format(returned=returned, lines=lines, of=of))
    checked = driver.check(path)
    assert [d.code for d in checked.diagnostics if d.severity == "error"] == ["E0506"] * refused
    if not refused:
        driver.prepare(checked.programs["m"])  # which writes the gradient out
