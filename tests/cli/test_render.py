"""Diagnostics as people see them."""

import textwrap

from specc.cli.render import columns, render, summary, visible
from specc.diagnostics import Diagnostic, Label
from specc.source import Source, Span

MDLM = """\
specc 1
model mdlm {
  process masking
  data x: tokens(64, 96) from text("corpus.txt", level = char)
  backbone transformer(dim = 128, depth = 4, heads = 4, causal = false)
  predict logits
  loss masked_elbo

  sampler heun(steps = 18)
}
"""


def at(source: Source, text: str) -> Span:
    start = source.text.index(text)
    return Span(source, start, start + len(text))


def lines(text: str) -> str:
    return textwrap.dedent(text).strip("\n")


def test_the_example_of_the_language_page() -> None:
    source = Source("specs/text/mdlm.spec", MDLM)
    found = Diagnostic(
        code="E0307",
        message="the sampler needs a velocity, and this process has none",
        span=at(source, "heun"),
        caption="integrates an ODE",
        labels=(Label(span=at(source, "masking"), text="a discrete process: its samples jump"),),
        help="use `ancestral` or `first_hitting`, or a continuous process such as `vp`",
    )
    assert render(found) == lines("""
        error[E0307]: the sampler needs a velocity, and this process has none
          --> specs/text/mdlm.spec:9:11
           |
         3 |   process masking
           |           ------- a discrete process: its samples jump
         9 |   sampler heun(steps = 18)
           |           ^^^^ integrates an ODE
           |
        help: use `ancestral` or `first_hitting`, or a continuous process such as `vp`
    """)


def test_two_marks_on_one_line_and_wide_line_numbers() -> None:
    source = Source("a.spec", "\n" * 11 + "\tx = α + 漢字b\n")
    found = Diagnostic(
        code="E0301",
        message="shapes differ",
        severity="warning",
        span=at(source, "b"),
        caption="(3)",
        labels=(Label(span=at(source, "α"), text="(2)"),),
    )
    assert render(found) == lines("""
        warning[E0301]: shapes differ
           --> a.spec:12:12
            |
         12 |     x = α + 漢字b
            |         - (2)
            |                 ^ (3)
            |
    """)


def test_a_label_in_another_file() -> None:
    source, library = Source("a.spec", "process vp2\n"), Source("std/process.spec", "process vp { }\n", 40)
    found = Diagnostic(
        code="E0203",
        message="no",
        span=at(source, "vp2"),
        labels=(Label(span=at(library, "vp"), text="is here"),),
    )
    assert render(found) == lines("""
        error[E0203]: no
           --> a.spec:1:9
            |
          1 | process vp2
            |         ^^^
            |
           ::: std/process.spec:40:9
            |
         40 | process vp { }
            |         -- is here
            |
    """)


def test_a_mark_over_several_lines_stays_on_the_first() -> None:
    source = Source("a.spec", "model m {\n  loss mse\n}\n")
    text = render(Diagnostic(code="E0209", message="nothing to run", span=Span(source, 0, 22)))
    assert "1 | model m {\n   | ^^^^^^^^^\n" in text


def test_the_end_of_a_file_and_a_file_without_text() -> None:
    source = Source("a.spec", "model m {")
    assert "   |          ^ here" in render(Diagnostic(code="E0102", message="open", span=Span(source, 9, 9), caption="here"))
    nothing = Source("gone.spec", "")
    assert render(Diagnostic(code="E0151", message="no file", span=Span(nothing, 0, 0))) == lines("""
        error[E0151]: no file
          --> gone.spec:1:1
    """)


def test_a_very_long_line_is_cut_around_the_mark() -> None:
    source = Source("a.spec", "x" * 5000 + "!" + "y" * 5000)
    text = render(Diagnostic(code="E0104", message="no", span=at(source, "!")))
    excerpt, underline = text.split("\n")[3:5]
    assert len(excerpt) < 150
    assert excerpt.index("!") == underline.index("^")


def test_nothing_reaches_the_terminal_that_it_would_obey() -> None:
    source = Source("a\x1b[31m.spec", "x = \x1b[2J\x07\u202e1\n")
    text = render(Diagnostic(code="E0104", message="a\x1bb\nc", span=Span(source, 4, 5), help="one\ntwo"))
    assert not any(ord(c) < 32 and c != "\n" for c in text)
    assert "\u202e" not in text
    assert text.endswith("help: one\n      two")


def test_colour_changes_only_the_paint() -> None:
    source = Source("a.spec", "x = 1\n")
    found = Diagnostic(code="E0101", message="m", span=Span(source, 0, 1), caption="c", help="h")
    painted = render(found, colour=True)
    plain = painted
    for code in ("31", "33", "36", "34", "32", "1", "0"):
        plain = plain.replace(f"\x1b[{code}m", "")
    assert plain == render(found) != painted


def test_columns_and_visible() -> None:
    assert columns("a\tb") == 6
    assert columns("漢e\u0301") == 3
    assert visible("a\tb\x00") == "a    b\ufffd"


def test_summary() -> None:
    span = Span(Source("a", "x"), 0, 1)
    error, warning = (Diagnostic(code="E", message="m", span=span, severity=s) for s in ("error", "warning"))
    assert summary((error, error, warning)) == "2 errors, 1 warning"
    assert summary(()) == ""
