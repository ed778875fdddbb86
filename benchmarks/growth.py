"""How the time of `specc check` grows with a spec: 2,000 statements against 200, parsing and elaboration together.

python benchmarks/growth.py
"""

from __future__ import annotations

import gc
import time

from specc.sema import elaborate
from specc.source import Source
from specc.syntax.parser import parse

SIZES = (200, 2000)
BOUND = 13.0
RUNS = 7


def spec(statements: int) -> str:
    """Half of the statements in a sampler, a quarter each in a network and in equations of a process."""
    half, quarter = statements // 2, statements // 4
    sampler = [f"    a{i} = a{i - 1} * {0.5 + i / statements:.4f} + {i} * z" for i in range(1, half)]
    network = [f"  h{i} = silu(h{i - 1}) + {1 + i}" for i in range(1, quarter)]
    process = [f"    c{i}(t) = {i + 1} * t^2 + {i}" for i in range(quarter)]
    used = " + ".join(f"0 * c{i}(t)" for i in range(0, quarter, max(quarter // 50, 1)))
    return "\n".join(
        [
            "specc 1",
            "network mine(z: vector(n), t: scalar) -> like(z) {",
            "  h0 = linear(concat([z, reshape(t, 1)]), n)",
            *network,
            f"  return linear(h{quarter - 1}, n)",
            "}",
            "model m {",
            "  data x: vector(2) from moons",
            "  process mine for gaussian over t in [0, 1] {",
            *process,
            f"    alpha(t) = 1 - t + {used}",
            "    sigma(t) = t",
            "  }",
            "  backbone mine",
            "  predict velocity",
            "  sampler mine {",
            "    z ~ prior()",
            "    a0 = z",
            *sampler,
            f"    return denoise(a{half - 1}, t_max)",
            "  }",
            "}",
            "",
        ]
    )


def seconds(statements: int) -> float:
    """Processor time of one check, the best of several."""
    source = Source("growth.spec", spec(statements))
    best = float("inf")
    for _ in range(RUNS):
        gc.collect()
        began = time.process_time()
        file, mistakes = parse(source)
        made = elaborate(file, source)
        best = min(best, time.process_time() - began)
        assert not mistakes
        assert made.programs, [f"{d.span}: {d.message}" for d in made.diagnostics]
    return best


def main() -> None:
    times = {n: seconds(n) for n in SIZES}
    small, large = SIZES
    ratio = times[large] / times[small]
    for n, t in times.items():
        print(f"{n:>6} statements  {1000 * t:8.1f} ms")
    print(f"{'ratio':>17}  {ratio:8.1f}  (bound {BOUND:.0f}: {'holds' if ratio <= BOUND else 'does not hold'})")


if __name__ == "__main__":
    main()
