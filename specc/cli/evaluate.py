"""`specc evaluate`: samples of a run against held-out data, by the metrics of the spec or those that fit its space."""

from __future__ import annotations

import operator
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from specc import driver
from specc.cli.common import SEED, Failure, as_json, say
from specc.cli.examples import examples
from specc.cli.export import entry_of
from specc.cli.runs import Run, python
from specc.record import record

if TYPE_CHECKING:
    import numpy as np

    from specc.ir.program import Program, Setting
    from specc.runtime.metrics.features import FeatureSpace

ENDLESS = 2000  # examples of a law that never ends
TRACED = 64  # samples whose paths are followed
COSTS = ("nfe", "parameters", "macs")
POINTS = ("sliced_wasserstein", "energy_distance", "mmd")
SYMBOLS = ("unigram_tv", "bigram_tv")
IMAGES = ("frechet", "precision_recall", "probe_accuracy")
COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
}


@record(kw_only=True)
class Row:
    """One line of the report. `real` is the metric between two halves of the held-out data, or a probe's accuracy on them."""

    metric: str
    value: float | None
    real: float | None = None
    bound: str = ""
    holds: bool | None = None


@dataclass(slots=True)
class Evidence:
    """What metrics are computed from."""

    run: Run
    program: Program
    entry: str
    samples: dict[str, np.ndarray]  # x, and the seeds and conditions that it was drawn for
    train: dict[str, np.ndarray]
    real: dict[str, np.ndarray]  # held out
    label: str | None  # the condition with classes
    space: FeatureSpace | None = None


@click.command("evaluate")
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--sampler", help="The sampler to judge; the only one by default.")
@click.option("-n", "count", type=click.IntRange(min=2), help="How many samples; as many as there are held-out examples.")
@click.option("--seed", type=click.IntRange(0, SEED.max), default=0, show_default=True)
@click.option("--json", "machine", is_flag=True, help="The report as JSON on stdout.")
def command(run: Path, sampler: str | None, count: int | None, seed: int, machine: bool) -> None:
    """Measure samples of RUN. Exit code 3 when a bound of the spec's `evaluate` section does not hold."""
    here = Run(run)
    program = here.program()
    entry = entry_of(program, sampler)
    if program.entries[entry].role != "sampler":
        raise click.UsageError(f"`{entry}` is a query; name a sampler")
    found = evidence(here, program, entry, count, seed)
    rows = [row for wanted in settings(found) for row in measure(wanted, found)]
    if machine:
        report = {"run": str(run), "sampler": entry, "samples": len(found.samples["x"]), "seed": seed}
        as_json({**report, "metrics": {r.metric: r.value for r in rows}, "rows": [asdict(r) for r in rows]})
    else:
        click.echo(table(rows, f"{program.name}: {entry}, {len(found.samples['x'])} samples"))
    if any(row.holds is False for row in rows):
        raise Failure("a bound of the spec does not hold: " + ", ".join(r.metric for r in rows if r.holds is False))


def evidence(run: Run, program: Program, entry: str, count: int | None, seed: int) -> Evidence:
    """Held-out data by the project's own data.py, so in the spec's space, and samples by its sample.py."""
    import numpy as np

    from specc.runtime.ort import example_seeds

    train, real = held_out(run, program, count or ENDLESS, np.random.default_rng(seed))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "samples.npz"
        arguments = ["--sampler", entry, "-n", str(count or len(real["x"])), "--seed", str(seed), "--out", str(file)]
        python(run.project / "sample.py", str(run.folder), *arguments, usage=2)
        with np.load(file, allow_pickle=False) as saved:
            samples = {key: saved[key] for key in saved.files}
    samples["seed"] = example_seeds(seed, len(samples["x"]))
    if not np.isfinite(samples["x"]).all():
        say("warning: some samples are not finite; they are left out")
        finite = np.isfinite(samples["x"].reshape(len(samples["x"]), -1)).all(axis=1)
        samples = {key: value[finite] for key, value in samples.items()}
    label = next((c.name for c in program.conditions if c.classes), None)
    return Evidence(run, program, entry, samples, train, real, label)


