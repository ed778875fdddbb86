"""Rounds the weights of a plan by the methods of their rules, in the order in which layers run.

A method that needs to know what its layer multiplies sees the calls of the network that calibration makes. With `sequential`
the layers before it are rounded already, so that it makes up for what they lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from specc.backends.onnx.calibrate import Calibration
from specc.backends.onnx.moments import calls, moments
from specc.backends.onnx.packed import LayerPlan

from specc.ir.coding import as_matrix, from_matrix
from specc.ir.dataflow import Layer
from specc.ir.methods.grid import Grid, Rounded
from specc.ir.methods.table import METHODS, Seen, needs, round_weight
from specc.ir.ops import Op
from specc.ir.program import Program, Setting
from specc.record import record


@dataclass(slots=True)
class _Rounder:
    """`weights` are those of the network as rounded so far; `float_` what is known of layers whose inputs were not rounded."""

    program: Program
    entry: str
    wanted: Calibration
    weights: dict[str, np.ndarray]
    made: dict[str, list[tuple[np.ndarray, ...]]] = field(default_factory=dict)
    early: dict[str, Seen] = field(default_factory=dict)

    def seen(self, layer: Layer) -> Seen | None:
        """What a layer multiplies, now; None where groups of channels multiply operands of their own."""
        if layer.path in self.early:
            return self.early[layer.path]
        return self.look([layer.path], layer.root).get(layer.path)

    def look(self, paths: Sequence[str], root: str) -> dict[str, Seen]:
        self.made = self.made or calls(self.program, self.entry, self.weights, self.wanted)
        return moments(self.program, root, self.weights, self.made.get(root, []), set(paths))


def rounded(
    program: Program,
    entry: str,
    weights: Mapping[str, np.ndarray],
    found: Sequence[Layer],
    settings: Mapping[str, Setting],
    plans: Mapping[str, LayerPlan],
    wanted: Calibration,
) -> dict[str, LayerPlan]:
    """The plans of these layers with what their methods found. entry: the one that is calibrated on."""
    rounder = _Rounder(program, entry, wanted, dict(weights))
    methods = {layer.path: _method(settings[layer.path], layer) for layer in found}
    for root in {layer.root: None for layer in found}:
        paths = [x.path for x in found if x.root == root and methods[x.path].early]
        if paths:
            rounder.early |= rounder.look(paths, root)
    out = dict(plans)
    for layer in found:
        how, plan = methods[layer.path], plans[layer.path]
        seen = rounder.seen(layer) if how.needs else None
        if how.needs and seen is None:
            continue
        made = _round(rounder.weights[layer.path], plan, how, seen)
        shape = weights[layer.path].shape
        rounder.weights[layer.path] = from_matrix(made.values(), shape, plan.transposed)
        out[layer.path] = replace(plan, method=how.name, found=made)
    return out


def looks(setting: Setting) -> bool:
    """Whether the method of a format has to see what its layer multiplies."""
    return needs(str(setting.get("method", "nearest")), int(setting.get("outliers", 0)))


@record
class _How:
    name: str
    outliers: int
    knobs: dict[str, Any]

    @property
    def needs(self) -> bool:
        return needs(self.name, self.outliers)

    @property
    def early(self) -> bool:
        """Whether it looks at the float network."""
        return self.needs and not self.knobs.get("sequential", False)


def _method(setting: Setting, layer: Layer) -> _How:
    name = str(setting.get("method", "nearest"))
    usual = METHODS[name].knobs
    outliers = int(setting.get("outliers", 0)) if layer.op is Op.LINEAR else 0
    if layer.op is Op.TAKE:
        name, usual = "nearest", {}  # an index multiplies nothing
    return _How(name, outliers, {k: setting.get(k, v) for k, v in usual.items()})


def _round(weight: np.ndarray, plan: LayerPlan, how: _How, seen: Seen | None) -> Rounded:
    grid = Grid(plan.weights, plan.granularity, plan.block, plan.affine)
    return round_weight(as_matrix(weight, plan.transposed), seen, grid, how.name, how.outliers, **how.knobs)
