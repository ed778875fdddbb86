"""Parity certificates: the reference, ONNX Runtime and PyTorch on the same seeds, noise and conditions.

The reference interpreter runs in double precision. Errors are given relative to the scale (root mean square) of what is
compared. `steps` are teacher-forced: each gets the reference's values before the step, so that what is reported is the error
of one step. Quantised files are judged by relative norm, since a rounded activation turns a last digit into a whole level.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from specc.ir.program import Program
from specc.record import record
from specc.runtime.ort import Model, example_seeds, load

Sample = Callable[[dict[str, Any]], np.ndarray]  # arrays by input name, the seeds among them, to samples (n, *shape)

FLOAT_TOLERANCE = 1e-4  # largest error of a float file, relative to the scale of the samples
QUANTISED_TOLERANCE = 0.25  # relative norm of the error of a quantised file
SINGLE = "reference, single"  # precision: run when the float tolerance is missed


@record(kw_only=True)
class Gap:
    """How far two arrays are apart. `equal` is the share of elements that are the same, which is what counts for tokens."""

    largest: float  # absolute
    relative: float  # largest / scale of the second
    norm: float  # |a - b| / |b|
    equal: float


@record(kw_only=True)
class Comparison:
    """One program against another: the final sample, and each step from the second one's values."""

    names: tuple[str, str]
    final: Gap
    steps: tuple[Gap, ...] = ()


@record(kw_only=True)
class Certificate:
    spec: str
    digest: str
    entry: str
    file_digest_matches: bool
    quantization: str | None
    examples: int
    nfe: int | None  # network calls of one sample, as counted by the compiler
    nfe_ran: int | None  # as counted by the file, where the number depends on the data
    checker: str  # "passes" or what onnx.checker says
    batch_equal: bool  # one example at a time gives the same bits
    batch_gap: float
    comparisons: tuple[Comparison, ...]
    tolerance: float
    versions: dict[str, str]

    @property
    def sensitive(self) -> bool:
        """Whether single precision alone moves the samples by more than the tolerance allows."""
        return any(c.names[0] == SINGLE and c.final.relative > self.tolerance for c in self.comparisons)

    @property
    def passes(self) -> bool:
        return self.checker == "passes" and self.file_digest_matches and (self._close() or self._steps_close())

    def _close(self) -> bool:
        return all(self.error(c) <= self.tolerance for c in self.comparisons if c.names[0] != SINGLE)

    def _steps_close(self) -> bool:
        """For a sampler that magnifies rounding: samples are numbers, and most single steps are right."""
        steps = [s.relative for c in self.comparisons for s in c.steps]
        finite = all(np.isfinite(c.final.largest) for c in self.comparisons)
        return self.sensitive and finite and bool(steps) and float(np.median(steps)) <= self.tolerance

    def error(self, comparison: Comparison) -> float:
        """What is held against the tolerance."""
        return comparison.final.norm if self.quantization else comparison.final.relative

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "passes": self.passes}

    def save(self, path: str | Path) -> None:
        Path(path).write_text(json.dumps(self.as_dict(), indent=2) + "\n", encoding="utf-8")

    def text(self) -> str:
        """A table for the terminal."""
        kind = f", quantised by {self.quantization}" if self.quantization else ""
        calls = self.nfe if self.nfe_ran is None else f"{self.nfe_ran} here"
        lines = [
            f"{self.spec}: {self.entry}{kind}  ({self.examples} examples, {calls} network calls, spec {self.digest[:12]})",
            f"{'':32}{'largest':>12}{'relative':>12}{'norm':>12}{'worst step':>12}",
        ]
        for c in self.comparisons:
            worst = f"{max(s.relative for s in c.steps):12.1e}" if c.steps else f"{'':>12}"
            numbers = f"{c.final.largest:12.1e}{c.final.relative:12.1e}{c.final.norm:12.1e}"
            lines.append(f"{c.names[0] + ' - ' + c.names[1]:32}{numbers}{worst}")
        alone = "the same bits" if self.batch_equal else f"differs by {self.batch_gap:.1e}"
        lines.append(f"alone as in a batch: {alone}; onnx.checker: {self.checker}")
        if self.sensitive:
            lines.append("single precision alone moves these samples beyond the tolerance: judged by the median step")
        lines.append(f"{'passes' if self.passes else 'FAILS'} (tolerance {self.tolerance:g})")
        return "\n".join(lines)


