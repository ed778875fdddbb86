"""The quantiser: from the rules of a spec to a plan for each layer, and from the plan to a report.

It reads the array-level IR, so that one plan serves every backend: packed tensors and integer kernels here, rounded values
in training elsewhere. The first rule that matches a weight decides; `keep` is a rule with no format. Ranges of activations
come from the float sampler's own trajectory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from specc.backends.onnx import calibrate, methods
from specc.backends.onnx.calibrate import Calibration, Observed
from specc.backends.onnx.packed import LayerPlan, Writer
from specc.backends.onnx.products import ProductPlan
from specc.backends.onnx.rounding import Rounding

from specc.diagnostics import Diagnostic, SpecError
from specc.ir.coding import as_matrix
from specc.ir.dataflow import Layer, layers
from specc.ir.formats import FORMATS, PRODUCTS, WORDS
from specc.ir.methods.settled import settled
from specc.ir.methods.table import METHODS
from specc.ir.ops import Op
from specc.ir.program import Program, Quantization, QuantizeRule, Setting
from specc.ir.quantizing import block_of, block_of_operand, first_match, granularity, is_dynamic, matches
from specc.ir.rounded import rounded, unrounded
from specc.source import Source, Span

RULE, FORMAT = "E0602", "E0605"  # codes of diagnostics: a rule that matches nothing, a format that does not fit


@dataclass(slots=True, kw_only=True)
class Plan:
    """Which layers are quantised and how, with what was seen while calibrating."""

    program: Program
    loose: Program  # the same in float, but for caches that were rounded in training
    entry: str
    weights: Mapping[str, np.ndarray]
    name: str
    target: str
    found: tuple[Layer, ...]
    rules: dict[str, QuantizeRule]  # that decided, by the path of the layer
    plans: dict[str, LayerPlan]
    products: dict[str, ProductPlan]
    seen: Observed

    def writer(self) -> Writer:
        return Writer(self.plans, self.products, self.weights, self.target)


def plan(
    program: Program,
    entry: str,
    weights: Mapping[str, np.ndarray],
    quantization: Quantization,
    wanted: Calibration | None = None,
    target: str = "cpu",
) -> Plan:
    """Match the rules, calibrate, and choose ranges. Raises SpecError for rules and formats that do not fit."""
    loose = unrounded(program) if any(q.trained for q in program.quantize) else program
    written = _cached(loose, quantization)
    found = tuple(x for x in layers(written, entry) if not (quantization.trained and program.untrained(x.root)))
    rules = {layer.path: rule for layer in found if (rule := first_match(quantization, layer)) is not None}
    chosen = {path: rule for path, rule in rules.items() if rule.weights is not None or rule.activations is not None}
    _check(quantization, found, chosen)
    chosen = {x.path: chosen[x.path] for x in found if x.path in chosen and not x.rounds}
    static = {p: r.activations for p, r in chosen.items() if r.activations is not None and not is_dynamic(r.activations)}
    asked = [int(a.get("calibrate", 64)) for a in static.values()]
    wanted = wanted or Calibration(examples=max(asked, default=16))
    seen = calibrate.run(program, entry, weights, set(static), wanted)
    weighed = [x for x in found if x.path in chosen and x.shape]
    formats = {x.path: _settled(chosen[x.path], x, weights) for x in weighed}
    plans = {x.path: _layer(chosen[x.path], formats[x.path], x, seen) for x in weighed}
    if any(methods.looks(s) for s in formats.values()):
        looked, on = _looked_at(quantization, entry, wanted)
        plans = methods.rounded(written, looked, weights, weighed, formats, plans, on)
    return Plan(
        program=written,
        loose=loose,
        entry=entry,
        weights=weights,
        name=quantization.name,
        target=target,
        found=found,
        rules=rules,
        plans=plans,
        products={p.path: _product(chosen[p.path], p, seen) for p in found if p.path in chosen and not p.shape},
        seen=seen,
    )


def _check(quantization: Quantization, found: tuple[Layer, ...], chosen: Mapping[str, QuantizeRule]) -> None:
    for rule in quantization.rules:
        formats = rule.weights is not None or rule.activations is not None
        if (formats or rule.match not in WORDS) and not any(matches(rule, layer) for layer in found):
            paths = ", ".join(layer.path for layer in found[:4])
            help = f"the layers of this entry have paths such as {paths}" if paths else "this entry has no layers"
            raise _error(RULE, quantization, f"the rule {rule.match!r} of `{quantization.name}` matches no weight", help)
    if not chosen:
        raise _error(RULE, quantization, f"`{quantization.name}` quantises nothing", "its `keep` rules take every layer")
    for rule in quantization.rules:
        for setting, kind in ((rule.weights, "weights"), (rule.activations, "activations")):
            if setting is not None:
                _fits(quantization, setting, kind)
        if rule.activations is not None and rule.weights is None and rule.match not in PRODUCTS:
            raise _error(FORMAT, quantization, f"`{rule.match}` rounds activations and not weights", "give it `weights`")


def _fits(quantization: Quantization, setting: Setting, kind: str) -> None:
    row = FORMATS.get(setting.name)
    if row is None or not getattr(row, kind):
        able = ", ".join(name for name, r in FORMATS.items() if getattr(r, kind))
        raise _error(FORMAT, quantization, f"{setting.name} is no format of {kind}", f"there are {able}")
    method = setting.get("method", "nearest")
    if method not in METHODS:
        raise _error(FORMAT, quantization, f"there is no method {method!r}", f"there are {', '.join(METHODS)}")
    if kind == "weights" and granularity(setting) not in row.weights:
        allowed = ", ".join(row.weights)
        raise _error(FORMAT, quantization, f"{setting.name} has no scale by {granularity(setting)}", f"there are {allowed}")


def _cached(program: Program, quantization: Quantization) -> Program:
    """The program whose caches are rounded, which those of a model are that was trained so."""
    caches = tuple(QuantizeRule(match=r.match, cache=r.cache) for r in quantization.rules if r.cache is not None)
    return rounded(program, replace(quantization, rules=caches)) if caches and not quantization.trained else program


def _looked_at(quantization: Quantization, entry: str, wanted: Calibration) -> tuple[str, Calibration]:
    """The entry whose calls methods look at, and its inputs."""
    if quantization.calibrate is None:
        return entry, wanted
    if not wanted.data:
        message = f"`{quantization.name}` calibrates on the query `{quantization.calibrate}`, and there are no examples"
        raise _error(FORMAT, quantization, message, "export from a run, whose data are known")
    count = len(next(iter(wanted.data.values())))
    return quantization.calibrate, replace(wanted, examples=count, conditions=wanted.data, arguments=None)


def _settled(rule: QuantizeRule, layer: Layer, weights: Mapping[str, np.ndarray]) -> Setting:
    assert rule.weights is not None
    return settled(rule.weights, as_matrix(weights[layer.path], layer.op is Op.CONV_TRANSPOSE))


def _layer(rule: QuantizeRule, setting: Setting, layer: Layer, seen: Observed) -> LayerPlan:
    by = granularity(setting)
    return LayerPlan(
        path=layer.path,
        rule=rule.match,
        weights=setting.name,
        granularity=by,
        block=min(block_of(setting), layer.columns) if by == "block" else None,
        affine=bool(setting.get("affine", False)),
        transposed=layer.op is Op.CONV_TRANSPOSE,
        rounding=_rounding(rule.activations, layer, seen) if rule.activations is not None else None,
    )


def _rounding(setting: Setting, layer: Layer, seen: Observed) -> Rounding | None:
    """Of the operand of a layer; an index is not rounded."""
    if layer.op is Op.TAKE:
        return None
    result = None
    if layer.op is Op.CONV and not is_dynamic(setting):
        result = seen.interval(layer.path, "y", setting.get("percentile"))
    return replace(_operand(setting, layer.path, "x", seen), result=result)


def _product(rule: QuantizeRule, layer: Layer, seen: Observed) -> ProductPlan:
    assert rule.activations is not None
    operands = (_operand(rule.activations, layer.path, str(i), seen) for i in range(layer.operands))
    return ProductPlan(path=layer.path, rule=rule.match, operands=tuple(operands))


def _operand(setting: Setting, path: str, which: str, seen: Observed) -> Rounding:
    if is_dynamic(setting):
        return Rounding(format=setting.name, block=block_of_operand(setting), affine=bool(setting.get("affine", False)))
    return Rounding(format=setting.name, interval=seen.interval(path, which, setting.get("percentile")))


def _error(code: str, quantization: Quantization, message: str, help: str) -> SpecError:
    nowhere = Span(Source("<program>", ""), 0, 0)
    return SpecError(Diagnostic(code=code, message=message, span=quantization.span or nowhere, help=help))
