"""`specc compile --target onnx`: every sampler and query of a program as a file, with initial weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from specc.backends.onnx.export import export

from specc.ir.ops import Op
from specc.ir.program import Program, walk
from specc.ir.splice import join
from specc.passes import GRAPH, run


def write(program: Program, folder: Path) -> tuple[Path, ...]:
    """The files written: `<entry>.onnx`, with weights drawn anew. `specc export` writes those of a run."""
    array = program if program.level == "array" else run(program, GRAPH)
    weights = initial(program)
    folder.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    for entry in (*array.by_role("sampler"), *array.by_role("query")):
        files += export(array, entry.name, weights, folder / f"{entry.name}.onnx", metadata={"weights": "initial"}).files
    return tuple(files)


def initial(program: Program, seed: int = 0) -> dict[str, np.ndarray]:
    """Weights as the program initialises them, by path."""
    rng = np.random.default_rng(seed)
    found: dict[str, np.ndarray] = {}

    def visit(function: str, bundle: str) -> None:
        for node in walk(program.functions[function].block):
            if node.op is Op.PARAM:
                path = join(bundle, node["path"])
                if path not in found:
                    found[path] = _drawn(rng, node["init"], tuple(node["shape"]))
            elif node.op is Op.CALL:
                visit(node["function"], join(bundle, node.get("bundle") or ""))
            elif node.op is Op.REPEAT:
                for i in range(node["count"]):
                    visit(node["function"], join(bundle, f"{node['bundle']}.{i}"))

    for root, function in program.networks.items():
        visit(function, root)
    return found | {b.path: _drawn(rng, b.init, b.shape) for b in program.bare}


def _drawn(rng: np.random.Generator, init: tuple, shape: tuple[int, ...]) -> np.ndarray:
    match init:
        case ("zeros",):
            return np.zeros(shape, np.float32)
        case ("ones",):
            return np.ones(shape, np.float32)
        case ("constant", value):
            return np.full(shape, value, np.float32)
        case ("uniform", bound):
            return rng.uniform(-bound, bound, shape).astype(np.float32)
        case ("normal", deviation):
            return (deviation * rng.standard_normal(shape, np.float32)).astype(np.float32)
        case _:
            raise ValueError(f"no way to draw {init}")
