# ruff: noqa: F811, F821, F841, I001
import argparse

# << derived
import functools

# >>
# << named
import inspect

# >>
# << conditions
import math

# >>
import sys

# << conditions
import zipfile

# >>
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import checkpoint

# << derived
from data import examples

# >>
from model import Model

# << drawn
from pictures import picture

# >>
# << table
SAMPLERS = {}
# >>


def sample(
    model: Model,
    n: int,
    device: torch.device | str = "cpu",
    sampler: str = next(iter(SAMPLERS)),
    seed: int = 0,
    batch: int = 256,
    # << conditions
    given: dict[str, Tensor] | None = None,
    # >>
    # << named
    options: dict[str, float] | None = None,
    # >>
) -> np.ndarray:
    """n samples (n, *shape), `batch` at once. The same seed gives the same samples, alone or in a batch."""
    seeds = seed * 1_000_003 + torch.arange(n)
    # << conditions
    # << derived
    values = conditions(model, sampler, seeds, device, given or {})
    # >>
    # << not derived
    values = conditions(sampler, n, given or {})
    # >>
    # >>
    parts = []
    for part in torch.arange(n).split(batch):
        # << conditions
        inputs = [v[part].to(device) for v in (seeds, *values.values())]
        # << named
        made = SAMPLERS[sampler](model, *inputs, **(options or {}))
        # >>
        # << not named
        made = SAMPLERS[sampler](model, *inputs)
        # >>
        # >>
        # << not conditions
        # << named
        made = SAMPLERS[sampler](model, seeds[part].to(device), **(options or {}))
        # >>
        # << not named
        made = SAMPLERS[sampler](model, seeds[part].to(device))
        # >>
        # >>
        # << whole
        parts.append(made.cpu().numpy())
        # >>
        # << not whole
        parts.append(made.float().cpu().numpy())
        # >>
    return np.concatenate(parts)


# << conditions
# << derived
def conditions(
    model: Model, sampler: str, seeds: Tensor, device: torch.device | str, given: dict[str, Tensor]
) -> dict[str, Tensor]:
    """What a sampler is conditioned on, in its order: as given, or else that of held-out examples."""
    missing = [name for name in CONDITIONS[sampler] if name not in given]
    # << together
    own = [name for name in CONDITIONS[sampler] if name in DERIVED]
    if 0 < sum(name in given for name in own) < len(own):
        raise ValueError(f"{', '.join(own)} belong together: give all of them or none")
    # >>
    values = (usual(model, seeds, device) if missing else {}) | given
    # << needed
    for name in missing:
        if name not in values:
            raise ValueError(f"the sampler {sampler} needs --{name}")
    # >>
    return {name: values[name] for name in CONDITIONS[sampler]}


def usual(model: Model, seeds: Tensor, device: torch.device | str) -> dict[str, Tensor]:
    """Conditions when none are given: those of held-out examples, one for each seed."""
    n = len(seeds)
    # << usual
    return {}
    # >>


# << finite
@functools.cache
def held_out() -> dict[str, np.ndarray]:
    return examples("test")


