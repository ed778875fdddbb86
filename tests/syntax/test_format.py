"""The one spelling: spaces, breaks, comments."""

from __future__ import annotations

from pathlib import Path

import pytest
from syntax_helpers import SPECS, plain

from specc.source import Source
from specc.syntax.format import format_text
from specc.syntax.parser import parse


def formatted(text: str) -> str:
    """The formatted text, after seeing that it means the same and stays as it is when formatted again."""
    source = Source("test.spec", text)
    result = format_text(source)
    assert isinstance(result, str), result
    again = Source("test.spec", result)
    assert plain(parse(source)[0]) == plain(parse(again)[0])
    assert format_text(again) == result
    return result


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x=a+b *c- -d", "x = a + b * c - -d"),
        ("x = - a ^ - 2", "x = -a^-2"),
        ("x = 1 .. n", "x = 1..n"),
        ("f ( t )=t", "f(t) = t"),
        ("x = v [ 1 : 3 , : , a : ]", "x = v[1:3, :, a:]"),
        ("x = (a , )", "x = (a,)"),
        ("x = alpha ' ' (t)", "x = alpha''(t)"),
        ("x = u=>u |>f(k=1)", "x = u => u |> f(k = 1)"),
        ("x = not(a)and(b)", "x = not (a) and (b)"),
        ("for(t,s)in g{ }", "for (t, s) in g { }"),
        ("data x:image(1,8)levels 17 in[-1,1]from digits", "data x: image(1, 8) levels 17 in [-1, 1] from digits"),
        ("forward(x)->(z,l){return z,l}", "forward(x) -> (z, l) { return z, l }"),
        ("network f(h:sequence(n,d)=a)(b)->c", "network f(h: sequence(n, d) = a)(b) -> c"),
        ("train{a=1;b=2;}", "train { a = 1; b = 2 }"),
        ("train{}", "train { }"),
        ("z~normal( like=x )per batch", "z ~ normal(like = x) per batch"),
        ('at "a"(h)=h', 'at "a"(h) = h'),
        ('x = D["a.*"]', 'x = D["a.*"]'),
        ("x = [f(p)for p in q]", "x = [f(p) for p in q]"),
        ("a = 1; b = 2", "a = 1\nb = 2"),
        ("a = 1; -b", "a = 1;\n-b"),
        ("a = 1; from b", "a = 1;\nfrom b"),
        ("if a{x}\nelse if b{y}\nelse{z}", "if a { x } else if b { y } else { z }"),
        ("k {\na = 1; b = 2 }", "k {\n  a = 1\n  b = 2\n}"),
        ("k { a {\nb } }", "k {\n  a {\n    b\n  }\n}"),
        ("x = a\n+ b\n\n* c", "x = a\n    + b\n    * c"),
        ("x = f(\na,\ng(\nb\n)\n)", "x = f(\n  a,\n  g(\n    b\n  )\n)"),
        ("ａ = ﬁt", "a = fit"),
        ("a = 1\r\nb = 2\r\n", "a = 1\nb = 2"),
        ("k(a) { return(a) }", "k(a) { return (a) }"),
        ("repeat(n) { update(a) = b }", "repeat (n) { update(a) = b }"),
    ],
)
def test_spelling(text: str, expected: str) -> None:
    assert formatted(text) == expected + "\n"


def test_comments_and_blank_lines() -> None:
    text = """

#one


# two
k { #three

  # four

  a = f(b,   # five
    # six
    c)
  d = 1              # seven
  # eight

}
# nine
e = 2; f = 3 # ten


# eleven
"""
    assert (
        formatted(text)
        == """\
# one

# two
k {  # three

  # four

  a = f(b,   # five
    # six
    c)
  d = 1              # seven
  # eight
}
# nine
e = 2
f = 3        # ten

# eleven
"""
    )


def test_a_comment_between_a_block_and_its_else_stays() -> None:
    assert formatted("if a {\nb\n}\n# why\nelse { c }\n") == "if a {\n  b\n}\n# why\nelse { c }\n"


def test_a_line_that_is_too_long_opens_its_block() -> None:
    knobs = [f"knob_{i} = {i}" for i in range(12)]
    assert formatted("train { " + "; ".join(knobs) + " }") == "train {\n" + "".join(f"  {k}\n" for k in knobs) + "}\n"
    assert formatted("a_longer_name { train { " + "; ".join(knobs[:9]) + " } }").startswith(
        "a_longer_name {\n  train { knob_0 = 0; "
    )


def test_deep_blocks_take_linear_time() -> None:
    head = "k" + "a" * 130
    text = "".join(f"{head} x {{\n" for _ in range(60)) + "}\n" * 60
    assert formatted(text).count("{") == 60


@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
def test_specs(path: Path) -> None:
    formatted(path.read_text(encoding="utf-8"))


def test_the_tour_is_nearly_as_formatted() -> None:
    lines = (Path(__file__).parent / "tour.spec").read_text(encoding="utf-8").splitlines()
    changed = set(lines) - set(formatted("\n".join(lines)).splitlines())
    assert {line.strip() for line in changed} == {
        "fake = G(z); held = stop(fake)",
        "+ gamma / 2 * sum(grad(D(x), x)^2)",
        "+ gamma / 2 * sum(grad(D(held), held)^2) over D",
    }


def test_nothing() -> None:
    assert formatted("") == ""
    assert formatted("\n\n# only this\n\n") == "# only this\n"
