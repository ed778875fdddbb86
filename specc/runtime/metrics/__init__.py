"""Measures of samples: what a spec's `evaluate` can name.

Sets of samples are arrays with the examples first. Functions import scipy and scikit-learn only when they run.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Takes = Literal["two sets", "two sets of features", "trajectory", "labelled samples"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One row. `features` first go through `FeatureSpace.features`; real examples come before samples."""

    takes: Takes
    module: str  # the file beside this one, without .py
    better: Literal["lower", "higher"]
    perfect: float  # for samples of the very law of the data (unbiased estimates scatter around it)
    doc: str
    source: str
    packages: tuple[str, ...] = ("numpy",)


METRICS: dict[str, Metric] = {
    "sliced_wasserstein": Metric(
        takes="two sets",
        module="distances",
        better="lower",
        perfect=0.0,
        doc="2-Wasserstein distance averaged over random projections, in units of the data",
        source="Bonneel et al., Sliced and Radon Wasserstein Barycenters of Measures, 2015",
    ),
    "exact_wasserstein2": Metric(
        takes="two sets",
        module="distances",
        better="lower",
        perfect=0.0,
        doc="2-Wasserstein distance of two sets of one size by optimal assignment, in units of the data",
        source="Peyre and Cuturi, Computational Optimal Transport, 2019",
        packages=("numpy", "scipy"),
    ),
    "energy_distance": Metric(
        takes="two sets",
        module="distances",
        better="lower",
        perfect=0.0,
        doc="squared energy distance, unbiased or plain, in units of the data",
        source="Szekely and Rizzo, Energy statistics: A class of statistics based on distances, 2013",
    ),
    "mmd": Metric(
        takes="two sets",
        module="distances",
        better="lower",
        perfect=0.0,
        doc="squared maximum mean discrepancy under normal kernels, unbiased",
        source="Gretton et al., A Kernel Two-Sample Test, 2012",
    ),
    "pca_frechet": Metric(
        takes="two sets",
        module="frechet",
        better="lower",
        perfect=0.0,
        doc="squared Frechet distance of fitted normals on the principal axes of the real data",
        source="Dowson and Landau, The Frechet distance between multivariate normal distributions, 1982",
    ),
    "frechet": Metric(
        takes="two sets of features",
        module="frechet",
        better="lower",
        perfect=0.0,
        doc="squared Frechet distance of the normals fitted to features",
        source="Heusel et al., GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium, 2017",
    ),
    "precision_recall": Metric(
        takes="two sets of features",
        module="manifold",
        better="higher",
        perfect=1.0,
        doc="shares of samples inside the real manifold and of real examples inside the samples' manifold",
        source="Kynkaanniemi et al., Improved Precision and Recall Metric for Assessing Generative Models, 2019",
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
    "unigram_tv": Metric(
        takes="two sets",
        module="symbols",
        better="lower",
        perfect=0.0,
        doc="total variation distance of the frequencies of symbols",
        source="half the sum of absolute differences",
    ),
    "bigram_tv": Metric(
        takes="two sets",
        module="symbols",
        better="lower",
        perfect=0.0,
        doc="total variation distance of the frequencies of pairs of neighbouring symbols",
        source="half the sum of absolute differences",
    ),
    "straightness": Metric(
        takes="trajectory",
        module="paths",
        better="lower",
        perfect=0.0,
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
}


def metric(name: str) -> Callable[..., Any]:
    """The function behind the row `name`."""
    return getattr(importlib.import_module(f"{__name__}.{METRICS[name].module}"), name)
