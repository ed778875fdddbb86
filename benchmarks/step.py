"""A training step of a generated project against the same network, loss and optimizer written by hand, eager.

python -m benchmarks.step          bound: 0.97 of the throughput, digits UNet and a DiT of about 10 M parameters
"""

from __future__ import annotations

import torch

from benchmarks.by_hand import DiT, UNet, vp_eps_loss
from benchmarks.projects import COLOUR, DIGITS, compile_text, modules
from benchmarks.tools import show, side_by_side

CASES = {
    "digits UNet, batch 128": (dict(channels=1, size=8, reader="digits", backbone="unet(width = 32, levels = 2)"), 128, 4),
    "DiT 10 M, 3x32x32, batch 8": (
        dict(backbone="dit(dim = 256, depth = 8, heads = 8, patch = 4)", **COLOUR),
        8,
        2,
    ),
}


def main() -> None:
    torch.set_num_threads(2)
    for what, (fill, batch, steps) in CASES.items():
        _, project = compile_text(DIGITS.format(**fill))
        model, objective = modules(project, "model", "objective")
        size, channels = fill["size"], fill["channels"]
        ours = model.Model()
        peer = UNet(channels) if "unet" in fill["backbone"] else DiT(channels, size, 256, 8, 8, 4, 10)
        counts = [sum(p.numel() for p in m.parameters()) for m in (ours, peer)]
        assert counts[0] == counts[1], counts
        x, y = torch.rand(batch, channels, size, size) * 2 - 1, torch.randint(10, (batch,))

        def stepper(net: torch.nn.Module, loss, x=x, y=y, steps=steps):
            optimizer = torch.optim.AdamW(net.parameters(), lr=2e-4, fused=True)

            def run() -> None:
                for _ in range(steps):
                    value = loss(net, x, y)
                    optimizer.zero_grad(set_to_none=True)
                    value.backward()
                    optimizer.step()

            return run

        pair = side_by_side(stepper(ours, objective.loss), stepper(peer, vp_eps_loss), rounds=21)
        show(f"{what} ({counts[0] / 1e6:.2f} M)", pair, 0.97, steps)


if __name__ == "__main__":
    main()
