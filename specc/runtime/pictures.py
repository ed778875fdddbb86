"""Pictures of samples: grids of images, points in the plane with their paths, and animations of a sampler at work.

Nothing here opens a window or changes matplotlib's settings. Colours are those of Masataka Okabe and Kei Ito, "Color
Universal Design", 2008, which colour-blind readers can tell apart. Files are written whole or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from specc.record import record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image

BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PURPLE, YELLOW, INK = "#56B4E9", "#CC79A7", "#F0E442", "#333333"
PALETTE = (BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE, YELLOW, INK)
REAL, PATH = "#BBBBBB", "#8C8C8C"

SMALLEST = 64  # pixels a side of one image in a grid, at least, by repeating pixels
GAP = 4  # pixels between images
INCHES, DPI = 5.0, 130
FRAMES_PER_SECOND = 20
HOLD = 1.5  # seconds on the last frame

Pixels = NDArray[np.uint8]
Points = NDArray[np.float64]


def image_grid(images: ArrayLike, path: Path, columns: int | None = None, low: float = -1.0, high: float = 1.0) -> Path:
    """A PNG of images (N, C, H, W) with C of 1 or 3 and values in [low, high], row by row; nearly square by default."""
    picture = _picture(_grid(np.asarray(images, dtype=np.float64), columns, low, high))
    return _save(path, lambda part: picture.save(part, format="PNG", optimize=True))


def scatter(
    samples: ArrayLike,
    path: Path,
    real: ArrayLike | None = None,
    trajectory: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    title: str = "",
    most_paths: int = 100,
) -> Path:
    """A PNG of samples (N, 2) over real points (M, 2) in grey, coloured by labels (N,) if given.

    trajectory: (T, B, 2), states of a sampler; the first `most_paths` are drawn from their start (hollow) to their end.
    """
    points = _plane(samples, "samples")
    behind = None if real is None else _plane(real, "real points")
    paths = None if trajectory is None else _moving(trajectory)[:, :most_paths]
    figure, axes = _canvas(_limits(points if behind is None else np.concatenate([behind, points]), paths), title)
    if behind is not None:
        axes.scatter(behind[:, 0], behind[:, 1], s=6, color=REAL, linewidths=0, zorder=1, label="data")
    if paths is not None:
        axes.plot(*paths.transpose(2, 0, 1), color=PATH, linewidth=0.6, alpha=0.6, zorder=2)
        axes.scatter(
            paths[0, :, 0], paths[0, :, 1], s=10, facecolors="none", edgecolors=PATH, linewidths=0.6, zorder=2, label="start"
        )
    axes.scatter(
        points[:, 0], points[:, 1], s=7, c=_colours(labels, len(points)), alpha=0.8, linewidths=0, zorder=3, label="samples"
    )
    if behind is not None or paths is not None:
        legend = axes.legend(loc="upper right", frameon=True, framealpha=0.9, edgecolor="none", fontsize=8, markerscale=1.8)
        for handle in legend.legend_handles:
            if handle is not None:
                handle.set_alpha(1)
    return _save(path, lambda part: figure.savefig(part, format="png", dpi=DPI))


def animation(
    trajectory: ArrayLike,
    path: Path,
    real: ArrayLike | None = None,
    low: float = -1.0,
    high: float = 1.0,
    columns: int | None = None,
    title: str = "",
) -> Path:
    """A GIF of the states of a sampler, first to last: points (T, B, 2) over real points (M, 2), or images (T, B, C, H, W).

    It plays at 20 states a second, thinned to at most 100, and rests on the last one.
    """
    from PIL.Image import Dither, Quantize

    states = np.asarray(trajectory, dtype=np.float64)
    if len(states) == 0:
        raise ValueError("an animation needs at least one state")
    states = states[np.unique(np.linspace(0, len(states) - 1, min(len(states), 100)).round().astype(int))]
    if states.ndim == 5:
        frames = [_picture(_grid(images, columns, low, high)) for images in states]
    else:
        frames = _point_frames(_moving(states), None if real is None else _plane(real, "real points"), title)
    durations = [1000 // FRAMES_PER_SECOND] * (len(frames) - 1) + [int(1000 * HOLD)]
    first, *rest = [frame.quantize(128, method=Quantize.FASTOCTREE, dither=Dither.NONE) for frame in frames]
    return _save(
        path,
        lambda part: first.save(part, format="GIF", save_all=True, append_images=rest, duration=durations, loop=0),
    )


def _grid(images: NDArray[np.float64], columns: int | None, low: float, high: float) -> Pixels:
    """(height, width, 3) pixels of images (N, C, H, W); values that are not finite show in vermilion."""
    if images.ndim != 4 or images.shape[1] not in (1, 3) or images.size == 0:
        raise ValueError(f"images must be (N, 1 or 3, H, W), not {images.shape}")
    if not low < high:
        raise ValueError(f"the range [{low}, {high}] is empty")
    n, _, height, width = images.shape
    columns = min(columns or int(np.ceil(np.sqrt(n))), n)
    rows = -(-n // columns)
    broken = ~np.isfinite(images).all(axis=1)  # (N, H, W)
    levels = np.clip((np.nan_to_num(images) - low) / (high - low), 0, 1)
    pixels = np.broadcast_to((levels * 255).round().astype(np.uint8), (n, 3, height, width)).transpose(0, 2, 3, 1).copy()
    pixels[broken] = [int(VERMILION[i : i + 2], 16) for i in (1, 3, 5)]
    scale = max(1, -(-SMALLEST // max(height, width)))
    pixels = pixels.repeat(scale, axis=1).repeat(scale, axis=2)
    height, width = height * scale, width * scale
    sheet = np.full((GAP + rows * (height + GAP), GAP + columns * (width + GAP), 3), 255, dtype=np.uint8)
    for i, image in enumerate(pixels):
        top, left = GAP + (i // columns) * (height + GAP), GAP + (i % columns) * (width + GAP)
        sheet[top : top + height, left : left + width] = image
    return sheet


def _point_frames(states: Points, real: Points | None, title: str) -> list[Image]:
    """One picture a state of (T, B, 2), all on the same axes, each with a short tail."""
    from matplotlib.collections import LineCollection

    figure, axes = _canvas(_limits(states[-1] if real is None else real, states[:, : min(states.shape[1], 500)]), title)
    if real is not None:
        axes.scatter(real[:, 0], real[:, 1], s=6, color=REAL, linewidths=0, zorder=1)
    tails = LineCollection([], colors=SKY, linewidths=0.6, alpha=0.5, zorder=2)
    axes.add_collection(tails, autolim=False)
    dots = axes.scatter(states[0, :, 0], states[0, :, 1], s=7, color=BLUE, alpha=0.8, linewidths=0, zorder=3)
    frames = []
    for i in range(len(states)):
        recent = states[max(0, i - 5) : i + 1]
        tails.set_segments(list(recent.transpose(1, 0, 2)))
        dots.set_offsets(states[i])
        frames.append(_rendered(figure))
    return frames


@record
class _Limits:
    """A square window on the plane."""

    x: float
    y: float
    half: float


def _limits(points: Points, paths: Points | None) -> _Limits:
    """A window that holds nearly all finite points and path ends: a few that diverged do not shrink the rest to a dot."""
    shown = points if paths is None else np.concatenate([points, paths[0], paths[-1]])
    shown = shown[np.isfinite(shown).all(axis=1)]
    if len(shown) == 0:
        return _Limits(0.0, 0.0, 1.0)
    least, most = np.quantile(shown, [0.002, 0.998], axis=0)
    half = max(float((most - least).max()) / 2, 1e-6) * 1.15
    return _Limits(float(least[0] + most[0]) / 2, float(least[1] + most[1]) / 2, half)


def _canvas(limits: _Limits, title: str) -> tuple[Figure, Axes]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(INCHES, INCHES), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set(xlim=(limits.x - limits.half, limits.x + limits.half), ylim=(limits.y - limits.half, limits.y + limits.half))
    axes.set_aspect("equal")
    axes.grid(color="#EEEEEE", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=8, length=0)
    for side in axes.spines.values():
        side.set_color("#DDDDDD")
    if title:
        axes.set_title(title, fontsize=11, color=INK, loc="left")
    return figure, axes


def _rendered(figure: Figure) -> Image:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()
    return _picture(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def _picture(pixels: Pixels) -> Image:
    from PIL import Image

    return Image.fromarray(pixels)


def _colours(labels: ArrayLike | None, n: int) -> list[str] | str:
    """One colour a sample; more classes than the palette has share colours."""
    if labels is None:
        return BLUE
    classes = np.unique(np.asarray(labels), return_inverse=True)[1].reshape(-1)
    if len(classes) != n:
        raise ValueError(f"{len(classes)} labels for {n} samples")
    return [PALETTE[i % len(PALETTE)] for i in classes]


def _plane(points: ArrayLike, name: str) -> Points:
    values = np.asarray(points, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != 2:
        raise ValueError(f"{name} must be points of the plane (N, 2), not {values.shape}")
    return values


def _moving(trajectory: ArrayLike) -> Points:
    values = np.asarray(trajectory, dtype=np.float64)
    if values.ndim != 3 or values.shape[2] != 2 or values.size == 0:
        raise ValueError(f"a trajectory must be points (T, B, 2), or images (T, B, C, H, W) to animate, not {values.shape}")
    return values


def _save(path: Path, write: Callable[[Path], None]) -> Path:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path
