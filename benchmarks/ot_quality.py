"""Optimal transport against independent pairs on eight Gaussians: exact 2-Wasserstein distance after 10 Euler steps.

python -m benchmarks.ot_quality    bound: 0.75 of the independent coupling's distance, mean of three seeds
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.projects import compile_text
from specc.runtime.metrics import metric
from specc.runtime.readers import READERS

SPEC = (Path(__file__).parents[1] / "specs" / "flow" / "ot_cfm.spec").read_text()
INDEPENDENT = SPEC.replace("  coupling minibatch_ot(solver = exact)\n", "")
SEEDS, COUNT = (0, 1, 2), 2000


def distance(text: str, seed: int) -> float:
    """Of the samples of a freshly trained model from fresh data."""
    _, project = compile_text(text)
    run = Path(tempfile.mkdtemp())
    quiet = dict(cwd=project, check=True, capture_output=True)
    subprocess.run([sys.executable, "train.py", "--seed", str(seed), "--out", str(run)], **quiet)
    subprocess.run(
        [sys.executable, "sample.py", str(run), "-n", str(COUNT), "--seed", "7", "--out", str(run / "x.npz")], **quiet
    )
    data = READERS["eight_gaussians"].function(COUNT, np.random.default_rng(100 + seed))["x"]
    return float(metric("exact_wasserstein2")(data, np.load(run / "x.npz")["x"]))


def main() -> None:
    found = {name: [distance(text, s) for s in SEEDS] for name, text in (("exact OT", SPEC), ("independent", INDEPENDENT))}
    for name, values in found.items():
        print(f"{name:12} W2 {' '.join(f'{v:.3f}' for v in values)}   mean {np.mean(values):.3f}")
    ratio = np.mean(found["exact OT"]) / np.mean(found["independent"])
    print(f"ratio {ratio:.2f}   bound 0.75   {'ok' if ratio <= 0.75 else 'ABOVE'}")


if __name__ == "__main__":
    main()
