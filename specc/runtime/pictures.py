"""Pictures of samples: grids of images, points in the plane with their paths, and animations of a sampler at work.

NumPy is all that they need. Colours are those of Masataka Okabe and Kei Ito, "Color Universal Design", 2008, which
colour-blind readers can tell apart. Files are written whole or not at all.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from specc.record import record
from specc.runtime.raster import Pixels, dots, gif, number, png, rgb

BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PURPLE, YELLOW, INK = "#56B4E9", "#CC79A7", "#F0E442", "#333333"
PALETTE = (BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE, YELLOW, INK)
REAL, PATH, RULE, FIGURE = "#BBBBBB", "#8C8C8C", "#E6E6E6", "#777777"

SMALLEST = 64  # pixels a side of one image in a grid, at least, by repeating pixels
GAP = 4  # pixels between images
SIDE = 650  # pixels of a plot
FRAMES_PER_SECOND, MOST = 20, 100  # and how many states an animation shows
HOLD = 1.5  # seconds on the last frame

Points = NDArray[np.float64]


def image_grid(images: ArrayLike, path: Path, columns: int | None = None, low: float = -1.0, high: float = 1.0) -> Path:
    """A PNG of images (N, C, H, W) with C of 1 or 3 and values in [low, high], row by row; nearly square by default."""
    return _save(path, png(_grid(np.asarray(images, dtype=np.float64), columns, low, high)))


def scatter(
    samples: ArrayLike,
    path: Path,
    real: ArrayLike | None = None,
    trajectory: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    most_paths: int = 100,
) -> Path:
    """A PNG of samples (N, 2) over real points (M, 2) in grey, coloured by labels (N,) if given.

    trajectory: (T, B, 2), states of a sampler; the first `most_paths` are drawn from their start to their end.
    """
    points = _plane(samples, "samples")
    behind = None if real is None else _plane(real, "real points")
    paths = None if trajectory is None else _moving(trajectory)[:, :most_paths]
    window = _window(points if behind is None else np.concatenate([behind, points]), paths)
    canvas = _canvas(window)
    if behind is not None:
        dots(canvas, window.place(behind), 2.0, REAL)
    if paths is not None:
        dots(canvas, _lines(window.place(paths)), 0.5, PATH, opacity=0.3)
    for colour, chosen in _colours(labels, len(points)):
        dots(canvas, window.place(points[chosen]), 2.4, colour, opacity=0.8)
    return _save(path, png(canvas))


def animation(
    trajectory: ArrayLike,
    path: Path,
    real: ArrayLike | None = None,
    low: float = -1.0,
    high: float = 1.0,
    columns: int | None = None,
) -> Path:
    """A GIF of the states of a sampler, first to last: points (T, B, 2) over real points (M, 2), or images (T, B, C, H, W).

    It plays at 20 states a second, thinned to at most 100, and rests on the last one.
    """
    states = np.asarray(trajectory, dtype=np.float64)
    if len(states) == 0:
        raise ValueError("an animation needs at least one state")
    states = states[np.unique(np.linspace(0, len(states) - 1, min(len(states), MOST)).round().astype(int))]
    if states.ndim == 5:
        frames = [_grid(images, columns, low, high) for images in states]
    else:
        frames = _point_frames(_moving(states), None if real is None else _plane(real, "real points"))
    return _save(path, gif(frames, [1000 // FRAMES_PER_SECOND] * (len(frames) - 1) + [int(1000 * HOLD)]))


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
    pixels[broken] = rgb(VERMILION)
    scale = max(1, -(-SMALLEST // max(height, width)))
    pixels = pixels.repeat(scale, axis=1).repeat(scale, axis=2)
    height, width = height * scale, width * scale
    sheet = np.full((GAP + rows * (height + GAP), GAP + columns * (width + GAP), 3), 255, dtype=np.uint8)
    for i, image in enumerate(pixels):
        top, left = GAP + (i // columns) * (height + GAP), GAP + (i % columns) * (width + GAP)
        sheet[top : top + height, left : left + width] = image
    return sheet


def _point_frames(states: Points, real: Points | None) -> list[Pixels]:
    """One picture a state of (T, B, 2), all in the same window, each with a short tail."""
    window = _window(states[-1] if real is None else real, states[:, :500])
    ground = _canvas(window)
    if real is not None:
        dots(ground, window.place(real), 2.0, REAL)
    frames = []
    for i, state in enumerate(states):
        canvas = ground.copy()
        if i:
            dots(canvas, _lines(window.place(states[max(0, i - 5) : i + 1])), 0.6, SKY, opacity=0.3)
        dots(canvas, window.place(state), 2.4, BLUE, opacity=0.8)
        frames.append(canvas)
    return frames


@record
class _Window:
    """A square of the plane."""

    x: float
    y: float
    half: float

    def place(self, points: Points) -> Points:
        """Points (..., 2) of the plane on a canvas, in pixels, with y downwards."""
        return SIDE / 2 + (points - [self.x, self.y]) * [1, -1] * SIDE / 2 / self.half


def _window(points: Points, paths: Points | None) -> _Window:
    """A window that holds nearly all finite points and path ends: a few that diverged do not shrink the rest to a dot."""
    shown = points if paths is None else np.concatenate([points, paths[0], paths[-1]])
    shown = shown[np.isfinite(shown).all(axis=1)]
    if len(shown) == 0:
        return _Window(0.0, 0.0, 1.0)
    least, most = np.quantile(shown, [0.002, 0.998], axis=0)
    half = max(float((most - least).max()) / 2, 1e-6) * 1.15
    return _Window(float(least[0] + most[0]) / 2, float(least[1] + most[1]) / 2, half)


def _canvas(window: _Window) -> Pixels:
    """White, with rules at round numbers."""
    canvas = np.full((SIDE, SIDE, 3), 255, np.uint8)
    power = 10.0 ** np.floor(np.log10(2 * window.half / 3))
    step = max(s * power for s in (1, 2, 5) if s * power <= 2 * window.half / 3)
    digits = max(0, -int(np.floor(np.log10(step))))
    for axis, middle in enumerate((window.x, window.y)):
        for k in range(int(np.ceil((middle - window.half) / step)), int((middle + window.half) // step) + 1):
            value = k * step
            at = int(window.place(np.array([value, value]))[axis])
            if 0 <= at < SIDE:
                canvas[(slice(None), at) if axis == 0 else at] = rgb(RULE)
                left, top = (at + 4, SIDE - 14) if axis == 0 else (4, at + 4)
                number(canvas, f"{value:.{digits}f}", left, top, FIGURE)
    return canvas


def _lines(paths: Points) -> Points:
    """Dots along paths (T, B, 2) on a canvas, about a pixel apart."""
    paths = np.where(np.isfinite(paths), paths, np.nan)
    longest = np.nan_to_num(np.hypot(*np.moveaxis(np.diff(paths, axis=0), -1, 0))).max(initial=1.0)
    parts = np.linspace(0, 1, int(min(longest, SIDE)) + 1, endpoint=False)[:, None, None, None]
    return (paths[:-1] + parts * np.diff(paths, axis=0)).reshape(-1, 2)


def _colours(labels: ArrayLike | None, n: int) -> list[tuple[str, NDArray[np.bool_]]]:
    """Colours with the samples that have them; more classes than the palette has share colours."""
    classes = np.zeros(n, int) if labels is None else np.unique(np.asarray(labels), return_inverse=True)[1].reshape(-1)
    if len(classes) != n:
        raise ValueError(f"{len(classes)} labels for {n} samples")
    return [(colour, classes % len(PALETTE) == i) for i, colour in enumerate(PALETTE)]


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


def _save(path: Path, data: bytes) -> Path:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path
