"""What is said about texts that are wrong, whole: `errors.txt` has the texts, and after each its messages behind `!`.

`python tests/syntax/test_syntax_errors.py` rewrites the messages; read the difference as you would read code.
"""

from __future__ import annotations

import pytest
from syntax_helpers import HERE, errors

from specc.source import Source
from specc.syntax.format import format_text
from specc.syntax.parser import MAX_ERRORS, parse

FILE = HERE / "errors.txt"
RULE = "-" * 40 + "\n"


def cases() -> list[tuple[str, list[str]]]:
    found = []
    for case in FILE.read_text(encoding="utf-8").split(RULE):
        lines = case.splitlines(keepends=True)
        text = "".join(line for line in lines if not line.startswith("! "))
        found.append((text, [line[2:].rstrip("\n") for line in lines if line.startswith("! ")]))
    return found


@pytest.mark.parametrize(("text", "expected"), cases(), ids=lambda x: x.strip().split("\n")[0] if isinstance(x, str) else "")
def test_messages(text: str, expected: list[str]) -> None:
    assert errors(text) == expected


def test_errors_of_a_file_are_found_in_one_run() -> None:
    text = "a = * 2\n" * 30 + "b = 1\n" + "k {\n  c = f(,)\n}\n" * 30
    file, found = parse(Source("test.spec", text))
    assert len(found) == 60
    assert len(file.items) == 31


def test_errors_are_bounded() -> None:
    assert len(parse(Source("test.spec", "a = * 2\n" * 5000))[1]) == MAX_ERRORS
    assert len(parse(Source("test.spec", "? a\n" * 5000))[1]) == MAX_ERRORS


def test_a_text_with_errors_is_not_formatted() -> None:
    source = Source("test.spec", "a = * 2\n")
    assert format_text(source) == parse(source)[1]


def rewrite() -> None:
    FILE.write_text(RULE.join(text + "".join(f"! {line}\n" for line in errors(text)) for text, _ in cases()), encoding="utf-8")


if __name__ == "__main__":
    rewrite()
