"""Readers of files: what they return, and that broken files name themselves."""

import pickle
import zipfile

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from specc.runtime.readers import READERS

FILES = ["image_folder", "npy", "npz", "csv", "parquet"]


def load(name, path, split="all", **options):
    return READERS[name].function(split, path=str(path), **options)


@pytest.mark.parametrize("name", FILES)
def test_missing(name, tmp_path):
    for path in (str(tmp_path / "absent"), ""):
        with pytest.raises(ValueError, match="there is no") as caught:
            load(name, path)
        assert type(caught.value).__name__ == "DataError" and repr(path) in str(caught.value)
    with pytest.raises(ValueError, match="splits"):
        load(name, tmp_path, split="valid")
    with pytest.raises(ValueError, match="share"):
        load(name, tmp_path, test_share=1.5)


@pytest.mark.parametrize("name", ["npy", "npz", "csv", "parquet"])
@pytest.mark.parametrize(
    "content", [b"", b"\x00\xff\xfe garbage", b"PK\x03\x04 half an archive", b"\x93NUMPY\x01\x00", b"PAR1"]
)
def test_garbage(name, content, tmp_path):
    path = tmp_path / "broken"
    path.write_bytes(content)
    with pytest.raises(ValueError) as caught:
        load(name, path)
    assert type(caught.value).__name__ == "DataError" and str(path) in str(caught.value)


# ---- arrays


def test_npy(tmp_path):
    x = np.random.default_rng(0).normal(size=(50, 3))
    np.save(tmp_path / "a.npy", x)
    train, test = (load("npy", tmp_path / "a.npy", split)["x"] for split in ("train", "test"))
    assert train.shape == (45, 3) and test.shape == (5, 3) and train.dtype == np.float32
    assert {r.tobytes() for r in train} | {r.tobytes() for r in test} == {r.tobytes() for r in x.astype(np.float32)}
    assert np.array_equal(load("npy", tmp_path / "a.npy")["x"], x.astype(np.float32))
    np.save(tmp_path / "b.npy", np.arange(6, dtype=np.uint8).reshape(3, 2))
    assert load("npy", tmp_path / "b.npy")["x"].dtype == np.int64


