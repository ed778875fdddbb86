"""`specc export`: a sampler of a run as one ONNX file, from the spec and the weights, with a certificate of parity."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from specc import driver
from specc.cli.common import Failure, absent, as_json, say
from specc.cli.examples import asked, conditions
from specc.cli.runs import Run, python

if TYPE_CHECKING:
    import numpy as np

    from specc.backends.onnx.calibrate import Calibration
    from specc.backends.onnx.export import ExportReport
    from specc.ir.program import Program, Quantization

CALIBRATED = 64  # held-out examples that ranges of activations are chosen on
TARGETS = ("cpu", "web", "cuda")  # as `specc.ir.formats` lists them
JUDGING = "How many samples the report of a quantised file is judged on; 0 for none."
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command("export")
@click.argument("run", type=FOLDER)
@click.option("--sampler", help="A sampler of the spec; the only one by default.")
@click.option("--query", help="A query of the spec, in place of a sampler.")
@click.option("-o", "--out", type=click.Path(dir_okay=False, path_type=Path), help="FILE.onnx")
@click.option("--web", type=click.Path(file_okay=False, path_type=Path), help="A folder for a page that draws in the browser.")
@click.option("--ort-web", type=click.Path(exists=True, path_type=Path), help="onnxruntime-web, a folder or .tgz; else by npm.")
@click.option("--quantize", help="The `quantize` section to apply; by default the one that the model was trained with.")
@click.option("--for", "target", type=click.Choice(TARGETS), default="cpu", show_default=True, help="Where it will run.")
@click.option("--samples", type=click.IntRange(min=0), default=256, show_default=True, help=JUDGING)
@click.option("--examples", type=click.IntRange(min=1), default=4, show_default=True, help="How many the certificate compares.")
@click.option("--iree", is_flag=True, help="Also compile it by IREE, as FILE.vmfb, and compare that too.")
@click.option("--trajectory", is_flag=True, help="Let the file show the states of its loop, for animations.")
@click.option("--json", "machine", is_flag=True, help="The certificate as JSON on stdout.")
def command(
    run: Path,
    sampler: str | None,
    query: str | None,
    out: Path | None,
    web: Path | None,
    ort_web: Path | None,
    quantize: str | None,
    target: str,
    samples: int,
    examples: int,
    iree: bool,
    trajectory: bool,
    machine: bool,
) -> None:
    """Write a sampler or query of RUN as one ONNX file and compare it with the reference and with PyTorch.

    The certificate is printed and kept as FILE.certificate.json; exit code 3 when the file is not what was trained. With --web,
    write a folder of static files that draws in the browser instead.
    """
    from specc.cli import quantized
    from specc.runtime.certificate import certify

    if (out is None) == (web is None):
        raise click.UsageError("say where to write: -o FILE.onnx, or --web DIR")
    if out is not None and out.suffix != ".onnx":
        raise click.UsageError(f"{out} should end in .onnx")
    if iree and (query is not None or out is None):
        raise click.UsageError("--iree compiles samplers, beside -o FILE.onnx")
    here = Run(run)
    program = here.program()
    entry = entry_of(program, sampler if query is None else query, "sampler" if query is None else "query")
    formats = quantization_of(program, quantize)
    weights = here.weights(program)
    array = driver.prepare(program)
    given = tried(here, program, entry, weights, max(examples, CALIBRATED))
    symbols = here.symbols()
    looked = formats.calibrate if formats is not None else None
    data = asked(here, program, looked, CALIBRATED, "train") if looked is not None else None
    ranges = calibration(formats, given, data)
    with quantized.placed(here):
        if out is None:
            assert web is not None
            return page(array, weights, entry, formats, ranges, symbols, web, ort_web)
        options = {"quantization": formats, "calibration": ranges, "target": target, "trajectory": trajectory}
        written = one_file(array, entry, weights, out, symbols, **options)
    say(f"{entry}: {written.file_bytes / 2**20:.1f} MB, {written.nodes} nodes -> {out}")
    if formats is not None:
        quantized.finish(here, program, entry, weights, formats, written, samples)
    others = None
    if iree:
        others = {"IREE": compiled(array, entry, weights, out.with_suffix(".vmfb"), formats, ranges)}
    eager = in_project(here, program, entry, examples)
    shown = {name: value[:examples] for name, value in given.items()}
    certificate = certify(program, array, entry, weights, out, torch=eager, others=others, examples=examples, conditions=shown)
    certificate.save(out.with_suffix(".certificate.json"))
    if machine:
        as_json(certificate.as_dict())
    else:
        click.echo(certificate.text())
    if not certificate.passes:
        raise Failure(f"{out} is not close enough to the reference", "please report it with the spec and the certificate")


def tried(here: Run, program: Program, entry: str, weights: dict[str, np.ndarray], count: int) -> dict[str, np.ndarray]:
    """What so many examples give an entry beside their seeds."""
    from specc.runtime.ort import example_seeds

    if program.entries[entry].role == "query":
        return asked(here, program, entry, count)
    return conditions(here, program, entry, example_seeds(0, count), weights)


def one_file(
    array: Program, entry: str, weights: dict[str, np.ndarray], out: Path, symbols: str | None, **options: Any
) -> ExportReport:
    """The ONNX file, or what stands in its way."""
    from specc.backends.onnx.emit import UnsupportedError
    from specc.backends.onnx.export import export

    try:
        known = {"symbols": list(symbols)} if symbols is not None else None
        return export(array, entry, weights, out, metadata=known, **options)
    except (UnsupportedError, ValueError, KeyError) as error:
        raise Failure(f"{entry} cannot be exported: {error}") from None
    except OSError as error:
        raise Failure(f"{out} could not be written: {error.strerror or error}") from None


def compiled(
    array: Program,
    entry: str,
    weights: dict[str, np.ndarray],
    file: Path,
    quantization: Quantization | None,
    ranges: Calibration | None,
) -> Callable[[dict[str, Any]], np.ndarray]:
    """Compile a sampler by IREE; what it gives for the inputs of the ONNX file."""
    from specc.backends import mlir
    from specc.backends.mlir.iree import compile_sampler

    try:
        from specc.backends.mlir.sampler import Formats

        formats = None if quantization is None else Formats(section=quantization, calibration=ranges)
        compile_sampler(array, entry, weights, file, formats)
        from specc.runtime.iree import load

        model = load(file)
    except ImportError as error:
        raise Failure(f"a package is missing: {error}", "pip install 'specc[iree]'") from None
    except mlir.MissingExtraError as error:
        raise Failure(str(error), f"pip install 'specc[{error.extra}]'") from None
    except (mlir.UnsupportedError, ValueError) as error:
        raise Failure(f"{entry} cannot be compiled: {error}", "leave out --iree: the ONNX file is written") from None
    say(f"{entry}: {file.stat().st_size / 2**20:.1f} MB -> {file}")
    return lambda feeds: model.run(feeds)["x"]


def page(
    array: Program,
    weights: dict[str, np.ndarray],
    entry: str,
    formats: Quantization | None,
    ranges: Calibration | None,
    symbols: str | None,
    folder: Path,
    ort_web: Path | None,
) -> None:
    """Write a sampler as a page."""
    from specc.backends import web
    from specc.backends.onnx.emit import UnsupportedError

    if array.entries[entry].role != "sampler":
        raise click.UsageError("a page is of a sampler")
    wanted = web.Asked(entry=entry, quantization=formats, calibration=ranges, symbols=symbols)
    try:
        files = web.write(array, weights, wanted, folder, ort_web)
    except (UnsupportedError, ValueError, KeyError) as error:
        raise Failure(f"{entry} cannot be a page: {error}") from None
    except web.RuntimeMissingError as error:
        raise Failure(str(error), error.help) from None
    except OSError as error:
        raise Failure(f"{folder} could not be written: {error.strerror or error}") from None
    say(f"{entry}: {sum(f.stat().st_size for f in files) / 2**20:.1f} MB -> {folder}")
    say(f"see it: python -m http.server -d {folder}")


def calibration(
    quantization: Quantization | None, conditions: dict[str, np.ndarray], data: dict[str, np.ndarray] | None = None
) -> Calibration | None:
    """What to calibrate on where the sampler is conditioned on examples, or methods look at a query of examples, `data`; the
    usual otherwise."""
    if quantization is None or not (conditions or data):
        return None
    from specc.backends.onnx.calibrate import Calibration

    made = Calibration(data=data)
    return replace(made, examples=len(next(iter(conditions.values()))), conditions=conditions) if conditions else made


def entry_of(program: Program, wanted: str | None, kind: str = "sampler") -> str:
    """A sampler or query by name; the only sampler when none is named. kind: the option that names it."""
    samplers = [e.name for e in program.by_role("sampler")]
    queries = [e.name for e in program.by_role("query")]
    known = queries if kind == "query" else samplers + queries
    if wanted is None and len(samplers) == 1:
        return samplers[0]
    if wanted is None:
        what = f"several samplers; choose with --{kind}: {', '.join(known)}" if known else f"the spec has no {kind}"
        raise click.UsageError(what)
    if wanted not in known:
        absent(kind, wanted, known)
    return wanted


def quantization_of(program: Program, wanted: str | None) -> Quantization | None:
    if wanted is None:
        return next((q for q in program.quantize if q.trained), None)
    found = next((q for q in program.quantize if q.name == wanted), None)
    if found is None:
        absent("`quantize` section", wanted, [q.name for q in program.quantize])
    return found


def in_project(run: Run, program: Program, entry: str, examples: int) -> Callable[[dict[str, Any]], np.ndarray] | None:
    """What the project's own sample.py or query.py gives, in a process of its own, so that nothing here imports torch."""
    role = program.entries[entry].role
    script = run.project / ("sample.py" if role == "sampler" else "query.py")
    if find_spec("torch") is None or not script.exists():
        say("PyTorch is left out of the certificate: torch or the run's project is not here")
        return None
    inputs = [i.name for i in program.entries[entry].inputs if i.role in ("data", "condition")]

    def answer(feeds: dict[str, Any]) -> np.ndarray:
        import numpy as np

        from specc.runtime.ort import STRIDE

        with tempfile.TemporaryDirectory() as folder:
            given, file = Path(folder) / "given.npz", Path(folder) / "found.npz"
            np.savez(given, allow_pickle=False, **{name: feeds[name] for name in inputs})
            arguments = [f"--{role}", entry]
            if "seed" in feeds:
                arguments += ["--seed", str(int(feeds["seed"][0]) // STRIDE)]
            if role == "sampler":
                arguments += ["-n", str(examples), *(part for name in inputs for part in (f"--{name}", str(given)))]
            else:
                arguments += ["--data", str(given)] if inputs else ["-n", str(examples)]
            python(script, str(run.folder), *arguments, "--out", str(file))
            with np.load(file, allow_pickle=False) as found:
                return np.asarray(found["x" if role == "sampler" else found.files[0]])

    return answer
