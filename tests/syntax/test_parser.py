"""The shape of the tree for each construct, and that parsing is quick, total and linear."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from syntax_helpers import SPECS, one, plain

from specc.source import Source
from specc.syntax import tree
from specc.syntax.parser import parse, read


def expression(text: str) -> str:
    """The value of `v = text`, with every operation in parentheses."""
    statement = one(f"v = {text}")
    assert isinstance(statement, tree.Bind)
    return spelled(statement.values[0])


def spelled(node: object) -> str:
    match node:
        case tree.Name(id=name):
            return name
        case tree.Number(text=text):
            return text
        case tree.Binary():
            return f"({spelled(node.left)} {node.op} {spelled(node.right)})"
        case tree.Unary():
            return f"({node.op} {spelled(node.operand)})"
        case tree.Paren():
            return spelled(node.value)
        case tree.Prime():
            return f"{spelled(node.value)}'"
        case tree.Attribute():
            return f"{spelled(node.value)}.{node.name}"
        case tree.Call():
            return f"{spelled(node.func)}({', '.join(spelled(a.value) for a in node.args)})"
        case tree.Index():
            return f"{spelled(node.value)}[{', '.join(map(spelled, node.items))}]"
        case tree.Slice():
            return f"<{spelled(node.start)}:{spelled(node.stop)}>"
        case tree.Ternary():
            return f"({spelled(node.test)} ? {spelled(node.then)} : {spelled(node.other)})"
        case tree.Lambda():
            return f"(\\{' '.join(node.params)}. {spelled(node.body)})"
        case tree.Tuple():
            return f"<{', '.join(map(spelled, node.items))}>"
        case tree.List():
            return f"[{', '.join(map(spelled, node.items))}]"
        case tree.Comprehension():
            return f"[{spelled(node.value)} | {' '.join(node.pattern)} <- {spelled(node.iterable)}]"
        case None:
            return ""
    raise AssertionError(node)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a + b * c", "(a + (b * c))"),
        ("a - b - c", "((a - b) - c)"),
        ("a / b // c @ d", "(((a / b) // c) @ d)"),
        ("-x^2", "(- (x ^ 2))"),
        ("a^b^c", "(a ^ (b ^ c))"),
        ("2^-x", "(2 ^ (- x))"),
        ("-a * b", "((- a) * b)"),
        ("1..n - 1", "(1 .. (n - 1))"),
        ("a + 1 |> f(b) |> g", "(((a + 1) |> f(b)) |> g)"),
        ("a |> f == b", "((a |> f) == b)"),
        ("not a == b and c or d", "(((not (a == b)) and c) or d)"),
        ("if a then b else if c then d else e", "(a ? b : (c ? d : e))"),
        ("u => u + 1", "(\\u. (u + 1))"),
        ("(z, t) => z => t", "(\\z t. (\\z. t))"),
        ("() => 1", "(\\. 1)"),
        ("alpha''(t)", "alpha''(t)"),
        ("f(a)(b).c[0]'", "f(a)(b).c[0]'"),
        ("v[1:3, :, a:, :b]", "v[<1:3>, <:>, <a:>, <:b>]"),
        ("(a, b)", "<a, b>"),
        ("(a,)", "<a>"),
        ("()", "<>"),
        ("(a)", "a"),
        ("[a, b,]", "[a, b]"),
        ("[f(p, q) for (p, q) in r]", "[f(p, q) | p q <- r]"),
        ("f(k = t => 1 - t)", "f((\\t. (1 - t)))"),
    ],
)
def test_expressions(text: str, expected: str) -> None:
    assert expression(text) == expected


def test_section_with_every_part() -> None:
    text = "network f(a: scalar = 1): t = v, w -> r ~ l over p, q per batch flat with { drop = 0.1 } { x = 1 }"
    section = one(text)
    assert isinstance(section, tree.Section)
    assert (section.kind, section.kind_span.text, section.span.text) == ("network", "network", text)
    assert spelled(section.type) == "t"
    assert list(map(spelled, section.values)) == ["v", "w"]
    assert (spelled(section.result), spelled(section.law)) == ("r", "l")
    assert [(c.word, list(map(spelled, c.values))) for c in section.clauses] == [
        ("over", ["p", "q"]),
        ("per", ["batch"]),
        ("flat", []),
    ]
    assert section.overrides is not None and section.body is not None
    assert (section.overrides.span.text, section.body.span.text) == ("{ drop = 0.1 }", "{ x = 1 }")
    assert isinstance(section.head, tree.Call)
    (parameter,) = section.head.args
    assert (parameter.name, spelled(parameter.type), spelled(parameter.value)) == ("a", "scalar", "1")


def test_two_clauses() -> None:
    section = one("process vp(beta_min = 0.1) for gaussian over t in [0, 1] { }")
    assert isinstance(section, tree.Section)
    assert [(c.word, list(map(spelled, c.values))) for c in section.clauses] == [
        ("for", ["gaussian"]),
        ("over", ["t"]),
        ("in", ["[0, 1]"]),
    ]


def test_curried_head() -> None:
    section = one("network dit(heads)(h: sequence(n, d), c) -> like(h) { return h }")
    assert isinstance(section, tree.Section) and isinstance(section.head, tree.Call)
    assert isinstance(section.head.func, tree.Call) and spelled(section.head.func.func) == "dit"


def test_extern() -> None:
    section = one("extern reader digits(size = 8) -> image(1, 8, 8)")
    assert isinstance(section, tree.Section)
    assert (section.kind, section.extern, spelled(section.result)) == ("reader", True, "image(1, 8, 8)")


def test_statements_of_a_body() -> None:
    section = one(
        "k {\n  alpha(t); sigma(t)\n  f(x) -> (z, l) { return x, x }\n  g(x) { h }\n  h(x) -> y\n  z ~ q per batch\n"
        '  s: counts(2) = zeros\n  s: a\n  s: a ~ b\n  a, b = c, d tag "m"\n  together { }\n}'
    )
    assert isinstance(section, tree.Section) and section.body is not None
    found = [type(x).__name__ for x in section.body.items]
    assert found == ["ExprStatement", "ExprStatement", "Method", "Method", "Method", *["Bind"] * 5, "Section"]
    draw, typed, declared, typed_draw, several = section.body.items[5:10]
    assert isinstance(draw, tree.Bind) and draw.draw and draw.clauses[0].word == "per"
    assert isinstance(typed, tree.Bind) and spelled(typed.type) == "counts(2)" and not typed.draw
    assert isinstance(declared, tree.Bind) and declared.values == () and declared.type is not None
    assert isinstance(typed_draw, tree.Bind) and typed_draw.draw and typed_draw.type is not None
    assert isinstance(several, tree.Bind) and len(several.targets) == len(several.values) == 2


def test_else_if_is_a_block_of_one_if() -> None:
    statement = one("if a { } else if b { } else { c }")
    assert isinstance(statement, tree.If) and statement.other is not None
    (inner,) = statement.other.items
    assert isinstance(inner, tree.If) and inner.other is not None and inner.other.span.text == "{ c }"


def test_other_statements() -> None:
    assert plain(one("static for i in n..1 { }"))[-1] is True
    assert plain(one("for (t, s) in g { }"))[1] == ("t", "s")
    assert isinstance(one("while a limit 10 { }"), tree.While)
    assert isinstance(one("repeat n { }"), tree.Repeat)
    require = one('require a, "say \\"b\\"\\n\\\\"')
    assert isinstance(require, tree.Require) and require.message == 'say "b"\n\\'
    minimize = one('minimize e over G, D["*.bias"] every 2 when phase == 1')
    assert isinstance(minimize, tree.Minimize) and [c.word for c in minimize.clauses] == ["over", "every", "when"]
    assert plain(one('import "ddpm.spec" as base')) == ("Import", "ddpm.spec", "base")
    assert plain(one("specc 1")) == ("Version", 1)
    assert plain(one("update a.b = 1e-4 when c"))[0] == "Update"
    assert plain(one("return")) == ("Return", ())


@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
def test_specs_parse(path: Path) -> None:
    source, found = read(path)
    assert source is not None and not found
    file, found = parse(source)
    assert not found
    assert file.items and all(item.span.text for item in file.items)


def test_lines_count_from_the_first() -> None:
    file, found = parse(Source("std/process.spec", "process a {\n  b = *\n}\n", first_line=40))
    assert [(d.span.line, d.span.column) for d in found] == [(41, 7)]
    assert file.span.line == 40


def test_damaged_statements_are_left_out_and_the_rest_is_kept() -> None:
    file, found = parse(Source("test.spec", "a = 1\nb = * 2\nc = (,)\nd { e = * ; f = 1 }\ng = 2\n"))
    assert len(found) == 3
    assert [item.span.text[0] for item in file.items] == ["a", "d", "g"]


@pytest.mark.parametrize(
    ("text", "deep"),
    [
        ("x = " + "(" * 90 + "a" + ")" * 90, False),
        ("x = " + "(" * 101 + "a" + ")" * 101, True),
        ("k {\n" * 90 + "}\n" * 90, False),
        ("k {\n" * 101 + "}\n" * 101, True),
        ("x = a" + " + a" * 90, False),
        ("x = a" + " + a" * 5000, True),
        ("x = " + "-" * 5000 + "a", True),
        ("x = " + "not " * 5000 + "a", True),
        ("x = " + "a^" * 5000 + "a", True),
        ("x = " + "a => " * 5000 + "a", True),
        ("x = a" + "'" * 5000, True),
        ("x = a" + ".b" * 5000, True),
        ("x = " + "if a then b else " * 5000 + "a", True),
        ("if a { }" + " else if a { }" * 5000, True),
        ("if a { }" + " else if a { }" * 40, False),
        ("(" * 100_000, True),
        ("[{" * 100_000, True),
    ],
    ids=range(17),
)
def test_depth_is_bounded(text: str, deep: bool) -> None:
    file, found = parse(Source("test.spec", text))
    codes = {d.code for d in found}
    assert ("E0112" in codes) == deep, codes
    assert depth(file) <= 320


def depth(node: object) -> int:
    level, deepest = [node], 0
    while level:
        deepest += 1
        level = [
            child
            for parent in level
            for slot in (type(parent).__slots__ if isinstance(parent, tree.Node) else ())
            for value in [getattr(parent, slot)]
            for child in (value if isinstance(value, tuple) else (value,))
            if isinstance(child, tree.Node)
        ]
    return deepest


@pytest.mark.parametrize("line", ["x = f(a + 1, b)\n", "x = f(a + , b)\n", "k { x = 1\n", "x = f(a\n", "x = } ?\n"])
def test_work_is_linear(line: str) -> None:
    """Calls of functions, which no other load on the machine changes."""

    def calls(lines: int) -> int:
        source, count = Source("test.spec", line * lines), 0

        def seen(*_: object) -> None:
            nonlocal count
            count += 1

        sys.setprofile(seen)
        try:
            parse(source)
        finally:
            sys.setprofile(None)
        return count

    assert calls(2000) < 12 * calls(200) + 1000


def test_starting_is_quick_and_needs_no_lark() -> None:
    program = (
        "import sys, time; import specc.syntax.tree; start = time.perf_counter(); from specc.syntax.parser import parse\n"
        "from specc.source import Source; parse(Source('a', 'a = 1'))\n"
        "print(time.perf_counter() - start, 'lark' in sys.modules, 'importlib.resources' in sys.modules)"
    )
    seconds, *modules = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert modules == ["False", "False"]
    assert float(seconds) < 0.25  # 0.01 from bytecode; the bound is for a busy machine that compiles first


class TestRead:
    def codes(self, path: Path | str) -> list[str]:
        source, found = read(path)
        assert (source is None) == bool(found)
        return [d.code for d in found]

    def test_text(self, tmp_path: Path) -> None:
        path = tmp_path / "a.spec"
        path.write_bytes(b"\xef\xbb\xbfa = 1\r\nb = \r\n")
        source, _ = read(path)
        assert source is not None
        _, found = parse(source)
        assert [(d.span.line, d.span.column) for d in found] == [(2, 3)]

    def test_refusals(self, tmp_path: Path) -> None:
        path = tmp_path / "a.spec"
        assert self.codes(path) == ["E0151"]
        assert self.codes("a\0b") == ["E0151"]
        assert self.codes("a" * 5000) == ["E0151"]
        assert self.codes(tmp_path) == ["E0152"]
        for data, code in [
            (b"", "E0153"),
            (b" \n\t\n", "E0153"),
            (b"a = \xff\n", "E0154"),
            (b"a = 1\0\n", "E0154"),
            (b"#" * (10 * 2**20 + 1), "E0155"),
        ]:
            path.write_bytes(data)
            assert self.codes(path) == [code]
