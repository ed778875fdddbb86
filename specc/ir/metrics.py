"""Metrics that `evaluate { ... }` can name: one table for the checker, the command line and the functions that measure."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from specc.record import record

Takes = Literal["two sets", "two sets of features", "labelled samples", "trajectory", "sampler", "networks", "query"]
CLASSES = ("two sets of features", "labelled samples")  # these need a probe, and so classes of the data


@record(kw_only=True)
class Metric:
    """One row. `features` first go through `FeatureSpace.features`; real examples come before samples."""

    takes: Takes
    better: Literal["lower", "higher"]
    doc: str
    source: str
    module: str | None = None  # the file in specc/runtime/metrics, without .py; none for what the compiler counts
    numbers: int = 1  # how many it gives
    symbols: int = 0  # how many neighbours in sequences of integers it counts; none: it is of any data
    perfect: float = 0.0  # for samples of the very law of the data (unbiased estimates scatter around it)
    knobs: dict[str, float | int | bool] = field(default_factory=dict)  # with their defaults
    packages: tuple[str, ...] = ("numpy",)


METRICS: dict[str, Metric] = {
    "unigram_tv": Metric(
        takes="two sets",
        module="symbols",
        better="lower",
        symbols=1,
        doc="total variation distance of the frequencies of symbols",
        source="half the sum of absolute differences",
    ),
    "bigram_tv": Metric(
        takes="two sets",
        module="symbols",
        better="lower",
        symbols=2,
        doc="total variation distance of the frequencies of pairs of neighbouring symbols",
        source="half the sum of absolute differences",
    ),
    "sliced_wasserstein": Metric(
        takes="two sets",
        module="distances",
        better="lower",
        doc="2-Wasserstein distance averaged over random projections, in units of the data",
        source="Bonneel et al., Sliced and Radon Wasserstein Barycenters of Measures, 2015",
        knobs={"projections": 256, "seed": 0},
    ),
    "exact_wasserstein2": Metric(
        takes="two sets",
        module="distances",
        better="lower",
        doc="2-Wasserstein distance of two sets of one size by optimal assignment, in units of the data",
        source="Peyre and Cuturi, Computational Optimal Transport, 2019",
        packages=("numpy", "scipy"),
    ),
    "energy_distance": Metric(
        takes="two sets",
        module="distances",
        better="lower",
        doc="squared energy distance, unbiased or plain, in units of the data",
        source="Szekely and Rizzo, Energy statistics: A class of statistics based on distances, 2013",
        knobs={"unbiased": True},
    ),
    "mmd": Metric(
        takes="two sets",
        module="distances",
        better="lower",
        doc="squared maximum mean discrepancy under normal kernels, unbiased",
        source="Gretton et al., A Kernel Two-Sample Test, 2012",
    ),
    "pca_frechet": Metric(
        takes="two sets",
        module="frechet",
        better="lower",
        doc="squared Frechet distance of fitted normals on the principal axes of the real data",
        source="Dowson and Landau, The Frechet distance between multivariate normal distributions, 1982",
        knobs={"axes": 16},
    ),
    "frechet": Metric(
        takes="two sets of features",
        module="frechet",
        better="lower",
        doc="squared Frechet distance of the normals fitted to features",
        source="Heusel et al., GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium, 2017",
    ),
    "precision_recall": Metric(
        takes="two sets of features",
        module="manifold",
        better="higher",
        numbers=2,
        perfect=1.0,
        doc="shares of samples inside the real manifold and of real examples inside the samples' manifold",
        source="Kynkaanniemi et al., Improved Precision and Recall Metric for Assessing Generative Models, 2019",
        knobs={"k": 3},
    ),
    "probe_accuracy": Metric(
        takes="labelled samples",
        module="features",
        better="higher",
        perfect=1.0,
        doc="share of samples in which a probe trained on real data sees the class they were asked for",
        source="Ravuri and Vinyals, Classification Accuracy Score for Conditional Generative Models, 2019, the other way round",
        packages=("numpy", "scikit-learn"),
    ),
    "straightness": Metric(
        takes="trajectory",
        module="paths",
        better="lower",
        doc="mean squared difference of the velocity from that of the chord; 0 for straight paths at constant speed",
        source="Liu, Gong and Liu, Flow Straight and Fast, 2023",
    ),
    "path_length_ratio": Metric(
        takes="trajectory",
        module="paths",
        better="lower",
        perfect=1.0,
        doc="length of the paths over the distance of their ends",
        source="arc length over chord",
    ),
    "bits_per_dim": Metric(
        takes="query",
        better="lower",
        doc="mean of a query that gives -log p of held-out examples, in bits for each number of the grid",
        source="Theis, van den Oord and Bethge, A note on the evaluation of generative models, 2016",
    ),
    "nfe": Metric(takes="sampler", better="lower", doc="network calls of one sample", source="counted in the program"),
    "parameters": Metric(takes="networks", better="lower", doc="numbers that are trained", source="counted in the program"),
    "macs": Metric(takes="networks", better="lower", doc="multiply-accumulates of one call", source="counted in the program"),
}
