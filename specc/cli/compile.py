"""`specc compile`: a spec as files for a target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from specc import driver
from specc.cli.common import SPEC, Failure, checked, one, say
from specc.cli.export import quantization_of


@click.command("compile")
@click.argument("spec", type=SPEC)
@click.option("--target", type=click.Choice(list(driver.TARGETS)), default="pytorch", show_default=True)
@click.option("-o", "--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="The folder to write into.")
@click.option("--model", help="One of several models in SPEC.")
@click.option("--dialect", type=click.Choice(["linalg", "torch", "stablehlo"]), help="For mlir; linalg if not given.")
@click.option("--batch", type=click.IntRange(min=1), help="For mlir: how many examples at once; 1 if not given.")
@click.option("--quantize", help="For mlir and iree: samplers with weights in the formats of this section.")
def command(
    spec: Path, target: str, out: Path, model: str | None, dialect: str | None, batch: int | None, quantize: str | None
) -> None:
    """Write SPEC as a PyTorch project, as ONNX, MLIR or compiled samplers with initial weights, or as the IR in JSON."""
    options: dict[str, Any] = {k: v for k, v in (("dialect", dialect), ("batch", batch)) if v is not None}
    if options and target != "mlir":
        raise click.UsageError(f"--{next(iter(options))} is for --target mlir")
    if quantize is not None and target not in ("mlir", "iree"):
        raise click.UsageError("--quantize is for --target mlir and iree; of a run: specc export RUN --quantize NAME")
    program = one(checked(spec, model), spec)
    if quantize is not None:
        options["quantize"] = quantization_of(program, quantize)
    try:
        files = driver.emit(program, target, out, **options)
    except OSError as error:
        raise Failure(f"{out} could not be written: {error.strerror or error}") from None
    except refusals(target) as error:
        extra = getattr(error, "extra", None)  # which extra of specc has what is missing
        help = f"pip install 'specc[{extra}]'" if extra else ""
        raise Failure(f"{spec}: {program.name} cannot be written for {target}: {error}", help) from None
    for file in files:
        click.echo(file)
    runs = [name for name in ("train.py", "sample.py", "query.py") if (out / name) in files]
    if target == "pytorch" and runs:
        say(f"next: python {out / runs[0]}")


def refusals(target: str) -> tuple[type[Exception], ...]:
    """What a backend raises for what it cannot say. Asked for only then, since it imports the backend."""
    match target:
        case "onnx":
            from specc.backends.onnx.emit import UnsupportedError

            return (ValueError, UnsupportedError)
        case "mlir" | "iree":
            from specc.backends import mlir

            return (ValueError, mlir.UnsupportedError, mlir.MissingExtraError)
        case _:
            return (ValueError,)
