"""`specc sample`: samples of a run, by its own sample.py, or of an ONNX file, by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from specc.cli.common import Failure, say
from specc.cli.runs import Run, python

if TYPE_CHECKING:
    import numpy as np

    from specc.runtime.ort import Model

FORMATS = (".npz", ".png", ".txt")
ARRAYS = (".npy", ".npz")
STRIDE = 1_000_003  # between the seeds of two values of --seed, as in a project's sample.py
BATCH = 256  # samples at once; they do not depend on it


@click.command("sample")
@click.argument("what", metavar="RUN|FILE.onnx", type=click.Path(exists=True, path_type=Path))
@click.option("--sampler", help="One of the spec's samplers; an ONNX file has one.")
@click.option("-n", "count", type=click.IntRange(min=1), default=64, show_default=True, help="How many samples.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same samples.")
@click.option("--set", "given", multiple=True, metavar="NAME=VALUE", help="A condition or an input: y=3, low=FILE.npz")
@click.option(
    "-o", "--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="FILE.npz (x), FILE.png or FILE.txt"
)
def command(what: Path, sampler: str | None, count: int, seed: int, given: tuple[str, ...], out: Path) -> None:
    """Draw samples and write them, in data space."""
    if out.suffix not in FORMATS:
        raise click.UsageError(f"{out} should end in {' or '.join(FORMATS)}")
    settings = dict(assignment(text) for text in given)
    try:
        draw(what, sampler, count, seed, settings, out)
    except OSError as error:
        raise Failure(f"{out} could not be written: {error.strerror or error}") from None
    say(f"wrote {out}")


def draw(what: Path, sampler: str | None, count: int, seed: int, settings: dict[str, Any], out: Path) -> None:
    if what.is_dir():
        from_run(Run(what), sampler, count, seed, settings, out)
        return
    from specc.runtime.ort import load

    try:
        model = load(what)
    except (ValueError, RuntimeError) as error:
        raise Failure(f"{what} cannot be opened: {str(error).splitlines()[0]}") from None
    only = model.metadata.get("entry")
    if sampler is not None and sampler != only:
        raise click.UsageError(f"{what} holds the sampler `{only}`, not `{sampler}`")
    try:
        fields = from_model(model, count, seed, settings)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    save(fields, out, *value_range(model.metadata), model.metadata.get("symbols"))


def from_model(model: Model, count: int, seed: int, settings: dict[str, Any]) -> dict[str, np.ndarray]:
    """Samples of an ONNX file with the conditions they were drawn for. The seeds are those of a project's sample.py."""
    import numpy as np

    given = {name: from_file(name, value, count) if isinstance(value, str) else value for name, value in settings.items()}
    whole = model.feeds(seed * STRIDE + np.arange(count, dtype=np.int64), given)
    roles = {i["name"]: i["role"] for i in model.inputs}
    varying = {i["name"] for i in model.inputs if i["shape"][:1] == ["B"]}
    parts = []
    for start in range(0, count, BATCH):
        rows = slice(start, start + BATCH)
        parts.append(model.run({k: v[rows] if k in varying else v for k, v in whole.items()}, ["x"])["x"])
    return {"x": np.concatenate(parts), **{k: v for k, v in whole.items() if roles[k] == "condition"}}


def from_file(name: str, file: str, count: int) -> np.ndarray:
    """The numbers of a file, a row for each sample: a .npy, or a .npz under this name. ValueError says what is wrong."""
    import numpy as np

    try:
        found = np.load(file, allow_pickle=False)
        array = found if isinstance(found, np.ndarray) else found[name]
    except (OSError, KeyError) as error:
        raise ValueError(f"{file} cannot be read: {error}") from None
    if len(array) < count:
        raise ValueError(f"{file} has {len(array)} rows, and {count} samples are wanted")
    return np.asarray(array[:count])


def from_run(run: Run, sampler: str | None, count: int, seed: int, settings: dict[str, Any], out: Path) -> None:
    lock = run.locked()
    if lock is None:
        raise click.UsageError(f"{run.folder} is not a run: `specc train SPEC -o {run.folder}` makes one")
    known = lock.get("samplers", {})
    if sampler is not None and known and sampler not in known:
        raise click.UsageError(f"no sampler `{sampler}`; there are {', '.join(known)}")
    arguments = [str(run.folder), "--seed", str(seed), "-n", str(count), "--out", str(out)]
    if sampler is not None:
        arguments += ["--sampler", sampler]
    for name, value in settings.items():
        arguments += [f"--{name}", str(value)]
    python(run.project / "sample.py", *arguments)


def assignment(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise click.UsageError(f"--set takes NAME=VALUE, not `{text}`")
    if value.endswith(ARRAYS):
        return name, value
    try:
        return name, int(value)
    except ValueError:
        pass
    try:
        return name, float(value)
    except ValueError:
        raise click.UsageError(f"`{value}` is neither a number nor a file of numbers, {' or '.join(ARRAYS)}") from None


def value_range(metadata: dict[str, Any]) -> tuple[float, float]:
    """The range of the data's space, for pictures."""
    space = next(iter(metadata.get("spaces") or [{}]))
    return space.get("low", -1.0), space.get("high", 1.0)


def lines(x: np.ndarray, symbols: list[str] | None) -> str:
    """A line a sample: the symbols of its tokens, where the file knows them, or their numbers."""
    if symbols is None:
        return "".join(" ".join(map(str, row)) + "\n" for row in x.reshape(len(x), -1))
    return "".join("".join(symbols[i] if symbols[i].isprintable() else " " for i in row) + "\n" for row in x)


def save(fields: dict[str, np.ndarray], out: Path, low: float, high: float, symbols: list[str] | None = None) -> None:
    """An NPZ, a line for each sample of integers, or a picture of x: a grid of images, or points of the plane."""
    import numpy as np

    out.parent.mkdir(parents=True, exist_ok=True)
    x = fields["x"]
    if out.suffix == ".npz":
        part = out.with_name(f".{out.name}.part")
        with part.open("wb") as file:
            arrays: dict[str, Any] = dict(fields)
            np.savez(file, **arrays)
        part.replace(out)
        return
    if out.suffix == ".txt":
        if x.dtype.kind != "i":
            raise Failure("only samples of integers are written as lines of text", "write a .npz instead")
        out.write_text(lines(x, symbols), encoding="utf-8")
        return
    from specc.runtime import pictures

    if x.ndim == 4 and x.shape[1] in (1, 3):
        pictures.image_grid(x, out, low=low, high=high)
    elif x.ndim == 2 and x.shape[1] == 2:
        pictures.scatter(x, out)
    else:
        raise Failure(f"there is no picture of samples of shape {x.shape[1:]}", "write a .npz instead")
