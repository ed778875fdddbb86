"""The report of a quantised file as one HTML page: samples side by side, coverage, errors by time, metrics."""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from specc.runtime.quantization import QuantizationReport

TEMPLATE = Path(__file__).with_name("quantization.html.j2")
SHOWN = 16  # samples of each file


def write(report: QuantizationReport, path: Path, space: dict[str, Any]) -> None:
    """One page without anything beside it. space: that of the samples, for the range of their colours."""
    import jinja2

    sides = () if report.samples is None else zip(("float", report.name), report.samples, strict=True)
    pictures = [(title, picture(x[:SHOWN], space)) for title, x in sides]
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    top = max((c.norm for c in report.calls), default=0.0) or 1.0
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    path.write_text(page.render(report=report, pictures=pictures, top=top), encoding="utf-8")


def picture(x: np.ndarray, space: dict[str, Any]) -> str:
    """Samples as the address of a PNG, or as text where they have no picture."""
    from specc.runtime import pictures

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "samples.png"
        if x.ndim == 4 and x.shape[1] in (1, 3):
            pictures.image_grid(x, file, low=space.get("low", -1.0), high=space.get("high", 1.0))
        elif x.ndim == 2 and x.shape[1] == 2:
            pictures.scatter(x, file)
        else:
            return "\n".join(np.array2string(row, precision=3, threshold=256, max_line_width=2**16) for row in x[:8])
        return "data:image/png;base64," + base64.b64encode(file.read_bytes()).decode()
