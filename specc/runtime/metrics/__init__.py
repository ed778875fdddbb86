"""Measures of samples: the functions behind `specc.ir.metrics`.

Sets of samples are arrays with the examples first. Functions import scipy and scikit-learn only when they run.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from specc.ir.metrics import METRICS


def metric(name: str) -> Callable[..., Any]:
    """The function behind the row `name`."""
    return getattr(importlib.import_module(f"{__name__}.{METRICS[name].module}"), name)
