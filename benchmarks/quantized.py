"""Quantised samplers against the float file: time and bytes of int8, bytes of ternary weights, and what a large export costs.

python -m benchmarks.quantized     bounds: int8 DiT 2.2 times faster at 0.27 of the bytes, UNet 2.3 times; ternary 0.1 of the
bytes; an export of 100 M parameters with its certificate at 4 times the bytes of its weights
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
from specc.backends.onnx.calibrate import Calibration
from specc.backends.onnx.export import export
from specc.backends.onnx.write import initial

from benchmarks.export import peak
from benchmarks.projects import COLOUR, DIGITS, check_text
from benchmarks.tools import show, side_by_side
from specc import driver
from specc.ir.program import Program
from specc.runtime import ort
from specc.runtime.certificate import certify

CASES = {
    "DiT": ("dit(dim = 384, depth = 8, heads = 6, patch = 2)", 2.2, 0.27),
    "UNet": ("unet(width = 64, levels = 3)", 2.3, 0.31),  # its first and last layers stay in float, as do its norms
}
LARGE = "dit(dim = 768, depth = 9, heads = 12, patch = 4)"
BATCH, STEPS, FEW = 4, 20, 4


def compiled(backbone: str, steps: int) -> tuple[Program, dict[str, np.ndarray]]:
    """A program at array level with weights that are nowhere zero, which would hide errors."""
    text = DIGITS.format(backbone=backbone, **COLOUR).replace("steps = 20", f"steps = {steps}")
    program, _ = check_text(text)
    rng = np.random.default_rng(0)
    weights = initial(program)
    return program, {k: v if v.any() else (0.02 * rng.standard_normal(v.shape)).astype(np.float32) for k, v in weights.items()}


def files(what: str, backbone: str, faster: float, smaller: float) -> None:
    """Float, int8 and ternary files of one network, side by side."""
    program, weights = compiled(backbone, STEPS)
    array, folder = driver.prepare(program), Path(tempfile.mkdtemp())
    written = {"float": export(array, "fast", weights, folder / "float.onnx")}
    for section in program.quantize:
        known = Calibration(examples=BATCH, batch=BATCH)
        written[section.name] = export(
            array, "fast", weights, folder / f"{section.name}.onnx", quantization=section, calibration=known
        )
    whole = written["float"].file_bytes
    print(f"{what}: {sum(w.size for w in weights.values()) / 1e6:.1f} M parameters, {whole / 1e6:.1f} MB")
    for threads in (1, 2):
        loaded = [ort.load(folder / f"{name}.onnx", threads=threads) for name in ("w8a8", "float")]
        feeds = loaded[0].feeds(ort.example_seeds(0, BATCH), {"y": np.arange(BATCH) % 10})
        runs = (partial(model.run, feeds, ["x"]) for model in loaded)
        show(f"{what} int8, {STEPS} steps, batch {BATCH}, threads: {threads}", side_by_side(*runs, warm=1), faster)
    for name, bound in (("w8a8", smaller), ("ternary", 0.1)):
        share, report = written[name].file_bytes / whole, written[name].quantization
        verdict = "ok" if share <= bound else "ABOVE"
        print(f"{what} {name}: {share:.3f} of the bytes   bound {bound:.2f}   {verdict}   coverage {report.coverage:.2f}")


def large() -> None:
    """One export with its report and certificate, in a process of its own."""
    program, weights = compiled(LARGE, FEW)
    array, size = driver.prepare(program), sum(w.nbytes for w in weights.values())
    out, start = Path(tempfile.mkdtemp()) / "large.onnx", time.perf_counter()
    known = Calibration(examples=BATCH, batch=BATCH)
    written = export(array, "fast", weights, out, quantization=program.quantize[0], calibration=known)
    middle = peak()
    certificate = certify(program, array, "fast", weights, out, examples=1)
    found = {"seconds": time.perf_counter() - start, "export": middle / size, "peak": peak() / size, "size": size}
    print(json.dumps(found | {"file": written.file_bytes, "passes": certificate.passes}))


def main() -> None:
    if sys.argv[1:] == ["large"]:
        return large()
    for what, case in CASES.items():
        files(what, *case)
    command = [sys.executable, "-m", "benchmarks.quantized", "large"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.strip().splitlines()[-1])
    print(
        f"{found['size'] / 4e6:.0f} M parameters to int8 with a certificate ({FEW} steps): {found['seconds']:.0f} s, "
        f"peak {found['peak']:.2f} times the weights (the export alone {found['export']:.2f})   bound 4   "
        f"{'ok' if found['peak'] <= 4 and found['passes'] else 'ABOVE'}"
    )


if __name__ == "__main__":
    main()
