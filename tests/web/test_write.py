"""What a page's folder holds, without a browser: files that make the sampler in parts, and a runtime that is checked."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from small import small
from specc.backends import web
from specc.backends.onnx.emit import UnsupportedError
from specc.backends.onnx.write import initial
from specc.backends.web import ort_web

from specc import driver
from specc.runtime.ort import load

STOCHASTIC, FIXED = "sampler stochastic = ddpm(steps = 12)", "sampler fixed = ddim(steps = input(5), eta = 0)"
LINES = (STOCHASTIC, FIXED, "quantize w8 { weights = int8(axis = channel) }")


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    """A folder with files of the runtime's names."""
    dist = tmp_path / "package" / "dist"
    dist.mkdir(parents=True)
    for name in ort_web.FILES:
        (dist / name).write_text(name)
    (tmp_path / "package" / "package.json").write_text(json.dumps({"version": ort_web.VERSION}))
    return tmp_path / "package"


@pytest.fixture
def page(tmp_path: Path, runtime: Path) -> Callable[..., Path]:
    def write(entry: str, *lines: str, quantize: bool = False) -> Path:
        program = small(tmp_path, *(lines or LINES), width=64)
        asked = web.Asked(entry=entry, quantization=program.quantize[0] if quantize else None)
        web.write(driver.prepare(program), initial(program), asked, tmp_path / "page", runtime)
        return tmp_path / "page"

    return write


@pytest.mark.parametrize("entry", ["stochastic", "fixed"])
def test_the_parts_make_the_sampler(page: Callable[..., Path], entry: str) -> None:
    """As worker.js does: the start, so many steps, the finish. A draw in the loop needs the number of its round."""
    folder = page(entry)
    manifest = json.loads((folder / "manifest.json").read_text())
    files = {name: load(folder / "float" / f"{name}.onnx") for name in ("sampler", "start", "step", "finish")}
    told = {"scale": 3.0, "steps": 7} if entry == "fixed" else {"scale": 3.0}
    given = files["sampler"].feeds(np.arange(4, dtype=np.int64), arguments=told)

    def run(name: str, **more: np.ndarray) -> list[np.ndarray]:
        known = {i.name for i in files[name].session.get_inputs()}
        return list(files[name].run({k: v for k, v in (given | more).items() if k in known}).values())

    count, *states = run("start")
    assert count == (7 if entry == "fixed" else 12) and len(states) == manifest["loop"]["carried"]
    trajectory = files["sampler"].run(given, ["trajectory"])["trajectory"]
    assert len(trajectory) == count
    for k in range(count):
        np.testing.assert_allclose(states[manifest["loop"]["shown"]], trajectory[k], atol=1e-5)
        states = run("step", step_index=np.array(k), **{f"state_{i}": s for i, s in enumerate(states)})
    (x,) = run("finish", **{f"state_{i}": s for i, s in enumerate(states)})
    np.testing.assert_allclose(x, files["sampler"].run(given, ["x"])["x"], atol=1e-5)


def test_a_page_holds_both_kinds_of_weights_and_samples_to_compare(page: Callable[..., Path]) -> None:
    folder = page("fixed", quantize=True)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert list(manifest["variants"]) == ["float", "w8"]
    assert {p.name for p in (folder / "w8").iterdir()} == {"sampler.onnx", "start.onnx", "step.onnx", "finish.onnx"}
    assert manifest["variants"]["w8"]["step"] < manifest["variants"]["float"]["step"]
    assert {p.name for p in (folder / "ort").iterdir()} == set(ort_web.FILES)
    model = load(folder / "float" / "sampler.onnx")
    assert all(i["default"] is None for i in model.inputs)  # onnxruntime-web takes no values for inputs that have one
    assert {i["name"]: i["default"] for i in manifest["inputs"]}["scale"] == 2.0  # the page's controls start from it
    for inputs in (manifest["inputs"], model.inputs):
        assert {i["name"]: i["least"] for i in inputs if "least" in i} == {"steps": 1}
    x = model.sample(4, arguments={"scale": 2.0, "steps": 5})
    np.testing.assert_allclose(manifest["check"]["x"], x.ravel(), atol=1e-6)


def test_a_page_loads_nothing_from_elsewhere(page: Callable[..., Path]) -> None:
    folder = page("fixed")
    for file in folder.glob("*.*"):
        assert "http:" not in file.read_text() and "https:" not in file.read_text(), file
    assert "default-src 'self'" in (folder / "index.html").read_text()


def test_a_sampler_of_two_loops_runs_whole(page: Callable[..., Path]) -> None:
    two = "sampler two { z ~ normal(like = x); for k in 0..2 { z = z / 2 }; for k in 0..3 { z = z + 1 }; return z }"
    folder = page("two", two, FIXED)
    assert json.loads((folder / "manifest.json").read_text())["loop"] is None
    assert [p.name for p in (folder / "float").iterdir()] == ["sampler.onnx"]
    assert load(folder / "float" / "sampler.onnx").outputs == ["x", "trajectory", "trajectory1"]


def test_what_a_page_cannot_ask_for_is_named(tmp_path: Path) -> None:
    array = driver.prepare(small(tmp_path, *LINES, width=64))
    entry = array.entries["fixed"]
    large = tuple(replace(i, type=i.type.shaped((*i.type.shape, 70_000))) if i.name == "y" else i for i in entry.inputs)
    array = replace(array, entries={"fixed": replace(entry, inputs=large)})
    with pytest.raises(
        UnsupportedError, match=r"the input y, which has 70000 numbers.*specc sample FILE.onnx --set y=FILE.npy"
    ):
        web.write(array, {}, web.Asked(entry="fixed"), tmp_path / "page")
    assert not (tmp_path / "page").exists()


def test_another_runtime_is_refused(runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(given: Path | None, said: str) -> None:
        with pytest.raises(web.RuntimeMissingError, match=said) as error:
            ort_web.place(tmp_path / "ort", given)
        assert "npm pack" in error.value.help and "--ort-web" in error.value.help

    with tarfile.open(tmp_path / "other.tgz", "w:gz") as package:
        package.add(runtime / "dist", "package/dist")
    refused(tmp_path / "other.tgz", "its hash is")
    (runtime / "package.json").write_text('{"version": "1.0.0"}')
    refused(runtime, "has version 1.0.0")
    (runtime / "dist" / "ort.min.mjs").unlink()
    refused(runtime, "has no ort.min.mjs")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    refused(None, "npm, which would fetch it, is not installed")
