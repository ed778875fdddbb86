"""A page in headless Chromium: the same seed gives the samples of Python, by each way to run it. `make test-web`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import chrome
import numpy as np
import pytest

pytestmark = pytest.mark.web
pytest.importorskip("onnxruntime")
from specc.backends import web  # noqa: E402
from specc.backends.onnx.write import initial  # noqa: E402
from specc.backends.web import RuntimeMissingError, ort_web  # noqa: E402

from specc import driver  # noqa: E402
from specc.runtime.ort import load  # noqa: E402
from specc.runtime.raster import png  # noqa: E402

PICTURES = Path(__file__).parents[2] / "out" / "web"  # where screenshots are kept
DIGITS = """\
specc 1
model digits {
  data x: image(1, 8, 8) in [-1, 1] from digits
  condition y: class(10) with { drop = 0.1 }
  process linear
  backbone unet(width = 16, levels = 2)
  predict velocity
  guidance cfg(scale = input(2.0))
  sampler draw = euler(steps = input(12))
  train { optimizer = adamw(lr = 3e-3); steps = 300; batch = 64; ema = 0.98; picture_every = 0 }
  quantize w8a8 { weights = int8(axis = channel); activations = int8(calibrate = 64); keep = [first, last, clock] }
}
"""
POINTS = """\
specc 1
model points {
  data x: vector(2) from eight_gaussians
  process vp
  backbone mlp(width = 32, depth = 2)
  predict eps
  sampler draw = ddpm(steps = 30)
  train { optimizer = adam(lr = 3e-3); steps = 200; batch = 256; picture_every = 0 }
}
"""


def specc(*args: object) -> None:
    command = [sys.executable, "-m", "specc.cli.main", *map(str, args)]
    one = os.environ | {"OMP_NUM_THREADS": "1"}  # small networks wait for threads more than they win
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=one)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def runtime() -> Path:
    if chrome.found() is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    try:
        return ort_web.fetched()
    except RuntimeMissingError as error:
        pytest.skip(f"{error}; {error.help}")


@pytest.fixture(scope="module")
def pages(runtime: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pages of a model of digits and of one of points, trained once and kept until their specs change."""
    kept = request.config.cache.mkdir("specc_web")
    found = {}
    for name, text, more in (("digits", DIGITS, ("--quantize", "w8a8")), ("points", POINTS, ())):
        run = kept / name
        if not (run / "state.json").exists() or (run / "spec.spec").read_text() != text:
            shutil.rmtree(run, ignore_errors=True)
            spec = tmp_path_factory.mktemp("specs") / f"{name}.spec"
            spec.write_text(text)
            specc("train", spec, "-o", run)
        found[name] = tmp_path_factory.mktemp("pages") / name
        specc("export", run, "--web", found[name], "--ort-web", runtime, *more)
    return found


@pytest.fixture(scope="module")
def browser(pages: dict[str, Path]) -> Iterator[chrome.Page]:
    with chrome.browser() as page:
        yield page


def drawn(page: chrome.Page, **settings: object) -> np.ndarray:
    """Samples that the page draws."""
    return np.array(page.run(f"window.specc.sample({json.dumps(settings)}).then((found) => [...found.x])"))


def text(page: chrome.Page, id: str) -> str:
    return page.run(f"document.getElementById('{id}').innerText")


@pytest.mark.parametrize("engine", ["whole", "steps"])
@pytest.mark.parametrize("name", ["digits", "points"])
def test_a_seed_gives_the_samples_of_python(name: str, engine: str, pages: dict[str, Path], browser: chrome.Page) -> None:
    model = load(pages[name] / "float" / "sampler.onnx")
    values = {"y": 3, "steps": 7, "scale": 3.0} if name == "digits" else {}
    with chrome.served(pages[name]) as address:
        browser.open(address + "index.html", "window.specc")
        x = drawn(browser, engine=engine, seed=-5, count=6, values=values)
        other = drawn(browser, engine=engine, seed=-6, count=6, values=values)
        assert browser.run("window.specc.check()") <= 1e-4
    expected = model.sample(6, seed=-5, arguments=values).ravel()
    np.testing.assert_allclose(x, expected, atol=1e-4)
    assert np.abs(other - expected).max() > 0.01
    assert browser.said == []


def test_a_person_draws_both_kinds_of_weights(pages: dict[str, Path], browser: chrome.Page) -> None:
    """The controls, the captions, the way back through the states; the picture is kept."""
    with chrome.served(pages["digits"]) as address:
        browser.asked.clear()
        browser.open(address + "index.html", "window.specc")
        browser.run("document.getElementById('count').value = 30; document.getElementById('draw').click()")
        while text(browser, "status").startswith(("Ready", "Drawing")):
            time.sleep(0.05)
        assert all(url.startswith((address, "data:", "blob:")) for url in browser.asked), browser.asked
        captions = browser.run("[...document.querySelectorAll('figcaption')].map((f) => f.innerText)")
        assert [c.split()[0] for c in captions] == ["float", "w8a8"] and all("12 steps" in c for c in captions)
        assert "w8a8 is" in text(browser, "status") and "% away from float" in text(browser, "status")
        browser.picture(PICTURES / "digits.png")
        pixels = "[...document.querySelector('canvas').getContext('2d').getImageData(0, 0, 50, 40).data]"
        end = browser.run(pixels)
        browser.run("const s = document.getElementById('state'); s.value = 0; s.dispatchEvent(new Event('input'))")
        assert browser.run(pixels) != end and text(browser, "round") == "0 of 12"
        browser.run("document.getElementById('count').value = 'x'; document.getElementById('seed').value = ''")
        assert not browser.run("document.getElementById('controls').checkValidity()")  # which keeps it from being sent
        few = "((i, n) => { i.value = n; return i.validity.rangeUnderflow })(document.getElementsByName('input steps')[0], %d)"
        assert browser.run(few % 0) and not browser.run(few % 1)
    with chrome.served(pages["points"]) as address:
        browser.open(address + "index.html", "window.specc")
        browser.run("document.getElementById('count').value = 400; window.specc.run()")
        browser.picture(PICTURES / "points.png")


