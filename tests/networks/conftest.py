"""Puts what the tests of passes and printed code share within reach."""

import sys
from pathlib import Path

for folder in ("passes", "pytorch"):
    sys.path.append(str(Path(__file__).parents[1] / folder))
