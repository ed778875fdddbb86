"""The exported sampler (20 steps, batch 16) against the PyTorch loop on the same weights: float against the eager network and
against `torch.compile` of it, which wants a C++ compiler; static int8 against the eager one.

python -m benchmarks.sampler       bounds: 1.3 for DiT and UNet, 1.1 when compiled, 2 for the int8 DiT; float agrees to 1e-4 of
the scale
"""

from __future__ import annotations

import copy
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch
from specc.backends.onnx.export import export

from benchmarks.projects import COLOUR, DIGITS, compile_text, modules
from benchmarks.tools import show, side_by_side
from specc import driver
from specc.runtime import ort

CASES = {
    "DiT": dict(backbone="dit(dim = 384, depth = 8, heads = 6, patch = 4)", **COLOUR),
    "UNet": dict(channels=1, size=8, reader="digits", backbone="unet(width = 32, levels = 2)"),
}
BATCH = 16


def main() -> None:
    torch.set_num_threads(2)
    for what, fill in CASES.items():
        program, project = compile_text(DIGITS.format(**fill))
        model, sample = modules(project, "model", "sample")
        torch.manual_seed(0)
        net = model.Model().eval().requires_grad_(False)
        for p in net.parameters():
            if not p.any():  # zero starts would hide every error
                p.normal_(std=0.02)
        weights = {k: v.numpy() for k, v in net.state_dict().items()}
        seeds, y = ort.example_seeds(0, BATCH), np.arange(BATCH) % 10
        graph = driver.prepare(program)
        folder = Path(tempfile.mkdtemp())

        def eager(net=net, seeds=seeds, y=y, sample=sample):
            return sample.SAMPLERS["fast"](net, torch.from_numpy(seeds), torch.from_numpy(y))

        fused = copy.deepcopy(net)
        fused.backbone.compile()

        export(graph, "fast", weights, folder / "float.onnx")
        loaded = ort.load(folder / "float.onnx", threads=2)
        feeds = loaded.feeds(seeds, {"y": y})
        gap = np.abs(loaded.run(feeds, ["x"])["x"] - eager().numpy()).max() / np.abs(eager().numpy()).max()
        print(f"{what}: {sum(w.size for w in weights.values()) / 1e6:.1f} M parameters, float gap {gap:.1e} of the scale")
        show(f"{what} float, 20 steps, batch {BATCH}", side_by_side(partial(loaded.run, feeds, ["x"]), eager, warm=1), 1.3)
        compiled = side_by_side(partial(loaded.run, feeds, ["x"]), partial(eager, fused), warm=1)
        show(f"{what} float, the network compiled", compiled, 1.1)
        export(graph, "fast", weights, folder / "int8.onnx", quantization=program.quantize[0])
        small = ort.load(folder / "int8.onnx", threads=2)
        feeds8 = small.feeds(seeds, {"y": y})
        pair = side_by_side(partial(small.run, feeds8, ["x"]), eager, warm=1)
        sizes = [(folder / n).stat().st_size for n in ("int8.onnx", "float.onnx")]
        show(f"{what} int8 ({sizes[0] / sizes[1]:.2f} of the bytes)", pair, 2.0 if what == "DiT" else None)


if __name__ == "__main__":
    main()