FIELD = """\
specc 1
model field {
  data x: image(1, 8, 8) in [-1, 1] from digits
  condition low = 0.5 * x
  process linear
  backbone net(z: image(1, 8, 8), t: scalar, low: image(1, 8, 8)) -> like(z) {
    h = linear(concat([flatten(z), flatten(low), reshape(t, 1)]), 16)
    return reshape_like(linear(silu(h), size(z)), z)
  }
  predict velocity
  sampler draw = euler(steps = 4)
}
"""


def test_a_condition_of_many_numbers_comes_from_a_file(runtime: Path, browser: chrome.Page, tmp_path: Path) -> None:
    """Pasted, as an array of NumPy's, as a picture; files that do not fit are named."""
    (tmp_path / "field.spec").write_text(FIELD)
    program = driver.check(tmp_path / "field.spec").programs["field"]
    web.write(driver.prepare(program), initial(program), web.Asked(entry="draw"), tmp_path / "page", runtime)
    low = np.linspace(-1, 1, 64).reshape(1, 8, 8).astype(np.float32)
    model = load(tmp_path / "page" / "float" / "sampler.onnx")
    given, none = (model.sample(3, conditions={"low": v}).ravel() for v in (low, np.zeros_like(low)))
    assert np.abs(given - none).max() > 1e-3
    np.save(tmp_path / "low.npy", low)
    picture = np.repeat(np.uint8([0, 255]), 32).reshape(8, 8)
    (tmp_path / "low.png").write_bytes(png(picture[..., None].repeat(3, axis=2)))
    with chrome.served(tmp_path / "page") as address:
        browser.open(address + "index.html", "window.specc")
        area = "document.querySelector('textarea')"
        for name, kind in (("low.npy", ""), ("low.png", "image/png")):
            content = list((tmp_path / name).read_bytes())
            browser.run(
                f"(() => {{ const t = new DataTransfer(), f = document.querySelector('input[type=file]');"
                f"t.items.add(new File([new Uint8Array({content})], '{name}', {{ type: '{kind}' }}));"
                f"f.files = t.files; {area}.value = ''; return f.onchange(); }})()"
            )
            values = np.array(browser.run(f"{area}.value.split(' ').map(Number)"))
            wanted = low.ravel() if name == "low.npy" else picture.ravel() / 255.0
            np.testing.assert_allclose(values, wanted, atol=0.01 if kind else 1e-7)
        x = drawn(browser, engine="whole", seed=0, count=3, values={"low": low.ravel().tolist()})
        np.testing.assert_allclose(x, given, atol=1e-4)
        browser.run(f"{area}.value = '[1, 2]'; window.specc.run()")
        assert "low needs 64 numbers, or one for all" in text(browser, "status")


def test_without_an_adapter_webassembly_runs_the_steps(pages: dict[str, Path], browser: chrome.Page) -> None:
    with chrome.served(pages["points"]) as address:
        browser.open(address + "index.html", "window.specc")
        browser.run("document.querySelector('input[value=webgpu]').click(); window.specc.run()")
        assert "no WebGPU adapter" in text(browser, "status")
        browser.said.clear()


@pytest.mark.slow  # the adapter is a processor's: 6e-7 from Python, 2 seconds a step
def test_webgpu_gives_the_samples_of_python(pages: dict[str, Path]) -> None:
    software = chrome.browser("--enable-unsafe-webgpu", "--enable-unsafe-swiftshader")
    with chrome.served(pages["digits"]) as address, software as page:
        page.open(address + "index.html", "window.specc")
        if not page.run("navigator.gpu?.requestAdapter().then(Boolean)"):
            pytest.skip("this Chromium has no adapter in software")
        page.run("document.querySelector('input[value=webgpu]').click()")
        assert page.run("window.specc.check()") <= 1e-4
        assert "no WebGPU adapter" not in text(page, "status") and page.said == []


def test_a_broken_file_is_named(pages: dict[str, Path], browser: chrome.Page, tmp_path: Path) -> None:
    shutil.copytree(pages["points"], tmp_path / "page")
    (tmp_path / "page" / "float" / "sampler.onnx").write_bytes(b"not a model")
    (tmp_path / "page" / "float" / "step.onnx").unlink()
    with chrome.served(tmp_path / "page") as address:
        browser.open(address + "index.html", "window.specc")
        browser.run("document.querySelector('input[value=steps]').click(); window.specc.run()")
        assert "float/step.onnx is not there (404)" in text(browser, "status")
        browser.run("document.querySelector('input[value=whole]').click(); window.specc.run()")
        assert text(browser, "status").startswith("float, whole:")
        browser.said.clear()
