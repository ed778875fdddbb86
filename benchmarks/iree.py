"""A whole sampler compiled by IREE (20 steps) against the eager PyTorch loop, and ONNX Runtime, on the same weights.

python -m benchmarks.iree [NAME]    one processor each; needs the extra `iree`. Stated, with no bound: see benchmarks/README.md
"""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch
from specc.backends.mlir.iree import compile_sampler
from specc.backends.onnx.export import export

from benchmarks.projects import compile_text, modules
from benchmarks.tools import show, side_by_side
from specc import driver
from specc.runtime import iree, ort

SPEC = """specc 1
model small {{
  data x: {space}
  process vp
  backbone {backbone}
  predict eps
  sampler fast = ddpm(steps = 20)
}}
"""
IMAGES = "image(1, 8, 8) in [-1, 1] from digits"
CASES = {
    "points": dict(space="vector(2) from eight_gaussians", backbone="mlp(width = 256, depth = 4)"),
    "DiT": dict(space=IMAGES, backbone="dit(dim = 128, depth = 2, heads = 4)"),
    "UNet": dict(space=IMAGES, backbone="unet(width = 16, levels = 2)"),
}
BATCH = 16


def main() -> None:
    torch.set_num_threads(1)
    for what in sys.argv[1:] or CASES:
        program, project = compile_text(SPEC.format(**CASES[what]))
        model, sample = modules(project, "model", "sample")
        torch.manual_seed(0)
        net = model.Model().eval().requires_grad_(False)
        for p in net.parameters():
            if not p.any():  # zero starts would hide every error
                p.normal_(std=0.02)
        weights = {k: v.numpy() for k, v in net.state_dict().items()}
        seeds, graph, folder = ort.example_seeds(0, BATCH), driver.prepare(program), Path(tempfile.mkdtemp())
        compile_sampler(graph, "fast", weights, folder / "fast.vmfb")
        export(graph, "fast", weights, folder / "fast.onnx")
        compiled, loaded = iree.load(folder / "fast.vmfb", threads=1), ort.load(folder / "fast.onnx", threads=1)
        eager = partial(sample.SAMPLERS["fast"], net, torch.from_numpy(seeds))
        expected = eager().numpy()
        gap = np.abs(compiled.run(compiled.feeds(seeds), ["x"])["x"] - expected).max() / np.abs(expected).max()
        print(f"{what}: {sum(w.size for w in weights.values()) / 1e6:.2f} M parameters, gap {gap:.1e} of the scale")
        run = partial(compiled.run, compiled.feeds(seeds), ["x"])
        show(f"{what}, IREE against eager PyTorch", side_by_side(run, eager, rounds=5, warm=1), None)
        show(
            f"{what}, IREE against ONNX Runtime",
            side_by_side(run, partial(loaded.run, loaded.feeds(seeds), ["x"]), rounds=5),
            None,
        )


if __name__ == "__main__":
    main()
