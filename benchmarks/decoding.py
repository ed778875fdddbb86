"""Sampling 256 tokens from a causal transformer of 14 M parameters, one at a time, in ONNX Runtime.

python -m benchmarks.decoding       bounds, batch 1: 8 against the whole sequence each time, 2 against eager PyTorch with a
cache written by hand, 2.5 for weights of 4 bits against float
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch
from specc.backends.onnx.export import export
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.projects import compile_text
from benchmarks.tools import show, side_by_side
from specc import driver
from specc.passes import GRAPH, run
from specc.passes.count import parameters
from specc.passes.incremental.decode import decode
from specc.runtime import ort

PLACES, VOCAB, DIM, DEPTH, HEADS = 256, 512, 384, 6, 6
SPEC = f"""specc 1
model lm {{
  data x: tokens({PLACES}, {VOCAB}) from text("corpus.txt")
  backbone transformer(dim = {DIM}, depth = {DEPTH}, heads = {HEADS}, causal = true)
  loss next_token
  sampler ancestral
  quantize w4 {{ weights = int4(block = 32) }}
}}
"""


class Block(nn.Module):
    """Pre-norm, with a gated layer; keys and values of earlier places are handed in and out."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.RMSNorm(DIM, eps=1e-6), nn.RMSNorm(DIM, eps=1e-6)
        self.qkv, self.out = nn.Linear(DIM, 3 * DIM), nn.Linear(DIM, DIM)
        self.up, self.down = nn.Linear(DIM, 8 * DIM, bias=False), nn.Linear(4 * DIM, DIM, bias=False)

    def forward(self, h: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = self.qkv(self.norm1(h)).view(len(h), 1, 3, HEADS, DIM // HEADS).permute(2, 0, 3, 1, 4)
        keys, values = torch.cat([keys, k], dim=2), torch.cat([values, v], dim=2)
        a = F.scaled_dot_product_attention(q, keys, values).transpose(1, 2).reshape(h.shape)
        h = h + self.out(a)
        gate, up = self.up(self.norm2(h)).chunk(2, dim=-1)
        return h + self.down(F.silu(gate) * up), keys, values


class ByHand(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCAB, DIM)
        self.start, self.place = nn.Parameter(torch.zeros(1, DIM)), nn.Parameter(torch.zeros(PLACES, DIM))
        self.blocks = nn.ModuleList(Block() for _ in range(DEPTH))
        self.norm, self.head = nn.RMSNorm(DIM, eps=1e-6), nn.Linear(DIM, VOCAB)

    @torch.no_grad()
    def sample(self, batch: int) -> Tensor:
        """The most likely tokens, (batch, PLACES)."""
        empty = torch.zeros(batch, HEADS, 0, DIM // HEADS)
        caches = [(empty, empty)] * DEPTH
        tokens: list[Tensor] = []
        for i in range(PLACES):
            h = (self.embedding(tokens[-1])[:, None] if tokens else self.start.expand(batch, 1, DIM)) + self.place[i]
            for j, block in enumerate(self.blocks):
                h, *kept = block(h, *caches[j])
                caches[j] = tuple(kept)
            tokens.append(self.head(self.norm(h))[:, 0].argmax(dim=-1))
        return torch.stack(tokens, dim=1)

    def take(self, weights: dict[str, np.ndarray]) -> ByHand:
        """The weights of the spec's transformer."""
        names = {"rmsnorm": "norm1", "attention.linear": "qkv", "attention.linear2": "out", "rmsnorm2": "norm2"}
        names |= {"swiglu.linear": "up", "swiglu.linear2": "down"}
        top = {"backbone.embedding": "embedding", "backbone.rmsnorm": "norm", "backbone.linear": "head"}
        state = {}
        for path, value in weights.items():
            stem, _, last = path.rpartition(".")
            if ".transformer_block." in path:
                _, _, block, inner = stem.split(".", 3)
                state[f"blocks.{block}.{names[inner]}.{last}"] = torch.from_numpy(value)
            else:
                state[f"{top[stem]}.{last}" if stem in top else last] = torch.from_numpy(value)
        self.load_state_dict(state)
        return self


def main() -> None:
    torch.set_num_threads(1)
    program, _ = compile_text(SPEC)
    rng = np.random.default_rng(0)
    weights = {p: (0.05 * rng.normal(size=s)).astype(np.float32) for p, s in parameters(program).items()}
    weights |= {p: np.ones_like(v) for p, v in weights.items() if "rmsnorm" in p}
    folder = Path(tempfile.mkdtemp())
    cached, whole = driver.prepare(program), run(program, [p for p in GRAPH if p is not decode])
    export(cached, "ancestral", weights, folder / "cached.onnx")
    export(whole, "ancestral", weights, folder / "whole.onnx")
    export(cached, "ancestral", weights, folder / "int4.onnx", quantization=program.quantize[0])
    peer = ByHand().eval().take(weights)
    for batch in (1, 4):
        greedy = {"temperature": np.float32(0)}
        runs = {}
        for name in ("cached", "whole", "int4"):
            loaded = ort.load(folder / f"{name}.onnx", threads=1)
            runs[name] = partial(loaded.run, loaded.feeds(ort.example_seeds(0, batch), arguments=greedy), ["x"])
        tokens = runs["cached"]()["x"]
        same = [np.array_equal(tokens, other) for other in (runs["whole"]()["x"], peer.sample(batch).numpy())]
        print(f"batch {batch}: the same tokens as the whole sequence each time {same[0]}, as by hand {same[1]}")
        bounds = (8.0, 2.0, 2.5) if batch == 1 else (0.0, 0.0, 0.0)
        show("cached against the whole sequence", side_by_side(runs["cached"], runs["whole"], rounds=3, warm=0), bounds[0])
        show("cached against a cache by hand", side_by_side(runs["cached"], partial(peer.sample, batch), rounds=15), bounds[1])
        show("4 bits against float", side_by_side(runs["int4"], runs["cached"]), bounds[2])


if __name__ == "__main__":
    main()
