"""Cold start: `specc check` and `specc compile --target pytorch`, whole processes that import neither torch, onnx nor
onnxruntime.

python -m benchmarks.cold          bounds: 0.35 s and 0.8 s on the demo spec, medians; 1.5 s to compile each of the others
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SPECS = Path(__file__).parents[1] / "specs"
SPEC = SPECS / "diffusion" / "ddpm.spec"
MODEL = re.compile(r"^(?:model|stage) (\w+)", re.MULTILINE)
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


def compiled(spec: Path, folder: str) -> tuple[float, float]:
    """Seconds to compile the first model of a spec: by the clock, and of the processor."""
    command = ["compile", str(spec), "--target", "pytorch", "-o", f"{folder}/{spec.stem}"]
    name = MODEL.search(spec.read_text(encoding="utf-8"))
    start, before = time.perf_counter(), os.times()
    subprocess.run([sys.executable, "-c", WATCH, *command, "--model", name[1] if name else ""], check=True, capture_output=True)
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - start, spent


def slowest(folder: str, shown: int = 5) -> None:
    """The specs that take longest, the better of two runs each. Every model of a file is checked, whichever is compiled."""
    found = {
        spec.stem: min(compiled(spec, folder) for _ in range(2))
        for spec in sorted(SPECS.rglob("*.spec"))
        if spec.parent.name != "std"
    }
    for name, (seconds, spent) in sorted(found.items(), key=lambda item: -item[1][1])[:shown]:
        verdict = "ok" if seconds <= 1.5 else "ABOVE"
        print(f"specc compile {name:19} {seconds:.3f} s   processor {spent:.3f} s   bound 1.50 s   {verdict}")


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
        slowest(folder)


if __name__ == "__main__":
    main()
