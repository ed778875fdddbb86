"""For any text: no crash. For any program: formatting keeps its meaning and is done at once."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from syntax_helpers import SPECS, plain

from specc.source import Source
from specc.syntax.format import format_text
from specc.syntax.parser import parse

NAMES = st.sampled_from(
    ("a", "b", "z", "t", "f", "alpha", "state", "step", "rate", "data", "over", "from", "with", "in", "for", "tag", "é")
)
ATOMS = NAMES | st.sampled_from(["1", "2.5", "1e-4", '"s"', '"a # \\" b"', "true", "false", "()", "[]"])
INFIX = st.sampled_from(("+", "-", "*", "/", "//", "@", "^", "..", "|>", "==", "<=", "and", "or"))
SPACE = st.sampled_from(["", " ", "  ", "\t"])


def extend(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    several = st.lists(inner, min_size=1, max_size=3)
    named = st.builds("{} = {}".format, NAMES, inner)
    return st.one_of(
        st.builds("({}) {} ({})".format, inner, INFIX, inner),
        st.builds("{}({})".format, NAMES, several.map(", ".join)),
        st.builds("{}({},\n {})".format, NAMES, inner, named),
        st.builds("({},{} {})".format, inner, SPACE, inner),
        st.builds("[{}]".format, several.map(" ,\n".join)),
        st.builds("[{} for {} in {}]".format, inner, NAMES, inner),
        st.builds("f[{}:{}, :, {}]".format, inner, inner, inner),
        st.builds("(if {} then {} else {})".format, inner, inner, inner),
        st.builds("({} => {})".format, NAMES, inner),
        st.builds("(-{})".format, inner),
        st.builds("(not {})".format, inner),
        st.builds("alpha'({}).b".format, inner),
        st.builds("({}\n # why\n + {})".format, inner, inner),
    )


EXPRESSIONS = st.recursive(ATOMS, extend, max_leaves=8)
PARTS = st.sampled_from([": t", "= 1, b", "-> c(d)", "~ law", "over t in [0, 1]", "from a", "flat", "with { drop = 0.1 }"])
SIMPLE = st.one_of(
    st.builds("{} ={}{}".format, NAMES, SPACE, EXPRESSIONS),
    st.builds("{} ~ {} per batch".format, NAMES, EXPRESSIONS),
    st.builds("{}: {} = {}".format, NAMES, EXPRESSIONS, EXPRESSIONS),
    st.builds("f({}) = {}".format, NAMES, EXPRESSIONS),
    st.builds('{}, {} = {} tag "m"'.format, NAMES, NAMES, EXPRESSIONS),
    st.builds("minimize {} over {} every 2".format, EXPRESSIONS, NAMES),
    st.builds("minimize {}\n over {}".format, EXPRESSIONS, NAMES),
    st.builds("update {} = {}".format, NAMES, EXPRESSIONS),
    st.builds('require {}, "no"'.format, EXPRESSIONS),
    st.builds("return {}".format, EXPRESSIONS),
    st.builds("kind {} {}".format, NAMES, st.lists(PARTS, max_size=3, unique_by=lambda p: p[:2]).map(" ".join)),
    EXPRESSIONS.filter(lambda e: not e.startswith(("for(", "over(", "from(", "with("))),  # a loop, or more of the line before
)
ENDS = st.sampled_from([";", "\n", " # c\n", "\n\n", "\n# own\n", ";\n\n\n"])


def nest(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    body = st.lists(st.tuples(inner, ENDS), max_size=3).map(lambda xs: "".join(a + b for a, b in xs))
    return st.one_of(
        st.builds("section a {{{}}}".format, body),
        st.builds("for (a, b) in {} {{ {} }}".format, EXPRESSIONS, body),
        st.builds("static for a in {} {{\n{}}}".format, EXPRESSIONS, body),
        st.builds("while {} limit 10 {{ {}}}".format, EXPRESSIONS, body),
        st.builds("repeat {} {{ {}}}".format, NAMES, body),
        st.builds("if {} {{ {}}} else if a {{ }}\nelse {{ {}\n}}".format, EXPRESSIONS, body, body),
        st.builds("forward(a: t) -> b {{ {} }}".format, body),
    )


STATEMENTS = st.recursive(SIMPLE, nest, max_leaves=6)
PROGRAMS = st.lists(st.tuples(STATEMENTS, ENDS), max_size=5).map(lambda xs: "".join(a + b for a, b in xs))


@settings(max_examples=150, deadline=None)
@given(PROGRAMS)
def test_programs_keep_their_meaning(text: str) -> None:
    source = Source("test.spec", text)
    file, found = parse(source)
    assert not found, text
    result = format_text(source)
    assert isinstance(result, str)
    again, _ = parse(Source("test.spec", result))
    assert plain(again) == plain(file)
    assert format_text(Source("test.spec", result)) == result


def survives(text: str) -> None:
    file, found = parse(Source("test.spec", text))
    for diagnostic in found:
        assert 0 <= diagnostic.span.start <= diagnostic.span.stop <= len(text)
    if not found:
        result = format_text(Source("test.spec", text))
        assert isinstance(result, str)
        assert plain(parse(Source("test.spec", result))[0]) == plain(file)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=80))
def test_any_text_is_survived(text: str) -> None:
    survives(text)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab1.\"'()[]{}=~:,;|+-*/^@<>!# \n\t\\éＡ²", max_size=60))
def test_any_signs_are_survived(text: str) -> None:
    survives(text)


def test_damaged_specs_are_survived() -> None:
    pick = random.Random(0)
    texts = [path.read_text(encoding="utf-8").splitlines(keepends=True) for path in SPECS]
    signs = ["->", "=>", "..", *"()[]{},:=~'-^;\n#\""]
    pieces = [*signs, "for", "in", "over", "with", "if", "then", "else", "static", "while", "import", "extern", "1", "é"]
    for _ in range(1500):
        lines = pick.choice(texts)
        first = pick.randrange(len(lines))
        text = "".join(lines[first : first + pick.randrange(1, 20)])
        for _ in range(pick.choice((1, 1, 2, 6))):
            place = pick.randrange(len(text) + 1)
            text = text[:place] + f" {pick.choice(pieces)} " + text[place + pick.choice((0, 0, 1, 4)) :]
        survives(text)
