"""`--target onnx`: every sampler and query of a program as ONNX, with the weights that training would begin from."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from specc.backends.onnx.emit import UnsupportedError
from specc.backends.onnx.export import export
from specc.ir.ops import Op
from specc.ir.program import Program, walk


def write(program: Program, folder: Path) -> tuple[Path, ...]:
    """`<sampler>.onnx` for each entry of an array-level program. Raises ValueError for one that has no ONNX form."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = initial_weights(program)
    files: list[Path] = []
    for entry in (*program.by_role("sampler"), *program.by_role("query")):
        try:
            files += export(program, entry.name, weights, folder / f"{entry.name}.onnx").files
        except UnsupportedError as error:
            raise ValueError(f"{entry.name}: {error}") from None
    return tuple(files)


def initial_weights(program: Program, seed: int = 0) -> dict[str, np.ndarray]:
    """Every parameter by its path, float32. The same seed gives the same weights; PyTorch draws others."""
    rng = np.random.default_rng(seed)
    found: dict[str, np.ndarray] = {}

    def visit(function: str, bundle: str) -> None:
        for node in walk(program.functions[function].block):
            if node.op is Op.PARAM:
                path = f"{bundle}.{node['path']}"
                if path not in found:
                    found[path] = start(tuple(node["init"]), tuple(node["shape"]), rng)
            elif node.op is Op.CALL and node["bundle"] is not None:
                visit(node["function"], f"{bundle}.{node['bundle']}")
            elif node.op is Op.REPEAT:
                for i in range(node["count"]):
                    visit(node["function"], f"{bundle}.{node['bundle']}.{i}")

    for root, function in program.networks.items():
        visit(function, root)
    return found


def start(init: tuple[Any, ...], shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """One parameter. Raises ValueError for a start that the IR does not know."""
    value: np.ndarray
    match init:
        case ("zeros",):
            value = np.zeros(shape)
        case ("ones",):
            value = np.ones(shape)
        case ("constant", number):
            value = np.full(shape, number)
        case ("uniform", bound):
            value = rng.uniform(-bound, bound, shape)
        case ("normal", std):
            value = std * rng.standard_normal(math.prod(shape)).reshape(shape)
        case _:
            raise ValueError(f"no such start of a parameter: {init}")
    return value.astype(np.float32)
