"""The report of a quantised file: what is covered and how it runs, bytes, errors by time and of samples, metrics, speed."""

from __future__ import annotations

import json
from dataclasses import asdict, field
from pathlib import Path
from typing import Any

import numpy as np

from specc.record import record

KEPT = "kept"


@record(kw_only=True)
class LayerReport:
    """A layer, by the path of its weight, or a product of two activations, which has no bytes."""

    path: str
    kind: str  # linear, conv, embedding, attention, ...
    rule: str  # that decided; "" where none did
    format: str  # "int8 by channel, int8 activations", or "kept"
    runs: str  # what the target does with it
    bytes_before: int
    bytes_after: int


@record(kw_only=True)
class CacheReport:
    """What a loop keeps of each place of a sequence, such as keys and values of a layer: bytes of a place of an example."""

    name: str
    format: str  # a row of the table of formats, or "kept"
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
class Judged:
    """A metric of samples against held-out data, with the float file and with the quantised one."""

    metric: str
    before: float
    after: float

    @property
    def ratio(self) -> float:
        """Unbiased distances may be below 0 before, and then a quotient says nothing."""
        if self.before > 0:
            return self.after / self.before
        return 1.0 if self.after <= self.before else float("inf")


@record(kw_only=True)
class Speed:
    """Milliseconds of one run with some examples, the best of a few."""

    examples: int
    before: float
    after: float


@record(kw_only=True)
class QuantizationReport:
    """`coverage` is the share of the bytes of all weights that were quantised; `others` are bytes of weights that are no
    layer's (norms, biases, positions). `sample_error` compares whole samplers. `samples` are of the float file and of this
    one."""

    name: str
    target: str
    layers: tuple[LayerReport, ...]
    others: int
    coverage: float
    bytes_before: int
    bytes_after: int
    file_bytes: int
    calls: tuple[CallError, ...]
    sample_error: float
    speed: Speed | None = None
    caches: tuple[CacheReport, ...] = ()
    notes: tuple[str, ...] = ()
    metrics: tuple[Judged, ...] = ()
    samples: tuple[np.ndarray, np.ndarray] | None = field(default=None, repr=False, compare=False)

    @property
    def size_ratio(self) -> float:
        return self.bytes_after / max(self.bytes_before, 1)

    @property
    def cached(self) -> str:
        """What caches came to, in words; "" where there are none."""
        if not self.caches:
            return ""
        formats = ", ".join(dict.fromkeys("float" if c.format == KEPT else c.format for c in self.caches))
        before, after = (sum(getattr(c, k) for c in self.caches) for k in ("bytes_before", "bytes_after"))
        packed = "" if after == before else ", unpacked by standard ops where they are read"
        return f"caches in {formats}: {after} bytes a place of an example, {before} in float{packed}"

    def kinds(self) -> dict[str, tuple[int, int]]:
        """How many layers of each kind were quantised, of how many."""
        found: dict[str, tuple[int, int]] = {}
        for r in self.layers:
            done, all = found.get(r.kind, (0, 0))
            found[r.kind] = (done + (r.format != KEPT), all + 1)
        return found

    def as_dict(self) -> dict[str, Any]:
        out = {k: v for k, v in asdict(self).items() if k != "samples"}
        return {**out, "size_ratio": self.size_ratio, "metrics": [{**asdict(m), "ratio": m.ratio} for m in self.metrics]}

    def save(self, path: str | Path) -> None:
        Path(path).write_text(json.dumps(self.as_dict(), indent=2) + "\n", encoding="utf-8")

    def __str__(self) -> str:
        """A table for the terminal."""
        counts = ", ".join(f"{done} of {all} {kind}" for kind, (done, all) in self.kinds().items())
        lines = [
            f"{self.name} for {self.target}: {counts}; {self.coverage:.0%} of the bytes of weights; "
            f"{self.bytes_before / 1e6:.1f} MB to {self.bytes_after / 1e6:.1f} MB"
        ]
        for r in self.layers:
            bytes = f"{r.bytes_before:>10} -> {r.bytes_after:>9}" if r.bytes_before else f"{'':23}"
            lines.append(f"  {r.path:44} {r.format:36} {bytes}  {r.runs}".rstrip())
        lines += [f"  {self.cached}"] if self.caches else []
        lines += [
            f"  call {c.step:3}{'' if c.time is None else f'  t = {c.time:6.3f}'}  error {c.norm:.4f}" for c in self.calls
        ]
        lines.append(f"  samples: relative error {self.sample_error:.4f}")
        lines += [f"  {m.metric}: {m.before:.4g} before, {m.after:.4g} after, ratio {m.ratio:.3f}" for m in self.metrics]
        if self.speed is not None:
            s = self.speed
            lines.append(
                f"  {s.examples} examples: {s.before:.1f} ms before, {s.after:.1f} ms after, {s.before / s.after:.2f} times"
            )
        return "\n".join([*lines, *(f"  note: {n}" for n in self.notes)])
