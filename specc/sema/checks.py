"""What is proved about a model before any code is written."""

from __future__ import annotations

from specc.ir.program import Program
from specc.sema.model import Model


def check_model(m: Model, program: Program) -> None:
    """Add what is wrong with the mathematics to the model's diagnostics."""
