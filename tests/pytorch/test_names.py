"""Every name that somebody may choose: projects keep their meaning, or the spec is refused with a place.

The names are those that generated projects use themselves, of Python and of nn.Module; each is tried in every place where a
spec has a name. Place j of spec i has word i + 23 j, so that all of them are tried in as many specs as there are words.
"""

from __future__ import annotations

import ast
import builtins
import keyword
import re
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from projects import imported, two_steps
from safetensors.numpy import load_file
from specc.backends.onnx.export import export
from torch import nn

from specc import driver
from specc.diagnostics import Diagnostic
from specc.ir.program import Program
from specc.ir.types import DType
from specc.runtime import ort
from specc.syntax.tokens import RESERVED

FLOW = """specc 1
process {process}({knob} = 1.0) for gaussian over t in [0, 1] {{
  alpha(t) = 1 - t
  sigma(t) = {knob} * t
}}
network {inner}(width = 4)({inner_input}: vector(d)) -> like({inner_input}) {{
  param {weight}: vector(d) = 1
  {local} = linear({inner_input}, width) tag "{tag}"
  return linear(silu({local}), d) * {weight}
}}
network {net}({net_knob} = 4)({net_input}: vector(d), t: scalar, {condition}: class(k)) -> like({net_input}) {{
  network {part} = {inner}
  return {part}({inner}({net_input}, width = {net_knob}) + linear(fourier(t), d) + embedding({condition}, d))
}}
function {function}({argument}) {{ return 2 * {argument} }}
sampler {program}({steps} = 2) for gaussian {{
  {state} ~ prior()
  for (t, s) in uniform({steps}) {{ {state} = {state} + (s - t) * velocity({state}, t) }}
  return {state}
}}
model {model} {{
  data x: vector(2) from gaussians(3)
  condition {condition}: class(3) with {{ drop = 0.1 }}
  process {process}
  backbone {net}
  predict velocity
  loss {loss}({loss_knob} = 1.0) {{
    t ~ times()
    e ~ source()
    {mixed} = draw(x, e, t)
    minimize {function}({loss_knob}) * mean((target(x, e, t) - out({mixed}, t))^2)
  }}
  guidance cfg(scale = input(1.5))
  sampler {sampler} = {program}
  sampler {too}({too_knob} = input(1.0)) {{ {drawn} ~ prior(); return {function}({drawn}) * {too_knob} }}
  query {query}(x) {{ return sum(x^2) }}
  train {{ optimizer = adam(lr = 1e-3); steps = 2; batch = 4; ema = 0.9 }}
  quantize {quantize} {{ weights = int8(axis = channel) }}
}}
"""
GAME = """specc 1
model {model} {{
  data x: vector(2) from moons
  latent {latent}: vector(2) ~ normal
  network {maker}({maker_input}) -> like(x) = dense(width = 4, depth = 1)
  network {judge}({judge_input}) -> scalar = dense(width = 4, depth = 1)
  param {param}: vector(2) = 1
  param {number}: scalar = 1
  state {state}: scalar = 0
  state {states}: vector(2) = 0
  memory {memory}: like(x) with {{ size = 16; initial = normal }}
  loss {loss} {{
    {made} = {maker}({latent})
    {old} = {memory}.read()
    {memory}.write(stop({made}))
    update {state} = {state} + batch.mean(sum({made}))
    update {states} = 0.9 * {states} + batch.mean({made})
    minimize softplus({judge}({made}) + {judge}({old}) - {judge}(x)) + {number}^2 over [{judge}, {number}]
    minimize sum({made}^2 * {param}) + {state} over [{maker}, {param}] when step >= 0
  }}
  sampler {sampler}({knob} = input(1.0)) {{ return {maker}({latent}) * {knob} + {param} + {states} }}
  query {query}({asked}: vector(2)) {{ {result} = grad({judge}({asked}), {asked}); return {result} + {state} }}
  train {{ optimizer = adam(lr = 1e-3); optimizer {judge} = adam(lr = 2e-3); steps = 2; batch = 4 }}
}}
stage {stage} from {model} {{
  {frozen} = frozen({model})
  loss {stage_loss} {{
    {slow} = ema({maker}, 0.9)
    minimize sum(({maker}({latent}) - {frozen}.{maker}({latent}) - {slow}({latent}))^2) over {maker}
  }}
  sampler {stage_sampler} {{ return {maker}({latent}) + {frozen}.{maker}({latent}) }}
}}
"""
TEMPLATES = {"flow": FLOW, "game": GAME}
EVERY = 151  # of the words begin a spec of the default lane


def places(template: str) -> list[str]:
    return list(dict.fromkeys(re.findall(r"(?<!\{)\{(\w+)\}", template)))


