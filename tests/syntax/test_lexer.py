"""Where statements end, and what a word is by where it stands."""

from __future__ import annotations

import pytest

from specc.source import Source
from specc.syntax.lexer import lex


def kinds(text: str) -> str:
    """The tokens of a text, as kinds; those that are spelled out stand for themselves."""
    tokens, found = lex(Source("test.spec", text))
    assert not found, found
    return " ".join(t.kind for t in tokens[:-1])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = 1; b = 2", "NAME = NUMBER END NAME = NUMBER END"),
        ("a = 1;;\n\n;b = 2\n", "NAME = NUMBER END NAME = NUMBER END"),
        ("a = b +\n c", "NAME = NAME + NAME END"),
        ("a = b\n + c", "NAME = NAME + NAME END"),
        ("a = b\n # why\n\n * c", "NAME = NAME MUL NAME END"),
        ("a =\n b", "NAME = NAME END"),
        ("a, \n b ~\n c", "NAME , NAME ~ NAME END"),
        ("a = if b\n then c\n else d", "NAME = if NAME then NAME else NAME END"),
        ("minimize a\n over b\n every 2\n when c", "minimize NAME WORD NAME WORD NUMBER WORD NAME END"),
        ("f(a\n, b\n)", "NAME ( NAME , NAME ) END"),
        ("a = [\n b\n c]", "NAME = [ NAME NAME ] END"),
        ("k { a\n b }", "KIND { NAME END NAME END } END"),
        ("if a { b }\nelse { c }", "if NAME { NAME END } else { NAME END } END"),
        ("a = 1\nover = 2", "NAME = NUMBER END NAME = NUMBER END"),
        ("a = 1;\n-b", "NAME = NUMBER END - NAME END"),
        ("1..n", "NUMBER .. NAME END"),
        ("1.5..n", "NUMBER .. NAME END"),
        ("a''(t)", "NAME ' ' ( NAME ) END"),
        ("x->y", "NAME -> NAME END"),
        ("\ufeffa\u00a0= 1", "NAME = NUMBER END"),
    ],
)
def test_ends(text: str, expected: str) -> None:
    assert kinds(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("process vp for gaussian over t in [0, 1] { }", "KIND NAME WORD NAME WORD NAME WORD [ NUMBER , NUMBER ] { } END"),
        ("data x: image(1) levels 17", "KIND NAME : NAME ( NUMBER ) WORD NUMBER END"),
        ("times t importance over u in v", "KIND NAME WORD WORD NAME WORD NAME END"),
        ("state a: scalar = 0", "KIND NAME : NAME = NUMBER END"),
        ("state = 3", "NAME = NUMBER END"),
        ("over = from + in * with", "NAME = NAME + NAME MUL NAME END"),
        ("for = 3", "NAME = NUMBER END"),
        ("f(for = 3, over = in)", "NAME ( NAME = NUMBER , NAME = NAME ) END"),
        ("a.for.if.over", "NAME . NAME . NAME . NAME END"),
        ("for k in a { }", "for NAME in NAME { } END"),
        ("for (t, s) in a { }", "for ( NAME , NAME ) in NAME { } END"),
        ("static for k in a { }", "static for NAME in NAME { } END"),
        ("static = 3", "NAME = NUMBER END"),
        ("[a for b in c]", "[ NAME for NAME in NAME ] END"),
        ("while a limit b { }", "while NAME limit NAME { } END"),
        ("limit = while", "NAME = NAME END"),
        ("repeat n { }", "repeat NAME { } END"),
        ("repeat(n) { }", "repeat ( NAME ) { } END"),
        ("repeat(a, 2)", "NAME ( NAME , NUMBER ) END"),
        ("update a = b", "update NAME = NAME END"),
        ("update(a) = b", "NAME ( NAME ) = NAME END"),
        ("return -a", "return - NAME END"),
        ("return", "return END"),
        ("return = a", "NAME = NAME END"),
        ("minimize a over b", "minimize NAME WORD NAME END"),
        ('import "a" as b', "import STRING as NAME END"),
        ("as = import", "NAME = NAME END"),
        ("specc 1", "specc NUMBER END"),
        ("extern reader digits(a)", "extern KIND NAME ( NAME ) END"),
        ('f = extern("a")', "NAME = NAME ( STRING ) END"),
        ("u ~ a per batch", "NAME ~ NAME WORD NAME END"),
        ("memory p: a with { b = 1 } over c", "KIND NAME : NAME with { NAME = NUMBER END } WORD NAME END"),
        ("sampler s over (x, v)", "KIND NAME WORD ( NAME , NAME ) END"),
        ("require a, true", "require NAME , BOOL END"),
    ],
)
def test_words(text: str, expected: str) -> None:
    assert kinds(text) == expected


def test_names_are_compared_in_nfkc_and_spans_count_in_the_source() -> None:
    text = "ﬁt = Ａ + e\u0301"
    tokens, found = lex(Source("test.spec", text))
    assert not found
    assert [t.text for t in tokens if t.kind == "NAME"] == ["fit", "A", "é"]
    assert [text[t.start : t.stop] for t in tokens if t.kind == "NAME"] == ["ﬁt", "Ａ", "e\u0301"]


def test_strings_keep_their_characters() -> None:
    tokens, _ = lex(Source("test.spec", 'a = "ﬁ"'))
    assert tokens[2].text == '"ﬁ"'


def test_signs_of_full_width_are_signs() -> None:
    assert kinds("ａ＝f（a，b）；c") == "NAME = NAME ( NAME , NAME ) END NAME END"


def test_comments_and_blank_lines_are_kept_before_the_token_they_precede() -> None:
    tokens, _ = lex(Source("test.spec", "# one\n\n\na = 1 # two\n# three\nb = 2 # four\n"))
    trivia = [(t.text, [(x.kind, x.text) for x in t.trivia]) for t in tokens if t.trivia]
    assert trivia == [
        ("a", [("comment", "# one"), ("blank", "")]),
        ("b", [("trailing", "# two"), ("comment", "# three")]),
        ("", [("trailing", "# four")]),
    ]


@pytest.mark.parametrize(("text", "number"), [("0x10", "16"), ("1_000", "1000"), ("16k", "16"), (".5", "0.5"), ("3.", "3")])
def test_what_is_no_number_goes_on_as_the_one_that_was_meant(text: str, number: str) -> None:
    """So that a width of `1_6` is one mistake, and not a width of 0 as well."""
    tokens, found = lex(Source("test.spec", f"a = {text}"))
    assert [d.code for d in found] == ["E0107"]
    assert tokens[2].text == number