def held_out(run: Run, program: Program, count: int, rng: np.random.Generator) -> tuple[dict[str, np.ndarray], ...]:
    """Examples to train probes on and held-out ones, with the data itself as `x`; so many of a law that never ends."""
    name = program.data[0].space.name
    found = (examples(run, split, count, rng) for split in ("train", "test"))
    return tuple({"x": fields[name], **fields} for fields in found)


def settings(found: Evidence) -> list[Setting]:
    """The metrics of the spec, or those that fit its space."""
    from specc.ir.program import Setting

    if found.program.evaluate:
        return list(found.program.evaluate)
    labelled = found.label is not None and found.label in found.real
    image, whole = found.real["x"].ndim == 4, found.program.data[0].space.kind == "tokens"
    names = (IMAGES if labelled else ("pca_frechet",)) if image else SYMBOLS if whole else POINTS
    return [Setting(name) for name in (*names, *COSTS)]


def measure(wanted: Setting, found: Evidence) -> list[Row]:
    """The rows of one metric; precision and recall are two. A bound on what cannot be counted does not hold."""
    from specc.ir.metrics import METRICS

    options = {k: v for k, v in wanted.options if k not in ("args", "compare", "bound")}
    values, real = values_of(wanted, options, found), {}
    if wanted.name == "probe_accuracy":
        real = {wanted.name: features(found).held_out_accuracy}
    compare, bound = wanted.get("compare", ""), wanted.get("bound")
    if wanted.name not in found.program.entries and METRICS[wanted.name].takes in ("two sets", "two sets of features"):
        real = two_sets(wanted.name, halves(found.real["x"]), options, found)
    rows = []
    for name, value in values.items():
        holds = (value is not None and COMPARE[compare](value, bound)) if compare else None
        text = f"{compare} {bound:g}" if compare else ""
        rows.append(Row(metric=name, value=value, real=real.get(name), bound=text, holds=holds))
    return rows


def values_of(wanted: Setting, options: dict[str, Any], found: Evidence) -> dict[str, float | None]:
    from specc.ir.metrics import METRICS
    from specc.passes import count

    program, arguments = found.program, wanted.get("args", ())
    entry = arguments[0] if arguments else found.entry
    if entry not in program.entries or wanted.name not in (*METRICS, *program.entries):  # of a run of another version
        raise Failure(f"`{wanted.name}({', '.join(arguments)})` cannot be measured", "train again with this version")
    match wanted.name:
        case "nfe":
            calls = count.network_calls(driver.prepare(program), entry)
            return {f"nfe({entry})" if arguments else "nfe": None if calls is None else calls.calls}
        case "parameters":
            return {"parameters": count.parameter_count(program)}
        case "macs":
            roots = {root: count.macs(program, function) for root, function in program.networks.items()}
            return {f"macs({root})" if len(roots) > 1 else "macs": value for root, value in roots.items()}
        case "bits_per_dim":
            return {"bits_per_dim": bits_per_dim(entry, found)}
        case "probe_accuracy":
            return {"probe_accuracy": features(found).accuracy(found.samples["x"], labels(found, found.samples))}
        case name if name in program.entries:
            return {name: mean_answer(found, name)}
        case name if METRICS[name].takes == "trajectory":
            return {f"{name}({entry})" if arguments else name: path(name, entry, found)}
        case name:
            return dict(two_sets(name, (found.real["x"], found.samples["x"]), options, found))


def path(name: str, entry: str, found: Evidence) -> float:
    """A metric of the paths of the first samples, from their own seeds and conditions."""
    from specc.runtime.metrics import metric
    from specc.runtime.trajectory import trajectory

    feeds = {key: value[:TRACED] for key, value in found.samples.items() if key != "x"}
    try:
        states, times = trajectory(found.program, entry, feeds, found.run.weights(found.program))
        return float(metric(name)(states) if name == "path_length_ratio" else metric(name)(states, times))
    except ValueError as error:
        raise Failure(f"`{name}`: {error}") from None