def plain(place: str) -> str:
    return f"my_{place}"


def names_in(text: str) -> set[str]:
    found = (
        getattr(node, field, None) for node in ast.walk(ast.parse(text)) for field in ("id", "attr", "arg", "name", "asname")
    )
    return {name for name in found if isinstance(name, str)} | set(re.findall(r'"--(\w+)"', text))


@cache
def words(folder: Path) -> list[str]:
    """What projects use, with the words and builtins of Python and the attributes of a module."""
    found = (
        {n for n in dir(builtins) if not re.search("(Error|Warning|Exit|__)", n)} | set(keyword.kwlist) | {"x", "nfe", "file"}
    )
    found |= {n for n in dir(nn.Module()) if not n.startswith("__")}
    for name, template in TEMPLATES.items():
        spec = folder / f"{name}.spec"
        spec.write_text(template.format(**{p: plain(p) for p in places(template)}))
        for model, program in driver.check(spec).programs.items():
            for file in driver.emit(program, "pytorch", folder / model):
                found |= {file.stem, *names_in(file.read_text())} if file.suffix == ".py" else set()
    return sorted(n for n in found - RESERVED if re.fullmatch(r"(?!__)[A-Za-z_]\w*", n) and not re.search("(?i)^my_|My", n))


def refused(path: Path) -> list[Diagnostic]:
    """What is said of a spec that cannot be: each at a place in its text."""
    found = [d for d in driver.check(path).diagnostics if d.severity == "error"]
    assert all(d.span.source.name == str(path) and d.span.text for d in found), found
    assert all(d.help for d in found if d.code == "E0208"), found
    return found


def settled(template: str, chosen: dict[str, str], path: Path) -> dict[str, str]:
    """The names without those that a diagnostic is about: a place goes back to its plain name until the spec stands."""
    for _ in range(len(chosen)):
        path.write_text(template.format(**chosen))
        found = refused(path)
        if not found:
            return chosen
        of_them = [f"{d.span.text} {d.help}" for d in found]
        said = " ".join([*of_them, template])  # or a word of the text around it has two meanings
        at = next((p for p, name in chosen.items() if name != plain(p) and re.search(rf"\b{name}\b", said)), None)
        assert at is not None, found
        chosen = chosen | {at: plain(at)}
    raise AssertionError(path.read_text())


def script(module: object, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["script", *map(str, arguments)])
    assert module.main() == 0  # type: ignore[attr-defined]


def used(program: Program, run: Path, parents: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Train two steps, sample and ask; samplers give the same as files."""
    driver.emit(program, "pytorch", run / "project")
    more = ["--parent", *map(str, parents)] if parents else []
    array = driver.prepare(program)
    with imported(run / "project") as project:
        two_steps(run, monkeypatch, *more, quick=False, batch=4)
        weights = load_file(run / f"{'ema' if program.setting('ema') else 'model'}.safetensors")
        for entry in program.by_role("sampler"):
            script(project.sample, monkeypatch, run, "--sampler", entry.name, "-n", 3, "--out", run / "x.npz")
            drawn = dict(np.load(run / "x.npz"))
            export(array, entry.name, weights, run / "x.onnx")
            model = ort.load(run / "x.onnx")
            feeds = model.feeds(np.arange(3), {k: v for k, v in drawn.items() if k != "x"})
            made = np.concatenate([part["x"] for part in model.batches(feeds, 3, 3, ["x"])])
            np.testing.assert_allclose(made, drawn["x"], atol=1e-4)
        for entry in program.by_role("query"):
            asked = [i for i in array.entries[entry.name].inputs if i.role != "seed"]
            kinds = {DType.FLOAT: np.float32, DType.INT: np.int64}
            numbers = {i.name: np.ones((3, *i.type.shape[1:]), kinds[i.type.dtype]) for i in asked}
            np.savez(run / "in.npz", **numbers)
            script(project.query, monkeypatch, run, "--query", entry.name, "--data", run / "in.npz", "--out", run / "out.npz")


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
@pytest.mark.parametrize("start", [0, *(pytest.param(k, marks=pytest.mark.slow) for k in range(1, EVERY))])
def test_a_name_is_kept_or_refused(
    template: str, start: int, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = words(tmp_path_factory.getbasetemp())
    for i in range(start, len(known), EVERY):
        folder = tmp_path / str(i)
        folder.mkdir()
        chosen = {p: known[(i + 23 * j) % len(known)] for j, p in enumerate(places(template))}
        chosen = settled(template, chosen, folder / "s.spec")
        runs: list[Path] = []
        for program in driver.check(folder / "s.spec").programs.values():
            used(program, folder / f"run{len(runs)}", runs, monkeypatch)
            runs.append(folder / f"run{len(runs)}")
