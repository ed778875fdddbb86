"""`specc sample FILE.onnx`: what it needs, what it draws, and how broken files and wrong inputs are refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper  # noqa: E402
from specc.backends.onnx.export import export  # noqa: E402
from specc.backends.onnx.write import initial  # noqa: E402

from specc import driver  # noqa: E402
from specc.runtime.ort import load  # noqa: E402

SPEC = """\
specc 1
model small {
  data x: SPACE
  condition y: class(8) with { drop = 0.1 }
  process linear
  backbone NETWORK
  predict velocity
  guidance cfg(scale = input(2.0))
  sampler fast = euler(steps = input(4))
}
"""
POINTS = SPEC.replace("SPACE", "vector(2) from eight_gaussians").replace("NETWORK", "mlp(width = 8, depth = 2)")
IMAGES = SPEC.replace("SPACE", "image(1, 8, 8) in [-1, 1] from digits").replace("NETWORK", "unet(width = 8, levels = 2)")
IMAGES = IMAGES.replace("class(8)", "class(10)")


def written(folder: Path, text: str, **options: object) -> Path:
    (folder / "small.spec").write_text(text)
    program = driver.check(folder / "small.spec").programs["small"]
    export(driver.prepare(program), "fast", initial(program), folder / "fast.onnx", **options)
    return folder / "fast.onnx"


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("points"), POINTS, trajectory=True)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("images"), IMAGES, trajectory=True)


def test_numpy_and_onnxruntime_are_enough(points: Path, images: Path, tmp_path: Path) -> None:
    """Every other package is kept away, those of the compiler too; click is the command line itself."""
    files = [(str(f), str(tmp_path / f"{n}{s}")) for f, n in ((points, "p"), (images, "i")) for s in (".npz", ".png", ".gif")]
    code = (
        "import sys\n"
        "class Guard:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        top = name.split('.')[0]\n"
        "        ours = top in {'specc', 'numpy', 'onnxruntime', 'click', 'coloredlogs', 'humanfriendly'}\n"
        "        if not ours and not top.startswith('__editable__') and top not in sys.stdlib_module_names:\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Guard())\n"
        "from specc.cli.main import run\n"
        f"for file, out in {files!r}:\n"
        "    assert run(['sample', file, '-n', '5', '-o', out]) == 0\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "i.gif").read_bytes()[:6] == b"GIF89a" and (tmp_path / "p.png").read_bytes()[1:4] == b"PNG"


def test_batches_change_nothing_and_inputs_arrive(points: Path, specc: Callable[..., Result], tmp_path: Path) -> None:
    drawn = {}
    for name, more in (("whole", ()), ("parts", ("--batch", 3)), ("set", ("--set", "y=2", "--set", "scale=4"))):
        out = tmp_path / f"{name}.npz"
        assert specc("sample", points, "-n", 7, "--seed", 3, *more, "-o", out).exit_code == 0
        with np.load(out) as found:
            drawn[name] = {k: found[k] for k in found.files}
    assert drawn["whole"]["x"].shape == (7, 2) and (drawn["whole"]["x"] == drawn["parts"]["x"]).all()
    assert drawn["whole"]["y"].tolist() == [0, 1, 2, 3, 4, 5, 6] and (drawn["set"]["y"] == 2).all()
    assert np.abs(drawn["set"]["x"] - drawn["whole"]["x"]).max() > 1e-3


def test_the_trajectory_ends_in_the_samples(points: Path) -> None:
    model = load(points)
    feeds = model.feeds(np.arange(5, dtype=np.int64))
    found = model.run(feeds)
    assert found["trajectory"].shape == (4, 5, 2)
    steps = np.diff(np.concatenate([found["trajectory"], found["x"][None]]), axis=0)
    assert (np.abs(steps).max(axis=(1, 2)) > 1e-3).all()
    plain = written(points.parent / "..", POINTS)
    np.testing.assert_array_equal(load(plain).run(feeds)["x"], found["x"])


def test_without_a_trajectory_there_is_no_animation(tmp_path: Path, specc: Callable[..., Result]) -> None:
    result = specc("sample", written(tmp_path, POINTS), "-o", tmp_path / "x.gif")
    assert result.exit_code == 3 and "--trajectory" in result.stderr and not (tmp_path / "x.gif").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("turns=3", "no input turns; there are scale, seed, steps, y"),
        ("steps=0", "the input steps is 1 or more, and was given 0"),
        ("steps=-1", "the input steps is 1 or more, and was given -1"),
        ("seed=3", "seed is what --seed says of each sample"),
        ("y=9", "the input y takes classes from 0 to 7"),
        ("y=-1", "the input y takes classes"),
        ("y=0.5", "the input y takes whole numbers"),
        ("scale=nan", "the input scale was given a number that is not finite"),
        ("scale=many", "`many` is neither a number nor a file"),
        ("scale=FILE", "the input scale takes one number, and was given one of shape (64, 3)"),
        ("y=FILE", "the input y takes an array of shape (64,)"),
        ("y=none.npz", "y: none.npz cannot be read"),
    ],
)
def test_wrong_inputs_are_named(points: Path, specc: Callable[..., Result], tmp_path: Path, given: str, said: str) -> None:
    np.save(tmp_path / "rows.npy", np.zeros((70, 3)))
    result = specc("sample", points, "--set", given.replace("FILE", str(tmp_path / "rows.npy")), "-o", tmp_path / "x.npz")
    assert result.exit_code == 2 and said in result.stderr, result.stderr
    assert not (tmp_path / "x.npz").exists()


def test_a_file_that_says_no_least_value_runs(points: Path, specc: Callable[..., Result], tmp_path: Path) -> None:
    """As one that was exported by an earlier version."""
    model = onnx.load(points)
    rows = next(p for p in model.metadata_props if p.key == "specc.inputs")
    found = json.loads(rows.value)
    assert [row.pop("least") for row in found if "least" in row] == [1]
    rows.value = json.dumps(found)
    onnx.save(model, tmp_path / "old.onnx")
    result = specc("sample", tmp_path / "old.onnx", "--set", "steps=2", "-o", tmp_path / "x.npz")
    assert result.exit_code == 0, result.stderr


def graph(
    *nodes: onnx.NodeProto,
    opset: int = 23,
    domain: str = "",
    weights: tuple[onnx.TensorProto, ...] = (),
    kind: int = TensorProto.FLOAT,
) -> bytes:
    """A file that says it is specc's, with one input `seed` and these nodes."""
    inputs = [helper.make_tensor_value_info("seed", TensorProto.INT64, ["B"])]
    made = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info("x", kind, None)], weights)
    opsets = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
    model = helper.make_model(made, opset_imports=opsets, ir_version=10)
    row = {"name": "seed", "role": "seed", "dtype": "int", "shape": ["B"], "default": None, "classes": None}
    helper.set_model_props(model, {"specc.inputs": json.dumps([row]), "specc.entry": "fast"})
    return model.SerializeToString()


