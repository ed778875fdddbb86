"""The quantiser: from the rules of a spec to a plan for each layer, and from the plan to a report.

It reads the array-level IR, so that one plan serves every backend: packed tensors and integer kernels here, rounded values
in training elsewhere. The first rule that matches a weight decides; `keep` is a rule with no format. Ranges of activations
come from the float sampler's own trajectory.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from specc.backends.onnx import calibrate
from specc.backends.onnx.calibrate import Calibration, Observed
from specc.backends.onnx.dataflow import Layer, layers
from specc.backends.onnx.packed import LayerPlan, Writer
from specc.backends.onnx.rounding import Rounding

from specc.diagnostics import Diagnostic, SpecError
from specc.ir.coding import BLOCK
from specc.ir.formats import FORMATS, KINDS, METHODS, PLACES, WORDS
from specc.ir.ops import Op
from specc.ir.program import Program, Quantization, QuantizeRule, Setting
from specc.source import Source, Span

RULE, FORMAT = "E0602", "E0605"  # codes of diagnostics: a rule that matches nothing, a format that does not fit


@dataclass(slots=True, kw_only=True)
class Plan:
    """Which layers are quantised and how, with what was seen while calibrating."""

    program: Program
    entry: str
    weights: Mapping[str, np.ndarray]
    name: str
    target: str
    found: tuple[Layer, ...]
    rules: dict[str, QuantizeRule]  # that decided, by the path of the layer
    plans: dict[str, LayerPlan]
    seen: Observed

    def writer(self) -> Writer:
        return Writer(self.plans, self.weights, self.target)


def plan(
    program: Program,
    entry: str,
    weights: Mapping[str, np.ndarray],
    quantization: Quantization,
    wanted: Calibration | None = None,
    target: str = "cpu",
) -> Plan:
    """Match the rules, calibrate, and choose ranges. Raises SpecError for rules and formats that do not fit."""
    found = layers(program, entry)
    rules = {layer.path: rule for layer in found if (rule := _rule(quantization, layer)) is not None}
    chosen = {path: rule for path, rule in rules.items() if rule.weights is not None}
    _check(quantization, found, chosen)
    static = {p: r.activations for p, r in chosen.items() if r.activations is not None and is_static(r.activations)}
    asked = [int(a.get("calibrate", 64)) for a in static.values()]
    wanted = wanted or Calibration(examples=max(asked, default=16))
    seen = calibrate.run(program, entry, weights, set(static), wanted)
    return Plan(
        program=program,
        entry=entry,
        weights=weights,
        name=quantization.name,
        target=target,
        found=found,
        rules=rules,
        plans={layer.path: _layer(chosen[layer.path], layer, seen) for layer in found if layer.path in chosen},
        seen=seen,
    )


def matches(rule: QuantizeRule, layer: Layer) -> bool:
    """Whether a rule is about a layer: by its place in the network, its kind or its path."""
    if rule.match in PLACES:
        return layer.is_a(rule.match)
    return rule.match == KINDS[layer.op] or fnmatch.fnmatchcase(layer.path, rule.match)


def _rule(quantization: Quantization, layer: Layer) -> QuantizeRule | None:
    return next((r for r in quantization.rules if matches(r, layer)), None)


def _check(quantization: Quantization, found: tuple[Layer, ...], chosen: Mapping[str, QuantizeRule]) -> None:
    for rule in quantization.rules:
        if rule.match not in WORDS and not any(matches(rule, layer) for layer in found):
            paths = ", ".join(layer.path for layer in found[:4])
            help = f"the layers of this entry have paths such as {paths}" if paths else "this entry has no layers"
            raise _error(RULE, quantization, f"the rule {rule.match!r} of `{quantization.name}` matches no weight", help)
    if not chosen:
        raise _error(RULE, quantization, f"`{quantization.name}` quantises nothing", "its `keep` rules take every layer")
    for rule in quantization.rules:
        for setting, kind in ((rule.weights, "weights"), (rule.activations, "activations")):
            if setting is not None:
                _fits(quantization, setting, kind)
        if rule.activations is not None and rule.weights is None:
            raise _error(FORMAT, quantization, f"`{rule.match}` rounds activations and not weights", "give it `weights`")


def _fits(quantization: Quantization, setting: Setting, kind: str) -> None:
    row = FORMATS.get(setting.name)
    if row is None or not getattr(row, kind):
        able = ", ".join(name for name, r in FORMATS.items() if getattr(r, kind))
        raise _error(FORMAT, quantization, f"{setting.name} is no format of {kind}", f"there are {able}")
    method = setting.get("method", METHODS[0])
    if method not in METHODS:
        raise _error(FORMAT, quantization, f"there is no method {method!r}", f"there are {', '.join(METHODS)}")
    if kind == "weights" and _granularity(setting) not in row.weights:
        allowed = ", ".join(row.weights)
        raise _error(FORMAT, quantization, f"{setting.name} has no scale by {_granularity(setting)}", f"there are {allowed}")


def _granularity(setting: Setting) -> str:
    """`block = 32` and `axis = channel` say how many numbers share a scale; a format's first choice otherwise."""
    if setting.get("block") is not None:
        return "block"
    return str(setting.get("axis", FORMATS[setting.name].weights[0]))


def _layer(rule: QuantizeRule, layer: Layer, seen: Observed) -> LayerPlan:
    assert rule.weights is not None
    granularity = _granularity(rule.weights)
    blocks = rule.weights.get("block", FORMATS[rule.weights.name].block or BLOCK)
    return LayerPlan(
        path=layer.path,
        rule=rule.match,
        weights=rule.weights.name,
        granularity=granularity,
        block=min(int(blocks), layer.columns) if granularity == "block" else None,
        affine=bool(rule.weights.get("affine", False)),
        transposed=layer.op is Op.CONV_TRANSPOSE,
        rounding=_rounding(rule.activations, layer, seen) if rule.activations is not None else None,
    )


def _rounding(setting: Setting, layer: Layer, seen: Observed) -> Rounding | None:
    """Of the operand of a layer; an index is not rounded."""
    if layer.op is Op.TAKE:
        return None
    if not is_static(setting):
        return Rounding(format=setting.name, block=setting.get("block", FORMATS[setting.name].block))
    percentile = setting.get("percentile")
    result = seen.interval(layer.path, "y", percentile) if layer.op is Op.CONV else None
    return Rounding(format=setting.name, interval=seen.interval(layer.path, "x", percentile), result=result)


def is_static(setting: Setting) -> bool:
    """Whether activations are rounded in ranges from calibration."""
    return "static" in FORMATS[setting.name].activations and not setting.get("dynamic", False)


def _error(code: str, quantization: Quantization, message: str, help: str) -> SpecError:
    nowhere = Span(Source("<program>", ""), 0, 0)
    return SpecError(Diagnostic(code=code, message=message, span=quantization.span or nowhere, help=help))
