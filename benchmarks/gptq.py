"""Bits per character that a trained model of characters loses with weights of 4 bits: rounded by GPTQ and to the nearest.

    python -m benchmarks.gptq

Both files have the same formats and so the same bytes. The model is that of specs/quantization/gptq.spec, trained here.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from specc import driver
from specc.ir.program import Quantization, QuantizeRule, Setting
from specc.runtime import ort
from specc.runtime.readers import READERS

SPEC = Path(__file__).parents[1] / "specs" / "quantization" / "gptq.spec"
KEEP = (QuantizeRule(match="last"), QuantizeRule(match="embedding"))
BOUND = 0.6  # of what the nearest lose


def trained(folder: Path) -> tuple[object, dict[str, np.ndarray]]:
    from safetensors.numpy import load_file

    program = driver.check(SPEC).programs["gptq"]
    driver.emit(program, "pytorch", folder / "project")
    subprocess.run([sys.executable, "train.py", "--out", str(folder / "run")], cwd=folder / "project", check=True)
    return driver.prepare(program), load_file(folder / "run" / "model.safetensors")


def main() -> None:
    from specc.backends.onnx.calibrate import Calibration
    from specc.backends.onnx.export import export

    text = {s: READERS["text"].function(s, path="python:manual", n=64, vocab=96, stride=64)["x"] for s in ("train", "test")}
    on = Calibration(examples=4, conditions={"x": text["test"][:4]}, data={"x": text["train"][::40]})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program, weights = trained(folder)

        def bits(weight: Setting | None) -> tuple[float, int]:
            rules = Quantization(name="q", rules=(*KEEP, QuantizeRule(match="*", weights=weight)), calibrate="token_nll")
            file = folder / "q.onnx"
            wanted = rules if weight is not None else None
            report = export(program, "token_nll", weights, file, quantization=wanted, calibration=on)
            model = ort.load(file, threads=1)
            nats = model.run({"x": text["test"]})[model.outputs[0]]
            return float(np.mean(nats)) / np.log(2), report.file_bytes

        before, whole = bits(None)
        for options in ((("axis", "channel"),), (("block", 32),)):
            nearest, size = bits(Setting("int4", options))
            found, same = bits(Setting("int4", (*options, ("method", "gptq"))))
            row = {
                "format": f"int4 {options[0][0]} {options[0][1]}",
                "bits a character in float": round(before, 4),
                "lost by the nearest": round(nearest - before, 5),
                "lost by GPTQ": round(found - before, 5),
                "share": round((found - before) / (nearest - before), 3),
                "bound": BOUND,
                "bytes": [whole, size, same],
            }
            print(json.dumps(row))


if __name__ == "__main__":
    main()