def elsewhere(path: str, **span: str) -> bytes:
    """A file whose weights are said to lie at a path."""
    weight = onnx.TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": path, **span}.items():
        weight.external_data.add(key=key, value=value)
    return graph(helper.make_node("Cast", ["w"], ["x"], to=1), weights=(weight,))


def held(*dims: int, held: int = 8) -> bytes:
    """A file with a weight of some shape, of which it has so many bytes."""
    weight = onnx.TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims, raw_data=b"\0" * held)
    return graph(helper.make_node("Gather", ["w", "seed"], ["x"]), weights=(weight,))


def also_asks() -> bytes:
    """A file with an input that it says nothing of."""
    model = onnx.load_from_string(graph(helper.make_node("Cast", ["seed"], ["x"], to=1)))
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [2]))
    return model.SerializeToString()


def images_of(*shape: int, kind: int = TensorProto.FLOAT, **said: object) -> bytes:
    """A file whose samples have a shape, filled with their seeds, and that says more of itself."""
    axes = helper.make_tensor("axes", TensorProto.INT64, [len(shape)], range(1, len(shape) + 1))
    sizes = helper.make_tensor("sizes", TensorProto.INT64, [len(shape) + 1], [1, *shape])
    nodes = (
        node("Unsqueeze", ["seed", "axes"], ["u"]),
        node("Expand", ["u", "sizes"], ["e"]),
        node("Cast", ["e"], ["x"], to=kind),
    )
    return also(graph(*nodes, weights=(axes, sizes), kind=kind), **said)


def described(**changes: object) -> bytes:
    """A file that describes its only input otherwise than it is."""
    model = onnx.load_from_string(graph(helper.make_node("Cast", ["seed"], ["x"], to=1)))
    row = json.loads(model.metadata_props[0].value)[0] | changes
    model.metadata_props[0].value = json.dumps([row])
    return model.SerializeToString()