def mean_answer(found: Evidence, query: str, x: np.ndarray | None = None) -> float:
    """The mean over held-out examples (or these) of what a query of the spec says of each, by the project's own query.py."""
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        data, answers = Path(folder) / "data.npz", Path(folder) / "answers.npz"
        np.savez(data, **{**found.real, found.program.data[0].space.name: found.real["x"] if x is None else x})
        arguments = ["--query", query, "--data", str(data), "--out", str(answers)]
        python(found.run.project / "query.py", str(found.run.folder), *arguments)
        with np.load(answers, allow_pickle=False) as saved:
            if saved.files != [query]:
                raise Failure(f"`{query}` answers with several values", "return one number to measure it")
            return float(saved[query].mean())


def bits_per_dim(query: str, found: Evidence) -> float:
    """The mean of a query of held-out examples that gives -log p, in bits a number of the grid that the space has."""
    import numpy as np

    space, dataset = found.program.data[0].space, found.program.data[0]
    if space.levels is None or space.low is None or space.high is None:
        raise Failure("bits per dimension need the levels of the data", "as in `levels 17 in [-1, 1]`")
    x, reach = found.real["x"], space.high - space.low
    if any(step.name == "dequantize" for step in dataset.steps):
        u = np.random.default_rng(0).random(x.shape)
        x = ((x - space.low) * ((space.levels - 1) / reach) + u) * (reach / space.levels) + space.low
    nll = mean_answer(found, query, x.astype(np.float32))
    return float(nll / (x[0].size * np.log(2)) + np.log2(space.levels / reach))


def two_sets(name: str, sets: tuple[np.ndarray, np.ndarray], options: dict[str, Any], found: Evidence) -> dict[str, float]:
    """A metric of two sets, of their features if it wants those; at equal numbers where it asks for them."""
    from specc.runtime.metrics import METRICS, metric

    a, b = sets
    if METRICS[name].takes == "two sets of features":
        a, b = features(found).features(a), features(found).features(b)
    if name == "exact_wasserstein2":
        a, b = a[: min(len(a), len(b))], b[: min(len(a), len(b))]
    try:
        value = metric(name)(a, b, **options)
    except (TypeError, ValueError) as error:
        raise Failure(f"`{name}`: {error}") from None
    if is_dataclass(value) and not isinstance(value, type):
        return {key: float(v) for key, v in asdict(value).items()}
    return {name: float(value)}


def halves(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two disjoint halves, every other example each, so that classes that come in blocks are in both."""
    return x[0::2], x[1::2]


def features(found: Evidence) -> FeatureSpace:
    """The pinned feature space: a probe trained on the real training data."""
    from specc.runtime.metrics.features import fit_features

    if found.space is None:
        train, real = found.train, found.real
        cache = found.run.folder / "features"
        found.space = fit_features(train["x"], labels(found, train), real["x"], labels(found, real), cache=cache)
    return found.space


def labels(found: Evidence, fields: dict[str, np.ndarray]) -> np.ndarray:
    if found.label is None or found.label not in fields:
        raise Failure("this metric needs classes, and the spec has no `condition y: class(k)`", "use `pca_frechet`")
    return fields[found.label]


def table(rows: list[Row], title: str) -> str:
    left = max(len(row.metric) for row in rows)
    lines = [title, f"{'':{left}} {'samples':>12} {'real':>12}"]
    for row in rows:
        verdict = "" if row.holds is None else f"  {row.bound}: {'holds' if row.holds else 'DOES NOT HOLD'}"
        lines.append(f"{row.metric:{left}} {shown(row.value)} {shown(row.real)}{verdict}".rstrip())
    return "\n".join(lines)


def shown(value: float | None) -> str:
    if value is None:
        return f"{'':>12}"
    return f"{value:>12,}" if isinstance(value, int) else f"{value:>12.4g}"
