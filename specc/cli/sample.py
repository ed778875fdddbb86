"""`specc sample`: samples of a run, by its own sample.py, or of a file, by NumPy and ONNX Runtime, or IREE's, alone."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import click

from specc.cli.common import SEED, Failure, absent, say
from specc.cli.runs import Run, python

if TYPE_CHECKING:
    import numpy as np

    from specc.runtime.ort import Model

FORMATS = (".npz", ".png", ".gif", ".txt")
ARRAYS = (".npy", ".npz")
COUNT = click.IntRange(1, 10**9)
STRIDE = 1_000_003  # between the seeds of two values of --seed, as in a project's sample.py


@click.command("sample")
@click.argument("what", metavar="RUN|FILE.onnx|FILE.vmfb", type=click.Path(exists=True, path_type=Path))
@click.option("--sampler", help="One of the spec's samplers; an ONNX file has one.")
@click.option("-n", "count", type=COUNT, default=64, show_default=True, help="How many samples.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="The same seed gives the same samples.")
@click.option("--batch", type=click.IntRange(min=1), default=256, show_default=True, help="How many at once; for a file.")
@click.option("--set", "given", multiple=True, metavar="NAME=VALUE", help="A condition or an input: y=3, low=FILE.npz")
@click.option(
    "-o", "--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="FILE.npz (x), .png, .gif or .txt"
)
def command(what: Path, sampler: str | None, count: int, seed: int, batch: int, given: tuple[str, ...], out: Path) -> None:
    """Draw samples and write them, in data space."""
    if out.suffix not in FORMATS:
        raise click.UsageError(f"{out} should end in {' or '.join(FORMATS)}")
    settings = dict(assignment(text) for text in given)
    try:
        if what.is_dir():
            from_run(Run(what), sampler, count, seed, settings, out)
        else:
            drawn_by_file(what, sampler, count, seed, batch, settings, out)
    except OSError as error:
        raise Failure(f"{out} could not be written: {error.strerror or error}") from None
    say(f"wrote {out}")


def drawn_by_file(
    file: Path, sampler: str | None, count: int, seed: int, batch: int, settings: dict[str, Any], out: Path
) -> None:
    try:
        from specc.runtime import iree, ort
        from specc.runtime.refused import FileError, InputError

        model = iree.load(file) if file.suffix == ".vmfb" else ort.load(file)
    except ImportError as error:
        runtime = "iree-base-runtime" if file.suffix == ".vmfb" else "onnxruntime"
        raise Failure(f"a package is missing: {error}", f"pip install {runtime}") from None
    except FileError as error:
        raise Failure(f"{file} cannot be opened: {error}", error.help) from None
    only = model.metadata.get("entry")
    if sampler is not None and sampler != only:
        raise click.UsageError(f"{file} holds the sampler `{only}`, not `{sampler}`")
    try:
        fields, path = from_model(model, count, seed, batch, settings, watched=out.suffix == ".gif")
    except InputError as error:
        raise click.UsageError(str(error)) from None
    except FileError as error:
        raise Failure(f"{file} cannot be run: {error}", error.help) from None
    except MemoryError:
        raise Failure(f"{count} samples of {file} do not fit into memory", "draw fewer: -n 64") from None
    save(fields, out, *value_range(model.metadata), model.metadata.get("symbols"), path)


def from_model(
    model: Model, count: int, seed: int, batch: int, settings: dict[str, Any], watched: bool
) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """Samples of an ONNX file with the conditions they were drawn for, and their states (T, B, *shape) if they are watched.

    The seeds are those of a project's sample.py.
    """
    import numpy as np

    from specc.runtime.refused import FileError, InputError

    if "seed" in settings:
        raise InputError("the seed is given with --seed")
    shown = [name for name in model.outputs if name.startswith("trajectory")] if watched else []
    if watched and not shown:
        raise FileError("it does not show its trajectory", "export it again with: specc export RUN --trajectory -o FILE.onnx")
    if fixed := [i["name"] for i in model.inputs if i["role"] in ("seed", "index") and i["name"] in settings]:
        raise InputError(f"{fixed[0]} is what --seed says of each sample")
    given = {name: from_file(name, value, count) if isinstance(value, str) else value for name, value in settings.items()}
    whole = model.feeds(seed * STRIDE + np.arange(count, dtype=np.int64), given)
    parts, paths = [], []
    with progress(count) as bar:
        for found in model.batches(whole, count, batch, ["x", *shown]):
            parts.append(found["x"])
            paths.append([*(state for name in shown for state in found[name]), found["x"]])
            if bar is not None:
                bar.update(len(found["x"]))
    conditions = {i["name"]: whole[i["name"]] for i in model.inputs if i["role"] == "condition"}
    return {"x": np.concatenate(parts), **conditions}, joined(paths) if shown else None


def joined(paths: list[list[np.ndarray]]) -> np.ndarray:
    """States of batches beside each other, (T, B, *shape); a batch that was done sooner rests at its end."""
    import numpy as np

    longest = max(map(len, paths))
    return np.concatenate([np.stack(p + p[-1:] * (longest - len(p))) for p in paths], axis=1)


def progress(count: int) -> AbstractContextManager[Any]:
    """A bar of how many samples are done, where a person looks; else None."""
    if not sys.stderr.isatty():
        return nullcontext()
    return click.progressbar(length=count, label="samples", file=sys.stderr)


def from_file(name: str, file: str, count: int) -> np.ndarray:
    """The numbers of a file, a row for each sample: a .npy, or a .npz under this name. InputError says what is wrong."""
    import numpy as np

    from specc.runtime.refused import InputError

    try:
        found = np.load(file, allow_pickle=False)
        array = found if isinstance(found, np.ndarray) else found[name]
    except (OSError, KeyError, ValueError, EOFError, BadZipFile) as error:
        raise InputError(f"{name}: {file} cannot be read: {error}") from None
    if array.ndim == 0 or len(array) < count:
        raise InputError(f"{name}: {file} has {len(array) if array.ndim else 0} rows, and {count} samples are wanted")
    return np.asarray(array[:count])


def from_run(run: Run, sampler: str | None, count: int, seed: int, settings: dict[str, Any], out: Path) -> None:
    from specc.backends.pytorch.samplers import option

    if out.suffix == ".gif":
        help = "specc export RUN --trajectory -o FILE.onnx, then specc sample FILE.onnx"
        raise click.UsageError(f"a run gives no animations; export its sampler for one: {help}")
    lock = run.locked()
    if lock is None:
        raise click.UsageError(f"{run.folder} is not a run: `specc train SPEC -o {run.folder}` makes one")
    known = lock.get("samplers", {})
    if sampler is not None and known and sampler not in known:
        absent("sampler", sampler, known)
    if settings:
        entry = run.program().by_role("sampler")[0] if sampler is None else run.program().entries[sampler]
        inputs = [i.name for i in entry.inputs if i.role != "seed"]
        for name in settings.keys() - set(inputs):
            absent("condition or input", name, inputs)
    arguments = [str(run.folder), "--seed", str(seed), "-n", str(count), "--out", str(out)]
    if sampler is not None:
        arguments += ["--sampler", sampler]
    for name, value in settings.items():
        arguments += [f"--{option(name)}", str(value)]
    with run.checkpoint(lock["digest"], bool(lock.get("train", {}).get("ema"))):
        pass  # what is wrong with it is said before torch is asked
    python(run.project / "sample.py", *arguments, usage=2)


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
    if strange := [i for i in x.ravel() if not 0 <= i < len(symbols)]:
        raise Failure(f"there is no symbol for the token {strange[0]}, of {len(symbols)}", "write a .npz instead")
    known = [s if s.isprintable() else " " for s in symbols]
    return "".join("".join(known[i] for i in row) + "\n" for row in x.reshape(len(x), -1))


def save(
    fields: dict[str, np.ndarray],
    out: Path,
    low: float,
    high: float,
    symbols: list[str] | None = None,
    path: np.ndarray | None = None,
) -> None:
    """An NPZ, a line for each sample of integers, or a picture: a grid of images, or points of the plane.

    path: states (T, B, *shape), for an animation of them in place of a picture of x.
    """
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

    image, plane = x.ndim == 4 and x.shape[1] in (1, 3), x.ndim == 2 and x.shape[1] == 2
    if not image and not plane:
        raise Failure(f"there is no picture of samples of shape {x.shape[1:]}", "write a .npz instead")
    try:
        if path is not None:
            pictures.animation(path, out, low=low, high=high)
        elif image:
            pictures.image_grid(x, out, low=low, high=high)
        else:
            pictures.scatter(x, out)
    except (ValueError, OverflowError) as error:
        raise Failure(f"there is no picture of these samples: {error}", "write a .npz instead") from None
