"""Readers of data: what a spec's `data x: SPACE from READER` can name.

Each reader is one file beside this one that imports only numpy and the packages of its row, so that a generated project can
take its text as it stands. A finite data set has `load(split, **options)`, an endless distribution
`draw(n, rng, **options)`; both return arrays by field: `x`, and `y` (int64 classes or modes) where there are any.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Literal

from specc.record import record

Kind = Literal["finite", "endless"]
Value = int | float | str | tuple["Value", ...]


@record(kw_only=True)
class Reader:
    """One row. `path` among the options has the default "" and must be given."""

    kind: Kind
    module: str  # the file beside this one, without .py
    doc: str
    options: Mapping[str, Value] = field(default_factory=dict)  # name to default
    fields: tuple[str, ...] = ("x", "y")  # `y` may be absent from files without classes
    packages: tuple[str, ...] = ("numpy",)

    @property
    def text(self) -> str:
        """The source of the reader, for a generated project."""
        return Path(__file__).with_name(f"{self.module}.py").read_text(encoding="utf-8")

    @property
    def function(self) -> Callable[..., dict]:
        """`load` of a finite reader, `draw` of an endless one. Imports what the reader needs."""
        module = importlib.import_module(f"{__name__}.{self.module}")
        return getattr(module, "load" if self.kind == "finite" else "draw")


_SHARE = {"test_share": 0.1}
_TABLE: dict[str, Value] = {"path": "", "columns": "", "label": "", **_SHARE}

READERS: dict[str, Reader] = {
    "digits": Reader(
        kind="finite",
        module="digits",
        doc="1797 handwritten digits, image(1, 8, 8) in [0, 1] on 17 levels, ten classes; size 16 or 32 repeats pixels",
        options={"size": 8},
        packages=("numpy", "scikit-learn"),
    ),
    "moons": Reader(
        kind="endless",
        module="moons",
        doc="two interleaving half circles of radius 1 in the plane, then scaled and shifted",
        options={"noise": 0.05, "scale": 1.0, "shift": 0.0},
    ),
    "eight_gaussians": Reader(
        kind="endless",
        module="eight_gaussians",
        doc="eight equal normals on a circle of radius 5",
        options={"radius": 5.0, "std": math.sqrt(0.1)},
    ),
    "gaussians": Reader(
        kind="endless",
        module="gaussians",
        doc="k equal normals on a circle",
        options={"k": 5, "radius": 2.0, "std": 0.2},
    ),
    "checkerboard": Reader(
        kind="endless",
        module="checkerboard",
        doc="the dark squares of a board of 4 by 4 on [-4, 4]",
        options={"cells": 4, "extent": 4.0},
    ),
    "pinwheel": Reader(
        kind="endless",
        module="pinwheel",
        doc="five curved arms around the origin",
        options={"arms": 5, "radial_std": 0.3, "tangential_std": 0.1, "twist": 0.25},
    ),
    "ring": Reader(
        kind="endless",
        module="ring",
        doc="a blurred circle of radius 2",
        options={"radius": 2.0, "std": 0.1},
        fields=("x",),
    ),
    "mixture": Reader(
        kind="endless",
        module="mixture",
        doc="normals with centres and weights as listed, in any dimension; without noise, atoms",
        options={"centres": ((-1.0, 0.0), (1.0, 0.0)), "weights": (), "noise": 0.1},
    ),
    "autoregressive": Reader(
        kind="endless",
        module="autoregressive",
        doc="stationary signals, each value a weighted sum of those before it and of normal noise, as sequence(length, 1)",
        options={"coefficients": (0.9,), "length": 8, "std": 0.43588989435406733},
        fields=("x",),
    ),
    "bouncing": Reader(
        kind="endless",
        module="bouncing",
        doc="paths of points at one speed that bounce off the walls of a box, as sequence(length, 2); headings drift by `turn`",
        options={"length": 16, "speed": 0.375, "half": 1.5, "turn": 0.0},
        fields=("x",),
    ),
    "image_folder": Reader(
        kind="finite",
        module="image_folder",
        doc="PNG and JPEG pictures, a subfolder a class, as image(channels, size, size) in [0, 1]",
        options={"path": "", "size": 64, "channels": 3, **_SHARE},
        packages=("numpy", "pillow"),
    ),
    "npy": Reader(
        kind="finite",
        module="npy",
        doc="one NumPy array, examples first",
        options={"path": "", **_SHARE},
        fields=("x",),
    ),
    "npz": Reader(
        kind="finite",
        module="npz",
        doc="an array of a NumPy archive, and another one with the classes",
        options={"path": "", "key": "x", "label": "", **_SHARE},
    ),
    "csv": Reader(
        kind="finite",
        module="csv_table",
        doc="columns of a table in comma-separated text, as vector(D)",
        options=_TABLE,
    ),
    "parquet": Reader(
        kind="finite",
        module="parquet",
        doc="columns of a table in Parquet, as vector(D)",
        options=_TABLE,
        packages=("numpy", "pyarrow"),
    ),
    "tones": Reader(
        kind="endless",
        module="tones",
        doc="harmonic tones with a random fundamental and a smooth envelope, signal(1, size) in [-1, 1]",
        options={"size": 1024, "rate": 8000, "low": 100.0, "high": 400.0, "partials": 6, "noise": 0.0},
        fields=("x", "f0"),
    ),
    "wav": Reader(
        kind="finite",
        module="wav",
        doc="recordings of a folder, cut into pieces, signal(1, size) in [-1, 1]",
        options={"path": "", "size": 8192, "rate": 0, **_SHARE},
        fields=("x",),
    ),
    "hawkes": Reader(
        kind="endless",
        module="hawkes",
        doc="event times of a multivariate Hawkes process, vector(size), with their kinds, a mask and the end of each sequence",
        options={
            "size": 64,
            "horizon": 20.0,
            "base": (0.3, 0.2),
            "branching": ((0.15, 0.6), (0.675, 0.075)),
            "decay": 2.0,
        },
        fields=("x", "kind", "mask", "end"),
    ),
    "passes": Reader(
        kind="finite",
        module="passes",
        doc="games in which a ball is passed: fields as of hawkes, kinds players * who + to whom, the holder's alone",
        options={"count": 50, "size": 64, "players": 4, "horizon": 20.0, "base": 0.2, "back": 1.5, "again": 0.75, "decay": 2.0},
        fields=("x", "kind", "mask", "end"),
    ),
    "graphs": Reader(
        kind="endless",
        module="graphs",
        doc="random graphs, barabasi_albert, community or ego: adjacency matrices, graph(size), with a mask and degrees",
        options={
            "family": "barabasi_albert",
            "size": 20,
            "least": 0,
            "attach": 2,
            "communities": 2,
            "inside": 0.7,
            "outside": 0.05,
        },
        fields=("x", "mask", "degree"),
        packages=("numpy", "networkx"),
    ),
    "generated": Reader(
        kind="finite",
        module="generated",
        doc="draws of a parent's sampler, made before training",
        options={"path": "", **_SHARE},
        fields=("x", "noise"),
    ),
    "text": Reader(
        kind="finite",
        module="text",
        doc='a text file (or "python:manual") as tokens(n, vocab): level = letters, char or byte, begun every `stride` symbols',
        options={"path": "", "level": "char", "n": 64, "vocab": 27, "stride": 0, **_SHARE},
        fields=("x",),
    ),
    "markov": Reader(
        kind="endless",
        module="markov",
        doc="sequences of a Markov chain with rows drawn from a Dirichlet law, as tokens(n, vocab)",
        options={"length": 16, "vocab": 4, "concentration": 0.5, "chain": 0},
        fields=("x",),
    ),
    "parity": Reader(
        kind="endless",
        module="parity",
        doc="bits with an even sum",
        options={"length": 4},
        fields=("x",),
    ),
    "bit_table": Reader(
        kind="finite",
        module="bit_table",
        doc='a table of numbers and words as rows of bits, its label as classes; "mixed:3000" is a made one',
        options={"path": "", "label": "", "bits": 32, "test_share": 0.2},
    ),
}
