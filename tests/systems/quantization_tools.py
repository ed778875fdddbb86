"""What the claims of quantised systems share: characters of the manual of Python, and nats of quantised files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tools
from specc.backends.onnx.calibrate import Calibration
from specc.backends.onnx.export import ExportReport, export

from specc.ir.program import Program, Quantization, QuantizeRule, Setting
from specc.runtime import ort
from specc.runtime.readers import READERS

KEEP = (QuantizeRule(match="last"), QuantizeRule(match="embedding"))


@cache
def text(split: str, stride: int = 64) -> np.ndarray:
    return READERS["text"].function(split, path="python:manual", n=64, vocab=96, stride=stride)["x"]


def windows(count: int = 16, seed: int = 0) -> np.ndarray:
    """Windows of the training text, which methods calibrate on."""
    x = text("train")
    return x[np.random.default_rng(seed).permutation(len(x))[:count]]


def rounds(name: str, activations: Setting | None = None, **options: Any) -> Quantization:
    """One rule for every layer but the first table and the last layer."""
    rule = QuantizeRule(match="*", weights=Setting(name, tuple(options.items())), activations=activations)
    return Quantization(name="q", rules=(*KEEP, rule), calibrate="token_nll")


def written(
    program: Program,
    weights: dict[str, np.ndarray],
    quantization: Quantization | None,
    seed: int = 0,
    x: np.ndarray | None = None,
) -> tuple[ort.Model, ExportReport]:
    """The query `token_nll` as a file; x: of other texts than the manual."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "q.onnx"
        shown = text("test") if x is None else x
        on = Calibration(examples=4, conditions={"x": shown[:4]}, data={"x": windows(seed=seed)})
        made = export(program, "token_nll", weights, path, quantization=quantization, calibration=on)
        return ort.load(path, threads=1), made


def nats(program: Program, weights: dict[str, np.ndarray], quantization: Quantization | None = None, seed: int = 0) -> float:
    """The mean over held-out characters; seed: of the windows that are calibrated on."""
    loaded, _ = written(program, weights, quantization, seed)
    x = text("test")[:640]
    return float(np.mean(loaded.run({"x": x})[loaded.outputs[0]]))


def rescaled(
    weights: dict[str, np.ndarray], pairs: dict[str, str], channels: Iterable[int], times: float
) -> dict[str, np.ndarray]:
    """The same function with outliers: normalisations give `times` as much in some channels, and the layers that follow them
    (`pairs`) take as much less."""
    out = {path: w.copy() for path, w in weights.items()}
    for norm, layer in pairs.items():
        for channel in channels:
            out[f"{norm}.weight"][channel] *= times
            out[f"{norm}.bias"][channel] *= times
            out[f"{layer}.weight"][:, channel] /= times
    return out


def wild(weights: dict[str, np.ndarray], channels: Iterable[int] = (5, 17, 30, 51), times: float = 20) -> dict[str, np.ndarray]:
    """Operands `times` as large in four channels of each layer that follows a normalisation: two blocks."""
    blocks = [f"backbone.transformer_block.{i}" for i in (0, 1)]
    after = {"layernorm": "attention.linear", "layernorm2": "mlp.linear"}
    return rescaled(weights, {f"{b}.{n}": f"{b}.{layer}" for b in blocks for n, layer in after.items()}, channels, times)


def named(program: Program, name: str) -> Quantization:
    return next(q for q in program.quantize if q.name == name)


def trained(spec: str, name: str | None = None, **options: Any) -> tuple[Program, dict[str, np.ndarray]]:
    """A trained model at array level, and its weights."""
    return tools.graph(spec, name), tools.weights(tools.train(spec, name, **options))
