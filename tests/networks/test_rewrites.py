"""Networks seen and changed from within: what a tap gives, what a patch does, in the reference and as printed."""

from __future__ import annotations

import numpy as np
import pytest
from projects import agree
from specc.backends.onnx.write import initial

from specc import driver
from specc.ir.paths import parameters
from specc.ir.program import Program
from specc.reference.interpret import run
from specc.sema import elaborate
from specc.source import Source
from specc.syntax.parser import parse

MODEL = """specc 1
network inner(h: vector(d)) -> like(h) {{
  a = linear(h, d) tag "first"
  return silu(a) + h
}}
model m {{
  data x: vector(4) from csv("x.csv")
  backbone net(z: vector(4)) -> like(z) {{
    h = inner(z) tag "begin"
    repeat 3 {{ h = inner(h) }}
    both = concat([h, z]) tag "begin.join"
    return linear(both, 4)
  }}
  {section}
  query main {{ {body} }}
}}
"""
X = np.random.default_rng(0).standard_normal((5, 4))


def made(body: str, section: str = "") -> Program:
    source = Source("m.spec", MODEL.format(body=body, section=section))
    out = elaborate(parse(source)[0], source)
    errors = [f"{d.span}: {d.code} {d.message}" for d in out.diagnostics if d.severity == "error"]
    assert not errors, errors
    return out.programs["m"]


def weights(program: Program) -> dict[str, np.ndarray]:
    """Numbers that depend on a parameter's path alone."""
    return {
        path: np.random.default_rng(list(path.encode())).standard_normal(shape) / 2
        for path, shape in parameters(program.functions, program.networks).items()
    }


def ask(body: str, section: str = "") -> tuple[np.ndarray, ...]:
    program = made(body, section)
    return run(driver.prepare(program), "main", {"x": X}, weights(program), dtype="float64")


def inner(h: np.ndarray, w: dict[str, np.ndarray], at: str) -> tuple[np.ndarray, np.ndarray]:
    a = h @ w[f"backbone.{at}.first.weight"].T + w[f"backbone.{at}.first.bias"]
    return a, a / (1 + np.exp(-a)) + h


def by_hand(change: dict[str, float] | None = None) -> dict[str, np.ndarray]:
    """Every place of the network, with some values multiplied."""
    w, scale = weights(made("return backbone(x)")), change or {}
    seen: dict[str, np.ndarray] = {}

    def at(path: str, value: np.ndarray) -> np.ndarray:
        seen[path] = scale.get(path, 1.0) * value
        return seen[path]

    h = X
    for path in ("begin", "inner.0", "inner.1", "inner.2"):
        a = at(f"{path}.first", inner(h, w, path)[0])
        h = at(path, a / (1 + np.exp(-a)) + h)
    both = at("begin.join", np.concatenate([h, X], axis=1))
    seen["output"] = both @ w["backbone.linear.weight"].T + w["backbone.linear.bias"]
    return seen


@pytest.mark.parametrize("path", ["begin", "inner.1", "inner.2.first", "begin.first", "begin.join"])
def test_a_tap_gives_the_value_at_its_place(path: str) -> None:
    np.testing.assert_allclose(ask(f'return tap(backbone, "{path}")(x)')[0], by_hand()[path], rtol=1e-9)


def test_several_places_and_the_output_in_one_pass() -> None:
    got = ask('a, out, b = tap(backbone, "inner.0", output, "inner.2.first")(x); return (a, out, b)')
    want = by_hand()
    for value, path in zip(got, ("inner.0", "output", "inner.2.first"), strict=True):
        np.testing.assert_allclose(value, want[path], rtol=1e-9)


def test_a_patch_changes_what_follows() -> None:
    section = 'patch changed from backbone { at "inner.1"(h) = 0.5 * h; at "inner.*.first"(a) { b = 2 * a; return b } }'
    got = ask("return (changed(x), backbone(x))", section)
    scale = {"inner.1": 0.5, **{f"inner.{i}.first": 2.0 for i in range(3)}}
    np.testing.assert_allclose(got[0], by_hand(scale)["output"], rtol=1e-9)
    np.testing.assert_allclose(got[1], by_hand()["output"], rtol=1e-9)  # the network itself is as it was


def test_the_identity_changes_nothing_and_a_tap_of_a_patch_sees_it() -> None:
    section = 'patch same from backbone { at "*"(h) = h }\n  patch less from backbone { at "begin"(h) = 0.1 * h }'
    got = ask('return (same(x), backbone(x), tap(less, "inner.0")(x))', section)
    np.testing.assert_array_equal(got[0], got[1])
    np.testing.assert_allclose(got[2], by_hand({"begin": 0.1})["inner.0"], rtol=1e-9)


def test_a_rewritten_network_has_no_weights_of_its_own() -> None:
    section = 'patch changed from backbone { at "begin.join"(h) = 2 * h }'
    program = made('return changed(x) + backbone(x) + tap(backbone, "inner.1")(x)', section)
    plain = made("return backbone(x)")
    assert program.networks == plain.networks
    assert initial(program).keys() == initial(plain).keys()


def test_printed_networks_agree() -> None:
    section = 'patch changed from backbone { at "inner.1"(h) = 0.5 * h; at "*.first"(a) = 2 * a }'
    program = made(
        'h, v = tap(backbone, "inner.1.first", output)(x); return (h, v, changed(x), tap(changed, "begin")(x))', section
    )
    small = {k: v.astype(np.float32) for k, v in weights(program).items()}
    text = agree(program, {"x": X.astype(np.float32)}, small)
    assert text.count("class ") == 3  # the network, what is in it, and the model: variants are methods
    assert "self.inner = nn.ModuleList(Inner() for _ in range(3))" in text
    assert "for inner in self.inner:" in text  # where no turn differs, they are a loop still
