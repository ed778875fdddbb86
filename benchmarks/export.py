"""Export of a DiT of about 100 M parameters: specc's, from the IR, against torch.onnx.export of the generated network.

python -m benchmarks.export        bounds: 4 times faster, peak memory at most 3 times the weights; a process each
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.projects import COLOUR, DIGITS, compile_text, modules

TEXT = DIGITS.format(backbone="dit(dim = 768, depth = 9, heads = 12, patch = 4)", **COLOUR)


def peak() -> int:
    """Bytes of the largest resident set so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def ours(project: Path, weights: Path) -> dict[str, float]:
    from safetensors.numpy import load_file
    from specc.backends.onnx.export import export

    from specc import driver

    (program,) = driver.check(project.parent / "benchmark.spec").programs.values()
    graph = driver.prepare(program)
    held = load_file(weights)
    start, before = time.perf_counter(), peak()
    export(graph, "fast", held, weights.with_name("ours.onnx"))
    return {"seconds": time.perf_counter() - start, "peak": peak(), "before": before}


def peer(project: Path, weights: Path) -> dict[str, float]:
    import torch
    from safetensors.torch import load_file

    (model,) = modules(project, "model")
    net = model.Model()
    net.load_state_dict(load_file(weights))
    inputs = (torch.randn(2, 3, 32, 32), torch.rand(2), torch.zeros(2, dtype=torch.int64))
    start, before = time.perf_counter(), peak()
    torch.onnx.export(net.backbone.eval(), inputs, str(weights.with_name("peer.onnx")), dynamo=True)
    return {"seconds": time.perf_counter() - start, "peak": peak(), "before": before}


def main() -> None:
    if len(sys.argv) > 1:
        print(json.dumps({"ours": ours, "peer": peer}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))))
        return
    import torch
    from safetensors.torch import save_file

    _, project = compile_text(TEXT)
    (model,) = modules(project, "model")
    net = model.Model()
    weights = Path(tempfile.mkdtemp()) / "weights.safetensors"
    save_file(net.state_dict(), weights)
    size = sum(p.numel() for p in net.parameters())
    del net, torch
    print(f"{size / 1e6:.1f} M parameters, {4 * size / 2**20:.0f} MiB")
    found = {}
    for who in ("ours", "peer"):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.export", who, str(project), str(weights)],
            check=True,
            capture_output=True,
            text=True,
        )
        found[who] = json.loads(done.stdout.strip().splitlines()[-1])
        print(f"{who}: {found[who]['seconds']:.2f} s, peak {found[who]['peak'] / (4 * size):.2f} times the weights")
    ratio = found["peer"]["seconds"] / found["ours"]["seconds"]
    print(f"ratio {ratio:.1f}   bound 4   {'ok' if ratio >= 4 else 'BELOW'}")


if __name__ == "__main__":
    main()
