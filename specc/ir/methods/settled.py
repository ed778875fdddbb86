"""A format as a rule says it, once the weight is known: `block = adaptive` becomes a size."""

from __future__ import annotations

import numpy as np

from specc.ir.methods.granularity import adaptive
from specc.ir.program import Setting

KNOBS = {"least": 64, "narrowing": 0.1, "worst": "int8"}  # of `block = adaptive`


def settled(setting: Setting, matrix: np.ndarray) -> Setting:
    """The format of a weight (n, k), with blocks as large as its ranges allow. One whose ranges narrow down to the `least`
    block has the format `worst`, with a scale for each row."""
    if setting.get("block") != "adaptive":
        return setting
    knobs = {name: setting.get(name, usual) for name, usual in KNOBS.items()}
    others = tuple((k, v) for k, v in setting.options if k not in ("block", *KNOBS))
    block = adaptive(matrix, knobs["least"], knobs["narrowing"])
    if block == matrix.shape[1]:
        return Setting(setting.name, (("axis", "channel"), *others))
    if block > knobs["least"]:
        return Setting(setting.name, (("block", block), *others))
    return Setting(str(knobs["worst"]), (("axis", "channel"), *others))