# >>
# >>
# << not derived
def conditions(sampler: str, n: int, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """What a sampler is conditioned on, in its order: as given, or else every class in turn and zeros for vectors."""
    values = usual(n) | given
    # << needed
    for name in CONDITIONS[sampler]:
        if name not in values:
            raise ValueError(f"the sampler {sampler} needs --{name}")
    # >>
    return {name: values[name] for name in CONDITIONS[sampler]}


def usual(n: int) -> dict[str, Tensor]:
    # << usual
    return {}
    # >>


# >>
def array(
    words: list[str],
    name: str,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    n: int,
    # << classes
    classes: int | None = None,
    # >>
) -> Tensor:
    """Numbers for all samples, or those of a file (.npy, or .npz under the name): the same for all, or a row for each."""
    if words[0].endswith((".npy", ".npz")):
        found = from_file(words[0], name)
    else:
        found = np.array([float(word) for word in words])
        if found.size != math.prod(shape):
            raise ValueError(f"{name} is {math.prod(shape)} numbers, not {found.size}")
        found = found.reshape(shape)
    rows = found[None].repeat(n, axis=0) if found.shape == shape else found[:n]
    if rows.shape != (n, *shape):
        raise ValueError(f"{name} has shape {found.shape}, not {shape} for each of {n} samples")
    # << classes
    if classes is not None and not np.isin(rows, np.arange(classes)).all():
        raise ValueError(f"{name} is a class, 0 to {classes - 1}")
    # >>
    return torch.from_numpy(rows).to(dtype)


def from_file(file: str, name: str) -> np.ndarray:
    """The numbers of a .npy, or those of a .npz under this name."""
    try:
        found = np.load(file)
        return found if isinstance(found, np.ndarray) else found[name]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as problem:
        raise ValueError(f"{name}: {file} cannot be read: {problem}") from None


# >>
# << lines
def lines(samples: np.ndarray, symbols: Path) -> str:
    """A line a sample: the symbols of its tokens, where a text was learnt, or their numbers."""
    if not symbols.exists():
        return "".join(" ".join(map(str, row)) + "\n" for row in samples.reshape(len(samples), -1))
    table = np.array([c if c.isprintable() else " " for c in symbols.read_text(encoding="utf-8")])
    return "".join("".join(table[row]) + "\n" for row in samples)


# >>
def load(run: Path, weights: str) -> Model:
    """The networks of a run, as they were averaged or as they were trained."""
    model = Model().requires_grad_(False).eval()
    checkpoint.load(model, run, weights)
    return model


def save(
    samples: np.ndarray,
    out: Path,
    # << conditions
    given: dict[str, Tensor],
    # >>
    # << lines
    symbols: Path,
    # >>
) -> None:
    """Write samples in the form that the file's name asks for. ValueError where they have none like that."""
    out.parent.mkdir(parents=True, exist_ok=True)
    # << lines
    if out.suffix == ".txt":
        with checkpoint.replacing(out) as file:
            file.write(lines(samples, symbols).encode())
        return
    # >>
    if out.suffix == ".npz":
        with checkpoint.replacing(out) as file:
            # << conditions
            np.savez(file, x=samples, **{name: value.numpy() for name, value in given.items()})
            # >>
            # << not conditions
            np.savez(file, x=samples)
            # >>
        return
    # << drawn
    if out.suffix != ".png":
        raise ValueError(f"{out} has no suffix of samples; write .npz")
    # << folded
    samples = samples.reshape(-1, *SHAPE)
    # >>
    # << images
    if not picture(samples, out, LOW, HIGH):
        raise ValueError(f"there is no picture of samples of shape {samples.shape[1:]}; write .npz")
    # >>
    # << not images
    if not picture(samples, out):
        raise ValueError(f"there is no picture of samples of shape {samples.shape[1:]}; write .npz")
    # >>
    # >>
    # << not drawn
    raise ValueError(f"{out} has no suffix of samples; write .npz")
    # >>


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path, help="folder that train.py wrote")
    parser.add_argument("--sampler", choices=SAMPLERS, default=next(iter(SAMPLERS)))
    parser.add_argument("-n", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    # << forms
    parser.add_argument("--out", type=Path, default=Path("samples.npz"), help=".npz for numbers")
    # >>
    parser.add_argument("--batch", type=int, default=256, help="samples at once; they do not depend on it")
    # << ema
    parser.add_argument("--weights", choices=["ema", "model"], default="ema")
    # >>
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    # << arguments
    # >>
    args = parser.parse_args()
    if args.n < 1 or args.batch < 1 or abs(args.seed) > 2**42:
        parser.error("-n and --batch are 1 or more, and --seed is a whole number of at most 2**42")
    # << counted
    for name, least in LEAST[args.sampler].items():
        given = getattr(args, name)
        if given is not None and given < least:
            parser.error(f"--{name} is {least} or more")
    # >>
    return args


def main() -> int:
    args = arguments()
    # << named
    options = {param: getattr(args, name) for name, param in ARGUMENTS.items() if getattr(args, name) is not None}
    for name in options.keys() - inspect.signature(SAMPLERS[args.sampler]).parameters.keys():
        print(f"error: the sampler {args.sampler} has no input {name}", file=sys.stderr)
        return 2
    # >>
    try:
        # << ema
        model = load(args.run, args.weights).to(args.device)
        # >>
        # << not ema
        model = load(args.run, "model").to(args.device)
        # >>
    except (checkpoint.CheckpointError, RuntimeError, AssertionError) as problem:  # the others of the device
        print(f"error: {problem}", file=sys.stderr)
        return 3
    # << conditions
    given: dict[str, Tensor] = {}
    try:
        # << given
        pass
        # >>
        # << derived
        given = conditions(model, args.sampler, args.seed * 1_000_003 + torch.arange(args.n), args.device, given)
        # >>
        # << not derived
        given = conditions(args.sampler, args.n, given)
        # >>
    except (OSError, ValueError, KeyError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    # >>
    samples = sample(
        model,
        args.n,
        args.device,
        args.sampler,
        args.seed,
        args.batch,
        # << conditions
        given,
        # >>
        # << named
        options,
        # >>
    )
    try:
        # << conditions
        # << lines
        save(samples, args.out, given, args.run / "symbols.txt")
        # >>
        # << not lines
        save(samples, args.out, given)
        # >>
        # >>
        # << not conditions
        # << lines
        save(samples, args.out, args.run / "symbols.txt")
        # >>
        # << not lines
        save(samples, args.out)
        # >>
        # >>
    except ValueError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 3
    except OSError as problem:
        print(f"error: {args.out} could not be written: {problem.strerror or problem}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
