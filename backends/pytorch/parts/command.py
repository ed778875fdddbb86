# ruff: noqa: F821, I001
import argparse
import json
import signal
import sys
from pathlib import Path

import torch
import torch.distributed as dist

import checkpoint


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--stop-after", type=int, help="stop after so many steps of this run; --resume goes on")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--seed", type=int, help="0 if not given, or that of the checkpoint")
    parser.add_argument("--batch", type=int, help=f"examples in a step, over all processes; {BATCH} if not given")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    # << parents
    parser.add_argument("--parent", type=Path, nargs="+", default=[], help="folders of the runs to start from")
    # >>
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--compile", action="store_true", help="compile the networks with torch.compile")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default=PRECISION)
    # << pictures
    parser.add_argument("--picture-every", type=int, default=PICTURE_EVERY, help="steps; 0 for none")
    # >>
    args = parser.parse_args()
    if any(n is not None and n < 1 for n in (args.steps, args.stop_after, args.batch)) or not 0 <= (args.seed or 0) < 2**63:
        parser.error("--steps, --stop-after and --batch are 1 or more, and --seed is a whole number from 0, below 2**63")
    return args


def main() -> int:
    """0: trained or stopped as asked. 2: called wrongly. 3: the checkpoint, batch, data or disk. 4: the loss is not finite."""
    try:
        run = Run(arguments())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: setattr(run, "asked", True))
        summary = run.train()
    except FloatingPointError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 4
    except (checkpoint.CheckpointError, OSError, ValueError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 3
    if run.rank == 0:
        print(json.dumps(summary))
    if run.world > 1:
        dist.destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main())