def test_npy_refuses_pickles(tmp_path):
    np.save(tmp_path / "p.npy", np.array([{"a": 1}, None], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"p\.npy"):
        load("npy", tmp_path / "p.npy")
    (tmp_path / "q.npy").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(ValueError, match=r"q\.npy"):
        load("npy", tmp_path / "q.npy")
    np.savez(tmp_path / "p.npz", x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match=r"p\.npz"):
        load("npz", tmp_path / "p.npz")


def test_npy_cut_short(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((100, 4)))
    whole = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(whole[:-100])
    with pytest.raises(ValueError, match=r"a\.npy"):
        load("npy", tmp_path / "a.npy")


@pytest.mark.parametrize("bad", [np.array(3.0), np.zeros((0, 2)), np.array(["a"]), np.array([1j])])
def test_npy_of_something_else(bad, tmp_path):
    np.save(tmp_path / "a.npy", bad)
    with pytest.raises(ValueError, match="not a list of numeric examples"):
        load("npy", tmp_path / "a.npy")


def test_arrays_with_holes(tmp_path):
    x = np.ones((9, 2))
    x[7, 1] = np.nan
    np.save(tmp_path / "a.npy", x)
    np.savez(tmp_path / "a.npz", x=x)
    with pytest.raises(ValueError, match="example 7 has"):
        load("npy", tmp_path / "a.npy")
    with pytest.raises(ValueError, match="example 7 of 'x' has"):
        load("npz", tmp_path / "a.npz")


def test_npz(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, pictures=np.ones((10, 1, 2, 2)) * np.arange(10)[:, None, None, None], kind=np.arange(10))
    fields = load("npz", path, "train", key="pictures", label="kind", test_share=0.2)
    assert fields["x"].shape == (8, 1, 2, 2) and np.array_equal(fields["x"][:, 0, 0, 0], fields["y"])
    assert tuple(load("npz", path, key="pictures")) == ("x",)
    with pytest.raises(ValueError, match="no array 'x'; there are pictures, kind"):
        load("npz", path)
    with pytest.raises(ValueError, match="one integer for each of the 10"):
        load("npz", path, key="kind", label="pictures")


def test_each_array_reader_points_at_the_other(tmp_path):
    np.save(tmp_path / "a.npy", np.ones(3))
    np.savez(tmp_path / "a.npz", x=np.ones(3))
    with pytest.raises(ValueError, match="read it with npz"):
        load("npy", tmp_path / "a.npz")
    with pytest.raises(ValueError, match="read it with npy"):
        load("npz", tmp_path / "a.npy")


def test_npz_with_a_broken_member(tmp_path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY nothing of the kind")
    with pytest.raises(ValueError, match=r"a\.npz"):
        load("npz", path)
    np.savez_compressed(path, x=np.random.default_rng(0).normal(size=500))
    raw = bytearray(path.read_bytes())
    raw[1000:1020] = b"\x00" * 20
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=r"a\.npz"):
        load("npz", path)


# ---- tables


@pytest.fixture(params=["csv", "parquet"])
def table(request, tmp_path):
    """Writes a mapping of columns in the format of the parameter and returns (reader, path)."""

    def write(columns):
        path = tmp_path / f"t.{request.param}"
        if request.param == "csv":
            lines = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
            path.write_text("\n".join(lines) + "\n")
        else:
            pyarrow.parquet.write_table(pyarrow.table(columns), path)
        return request.param, path

    return write


def test_table(table):
    name, path = table({"a": [1, 2, 3, 4], "b": [0.5, 1.5, 2.5, 3.5], "kind": ["cat", "dog", "cat", "ant"]})
    fields = load(name, path, label="kind")
    assert fields["x"].tolist() == [[1, 0.5], [2, 1.5], [3, 2.5], [4, 3.5]] and fields["x"].dtype == np.float32
    assert fields["y"].tolist() == [1, 2, 1, 0] and fields["y"].dtype == np.int64
    assert load(name, path, columns="b, a")["x"].tolist()[0] == [0.5, 1]
    assert len(load(name, path, "train", label="kind", test_share=0.25)["x"]) == 3
    with pytest.raises(ValueError, match="no column 'c'; there are a, b, kind"):
        load(name, path, columns="c")
    with pytest.raises(ValueError, match="'kind'"):
        load(name, path)  # text where numbers should be


def test_table_orders_classes_as_numbers(table):
    name, path = table({"a": [1, 2, 3], "k": [10, 9, 2]})
    assert load(name, path, label="k")["y"].tolist() == [2, 1, 0]


def test_table_without_rows(table):
    name, path = table({"a": [], "b": []})
    with pytest.raises(ValueError, match="no rows"):
        load(name, path)


def test_table_with_a_hole(table):
    name, path = table({"a": [1.0, float("nan"), 3.0]})
    with pytest.raises(ValueError, match=r"t\.csv:3: column 'a'" if name == "csv" else "column 'a', row 1,"):
        load(name, path)


def test_parquet_null_label(tmp_path):
    path = tmp_path / "t.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"a": [1, 2], "k": ["x", None]}), path)
    with pytest.raises(ValueError, match="row 1, column 'k', is empty"):
        load("parquet", path, label="k")


@pytest.mark.parametrize(
    "text, message",
    [
        ("a,b\n1,2\n1\n", r":3: 1 values for 2 columns"),
        ("a,b\n1,2\n\n3,x\n", r":4: column 'b': 'x' is not a finite number"),
        ("a\n1e60\n", r":2: column 'a': '1e60' is not a finite number"),
        ("a\n\n", "no rows"),
        ('a\n"1\n', r":2: "),
        ("", "no rows"),
    ],
)
def test_broken_csv(text, message, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        load("csv", path)
    assert str(path) in str(caught.value)


def test_csv_null_label(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,k\n1,x\n2,\n")
    with pytest.raises(ValueError, match=r":3: column 'k' is empty"):
        load("csv", path, label="k")


def test_csv_with_mark_and_crlf(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b'\xef\xbb\xbf"a, one",b\r\n1,2\r\n')
    assert load("csv", path, columns="b")["x"].tolist() == [[2]]
    path.write_bytes("ä\n1\n".encode("latin-1"))
    with pytest.raises(ValueError, match="UTF-8"):
        load("csv", path)


# ---- pictures


def picture(path, colour, size=(10, 6)):
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def test_image_folder(tmp_path):
    picture(tmp_path / "blue" / "1.png", (0, 0, 255))
    picture(tmp_path / "blue" / "2.JPG", (0, 0, 255))
    picture(tmp_path / "red" / "1.png", (255, 0, 0))
    (tmp_path / "red" / "notes.txt").write_text("not a picture")
    fields = load("image_folder", tmp_path, size=4)
    assert fields["x"].shape == (3, 3, 4, 4) and fields["x"].dtype == np.float32 and fields["y"].tolist() == [0, 0, 1]
    np.testing.assert_allclose(fields["x"][2], np.broadcast_to(np.array([1, 0, 0])[:, None, None], (3, 4, 4)))
    grey = load("image_folder", tmp_path, size=4, channels=1)["x"]
    assert grey.shape == (3, 1, 4, 4) and grey.max() <= 1
    train, test = (load("image_folder", tmp_path, split, size=4, test_share=0.34) for split in ("train", "test"))
    assert len(train["x"]) == 2 and len(test["x"]) == 1


def test_image_folder_takes_the_central_square(tmp_path):
    wide = np.zeros((8, 24, 3), dtype=np.uint8)
    wide[:, 8:16] = 255
    Image.fromarray(wide).save(tmp_path / "a.png")
    fields = load("image_folder", tmp_path, size=8)
    assert tuple(fields) == ("x",) and (fields["x"] == 1).all()


def test_image_folder_of_16_bits(tmp_path):
    Image.fromarray(np.full((4, 4), 0x8000, dtype=np.uint16)).save(tmp_path / "a.png")
    for channels in (1, 3):
        np.testing.assert_allclose(load("image_folder", tmp_path, size=4, channels=channels)["x"], 128 / 255, rtol=1e-6)


def test_broken_pictures(tmp_path):
    with pytest.raises(ValueError, match="no PNG or JPEG"):
        load("image_folder", tmp_path)
    picture(tmp_path / "a.png", (9, 9, 9), (64, 64))
    broken = tmp_path / "b.png"
    broken.write_bytes(b"GIF89a no")
    with pytest.raises(ValueError, match=r"b\.png: not a readable"):
        load("image_folder", tmp_path)
    noisy = np.random.default_rng(0).integers(256, size=(64, 64, 3), dtype=np.uint8)
    Image.fromarray(noisy).save(broken)
    broken.write_bytes(broken.read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"b\.png: not a readable"):
        load("image_folder", tmp_path)
    broken.unlink()
    picture(tmp_path / "class" / "c.png", (1, 1, 1))
    with pytest.raises(ValueError, match=r"a\.png: a picture beside"):
        load("image_folder", tmp_path)
    with pytest.raises(ValueError, match="1 channel or 3"):
        load("image_folder", tmp_path, channels=4)
