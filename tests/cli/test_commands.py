"""The contract that scripts rely on: flags, exit codes and what is printed where."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from specc.cli.main import COMMANDS

Specc = Callable[..., Result]


def test_help_lists_every_command_and_each_has_help(specc: Specc) -> None:
    text = specc("--help").stdout
    for name, (_, line) in COMMANDS.items():
        assert name in text and line in " ".join(text.split())
        assert specc(name, "--help").exit_code == 0


def test_an_unknown_command_is_wrong_usage(specc: Specc) -> None:
    result = specc("chek")
    assert result.exit_code == 2
    assert "did you mean `check`?" in result.stderr


def test_check_is_silent_about_nothing(specc: Specc, good: Path) -> None:
    result = specc("check", good)
    assert (result.exit_code, result.stdout) == (0, f"{good}: no errors\n")
    result = specc("check", good, "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, [])


def test_check_reports_every_error_as_text(specc: Specc, bad: Path) -> None:
    result = specc("check", bad)
    assert result.exit_code == 1
    assert "error[E0203]" in result.stdout
    assert f"  --> {bad}:5:11\n" in result.stdout
    assert " 5 |   process liner " in result.stdout
    assert "^^^^^ " in result.stdout
    assert "did you mean `linear`?" in result.stdout


def test_check_reports_as_json(specc: Specc, good: Path, bad: Path) -> None:
    result = specc("check", "--json", good, bad)
    assert result.exit_code == 1
    first = json.loads(result.stdout)[0]
    assert {"code", "severity", "message", "file", "line", "column"} <= set(first)
    assert (first["code"], first["severity"]) == ("E0203", "error")
    assert (first["file"], first["line"], first["column"]) == (str(bad), 5, 11)


@pytest.mark.parametrize("extra", [[], ["--json"]])
def test_a_file_that_is_not_there_is_wrong_usage(specc: Specc, tmp_path: Path, extra: list[str]) -> None:
    result = specc("check", tmp_path / "nowhere.spec", *extra)
    assert result.exit_code == 2
    assert "E0151" in result.stdout


def test_no_file_at_all_is_wrong_usage(specc: Specc) -> None:
    assert specc("check").exit_code == 2


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n\x00\x00", b"\xff\xfe\x00", b"specc 1\nmodel m {", b"{" * 5000])
def test_bad_files_are_errors_with_a_place(specc: Specc, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.spec"
    path.write_bytes(content)
    result = specc("check", path, "--json")
    assert result.exit_code == 1
    assert all(d["line"] >= 1 and d["column"] >= 1 for d in json.loads(result.stdout))
    assert specc("check", path).exit_code == 1


def test_a_model_that_does_not_parse_is_not_missing(specc: Specc, tmp_path: Path) -> None:
    path = tmp_path / "x.spec"
    path.write_text("specc 1\nmodel m { data x: vector(" + "(" * 5000 + "2" + ")" * 5000 + ") from moons }\n")
    (found,) = json.loads(specc("check", path, "--json").stdout)
    assert (found["code"], found["line"]) == ("E0112", 2)


def test_explain_shows_defaults_with_their_origin(specc: Specc, good: Path) -> None:
    result = specc("check", "--explain", good)
    assert result.exit_code == 0
    lines = {line.split("=")[0].strip(): line for line in result.stdout.split("\n") if "=" in line}
    assert "# default" in lines["batch"] or "# spec" in lines["batch"]
    assert "default" in lines["warmup"]


def test_fmt_formats_once(specc: Specc, good: Path) -> None:
    good.write_text(good.read_text().replace("process linear ", "process   linear"))
    assert specc("fmt", "--check", good).exit_code == 1
    assert "-  process   linear" in specc("fmt", "--diff", good).stdout
    assert specc("fmt", good).exit_code == 0
    once = good.read_text()
    assert "process linear" in once and "# how data becomes noise" in once
    assert specc("fmt", "--check", good).exit_code == 0
    assert good.read_text() == once


def test_fmt_leaves_what_does_not_parse(specc: Specc, tmp_path: Path) -> None:
    path = tmp_path / "x.spec"
    path.write_text("specc 1\nmodel {{\n")
    assert specc("fmt", path).exit_code == 1
    assert path.read_text() == "specc 1\nmodel {{\n"


def test_the_starter_is_formatted_and_new_does_not_overwrite(
    specc: Specc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = specc("new", "my-first")
    assert result.exit_code == 0
    assert "specc train my-first.spec" in result.stderr
    assert specc("fmt", "--check", "my-first.spec").exit_code == 0
    assert specc("check", "my-first.spec").exit_code == 0
    assert specc("new", "my-first").exit_code == 2
    assert specc("new", "1st").exit_code == 2


@pytest.mark.parametrize("stage", ["syntax", "typed", "example", "array"])
def test_every_stage_prints(specc: Specc, good: Path, bad: Path, stage: str) -> None:
    result = specc("dump", "--stage", stage, good)
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) > 10
    assert specc("dump", "--stage", stage, bad).exit_code == (0 if stage == "syntax" else 1)


def test_an_unknown_stage_or_target_is_wrong_usage(specc: Specc, good: Path, tmp_path: Path) -> None:
    assert specc("dump", "--stage", "types", good).exit_code == 2
    assert specc("compile", good, "--target", "jax", "-o", tmp_path).exit_code == 2
    assert specc("compile", good).exit_code == 2


def test_compile_writes_a_project(specc: Specc, good: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = specc("compile", good, "--target", "pytorch", "-o", out)
    assert result.exit_code == 0
    written = {Path(line).name for line in result.stdout.split()}
    assert {"model.py", "objective.py", "sample.py", "data.py", "train.py", "spec.lock.json"} <= written
    assert all((out / name).exists() for name in written)
    assert "import specc" not in "".join(p.read_text() for p in out.rglob("*.py"))


def test_compile_of_a_bad_spec_writes_nothing(specc: Specc, bad: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = specc("compile", bad, "-o", out)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "error[E0203]" in result.stderr
    assert not out.exists()


def test_compile_to_a_place_that_cannot_be_written(specc: Specc, good: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = specc("compile", good, "-o", tmp_path / "file" / "out")
    assert result.exit_code == 3
    assert "could not be written" in result.stderr


def test_compile_writes_the_ir(specc: Specc, good: Path, tmp_path: Path) -> None:
    result = specc("compile", good, "--target", "ir", "-o", tmp_path / "out")
    assert result.exit_code == 0
    (file,) = result.stdout.split()
    assert json.loads(Path(file).read_text())


def test_several_models_need_a_choice(specc: Specc, good: Path) -> None:
    text = good.read_text()
    good.write_text(text + text.removeprefix("specc 1\n").replace("model starter", "model other"))
    result = specc("dump", good)
    assert result.exit_code == 2
    assert "starter, other" in result.stderr
    assert specc("dump", good, "--model", "other").exit_code == 0


def test_list(specc: Specc) -> None:
    everything = specc("list").stdout
    assert "process vp(beta_min = 0.1, beta_max = 20)  # " in everything
    kinds = {line.split()[0] for line in everything.splitlines()}
    assert {"backbone", "bijection", "function", "interface", "law", "loss", "optimizer", "query", "reader", "sampler"} < kinds
    for line in everything.splitlines():  # the whole head, though it may stand on several lines
        signature = line.split("  # ")[0]
        assert signature.count("(") == signature.count(")") and "  " not in signature, line
    for kind in kinds:
        assert specc("list", kind).stdout == "".join(f"{x}\n" for x in everything.splitlines() if x.split()[0] == kind)
    only = specc("list", "sampler").stdout
    assert only and all(line.startswith("sampler ") for line in only.splitlines())
    assert specc("list", "samplers").stdout == only
    rows = json.loads(specc("list", "process", "--json").stdout)
    assert {"kind", "name", "signature", "doc", "where"} == set(rows[0])
    result = specc("list", "proces")
    assert result.exit_code == 2 and "did you mean `process`?" in result.stderr


def test_explain(specc: Specc) -> None:
    assert specc("explain", "E0102").stdout.startswith("## E0102: a delimiter is never closed\n")
    assert specc("explain", "error[e0102]").stdout == specc("explain", "E0102").stdout
    result = specc("explain", "E9999")
    assert result.exit_code == 2 and "no code `E9999`" in result.stderr
    assert specc("explain").exit_code == 2


@pytest.mark.parametrize("command", [["sample", "{}", "-o", "x.npz"], ["export", "{}", "-o", "x.onnx"], ["evaluate", "{}"]])
def test_a_folder_that_is_no_run_is_wrong_usage(specc: Specc, tmp_path: Path, command: list[str]) -> None:
    result = specc(*[part.format(tmp_path) for part in command])
    assert result.exit_code == 2
    assert "is not a run" in result.stderr


def test_samples_go_to_npz_or_png(specc: Specc, tmp_path: Path) -> None:
    result = specc("sample", tmp_path, "-o", "x.jpg")
    assert result.exit_code == 2 and ".npz or .png" in result.stderr
    assert specc("sample", tmp_path, "-o", "x.npz", "--set", "scale").exit_code == 2


def process(*args: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "specc.cli.main", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


def test_exit_codes_of_a_real_process(good: Path, bad: Path) -> None:
    assert process("check", good).returncode == 0
    assert process("check", bad).returncode == 1
    assert process("check", "--nonsense").returncode == 2
    assert process("check", good.with_name("no.spec")).returncode == 2


def test_a_closed_pipe_is_not_an_error(good: Path) -> None:
    command = f"{sys.executable} -m specc.cli.main list | head -1"
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert result.stderr == ""


def test_a_fault_of_the_compiler_is_told_apart(
    specc: Specc, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from specc.cli import main

    def broken(*args: object, **kwargs: object) -> None:
        raise AssertionError("broken")

    monkeypatch.setattr(main.cli, "main", broken)
    assert main.run(["check", "x"]) == 3
    assert "a fault in specc, not in your spec" in capsys.readouterr().err
