"""Spectra in the language against NumPy's transforms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from everywhere import everywhere

RNG = np.random.default_rng(0)


def spec(call: str) -> str:
    return f"""model m {{
  data x: signal(1, 512) from npy("a.npy")
  network f(z: tensor) {{ return {call} }}
  query main {{ return f(x) }}
}}"""


def transform(x: np.ndarray, n_fft: int, hop: int) -> np.ndarray:
    """(n, bins, frames), complex."""
    rest = (n_fft - hop) // 2
    padded = np.pad(x[:, 0], [(0, 0), (rest, rest)], mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft, axis=1)[:, ::hop]
    return np.fft.rfft(frames * window).transpose(0, 2, 1)


def test_stft(tmp_path: Path) -> None:
    x = RNG.normal(size=(2, 1, 512))
    out = everywhere(tmp_path, spec("stft(z, n_fft = 64, hop = 16)"), x=x)
    want = transform(x, 64, 16)
    np.testing.assert_allclose(out[:, 0] + 1j * out[:, 1], want, atol=1e-4)


def test_log_mel(tmp_path: Path) -> None:
    """Bands have unit area, and each answers to the tone in its middle most."""
    x = RNG.normal(size=(2, 1, 512))
    out = everywhere(tmp_path, spec("log_mel(z, bands = 12, n_fft = 128, hop = 32, rate = 8000)"), x=x)
    assert out.shape == (2, 12, 16)
    mel = np.linspace(0, 2595 * np.log10(1 + 4000 / 700), 14)
    edges = 700 * (10 ** (mel / 2595) - 1)
    hertz = np.arange(65) * 8000 / 128
    bands = np.stack([np.interp(hertz, edges[j : j + 3], [0, 2 / (edges[j + 2] - edges[j]), 0]) for j in range(12)])
    magnitude = np.sqrt(np.abs(transform(x, 128, 32)) ** 2 + 1e-9)
    np.testing.assert_allclose(out, np.log(np.maximum(bands @ magnitude, 1e-5)), rtol=1e-3, atol=1e-3)
    tones = np.sin(2 * np.pi * edges[4:13, None] / 8000 * np.arange(512))[:, None]
    heard = everywhere(tmp_path, spec("log_mel(z, bands = 12, n_fft = 256, hop = 64, rate = 8000)"), x=tones)
    assert (heard[:, :, 2:6].mean(axis=-1).argmax(axis=1) == np.arange(3, 12)).all()