def also(file: bytes | None = None, **said: object) -> bytes:
    """A file that says more of itself."""
    model = onnx.load_from_string(file or graph(helper.make_node("Cast", ["seed"], ["x"], to=1)))
    for key, value in said.items():
        model.metadata_props.add(key=f"specc.{key}", value=json.dumps(value))
    return model.SerializeToString()


def deep() -> bytes:
    model = onnx.load_from_string(graph(helper.make_node("Cast", ["seed"], ["x"], to=1)))
    model.metadata_props[0].value = "[" * 100_000
    return model.SerializeToString()


node = helper.make_node
BROKEN: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "text": (lambda: b"hello", "no ONNX file", "specc export"),
    "empty": (lambda: b"", "no ONNX file", "specc export"),
    "cut": (lambda: graph(node("Cast", ["seed"], ["x"], to=1))[:60], "no ONNX file", "specc export"),
    "foreign": (lambda: described().replace(b"specc.inputs", b"other.inputs"), "was not exported by specc", "specc export"),
    "kernel": (lambda: graph(node("RandomNormalLike", ["seed"], ["x"], dtype=1, name="n1")), "RandomNormalLike", "upgrade"),
    "op": (lambda: graph(node("Frobnicate", ["seed"], ["x"], name="n1")), "the op Frobnicate of the node n1", "upgrade"),
    "domain": (lambda: graph(node("Foo", ["seed"], ["x"], domain="acme"), domain="acme"), "the op Foo of acme", "upgrade"),
    "opset": (lambda: graph(node("Cast", ["seed"], ["x"], to=1), opset=99), "does not know Opset 99", "upgrade"),
    "lost weights": (lambda: elsewhere("fast.data"), "fast.data", "both files in one folder"),
    "passwords": (lambda: elsewhere("../../../../etc/passwd"), "outside of its folder", "specc export"),
    "addresses": (lambda: elsewhere("*/_ORT_MEM_ADDR_/*", length="16", offset="4096"), "an address in memory", "specc export"),
    "short weights": (
        lambda: elsewhere("x.onnx", offset="999999", length="16"),
        "the weight w is not in the file",
        "specc export",
    ),
    "cut weights": (lambda: held(1000), "the weight w is cut short, to 8 bytes", "specc export"),
    "huge": (lambda: held(2**62, 2**62), "a size that no machine can hold", "specc export"),
    "negative": (lambda: held(-5), "a size that no machine can hold", "specc export"),
    "cycle": (
        lambda: graph(node("Add", ["a", "a"], ["b"]), node("Identity", ["b"], ["a"]), node("Cast", ["b"], ["x"], to=1)),
        "its graph has a cycle",
        "specc export",
    ),
    "nothing": (lambda: graph(node("Add", ["seed", "zzz"], ["x"])), "a node reads zzz, which nothing gives", "specc export"),
    "twice": (lambda: graph(*[node("Cast", ["seed"], ["x"], to=1)] * 2), "two nodes give x", "specc export"),
    "one more input": (also_asks, "has an input w, which it does not describe", "specc export"),
    "no text": (
        lambda: graph(node("Cast", ["seed"], ["x"], to=1)).replace(b"fast", b"fa\xa9t"),
        "it is damaged",
        "specc export",
    ),
    "words": (lambda: graph(node("Cast", ["seed"], ["x"], to=8), kind=TensorProto.STRING), "no output x of numbers", "specc"),
    "one number": (
        lambda: graph(node("Cast", ["seed"], ["f"], to=1), node("ReduceSum", ["f"], ["x"], keepdims=0)),
        "is one number, and not a sample for each seed",
        "specc export",
    ),
    "rank": (lambda: described(shape=["B", 3]), "in another shape than its graph has", "specc export"),
    "types": (lambda: described(dtype="float"), "describes the input seed", "specc export"),
    "names": (lambda: described(name="other"), "describes the input other", "specc export"),
    "shapes": (lambda: described(shape=["B", -1]), "in a way that specc does not write", "specc export"),
    "classes": (lambda: described(classes=2**70), "in a way that specc does not write", "specc export"),
    "least": (lambda: described(least="few"), "in a way that specc does not write", "specc export"),
    "symbols": (lambda: also(symbols=["a", 7]), "has a `symbols` that specc does not write", "specc export"),
    "spaces": (lambda: also(spaces=[{"low": "deep"}]), "has a `spaces` that specc does not write", "specc export"),
    "deep": (deep, "in JSON that cannot be read", "specc export"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_refused(name: str, specc: Callable[..., Result], tmp_path: Path) -> None:
    make, said, way_out = BROKEN[name]
    (tmp_path / "x.onnx").write_bytes(make())
    result = specc("sample", tmp_path / "x.onnx", "-o", tmp_path / "x.npz")
    assert result.exit_code == 3, result.stderr
    assert said in result.stderr and way_out in result.stderr and "fault in specc" not in result.stderr
    assert not (tmp_path / "x.npz").exists()


def test_what_fails_while_running_is_named(specc: Callable[..., Result], tmp_path: Path) -> None:
    huge = helper.make_tensor("w", TensorProto.INT64, [2], [2**40, 1])
    nodes = (node("Expand", ["seed", "w"], ["e"], name="n1"), node("Cast", ["e"], ["x"], to=1))
    (tmp_path / "x.onnx").write_bytes(graph(*nodes, weights=(huge,)))
    result = specc("sample", tmp_path / "x.onnx", "-o", tmp_path / "x.npz")
    assert result.exit_code == 3 and "the op Expand, in the node n1, asks for" in result.stderr and "--batch 1" in result.stderr
    four = helper.make_tensor("w", TensorProto.FLOAT, [4], [0.0] * 4)
    (tmp_path / "x.onnx").write_bytes(graph(node("Gather", ["w", "seed"], ["x"], name="n2"), weights=(four,)))
    result = specc("sample", tmp_path / "x.onnx", "-n", 9, "-o", tmp_path / "x.npz")
    assert result.exit_code == 3 and "the op Gather, in the node n2, failed" in result.stderr and "--set" in result.stderr


@pytest.mark.parametrize(
    ("make", "out", "said"),
    [
        (lambda: images_of(1, 2, 2, spaces=[{"low": 1, "high": 1}]), "x.png", "the range [1, 1] is empty"),
        (lambda: images_of(1, 2, 2, spaces=[{"low": -(10**400)}]), "x.png", "there is no picture"),
        (lambda: images_of(1, 0, 2), "x.png", "there is no picture"),
        (lambda: images_of(3, kind=TensorProto.INT64, symbols=["a"]), "x.txt", "no symbol for the token 1, of 1"),
        (lambda: images_of(1, 2, 2, kind=TensorProto.INT64, symbols=[]), "x.txt", "no symbol for the token 0, of 0"),
    ],
)
def test_a_file_cannot_describe_pictures_and_text_that_it_has_not(
    make: Callable[[], bytes], out: str, said: str, specc: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "x.onnx").write_bytes(make())
    result = specc("sample", tmp_path / "x.onnx", "-n", 4, "-o", tmp_path / out)
    assert result.exit_code == 3 and said in result.stderr and ".npz" in result.stderr, result.stderr
    assert not (tmp_path / out).exists()


def test_more_than_memory_holds_is_refused(specc: Callable[..., Result], tmp_path: Path) -> None:
    model = onnx.load_from_string(images_of(2))
    model.graph.input.append(helper.make_tensor_value_info("y", TensorProto.INT64, ["B", "K"]))
    row = {"name": "y", "role": "condition", "dtype": "int", "shape": ["B", 2**50], "default": None, "classes": None}
    model.metadata_props[0].value = json.dumps([*json.loads(model.metadata_props[0].value), row])
    (tmp_path / "x.onnx").write_bytes(model.SerializeToString())
    result = specc("sample", tmp_path / "x.onnx", "--set", "y=3", "-o", tmp_path / "x.npz")
    assert result.exit_code == 3 and "do not fit into memory" in result.stderr and "-n 64" in result.stderr
    row["shape"] = ["B", "T"]
    model.metadata_props[0].value = json.dumps([json.loads(model.metadata_props[0].value)[0], row])
    (tmp_path / "x.onnx").write_bytes(model.SerializeToString())
    result = specc("sample", tmp_path / "x.onnx", "--set", "y=3", "-o", tmp_path / "x.npz")
    assert result.exit_code == 2 and "the input y grows while a sampler runs" in result.stderr
    assert specc("sample", tmp_path / "x.onnx", "-n", 10**20, "-o", tmp_path / "x.npz").exit_code == 2
