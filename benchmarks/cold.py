"""Cold start: `specc check` and `specc compile --target pytorch` on the demo spec, whole processes.

python -m benchmarks.cold          bounds: 0.35 s and 0.8 s, medians; neither imports torch, onnx or onnxruntime
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SPEC = Path(__file__).parents[1] / "specs" / "diffusion" / "ddpm.spec"
WATCH = """
import sys
from specc.cli.main import main
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
heavy = {"torch", "onnx", "onnxruntime"} & set(sys.modules)
assert not heavy, heavy
"""


def median(command: list[str], runs: int = 15) -> float:
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", WATCH, *command], check=True, capture_output=True)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def main() -> None:
    nothing = statistics.median(
        [
            (lambda s: (subprocess.run([sys.executable, "-c", "pass"], check=True), time.perf_counter() - s)[1])(
                time.perf_counter()
            )
            for _ in range(9)
        ]
    )
    print(f"python -c pass                    {nothing:.3f} s")
    with tempfile.TemporaryDirectory() as folder:
        for what, command, bound in (
            ("specc check", ["check", str(SPEC)], 0.35),
            ("specc compile --target pytorch", ["compile", str(SPEC), "--target", "pytorch", "-o", folder], 0.8),
        ):
            seconds = median(command)
            print(f"{what:33} {seconds:.3f} s   bound {bound:.2f} s   {'ok' if seconds <= bound else 'ABOVE'}")


if __name__ == "__main__":
    main()
