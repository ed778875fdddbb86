"""Files that are no specs, and names and texts that are out of the ordinary."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sema_helpers import codes, elaborated, program, text

from specc import driver


def check(folder: Path, content: str | bytes, name: str = "m.spec") -> list[str]:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [d.code for d in driver.check(path).diagnostics]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "E0153"),
        (b" \n\n", "E0153"),
        (b"\x00\x01\x02binary", "E0154"),
        (b"\xff\xfe", "E0154"),
        (b"# " + b"x" * (11 * 2**20), "E0155"),
        (b"specc 1\nmodel m {\n", "E0102"),
        (b"specc 1\n}\n", "E0103"),
    ],
    ids=["empty", "blank", "zeros", "no text", "large", "open", "closed"],
)
def test_files_that_are_no_specs(tmp_path: Path, content: bytes, code: str) -> None:
    assert code in check(tmp_path, content)


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    assert [d.code for d in driver.check(tmp_path / "nowhere.spec").diagnostics] == ["E0151"]
    assert [d.code for d in driver.check(tmp_path).diagnostics] == ["E0152"]


@pytest.mark.parametrize(
    "deep",
    [
        "(" * 5000 + "1" + ")" * 5000,
        "[" * 5000 + "]" * 5000,
        "-" * 5000 + "1",
        "f(" * 5000 + ")" * 5000,
        " + ".join(["1"] * 5000),
    ],
    ids=["parentheses", "lists", "signs", "calls", "sum"],
)
def test_five_thousand_deep(tmp_path: Path, deep: str) -> None:
    assert "E0112" in check(tmp_path, text(f"a = {deep}"))


def test_five_thousand_blocks_deep(tmp_path: Path) -> None:
    assert check(tmp_path, "specc 1\n" + "if a { " * 5000 + "}" * 5000 + "\n")


def test_ten_megabytes_of_nonsense(tmp_path: Path) -> None:
    found = check(tmp_path, "specc 1\n" + "model { = \n" * (9 * 2**20 // 11))
    assert 0 < len(found) <= 200


def test_a_chain_of_imports_that_closes(tmp_path: Path) -> None:
    for i in range(5):
        (tmp_path / f"{i}.spec").write_text(f'specc 1\nimport "{(i + 1) % 5}.spec" as next\n')
    assert [d.code for d in driver.check(tmp_path / "0.spec").diagnostics] == ["E0210"]


def test_a_long_chain_of_imports(tmp_path: Path) -> None:
    for i in range(40):
        (tmp_path / f"{i}.spec").write_text(f'specc 1\nimport "{i + 1}.spec" as next\n')
    assert [d.code for d in driver.check(tmp_path / "0.spec").diagnostics] == ["E0210"]


def test_imports_through_links_are_the_same_file(tmp_path: Path) -> None:
    (tmp_path / "a.spec").write_text('specc 1\nimport "b.spec" as b\n')
    os.symlink(tmp_path / "a.spec", tmp_path / "b.spec")
    assert [d.code for d in driver.check(tmp_path / "a.spec").diagnostics] == ["E0210"]


@pytest.mark.parametrize(
    "path", ["", "\\n", "a" * 5000, "/dev/null", "/dev/zero", "~", "..", "\N{SNOWMAN}.spec", "{x}", "%s", "a\\\\b"]
)
def test_strange_imports(tmp_path: Path, path: str) -> None:
    assert check(tmp_path, f'specc 1\nimport "{path}" as other\n') == ["E0210"]


def test_a_model_from_itself() -> None:
    assert codes("specc 1\nmodel m from m {\n process linear\n}\n") == ["E0203"]


STRINGS = [
    "it's",
    '\\"quoted\\"',
    "{braces}",
    "{0}",
    "{{}}",
    "}{",
    "new\\nline",
    '\\"\\"\\"',
    "\\\\",
    "\N{SNOWMAN}",
    "é",
    "%(x)s",
    "$HOME",
    "a b/c",
    "",
]


@pytest.mark.parametrize("string", STRINGS)
def test_texts_are_kept_as_they_are(string: str) -> None:
    made = program(text(data=f'data x: vector(2) from csv("{string}")'))
    plain = string.replace('\\"', '"').replace("\\n", "\n").replace("\\\\", "\\")
    assert made.data[0].reader.get("path") == plain


@pytest.mark.parametrize("string", STRINGS)
def test_texts_in_tags_and_messages(string: str) -> None:
    body = f'h = linear(z, n) tag "{string}"\nrequire n > 0, "{string}"\nreturn h'
    network = f"network mine(z: vector(n), t: scalar) -> like(z) {{\n{body}\n}}"
    found = elaborated(text(before=network, backbone="backbone mine"))
    assert found.programs or all(d.code == "E0601" for d in found.diagnostics)


@pytest.mark.parametrize("name", ["été", "模型", "_", "__class__", "None", "x1", "α", "self", "torch", "lambda_"])
def test_names_in_any_alphabet(name: str) -> None:
    found = elaborated(text().replace("model m", f"model {name}").replace("sampler euler", f"sampler {name}_s = euler"))
    assert not found.diagnostics
    assert [e.name for e in found.programs[name].by_role("sampler")] == [f"{name}_s"]


def test_a_name_in_two_spellings_is_one_name() -> None:
    assert codes(text("sampler \u212b = euler(steps = 2)", "sampler \u00c5 = euler(steps = 3)")) == ["E0208"]
