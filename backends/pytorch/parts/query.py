import argparse
import sys
from pathlib import Path

import checkpoint
import numpy as np
import torch
from model import Model

# << table
QUERIES = {}
INPUTS = {}
# >>


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path, help="folder that train.py wrote")
    parser.add_argument("--query", choices=QUERIES, default=next(iter(QUERIES)))
    # << counted
    parser.add_argument("--data", type=Path, help=".npz with an array for each input, examples first")
    parser.add_argument("-n", type=int, default=64, help="answers, of a query that asks about no example")
    # >>
    # << not counted
    parser.add_argument("--data", type=Path, required=True, help=".npz with an array for each input, examples first")
    # >>
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("answers.npz"))
    # << ema
    parser.add_argument("--weights", choices=["ema", "model"], default="ema")
    # >>
    args = parser.parse_args()
    if abs(args.seed) > 2**42:
        parser.error("--seed is a whole number of at most 2**42")
    # << ema
    weights = args.weights
    # >>
    # << not ema
    weights = "model"
    # >>
    try:
        model = Model().requires_grad_(False).eval()
        checkpoint.load(model, args.run, weights)
        # << counted
        data = dict(np.load(args.data)) if args.data else {"index": np.arange(args.n)}
        # >>
        # << not counted
        data = dict(np.load(args.data))
        # >>
        count = len(next(iter(data.values())))
        known = {name: torch.from_numpy(value) for name, value in data.items()}
        known.setdefault("seed", args.seed * 1_000_003 + torch.arange(count))
        inputs = [known[name] for name in INPUTS[args.query]]
    except KeyError as problem:
        print(f"error: {args.data} has no array {problem}", file=sys.stderr)
        return 3
    except (checkpoint.CheckpointError, OSError, ValueError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 3
    answers = QUERIES[args.query](model, *inputs)
    answers = answers if isinstance(answers, tuple) else (answers,)
    named = {args.query if len(answers) == 1 else f"{args.query}_{i}": a.cpu().numpy() for i, a in enumerate(answers)}
    try:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        with checkpoint.replacing(args.out) as file:
            np.savez(file, **named)
    except OSError as problem:
        print(f"error: {args.out} could not be written: {problem.strerror or problem}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
