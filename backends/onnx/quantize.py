"""The quantiser: from the rules of a spec to a plan for each layer, and from the plan to a report.

It reads the array-level IR, so that one plan serves every backend: packed tensors and integer kernels here, rounded values
in training elsewhere. The first rule that matches a weight decides; `keep` is a rule with no format. Ranges of activations
come from the float sampler's own trajectory.
"""

from __future__ import annotations

import fnmatch
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from specc.backends.onnx import calibrate
from specc.backends.onnx.calibrate import Calibration, Observed
from specc.backends.onnx.dataflow import Layer, layers
from specc.backends.onnx.export import ExportReport, Hooks, write_entry
from specc.backends.onnx.packed import LayerPlan, Writer

from specc.diagnostics import Diagnostic, SpecError
from specc.ir.formats import FORMATS, METHODS
from specc.ir.ops import Op
from specc.ir.program import Program, Quantization, QuantizeRule, Setting
from specc.record import record
from specc.runtime.ort import load
from specc.source import Source, Span

WORDS = ("first", "last", "clock")
RULE, FORMAT = "E0602", "E0603"  # codes of diagnostics: a rule that matches nothing, a format that does not fit


@record(kw_only=True)
class LayerReport:
    path: str
    rule: str
    format: str  # "int8 by channel, int8 activations", or "kept"
    bytes_before: int
    bytes_after: int


@record(kw_only=True)
class CallError:
    """Error of one network call on the float sampler's own arguments: |quantised - float| / |float|."""

    bundle: str
    step: int
    time: float | None  # the network's time, where it has one number for each example
    norm: float


@record(kw_only=True)
class QuantizationReport:
    """`coverage` is the share of the weights' bytes that were quantised; `sample_error` compares whole samplers."""

    name: str
    layers: tuple[LayerReport, ...]
    coverage: float
    bytes_before: int
    bytes_after: int
    calls: tuple[CallError, ...]
    sample_error: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        """A table for the terminal."""
        done = [r for r in self.layers if r.format != "kept"]
        lines = [
            f"{self.name}: {len(done)} of {len(self.layers)} layers, {self.coverage:.0%} of the bytes of weights; "
            f"{self.bytes_before / 1e6:.1f} MB to {self.bytes_after / 1e6:.1f} MB"
        ]
        lines += [f"  {r.path:44} {r.format:36} {r.bytes_before:>10} -> {r.bytes_after:>9}" for r in self.layers]
        lines += [
            f"  call {c.step:3}{'' if c.time is None else f'  t = {c.time:6.3f}'}  error {c.norm:.4f}" for c in self.calls
        ]
        lines.append(f"  samples: relative error {self.sample_error:.4f}")
        return "\n".join(lines)


