"""What a quantised file came to: the report of `specc.runtime.quantization`, measured against the float sampler."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from specc.backends.onnx import calibrate
from specc.backends.onnx.export import ExportReport, Hooks, write_entry
from specc.backends.onnx.packed import EMULATED, LayerPlan, Writer
from specc.backends.onnx.products import ProductPlan
from specc.backends.onnx.quantize import Plan
from specc.backends.onnx.rounding import Rounding

from specc.ir.dataflow import Layer
from specc.ir.formats import FORMATS, KINDS
from specc.runtime.ort import Model, load
from specc.runtime.quantization import KEPT, CallError, LayerReport, QuantizationReport, Speed

TIMED = 4  # examples of a run that is timed
ROUNDS = 3


def report(plan: Plan, writer: Writer, written: ExportReport) -> QuantizationReport:
    """Coverage and errors of the file that was written."""
    model = load(written.files[0])
    first = model.outputs[0]
    samples = model.run(plan.seen.feeds, [first])[first]
    rows = tuple(_row(plan, writer, layer) for layer in plan.found)
    covered = sum(r.bytes_before for r in rows if r.format != KEPT)
    others = written.float_bytes - sum(r.bytes_before for r in rows)
    return QuantizationReport(
        name=plan.name,
        target=plan.target,
        layers=rows,
        others=others,
        coverage=covered / max(written.float_bytes, 1),
        bytes_before=written.float_bytes,
        bytes_after=sum(r.bytes_after for r in rows) + others,
        file_bytes=written.file_bytes,
        calls=tuple(_calls(plan)),
        sample_error=_norm(samples, plan.seen.samples),
        speed=_speed(plan, model),
        notes=tuple(_notes(plan, rows)),
        samples=(plan.seen.samples, samples),
    )


def _row(plan: Plan, writer: Writer, layer: Layer) -> LayerReport:
    size = 4 * math.prod(layer.shape) if layer.shape else 0
    made = plan.plans.get(layer.path) or plan.products.get(layer.path)
    rule = plan.rules.get(layer.path)
    return LayerReport(
        path=layer.path,
        kind=KINDS[layer.op],
        rule="" if rule is None else rule.match,
        format=KEPT if made is None else described(made),
        runs="float" if made is None else writer.ways[layer.path],
        bytes_before=size,
        bytes_after=size if made is None else writer.store.sizes.get(layer.path, 0),
    )


def described(plan: LayerPlan | ProductPlan) -> str:
    """ "int4 by block of 32, affine, int8 activations"."""
    if isinstance(plan, ProductPlan):
        return _activations(plan.operands[0])
    parts = [f"{plan.weights} by {plan.granularity}" + (f" of {plan.block}" if plan.block else "")]
    parts += ["affine"] if plan.affine else []
    parts += [plan.method] if plan.method != "nearest" else []
    parts += [f"{plan.kept.size} columns in float"] if plan.kept.size else []
    parts += [_activations(plan.rounding)] if plan.rounding is not None else []
    return ", ".join(parts)


def _activations(how: Rounding) -> str:
    dynamic = how.interval is None and "static" in FORMATS[how.format].activations
    return f"{'dynamic ' if dynamic else ''}{how.format} activations"


def _notes(plan: Plan, rows: tuple[LayerReport, ...]) -> Iterator[str]:
    """What a reader should know beside the numbers."""
    emulated = sorted({r.format for r in rows if r.runs == EMULATED})
    if emulated:
        yield f"ONNX Runtime has no kernel on {plan.target} for {'; '.join(emulated)}: standard ops round the operands"


def _calls(plan: Plan) -> list[CallError]:
    """Each call of the float sampler again, by the quantised network."""
    out = []
    with tempfile.TemporaryDirectory() as folder:
        for bundle in {s.bundle: None for s in plan.seen.sites}:
            program, name = calibrate.network_entry(plan.program, bundle)
            file = Path(folder) / "network.onnx"
            write_entry(program, name, plan.weights, file, Hooks(layers=plan.writer()))
            model = load(file)
            out += [e for s in plan.seen.sites if s.bundle == bundle for e in _errors(model, s)]
    return [replace(e, step=i) for i, e in enumerate(out)]


def _errors(model: Model, site: calibrate.Site) -> Iterator[CallError]:
    known = {k["name"] for k in model.inputs} & {i.name for i in model.session.get_inputs()}
    for i in range(len(site.results[0])):
        arguments = {f"arg{j}": a[i] for j, a in enumerate(site.arguments)}
        got = model.run({k: v for k, v in arguments.items() if k in known})["x"]
        times = [a[i] for a in site.arguments if a[i].ndim == 1 and a.dtype == np.float32]
        at = float(times[0].mean()) if times else None
        yield CallError(bundle=site.bundle, step=i, time=at, norm=_norm(got, site.results[0][i]))


def _speed(plan: Plan, model: Model) -> Speed:
    """Both files on a few examples, one after the other."""
    varying = {i["name"] for i in model.inputs if i["shape"][:1] == ["B"]}
    feeds = {k: v[:TIMED] if k in varying else v for k, v in plan.seen.feeds.items()}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "float.onnx"
        write_entry(plan.program, plan.entry, plan.weights, file, Hooks())
        before, after = load(file), model
        found = [[_milliseconds(m, feeds) for m in (before, after)] for _ in range(ROUNDS)]
    return Speed(examples=TIMED, before=min(f[0] for f in found), after=min(f[1] for f in found))


def _milliseconds(model: Model, feeds: Mapping[str, np.ndarray]) -> float:
    start = time.perf_counter()
    model.run(feeds, model.outputs[:1])
    return 1000 * (time.perf_counter() - start)


def _norm(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(np.float64(a) - b) / max(float(np.linalg.norm(np.float64(b))), 1e-30))
