"""Pictures: right sizes, right pixels, whole files."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from specc.runtime.pictures import animation, image_grid, scatter
from specc.runtime.raster import gif


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_image_grid(tmp_path):
    images = np.full((5, 1, 8, 8), -1.0)
    images[1], images[2], images[3, 0, 0, 0], images[4] = 1.0, 7.0, np.nan, 0.0
    sheet = pixels(image_grid(images, tmp_path / "new" / "grid.png"))
    assert sheet.shape == (4 + 2 * 68, 4 + 3 * 68, 3)  # 2 rows of 3, each 64 pixels a side
    assert (sheet[4:68, 4:68] == 0).all() and (sheet[4:68, 72:136] == 255).all() and (sheet[4:68, 140:204] == 255).all()
    assert (sheet[72:80, 4:12] == [0xD5, 0x5E, 0x00]).all() and (sheet[80:136, 12:68] == 0).all()
    assert np.abs(sheet[72:136, 72:136] - 128).max() <= 1 and (sheet[72:136, 140:] == 255).all()
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["grid.png"]


def test_image_grid_in_colour(tmp_path):
    images = np.zeros((2, 3, 100, 70))
    images[:, 0] = 1
    sheet = pixels(image_grid(images, tmp_path / "c.png", columns=1, low=0, high=1))
    assert sheet.shape == (4 + 2 * 104, 4 + 74, 3)
    assert (sheet[4:104, 4:74] == [255, 0, 0]).all()


def test_scatter(tmp_path):
    rng = np.random.default_rng(0)
    points = rng.standard_normal((200, 2))
    path = np.linspace(0, 1, 5)[:, None, None] * points
    sheet = pixels(scatter(points, tmp_path / "a.png", real=points + 1, trajectory=path))
    assert sheet.shape == (650, 650, 3)
    blue = (np.abs(sheet - [0x00, 0x72, 0xB2]).max(axis=-1) < 60).sum()
    assert blue > 500
    labelled = pixels(scatter(points, tmp_path / "b.png", labels=rng.integers(3, size=200)))
    for colour in ([0x00, 0x72, 0xB2], [0xE6, 0x9F, 0x00], [0x00, 0x9E, 0x73]):
        assert (np.abs(labelled - colour).max(axis=-1) < 60).sum() > 100


def test_scatter_of_samples_that_diverged(tmp_path):
    points = np.random.default_rng(0).standard_normal((500, 2))
    points[0], points[1] = np.nan, np.inf
    scatter(points, tmp_path / "a.png")
    scatter(np.full((3, 2), np.nan), tmp_path / "b.png")
    scatter(np.zeros((3, 2)), tmp_path / "c.png")


def frames(path):
    with Image.open(path) as image:
        times = []
        for i in range(image.n_frames):
            image.seek(i)
            times.append(image.info["duration"])
        return image.size, times


def test_animation_of_points(tmp_path):
    states = np.cumsum(np.random.default_rng(0).standard_normal((6, 30, 2)), axis=0)
    size, times = frames(animation(states, tmp_path / "a.gif", real=states[-1]))
    assert size == (650, 650) and times == [50] * 5 + [1500]


def test_animation_of_images(tmp_path):
    states = np.linspace(-1, 1, 250)[:, None, None, None, None] * np.ones((250, 4, 1, 8, 8))
    size, times = frames(animation(states, tmp_path / "a.gif"))
    assert size == (140, 140) and len(times) == 100 and times[-1] == 1500


@pytest.mark.parametrize(
    "call",
    [
        lambda path: image_grid(np.zeros((3, 2, 8, 8)), path),
        lambda path: image_grid(np.zeros((0, 1, 8, 8)), path),
        lambda path: image_grid(np.zeros((1, 1, 8, 8)), path, low=1, high=1),
        lambda path: scatter(np.zeros((3, 3)), path),
        lambda path: scatter(np.zeros((3, 2)), path, labels=[0, 1]),
        lambda path: animation(np.zeros((4, 3, 3)), path),
        lambda path: animation(np.zeros((0, 3, 2)), path),
    ],
)
def test_refusals_leave_no_file(call, tmp_path):
    with pytest.raises(ValueError):
        call(tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_no_window_and_no_state(tmp_path):
    code = (
        "import sys, numpy as np\nfrom pathlib import Path\nfrom specc.runtime.pictures import scatter\n"
        f"scatter(np.eye(2), Path({str(tmp_path / 'a.png')!r}))\nprint('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_a_gif_has_the_pixels_of_its_frames(tmp_path):
    """Codes of every size: a table that fills up and begins anew, and long runs; colours are exact while 256 are enough."""
    rng = np.random.default_rng(0)
    frames = [np.kron(rng.integers(256, size=(9, 9, 1)), np.ones((20, 20, 3), int)), rng.integers(200, size=(180, 180, 1))]
    frames = [np.broadcast_to(f, (180, 180, 3)).astype(np.uint8) for f in frames]
    (tmp_path / "a.gif").write_bytes(gif(frames, [50, 50]))
    with Image.open(tmp_path / "a.gif") as image:
        for i, frame in enumerate(frames):
            image.seek(i)
            assert (np.asarray(image.convert("RGB")) == frame).all()
    colours = rng.integers(256, size=(90, 90, 3)).astype(np.uint8)
    (tmp_path / "b.gif").write_bytes(gif([colours], [50]))
    assert np.abs(pixels(tmp_path / "b.gif") - colours).mean() < 30


@pytest.mark.parametrize("length", [1, 2, 255, 256, 257, 511, 512, 513, 3838, 3839, 3840, 3841, 3842, 8000])
def test_gifs_of_any_length(length, tmp_path):
    """Each pixel unlike the pair before it, so that the table of codes grows with every pixel."""
    row = np.random.default_rng(1).integers(256, size=(1, length, 1)).repeat(3, axis=2).astype(np.uint8)
    (tmp_path / "a.gif").write_bytes(gif([row], [50]))
    assert (pixels(tmp_path / "a.gif") == row).all()