def certify(
    program: Program,
    array: Program,
    entry: str,
    weights: Mapping[str, np.ndarray],
    path: str | Path,
    *,
    torch: Sample | None = None,
    others: Mapping[str, Sample] | None = None,
    examples: int = 4,
    seed: int = 0,
    conditions: Mapping[str, Any] | None = None,
    arguments: Mapping[str, Any] | None = None,
    tolerance: float | None = None,
) -> Certificate:
    """Compare an exported file with the reference and, when given, with PyTorch.

    program, array: the same program at example level, which the reference runs, and at array level, from which steps are
    exported. torch: takes the file's inputs by name (int64 `seed` among them) and gives samples; `others`, by name of what runs
    them, are compared too.
    """
    from specc.passes.count import network_calls
    from specc.reference.interpret import run

    model = load(path)
    examples = -(-examples // model.groups) * model.groups
    feeds = model.feeds(example_seeds(seed, examples), conditions, arguments)
    trace: list[Any] = []
    truth = np.asarray(run(program, entry, feeds, weights, trace=trace)[0])
    first, out = model.outputs[0], model.run(feeds)
    quantization = model.metadata.get("quantization")
    steps = () if quantization else _steps(array, entry, weights, feeds, trace)
    comparisons = [Comparison(names=("ONNX Runtime", "reference"), final=gap(out[first], truth), steps=steps)]
    if torch is not None:
        eager = np.asarray(torch(dict(feeds)))
        comparisons.append(Comparison(names=("PyTorch", "reference"), final=gap(eager, truth)))
        comparisons.append(Comparison(names=("ONNX Runtime", "PyTorch"), final=gap(out[first], eager)))
    for name, sample in (others or {}).items():
        comparisons.append(Comparison(names=(name, "reference"), final=gap(np.asarray(sample(dict(feeds))), truth)))
    counted = network_calls(array, entry)
    if not quantization and max(c.final.relative for c in comparisons) > FLOAT_TOLERANCE:
        single = np.asarray(run(program, entry, feeds, weights, dtype="float32")[0])
        comparisons.append(Comparison(names=(SINGLE, "reference"), final=gap(single, truth)))
    alone = _alone(model, feeds, examples)
    return Certificate(
        spec=program.spec,
        digest=program.digest,
        entry=entry,
        file_digest_matches=model.metadata.get("digest") == program.digest,
        quantization=quantization,
        examples=examples,
        nfe=None if counted is None else counted.calls,
        nfe_ran=int(out["nfe"]) if "nfe" in out else None,
        checker=check(path),
        batch_equal=bool(np.array_equal(alone, out[first])),
        batch_gap=gap(alone, out[first]).largest,
        comparisons=tuple(comparisons),
        tolerance=tolerance or (QUANTISED_TOLERANCE if quantization else FLOAT_TOLERANCE),
        versions=_versions(torch is not None),
    )


def gap(a: np.ndarray, b: np.ndarray) -> Gap:
    """How far a is from b, where b sets the scale."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape:
        raise ValueError(f"arrays of shapes {a.shape} and {b.shape} cannot be compared")
    difference = np.abs(a - b)
    scale = float(np.sqrt(np.mean(b**2))) if b.size else 0.0
    largest = float(difference.max(initial=0.0))
    norm = float(np.linalg.norm(difference) / max(float(np.linalg.norm(b)), 1e-30))
    return Gap(
        largest=largest, relative=largest / max(scale, 1e-30), norm=norm, equal=float(np.mean(a == b)) if a.size else 1.0
    )


def check(path: str | Path) -> str:
    """ "passes", or the first complaint of onnx.checker, which also infers every shape."""
    import onnx

    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        return str(error).splitlines()[0]
    return "passes"


def _alone(model: Model, feeds: Mapping[str, np.ndarray], n: int) -> np.ndarray:
    first = model.outputs[0]
    if model.session.get_outputs()[0].shape[:1] != ["B"]:  # of the batch as a whole
        return model.run(feeds, [first])[first]
    return np.concatenate([part[first] for part in model.batches(feeds, n, 1, [first])])


def _steps(
    array: Program, entry: str, weights: Mapping[str, np.ndarray], feeds: Mapping[str, np.ndarray], trace: list[Any]
) -> tuple[Gap, ...]:
    """The error of each step of the loops at the entry's top level, from the reference's values before it."""
    from specc.backends.onnx.export import export
    from specc.backends.onnx.steps import INDEX, STATE, with_steps
    from specc.reference.interpret import run

    stepped, entries = with_steps(array, entry)
    carried = {s.loop: len(s.before) for s in trace}
    if any(carried.get(e.loop, e.carried) != e.carried for e in entries):  # the file keeps caches, which the trace has not
        trace = []
        run(array, entry, feeds, weights, trace=trace)
    gaps = []
    with tempfile.TemporaryDirectory() as folder:
        for step in entries:
            rounds = [s for s in trace if s.loop == step.loop and s.depth == 0]
            if not rounds:
                continue
            file = Path(folder) / "step.onnx"
            export(stepped, step.name, weights, file)
            model = load(file)
            inputs = {i.name for i in model.session.get_inputs()}
            kinds = {i["name"]: i["dtype"] for i in model.inputs}
            for r in rounds:
                states = {f"{STATE}{i}": _as(v, kinds[f"{STATE}{i}"]) for i, v in enumerate(r.before)}
                here = {**feeds, **states, INDEX: np.array(r.indices[0], np.int64)}
                out = model.run({k: v for k, v in here.items() if k in inputs})
                found = [gap(a, b) for a, b in zip(out.values(), r.after, strict=False)]
                gaps.append(max(found, key=lambda g: g.relative))
    return tuple(gaps)


def _as(value: Any, kind: str) -> np.ndarray:
    return np.asarray(value, {"float": np.float32, "int": np.int64, "bool": np.bool_}[kind])


def _versions(torch_ran: bool) -> dict[str, str]:
    import onnx
    import onnxruntime

    found = {"numpy": np.__version__, "onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}
    if torch_ran:
        found["torch"] = version("torch")  # it ran in another process, perhaps: torch is not imported here
    return found
