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
from specc.backends.onnx.caches import Kept, caches
from specc.backends.onnx.export import ExportReport, Hooks, write_entry
from specc.backends.onnx.packed import EMULATED, EXPANDED, LayerPlan, Writer
from specc.backends.onnx.products import ProductPlan
from specc.backends.onnx.quantize import Plan
from specc.backends.onnx.rounding import Rounding

from specc.ir.dataflow import Layer
from specc.ir.formats import FORMATS, KINDS, PRODUCTS
from specc.ir.ops import Op
from specc.ir.program import Program, Value, walk
from specc.ir.types import GROWING
from specc.runtime.ort import Model, load
from specc.runtime.quantization import KEPT, CacheReport, CallError, LayerReport, QuantizationReport, Speed

TIMED = 4  # examples of a run that is timed
ROUNDS = 3


def report(plan: Plan, writer: Writer, written: ExportReport) -> QuantizationReport:
    """Coverage and errors of the file that was written."""
    samples, after = _sampled(plan, written.files[0])
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
        speed=Speed(examples=TIMED, before=_before(plan), after=after),
        caches=tuple(kept(plan.program, plan.entry)),
        notes=tuple(_notes(plan, rows)),
        samples=(plan.seen.samples, samples),
    )


def _row(plan: Plan, writer: Writer, layer: Layer) -> LayerReport:
    size = 4 * math.prod(layer.shape) if layer.shape else 0
    made = plan.plans.get(layer.path) or plan.products.get(layer.path)
    rule = plan.rules.get(layer.path)
    format, runs = (KEPT, "float") if made is None else (described(made), writer.ways[layer.path])
    if layer.rounds:  # by the program itself, which was trained so
        format, runs = _activations(Rounding(format=layer.rounds)), EMULATED
    return LayerReport(
        path=layer.path,
        kind=KINDS[layer.op],
        rule="" if rule is None else rule.match,
        format=format,
        runs=runs,
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
    emulated = sorted({f"{r.kind} in {r.format}" for r in rows if r.runs == EMULATED})
    if emulated:
        yield f"ONNX Runtime has no kernel on {plan.target} for {'; '.join(emulated)}: standard ops round the operands"
    opened = sorted({r.format for r in rows if r.runs == EXPANDED})
    if opened:
        yield f"on {plan.target} weights in {'; '.join(opened)} become floats when the file is opened"
    if any(r.kind in PRODUCTS and r.format == KEPT for r in rows):
        yield "products of two activations are in float where no rule names them, as in `rule attention { activations = int8 }`"
    if any(c.format == KEPT for c in kept(plan.program, plan.entry)):
        yield "caches hold floats where no rule names their format, as `cache = int8` does for keys and values of attention"


def kept(program: Program, entry: str) -> Iterator[CacheReport]:
    """What grows in the loops of an entry, and how."""
    for node in walk(program.functions[program.entries[entry].function].block):
        if node.op is Op.FOR:
            (body,) = node.regions
            packed = caches(program, body)
            for i, value in enumerate(body.params[1:]):
                if GROWING in value.type.shape:
                    yield _cache(value, packed.get(i))


def _cache(value: Value, how: Kept | None) -> CacheReport:
    rows = math.prod(int(d) for d in value.type.shape[:-1] if not isinstance(d, str))
    before = 4 * math.prod(int(d) for d in value.type.shape if not isinstance(d, str))
    after, format = (before, KEPT) if how is None else (rows * how.row_bytes, how.format)
    return CacheReport(name=value.name or "cache", format=format, bytes_before=before, bytes_after=after)


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


def _sampled(plan: Plan, file: Path) -> tuple[np.ndarray, float]:
    """Samples of a file from the seeds of the calibration, and its milliseconds. No two files are open at once: for a large
    model a session is what costs memory."""
    model = load(file)
    first = model.outputs[0]
    return model.run(plan.seen.feeds, [first])[first], _milliseconds(model, plan.seen.feeds)


def _before(plan: Plan) -> float:
    """The milliseconds of the float file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "float.onnx"
        write_entry(plan.loose, plan.entry, plan.weights, file, Hooks())
        return _milliseconds(load(file), plan.seen.feeds)


def _milliseconds(model: Model, feeds: Mapping[str, np.ndarray]) -> float:
    """Of a run with a few examples, the best of some."""
    varying = {i["name"] for i in model.inputs if i["shape"][:1] == ["B"]}
    few = {k: v[:TIMED] if k in varying else v for k, v in feeds.items()}
    found = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        model.run(few, model.outputs[:1])
        found.append(1000 * (time.perf_counter() - start))
    return min(found)


def _norm(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(np.float64(a) - b) / max(float(np.linalg.norm(np.float64(b))), 1e-30))
