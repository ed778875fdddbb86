"""Pictures of samples."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

# << points
BLUE, GREY = "#0072B2", "#8C8C8C"
# >>
# << images
SMALLEST = 64  # pixels a side of one image, at least, by repeating pixels
GAP = 4  # pixels between images
# >>


def picture(
    samples: Array,
    path: Path,
    # << images
    low: float = -1.0,
    high: float = 1.0,
    # >>
    # << points
    paths: Array | None = None,
    # >>
) -> bool:
    # << images
    # << points
    """A PNG of images (N, C, H, W) in [low, high], or of points (N, 2); False for anything else.

    paths: (T, N, 2), the points on their way.
    """
    # >>
    # << not points
    """A PNG of images (N, C, H, W) in [low, high]; False for anything else."""
    # >>
    # >>
    # << not images
    """A PNG of points (N, 2) and their paths (T, N, 2); False for anything else."""
    # >>
    # << images
    if samples.ndim == 4 and samples.shape[1] in (1, 3):
        _grid(samples, path, low, high)
        return True
    # >>
    # << points
    if samples.ndim == 2 and samples.shape[1] == 2:
        _scatter(samples, path, paths)
        return True
    # >>
    return False


# << images
def _grid(images: Array, path: Path, low: float, high: float) -> None:
    from PIL import Image

    n, channels, height, width = images.shape
    scale = max(1, -(-SMALLEST // max(height, width)))
    columns = int(np.ceil(np.sqrt(n)))
    rows = -(-n // columns)
    level = np.clip((np.nan_to_num(images) - low) / (high - low), 0, 1)
    pixels = np.rint(255 * level).astype(np.uint8).repeat(scale, axis=2).repeat(scale, axis=3).transpose(0, 2, 3, 1)
    height, width = height * scale, width * scale
    sheet = np.full((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, channels), 255, dtype=np.uint8)
    for i, image in enumerate(pixels):
        top, left = GAP + i // columns * (height + GAP), GAP + i % columns * (width + GAP)
        sheet[top : top + height, left : left + width] = image
    part = path.with_name(f".{path.name}")
    Image.fromarray(sheet[..., 0] if channels == 1 else sheet).save(part, format="PNG")
    os.replace(part, path)


# >>
# << points
def _scatter(points: Array, path: Path, paths: Array | None) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), dpi=130, layout="tight")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if paths is not None and len(paths) > 1:
        axes.plot(paths[:, :100, 0], paths[:, :100, 1], color=GREY, linewidth=0.4, alpha=0.6)
    axes.scatter(points[:, 0], points[:, 1], s=3, color=BLUE, linewidths=0)
    axes.set_aspect("equal")
    part = path.with_name(f".{path.name}")
    figure.savefig(part, format="png")
    os.replace(part, path)


# >>
