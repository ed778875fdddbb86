"""What `specc export --quantize` adds: metrics before and after, the report beside the file, and the bounds of the section."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from specc import driver
from specc.cli.common import Failure, say
from specc.cli.common import report as show
from specc.cli.evaluate import COMPARE, Evidence, held_out, settings, values_of
from specc.cli.examples import conditions
from specc.cli.runs import Run
from specc.diagnostics import Diagnostic, SpecError
from specc.sema.quantization import JUDGES, RATIO
from specc.source import Source, Span

if TYPE_CHECKING:
    import numpy as np

    from specc.backends.onnx.export import ExportReport
    from specc.ir.program import Bound, Program, Quantization
    from specc.runtime.quantization import Judged, QuantizationReport


def finish(
    run: Run,
    program: Program,
    entry: str,
    weights: dict[str, np.ndarray],
    quantization: Quantization,
    written: ExportReport,
    count: int,
) -> None:
    """Judge a file that was written and keep its report beside it; where a bound is missed the file goes, with exit code 3."""
    from specc.runtime.page import write

    report, out = written.quantization, written.files[0]
    if count and program.data and program.entries[entry].role == "sampler":
        report = replace(report, metrics=judged(run, program, entry, weights, out, quantization.bounds, count))
    say(str(report))
    report.save(out.with_suffix(".quantization.json"))
    space = {"low": program.data[0].space.low, "high": program.data[0].space.high} if program.data else {}
    write(report, out.with_suffix(".quantization.html"), {k: v for k, v in space.items() if v is not None})
    diagnostics = missed(run, quantization, report)
    if diagnostics:
        for file in written.files:
            file.unlink()
        show(diagnostics)
        raise Failure(f"{out} is not kept", f"the report is {out.with_suffix('.quantization.html')}")


def judged(
    run: Run, program: Program, entry: str, weights: dict[str, np.ndarray], file: Path, bounds: tuple[Bound, ...], count: int
) -> tuple[Judged, ...]:
    """Metrics of as many samples of the float file and of the quantised one, against held-out data: those that are bounded,
    those of the spec, or such as need no probe."""
    import numpy as np

    from specc.backends.onnx.export import export
    from specc.ir.metrics import METRICS
    from specc.ir.program import Setting
    from specc.runtime.ort import example_seeds, load
    from specc.runtime.quantization import Judged

    train, real = held_out(run, program, count, np.random.default_rng(0))
    label = next((c.name for c in program.conditions if c.classes), None)
    seeds = example_seeds(0, min(count, len(real["x"])))
    given = conditions(run, program, entry, seeds, weights)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "float.onnx"
        export(driver.prepare(program), entry, weights, whole)
        for path in (whole, file):
            model = load(path)
            feeds = model.feeds(seeds, given)
            samples = {"x": model.run(feeds, ["x"])["x"], **{k: v for k, v in feeds.items() if k == label}}
            found.append(Evidence(run, program, entry, samples, train, real, label))
    wanted = {b.name.removesuffix(RATIO): Setting(b.name.removesuffix(RATIO)) for b in bounds if b.name.endswith(RATIO)}
    usual = {s.name: s for s in settings(replace(found[0], label=None)) if s.name in METRICS}
    rows = []
    for s in {n: s for n, s in (wanted | usual).items() if n in METRICS}.values():
        if METRICS[s.name].takes in JUDGES and METRICS[s.name].numbers == 1:
            options = {k: v for k, v in s.options if k not in ("args", "compare", "bound")}
            before, after = (values_of(s, options, f)[s.name] for f in found)
            found[1].space = found[0].space
            rows.append(Judged(metric=s.name, before=float(before or 0), after=float(after or 0)))
    return tuple(rows)


def missed(run: Run, quantization: Quantization, report: QuantizationReport) -> list[Diagnostic]:
    """The bounds that do not hold, each at its place in the spec of the run."""
    out = []
    for bound in quantization.bounds:
        value = measured(bound.name, report)
        if value is None or not COMPARE[bound.compare](value, bound.value):
            shown = "was not measured" if value is None else f"is {value:.4g}"
            message = f"`{bound.name}` {shown}, and `{quantization.name}` requires {bound.compare} {bound.value:g}"
            help = "keep more layers, take a wider format, or say what may be lost"
            if value is None:
                help = "it is judged on samples of a sampler beside held-out data: --samples 256"
            out.append(Diagnostic(code="E0606", message=message, span=place(run, bound.span), help=help))
    return out


def measured(name: str, report: QuantizationReport) -> float | None:
    match name:
        case "sample_error":
            return report.sample_error
        case "call_error":
            return max((c.norm for c in report.calls), default=0.0)
        case "size_ratio":
            return report.size_ratio
        case _:
            return next((m.ratio for m in report.metrics if m.metric == name.removesuffix(RATIO)), None)


@contextmanager
def placed(run: Run) -> Iterator[None]:
    """Mistakes in a section, which show when a file is made, in the spec of the run."""
    try:
        yield
    except SpecError as error:
        raise SpecError(replace(error.diagnostic, span=place(run, error.diagnostic.span))) from None


def place(run: Run, span: Span | None) -> Span:
    """A place of the program, whose document keeps no text, in the spec of the run."""
    text = run.spec.read_text(encoding="utf-8") if run.spec.exists() else ""
    source = Source(str(run.spec), text)
    lines = text.splitlines(keepends=True)
    if span is None or span.line > len(lines):
        return Span(source, 0, 0)
    start = sum(map(len, lines[: span.line - 1])) + span.column - 1
    return Span(source, start, start + len(lines[span.line - 1][span.column - 1 :].split(";")[0].rstrip(" }\n")))
