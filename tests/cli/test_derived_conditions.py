"""A sampler that is conditioned on what is computed from an example: trained, sampled, exported and evaluated."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

from specc.reference.interpret import run as interpreted
from specc.runtime.readers import READERS

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

SPEC = """\
specc 1
model inpainting {
  data x: image(1, 8, 8) in [-1, 1] from digits
  condition y: class(10)
  tiles(x) { u ~ uniform(like = image(1, 4, 4)); return upsample(where(u < 0.5, 1.0, 0.0), 2) }
  condition known = tiles(x)
  condition seen = known * x
  process linear
  backbone net(z: image(1, 8, 8), t: scalar, y: class(10), known: image(1, 8, 8)) -> like(z) {
    h = linear(concat([flatten(z), flatten(known), reshape(t, 1)]), 8) + embedding(y, 8)
    return reshape_like(linear(silu(h), size(z)), z)
  }
  predict velocity
  sampler exact { z ~ prior(); return seen + (1 - known) * velocity(z, t_max) }
  train { optimizer = adam(lr = 1e-3); steps = 2; batch = 16; picture_every = 2 }
  quantize w8 { weights = int8(axis = channel); activations = int8(calibrate = 8) }
}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from click.testing import CliRunner

    from specc.cli.main import cli

    folder = tmp_path_factory.mktemp("runs")
    (folder / "inpainting.spec").write_text(SPEC)
    done = CliRunner().invoke(cli, ["train", str(folder / "inpainting.spec"), "-o", str(folder / "run")])
    assert done.exit_code == 0, done.stderr
    return folder / "run"


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from click.testing import CliRunner

    from specc.cli.main import cli

    file = tmp_path_factory.mktemp("exported") / "exact.onnx"
    done = CliRunner().invoke(cli, ["export", str(run), "-o", str(file), "--examples", "2"])
    assert done.exit_code == 0, done.stderr
    return file


def ok(result: Result) -> Result:
    assert result.exit_code == 0, result.stderr
    return result


def held_out(n: int) -> np.ndarray:
    return 2 * READERS["digits"].function("test")["x"][:n].astype(np.float32) - 1


def test_training_draws_pictures_of_held_out_examples(run: Path) -> None:
    assert (run / "samples-2.png").read_bytes()[:4] == b"\x89PNG"


def test_samples_of_held_out_examples(specc, run: Path, tmp_path: Path) -> None:
    ok(specc("sample", run, "-n", 6, "--seed", 3, "-o", tmp_path / "a.npz"))
    with np.load(tmp_path / "a.npz") as found:
        x, known, seen, y = (found[k] for k in ("x", "known", "seen", "y"))
    assert set(np.unique(known)) == {0, 1}
    np.testing.assert_allclose(seen, known * held_out(6))
    np.testing.assert_array_equal(y, READERS["digits"].function("test")["y"][:6])
    np.testing.assert_allclose(known * x, seen, atol=1e-6)


def test_conditions_are_taken_from_a_file(specc, run: Path, exported: Path, tmp_path: Path) -> None:
    known = np.ones((4, 1, 8, 8), np.float32)
    np.savez(tmp_path / "given.npz", known=known, seen=held_out(4)[::-1])
    for what, file in ((run, "run.npz"), (exported, "onnx.npz")):
        given = [part for name in ("known", "seen") for part in ("--set", f"{name}={tmp_path / 'given.npz'}")]
        ok(specc("sample", what, "-n", 4, *given, "-o", tmp_path / file))
        with np.load(tmp_path / file) as found:
            np.testing.assert_allclose(found["x"], held_out(4)[::-1], atol=1e-5)


def test_what_belongs_together_is_given_together(specc, run: Path, tmp_path: Path, capfd) -> None:
    np.save(tmp_path / "known.npy", np.ones((4, 1, 8, 8), np.float32))
    result = specc("sample", run, "-n", 4, "--set", f"known={tmp_path / 'known.npy'}", "-o", tmp_path / "x.npz")
    assert result.exit_code == 2
    assert "known, seen belong together" in capfd.readouterr().err