@dataclass(slots=True, kw_only=True)
class Plan:
    """Which layers are quantised and how, with what was seen while calibrating."""

    program: Program
    entry: str
    weights: Mapping[str, np.ndarray]
    name: str
    found: tuple[Layer, ...]
    plans: dict[str, LayerPlan]
    seen: Observed

    def writer(self) -> Writer:
        return Writer(self.plans, self.weights)

    def finish(self, report: ExportReport) -> ExportReport:
        """The export's report with coverage and errors of the file that was written."""
        model = load(report.files[0])
        samples = model.run(self.seen.feeds, ["x"])["x"]
        rows = tuple(self._row(layer) for layer in self.found)
        before, kept = sum(r.bytes_before for r in rows), sum(r.bytes_before for r in rows if r.format == "kept")
        result = QuantizationReport(
            name=self.name,
            layers=rows,
            coverage=1 - kept / max(before, 1),
            bytes_before=before,
            bytes_after=sum(r.bytes_after for r in rows),
            calls=tuple(self._calls()),
            sample_error=_norm(samples, self.seen.samples),
        )
        return replace(report, quantization=result)

    def _row(self, layer: Layer) -> LayerReport:
        size = 4 * int(np.prod(layer.shape))
        plan = self.plans.get(layer.path)
        if plan is None:
            return LayerReport(path=layer.path, rule="", format="kept", bytes_before=size, bytes_after=size)
        text = f"{plan.weights} by {plan.granularity}" + (f" of {plan.block}" if plan.block else "")
        text += ", int8 activations" if plan.operand is not None else ""
        n, k = layer.shape[0], int(np.prod(layer.shape[1:]))
        scales = {"tensor": 1, "channel": n, "block": n * -(-k // (plan.block or k))}[plan.granularity]
        after = n * k * FORMATS[plan.weights].bits // 8 + 4 * scales
        return LayerReport(path=layer.path, rule=plan.rule, format=text, bytes_before=size, bytes_after=after)

    def _calls(self) -> list[CallError]:
        """Each call of the float sampler again, by the quantised network."""
        out = []
        with tempfile.TemporaryDirectory() as folder:
            for bundle in {s.bundle: None for s in self.seen.sites}:
                program, name = calibrate.network_entry(self.program, bundle)
                file = Path(folder) / "network.onnx"
                plans = {k: replace(p, shared=False) for k, p in self.plans.items()}
                write_entry(program, name, self.weights, file, Hooks(layers=Writer(plans, self.weights)))
                model = load(file)
                out += [e for s in self.seen.sites if s.bundle == bundle for e in _errors(model, s)]
        return [replace(e, step=i) for i, e in enumerate(out)]


def plan(
    program: Program,
    entry: str,
    weights: Mapping[str, np.ndarray],
    quantization: Quantization,
    wanted: Calibration | None = None,
) -> Plan:
    """Match the rules, calibrate, and choose ranges. Raises SpecError for rules and formats that do not fit."""
    found = layers(program, entry)
    chosen = {layer.path: rule for layer in found if (rule := _rule(quantization, layer)) is not None and rule.weights}
    _check(quantization, found, chosen)
    asked = [int(r.activations.get("calibrate", 64)) for r in chosen.values() if r.activations is not None]
    wanted = wanted or Calibration(examples=max(asked, default=16))
    rounded = {path for path, rule in chosen.items() if rule.activations is not None}
    seen = calibrate.run(program, entry, weights, rounded, wanted)
    ops = {layer.path: layer for layer in found}
    plans = {path: _layer(quantization, ops[path], rule, seen) for path, rule in chosen.items()}
    return Plan(program=program, entry=entry, weights=weights, name=quantization.name, found=found, plans=plans, seen=seen)


def matches(rule: QuantizeRule, layer: Layer) -> bool:
    return layer.is_a(rule.match) if rule.match in WORDS else fnmatch.fnmatchcase(layer.path, rule.match)


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
        if rule.activations is not None and rule.weights is not None and rule.weights.name != "int8":
            message = f"int8 activations need int8 weights, and `{rule.match}` has {rule.weights.name}"
            raise _error(FORMAT, quantization, message, "leave out `activations`, or say `weights = int8(axis = channel)`")
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


def _layer(quantization: Quantization, layer: Layer, rule: QuantizeRule, seen: Observed) -> LayerPlan:
    assert rule.weights is not None
    name, granularity = rule.weights.name, _granularity(rule.weights)
    block = int(rule.weights.get("block", FORMATS[name].block or 32)) if granularity == "block" else None
    if block is not None and layer.op is not Op.LINEAR and int(np.prod(layer.shape[1:])) % block:
        granularity, block = "channel", None  # a kernel whose inputs do not fill blocks
    rounded = rule.activations is not None and layer.op is not Op.CONV_TRANSPOSE  # which has no integer kernel
    if rounded and granularity == "block":
        message = f"int8 activations need one scale a channel, and `{rule.match}` has blocks"
        raise _error(FORMAT, quantization, message, "say `axis = channel`")
    percentile = rule.activations.get("percentile") if rule.activations is not None else None
    return LayerPlan(
        path=layer.path,
        rule=rule.match,
        weights=name,
        granularity=granularity,
        block=block,
        operand=seen.interval(layer.path, "x", percentile) if rounded else None,
        result=seen.interval(layer.path, "y", percentile) if rounded and layer.op is Op.CONV else None,
        shared=layer.path in seen.shared,
    )


def _errors(model: Any, site: calibrate.Site) -> list[CallError]:
    out = []
    for i in range(len(site.results[0])):
        arguments = {f"arg{j}": a[i] for j, a in enumerate(site.arguments)}
        known = {k["name"] for k in model.inputs} & {i.name for i in model.session.get_inputs()}
        got = model.run({k: v for k, v in arguments.items() if k in known})["x"]
        times = [a[i] for a in site.arguments if a[i].ndim == 1 and a.dtype == np.float32]
        time = float(times[0].mean()) if times else None
        out.append(CallError(bundle=site.bundle, step=i, time=time, norm=_norm(got, site.results[0][i])))
    return out


def _norm(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(np.float64(a) - b) / max(float(np.linalg.norm(np.float64(b))), 1e-30))


def _error(code: str, quantization: Quantization, message: str, help: str) -> SpecError:
    nowhere = Span(Source("<program>", ""), 0, 0)
    return SpecError(Diagnostic(code=code, message=message, span=quantization.span or nowhere, help=help))
