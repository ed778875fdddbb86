"""docs/lowering.md: which samplers of the library go to which dialects, and what stops the others.

python tests/mlir/survey.py [FAMILY/FILE.spec ...]   tries the first sampler of these specs and of those that have changed since
they were tried, keeps what came of it in docs/lowering.json, and writes the table; it may be stopped and goes on
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from specc.backends.mlir.coverage import UnsupportedError, refused
from specc.backends.mlir.iree import compile_sampler
from specc.backends.mlir.sampler import graph, operations
from specc.backends.onnx import emit
from specc.backends.onnx.export import export
from specc.backends.onnx.write import initial

from specc import driver
from specc.ir.program import Program
from specc.runtime import iree, ort
from specc.runtime.certificate import FLOAT_TOLERANCE, gap

ROOT = Path(__file__).parents[2]
KEPT, TABLE = ROOT / "docs" / "lowering.json", ROOT / "docs" / "lowering.md"
LOOPS = {"Loop", "If"}
SECONDS = 300  # of the processor for a step, after which it counts as too slow
SLOW = f"more than {SECONDS // 60} minutes"
YES, NONE, UNTRIED = "yes", "none", "not tried"  # an older "yes, not run" compiled, and was not compared
COLUMNS = ("torch", "linalg", "stablehlo", "iree")
HEAD = f"""\
# Samplers in MLIR

The first sampler of each spec of the library, whole and for any batch: *torch*, *linalg* and *stablehlo* by torch-mlir,
*iree* by IREE's own compiler, where *yes* says as well that the compiled file draws what the ONNX file draws, within the
tolerance of a certificate (*yes, not run*: it compiles, and was not compared). Where one does not go, the table names what
stopped it; *loops* are `torch.prim.Loop` and `torch.prim.If`, which torch-mlir has no StableHLO for, and *{SLOW}* of
the processor is where an attempt ends. Written by `python tests/mlir/survey.py`.

"""


def first(spec: Path) -> tuple[Program, str] | None:
    """The first sampler of a spec, and its program at array level."""
    for program in driver.check(spec).programs.values():
        if samplers := program.by_role("sampler"):
            return driver.prepare(program), samplers[0].name
    return None


def by_torch_mlir(spec: Path) -> dict[str, str]:
    """By column: "yes", or what stops the sampler. What goes to linalg has gone to torch on its way."""
    sampled = first(spec)
    if sampled is None:
        return {"sampler": NONE}
    array, entry = sampled
    weights, found = initial(array), {"sampler": entry}
    try:
        model, _ = graph(array, entry, weights)
    except emit.UnsupportedError as problem:
        return found | dict.fromkeys(COLUMNS, str(problem))
    loops = LOOPS & set(operations(model.graph))
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "graph.onnx"
        source.write_bytes(model.SerializeToString())
        lower = ["-m", "specc.backends.mlir.lower", str(source)]
        found["linalg"] = tried([*lower, "linalg", f"{folder}/out.mlir"])
        found["torch"] = YES if found["linalg"] == YES else tried([*lower, "torch", f"{folder}/out.mlir"])
        found["stablehlo"] = "loops" if loops else tried([*lower, "stablehlo", f"{folder}/out.mlir"])
    return found


def by_iree(spec: Path) -> dict[str, str]:
    return {"iree": tried([__file__, "--compile", str(spec)])}


def tried(arguments: list[str]) -> str:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))

    command = [sys.executable, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, preexec_fn=limit)
    if done.returncode == 0:
        return YES
    if done.returncode in (-9, -24):  # SIGKILL or SIGXCPU at the limit
        return SLOW
    return ", ".join(refused(done.stderr)) or f"it ended with code {done.returncode}"


def compiled(spec: Path) -> None:
    """The sampler by IREE, in a process of its own: its exit code and stderr say what came of it."""
    array, entry = first(spec) or sys.exit("error: there is no sampler")
    weights = initial(array)
    with tempfile.TemporaryDirectory() as folder:
        file, plain = Path(folder) / "x.vmfb", Path(folder) / "x.onnx"
        try:
            compile_sampler(array, entry, weights, file)
        except UnsupportedError as problem:
            said = re.sub(r"iree has no form for (.*) of \S+: see .*", r"\1", str(problem))
            sys.exit(f"error: {SLOW if 'killed' in said else said}")
        export(array, entry, weights, plain)
        by_ort = ort.load(plain, threads=1)
        given = conditions(by_ort)
        x, expected = (model.sample(2, conditions=given) for model in (iree.load(file, threads=1), by_ort))
        far = gap(x, expected).relative
    if not far <= FLOAT_TOLERANCE:
        sys.exit(f"error: it compiles, and draws {far:.0e} of their scale away from the samples of the ONNX file")


def conditions(model: ort.Model) -> dict[str, np.ndarray]:
    """Numbers for the inputs that have no default, for two examples."""
    needed = [i for i in model.inputs if i["role"] == "condition" and i["default"] is None and not i["classes"]]
    shapes = {i["name"]: [2 if d == "B" else d for d in i["shape"]] for i in needed}
    return {i["name"]: np.ones(shapes[i["name"]], ort.KINDS[i["dtype"]]) for i in needed}


def table(kept: dict[str, dict[str, Any]]) -> str:
    rows = [HEAD, f"| spec | sampler | {' | '.join(COLUMNS)} |\n|---|---|{'---|' * len(COLUMNS)}\n"]
    for name, row in sorted(kept.items()):
        if row.get("sampler", NONE) != NONE:
            cells = (row.get(c, UNTRIED).replace("|", "\\|") for c in ("sampler", *COLUMNS))
            rows.append(f"| [`{name}`](../specs/{name}) | {' | '.join(cells)} |\n")
    found = {c: [row[c].startswith(YES) for row in kept.values() if c in row] for c in COLUMNS}
    rows.append("\n" + ", ".join(f"{sum(went)} of {len(went)} tried go to {c}" for c, went in found.items()) + ".\n")
    return "".join(rows)


def main(names: list[str]) -> None:
    """The quick attempts first, so that a table is there early."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    specs = {f"{p.parent.name}/{p.name}": p for p in sorted(ROOT.glob("specs/*/*.spec")) if p.parent.name != "std"}
    now = {name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for name, path in specs.items()}
    kept = {n: kept[n] if kept.get(n, {}).get("digest") == d and n not in names else {"digest": d} for n, d in now.items()}
    for attempt, column in ((by_torch_mlir, "linalg"), (by_iree, "iree")):
        for name in (n for n, row in kept.items() if column not in row and row.get("sampler") != NONE):
            kept[name] |= attempt(specs[name])
            KEPT.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
            TABLE.write_text(table(kept), encoding="utf-8")
            print(name, kept[name], flush=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--compile", path]:
            compiled(Path(path))
        case ["--help"]:
            print(__doc__)
        case names:
            main(names)
