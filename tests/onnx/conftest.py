"""Puts the table of cases of `tests/ir` within reach."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "ir"))