@pytest.mark.parametrize("file", ["missing.npz", "short.npz", "other.npz"])
def test_a_file_that_does_not_do_is_named(specc, exported: Path, tmp_path: Path, file: str) -> None:
    np.savez(tmp_path / "short.npz", known=np.ones((2, 1, 8, 8)), seen=held_out(2))
    np.savez(tmp_path / "other.npz", unknown=held_out(4))
    given = [part for name in ("known", "seen") for part in ("--set", f"{name}={tmp_path / file}")]
    result = specc("sample", exported, "-n", 4, *given, "-o", tmp_path / "x.npz")
    assert result.exit_code == 2 and file in result.stderr


def test_an_export_is_certified_on_held_out_examples(specc, run: Path, exported: Path, tmp_path: Path) -> None:
    small = ok(specc("export", run, "-o", tmp_path / "small.onnx", "--json", "--quantize", "w8"))
    for text in (exported.with_suffix(".certificate.json").read_text(), small.stdout):
        found = json.loads(text)
        assert found["passes"] and len(found["comparisons"]) == 3  # PyTorch among them


def test_evaluation_takes_held_out_examples(specc, run: Path) -> None:
    found = json.loads(ok(specc("evaluate", run, "-n", 200, "--json")).stdout)
    assert found["samples"] == 200 and 0 <= found["metrics"]["probe_accuracy"] <= 1


def test_the_entry_of_derived_conditions_draws_apart_from_samplers(run: Path) -> None:
    """The mask and the noise of an example come from one seed; equal places would tie them together."""
    from specc.cli.runs import Run

    program = Run(run).program()
    (way,) = program.by_role("condition")
    known, seen = interpreted(program, way.name, {"x": held_out(5), "seed": np.arange(5)}, {})
    places = {f: [n["place"] for n in program.functions[f].block.nodes if n.get("keyed")] for f in (way.function, "exact")}
    assert places[way.function] and not set(places[way.function]) & set(places["exact"])
    np.testing.assert_allclose(seen, known * held_out(5), atol=1e-6)


def test_entries_take_only_what_they_read(tmp_path: Path) -> None:
    """A sampler without conditions draws without examples, and one with one of two is given that one alone."""
    from specc import driver

    more = "sampler plain { z ~ prior(); return z }\n  sampler half { z ~ prior(); return known * z }\n"
    more += "  query same { return 2 * x }\n  query both { return seen }\n"
    (tmp_path / "s.spec").write_text(SPEC.replace("  train {", f"  {more}  train {{", 1))
    (program,) = driver.check(tmp_path / "s.spec").programs.values()
    names = {e.name: [i.name for i in e.inputs] for e in program.entries.values() if e.role in ("sampler", "query")}
    assert names == {
        "exact": ["seed", "y", "known", "seen"],
        "plain": ["seed", "y"],
        "half": ["seed", "y", "known"],
        "same": ["x"],
        "both": ["x", "seen"],
    }
    driver.emit(program, "pytorch", tmp_path / "project")
    text = (
        "import sys; sys.path.insert(0, '.'); import sample, torch; from model import Model; m = Model(); s = torch.arange(2)\n"
    )
    text += "one = sample.conditions(m, 'half', s, 'cpu', {'known': torch.ones(2, 1, 8, 8)})\n"
    text += "assert list(one) == ['y', 'known'] and one['known'].all()\n"
    text += "assert list(sample.conditions(m, 'exact', s, 'cpu', {})) == ['y', 'known', 'seen']\n"
    text += "sample.conditions(m, 'exact', s, 'cpu', {'known': torch.ones(2, 1, 8, 8)})\n"
    done = subprocess.run([sys.executable, "-c", text], cwd=tmp_path / "project", capture_output=True, text=True)
    assert done.stderr.endswith("ValueError: known, seen belong together: give all of them or none\n"), done.stderr


def test_examples_are_read_only_where_a_sampler_asks(tmp_path: Path) -> None:
    from specc import driver

    (tmp_path / "s.spec").write_text(SPEC.replace("return seen + (1 - known) * velocity(z, t_max)", "return z"))
    (program,) = driver.check(tmp_path / "s.spec").programs.values()
    driver.emit(program, "pytorch", tmp_path / "project")
    text = (tmp_path / "project" / "sample.py").read_text()
    assert "held_out" not in text and "known" not in text and "derived" not in text
