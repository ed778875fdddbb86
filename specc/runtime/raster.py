"""Pixels as files and marks on pixels, by NumPy alone: PNG, GIF, round dots with soft edges, small numbers.

Sources: W3C, "Portable Network Graphics (PNG) Specification", 2003; CompuServe, "Graphics Interchange Format, version 89a",
1990, whose compression is that of Terry Welch, "A technique for high-performance data compression", 1984.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # (height, width, 3)
Points = NDArray[np.float64]  # (n, 2) on a canvas: x to the right, y downwards, in pixels

COLOURS = 256  # that a GIF has
GLYPHS = {  # a row of three pixels a figure in octal, from the top
    **{"0": "75557", "1": "26227", "2": "71747", "3": "71717", "4": "55711", "5": "74717", "6": "74757"},
    **{"7": "71222", "8": "75757", "9": "75717", "-": "00700", ".": "00002"},
}


def png(pixels: Pixels) -> bytes:
    """A picture as a PNG."""
    height, width, _ = pixels.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, 3 * width)], axis=1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def gif(frames: Sequence[Pixels], milliseconds: Sequence[int]) -> bytes:
    """Pictures of one size as a GIF that plays for ever."""
    height, width, _ = frames[0].shape
    palette, indices = _palette(frames)
    out = [b"GIF89a", struct.pack("<HHBBB", width, height, 0xF7, 0, 0), palette.tobytes()]
    out.append(b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00")
    for frame, duration in zip(indices, milliseconds, strict=True):
        out.append(struct.pack("<BBBBHBB", 0x21, 0xF9, 4, 0, round(duration / 10), 0, 0))
        out.append(struct.pack("<BHHHHBB", 0x2C, 0, 0, width, height, 0, 8))
        packed = _lzw(frame.tobytes())
        out += [bytes([len(packed[i : i + 255])]) + packed[i : i + 255] for i in range(0, len(packed), 255)]
        out.append(b"\x00")
    return b"".join(out) + b";"


def _palette(frames: Sequence[Pixels]) -> tuple[Pixels, list[Pixels]]:
    """(256, 3) colours and the frames in them: all that there are, or the commonest of 5 bits a channel."""
    packed = [f.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32) for f in frames]
    if len(np.unique(np.concatenate([np.unique(p) for p in packed]))) > COLOURS:
        packed = [p & 0xF8F8F8 for p in packed]
    values, counts = np.unique(np.concatenate([p.ravel() for p in packed]), return_counts=True)
    chosen = np.sort(values[np.argsort(-counts, kind="stable")[:COLOURS]])
    palette = np.zeros((COLOURS, 3), np.uint8)
    palette[: len(chosen)] = _channels(chosen)
    distance = _channels(values).astype(np.float32)[:, None] - _channels(chosen).astype(np.float32)
    nearest = (distance**2).sum(axis=-1).argmin(axis=-1).astype(np.uint8)
    if len(values) > COLOURS:  # five bits say the lower end of eight
        palette[: len(chosen)] |= palette[: len(chosen)] >> 5
    return palette, [nearest[np.searchsorted(values, p)] for p in packed]


def _channels(packed: NDArray[np.int32]) -> Pixels:
    return np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=-1).astype(np.uint8)


def _lzw(indices: bytes) -> bytes:
    """Codes of 9 to 12 bits, the first bit lowest; the table begins anew when it is full."""
    clear, end = COLOURS, COLOURS + 1
    out, held, bits = bytearray(), clear, 9
    table: dict[int, int] = {}
    size, free, prefix = 9, end + 1, indices[0]
    for byte in indices[1:]:
        key = prefix << 8 | byte
        if (code := table.get(key)) is not None:
            prefix = code
            continue
        held |= prefix << bits
        bits += size
        while bits >= 8:
            out.append(held & 255)
            held >>= 8
            bits -= 8
        prefix = byte
        if free == 4096:
            held |= clear << bits
            bits += size
            table.clear()
            size, free = 9, end + 1
            continue
        table[key] = free
        if free == 1 << size:
            size += 1
        free += 1
    held |= prefix << bits
    bits += size
    size += free == 1 << size < 4096  # as the reader's table grows with the last code too
    held |= end << bits
    return bytes(out) + held.to_bytes((bits + size + 7) // 8, "little")


def dots(canvas: Pixels, points: Points, radius: float, colour: str, opacity: float = 1.0) -> None:
    """Draw round dots; where they lie over each other the colour gets stronger. Dots out of sight are left out."""
    height, width, _ = canvas.shape
    reach = int(np.ceil(radius + 1))
    seen = np.isfinite(points).all(axis=1)
    seen &= (np.abs(np.nan_to_num(points) - [width / 2, height / 2]) < [width / 2 + reach, height / 2 + reach]).all(axis=1)
    points = points[seen]
    offsets = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1)  # rows, columns
    places = np.floor(points[:, None, ::-1]) + offsets.T  # (n, patch, 2): rows, columns
    distance = np.hypot(*np.moveaxis(places + 0.5 - points[:, None, ::-1], -1, 0))
    light = np.log1p(-np.minimum(opacity * np.clip(radius + 0.5 - distance, 0, 1), 0.999))
    inside = ((places >= 0) & (places < [height, width])).all(axis=-1)
    passed = np.zeros((height, width))
    rows, columns = places[inside].astype(int).T
    np.add.at(passed, (rows, columns), light[inside])
    stay = np.exp(passed)[..., None]
    canvas[:] = np.rint(canvas * stay + (1 - stay) * rgb(colour)).astype(np.uint8)


def number(canvas: Pixels, text: str, left: int, top: int, colour: str, scale: int = 2) -> None:
    """Write a number with its first pixel here; each figure is 3 by 5 pixels, times the scale."""
    for i, letter in enumerate(text):
        rows = np.array([[int(d) >> b & 1 for b in (2, 1, 0)] for d in GLYPHS[letter]], bool)
        mark = rows.repeat(scale, axis=0).repeat(scale, axis=1)
        x = left + i * 4 * scale
        part = canvas[top : top + mark.shape[0], x : x + mark.shape[1]]
        part[mark[: part.shape[0], : part.shape[1]]] = rgb(colour)


def rgb(colour: str) -> list[int]:
    """#0072B2 as three numbers."""
    return [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
