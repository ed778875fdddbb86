"""PNG and JPEG pictures in folders, one folder a class; pictures right in the folder, with no subfolders, have no classes.

Classes are the subfolders in alphabetical order. Each picture is turned as its camera says,
cropped to its central square and resized; transparency is dropped.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError


class DataError(ValueError):
    """What is on disk is not what the reader can take; the message names the file."""


def load(
    split: str = "train", path: str = "", size: int = 64, channels: int = 3, test_share: float = 0.1
) -> dict[str, np.ndarray]:
    """x: (N, channels, size, size) float32 in [0, 1]; y: (N,) int64 when there are subfolders.

    channels is 1 (grey) or 3 (red, green, blue). split is train, test (a fixed random share) or all.
    """
    if channels not in (1, 3):
        raise ValueError(f"image_folder reads 1 channel or 3, not {channels}")
    if split not in ("train", "test", "all"):
        raise ValueError(f"image_folder has the splits train, test and all, not {split!r}")
    if not 0 <= test_share < 1:
        raise ValueError(f"test_share is a share of the examples, at least 0 and below 1, not {test_share}")
    root = Path(path)
    if not path or not root.is_dir():
        raise DataError(f"there is no folder of images at {path!r}")
    classes = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    files = [(file, label) for label, folder in enumerate(classes) for file in _pictures(folder)]
    loose = _pictures(root)
    if classes and loose:
        raise DataError(f"{loose[0]}: a picture beside the folders of classes; it belongs to none")
    if not classes:
        files = [(file, -1) for file in loose]
    if not files:
        raise DataError(f"{root}: no PNG or JPEG pictures here")
    order = np.random.default_rng(0).permutation(len(files))
    tests = round(test_share * len(files))
    chosen = np.sort({"train": order[tests:], "test": order[:tests], "all": order}[split])
    x = np.empty((len(chosen), channels, size, size), dtype=np.float32)
    for row, i in enumerate(chosen):
        x[row] = _read(files[i][0], size, channels)
    y = np.array([files[i][1] for i in chosen], dtype=np.int64)
    return {"x": x, "y": y} if classes else {"x": x}


def _pictures(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in (".png", ".jpg", ".jpeg") and not p.name.startswith("."))


def _read(file: Path, size: int, channels: int) -> np.ndarray:
    """(channels, size, size) float32 in [0, 1]."""
    try:
        with Image.open(file, formats=["PNG", "JPEG"]) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode.startswith("I"):  # 16 bits a pixel, which `convert` would clip at 255
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            image = image.convert("L" if channels == 1 else "RGB")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as problem:
        raise DataError(f"{file}: not a readable PNG or JPEG picture ({problem})") from problem
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.resize((size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
    pixels = np.asarray(square, dtype=np.float32) / 255  # (size, size) or (size, size, 3)
    return pixels.reshape(size, size, channels).transpose(2, 0, 1)
