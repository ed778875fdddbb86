"""The tables are those of the grammar, the grammar has no conflicts, and Lark's own parser agrees with the machine."""

from __future__ import annotations

import json
import logging
from functools import cache
from typing import Any

import lark
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lark.lexer import Token as LarkToken
from syntax_helpers import SPECS

from specc.source import Source
from specc.syntax import build, tables
from specc.syntax.lexer import lex
from specc.syntax.parser import _Machine
from specc.syntax.parser import tables as loaded
from specc.syntax.tokens import Token

GRAMMAR = tables._read(tables.GRAMMAR).decode()


@cache
def oracle() -> tuple[Any, dict[str, str]]:
    parser = tables.oracle(GRAMMAR)
    return parser, {spelling: name for name, spelling in tables.spellings(parser).items()}


def test_tables_are_fresh() -> None:
    shipped = json.loads(tables._read(tables.TABLES))
    assert shipped == tables.build(GRAMMAR), "run: python -m specc.syntax.tables"


def test_a_stale_table_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = GRAMMAR + "\n// a change\n"
    shipped = tables._read(tables.TABLES)
    monkeypatch.setattr(tables, "_read", lambda name: changed.encode() if name == tables.GRAMMAR else shipped)
    asked = []
    monkeypatch.setattr(tables, "build", lambda grammar: asked.append(grammar) or json.loads(shipped))
    tables.load()
    assert asked == [changed]


def test_the_grammar_has_no_conflicts(caplog: pytest.LogCaptureFixture) -> None:
    lark.logger.setLevel(logging.DEBUG)
    try:
        with caplog.at_level(logging.DEBUG):
            lark.Lark(GRAMMAR, parser="lalr", debug=True, lexer=_NoLexer)
    finally:
        lark.logger.setLevel(logging.CRITICAL)
    assert "conflict" not in caplog.text.lower()


class _NoLexer(lark.lexer.Lexer):
    def __init__(self, conf: Any) -> None: ...

    def lex(self, lexer_state: Any, parser_state: Any) -> Any:
        return iter(())


def test_every_alias_is_a_method() -> None:
    for rule in loaded().rules:
        assert not rule.action or callable(getattr(build.Builder, rule.action))
        assert rule.action or rule.size == 1


def accepted_by_lark(tokens: tuple[Token, ...]) -> bool:
    parser, names = oracle()
    handed = [LarkToken(names.get(t.kind, t.kind), t.text) for t in tokens if t.kind != "$END"]
    try:
        parser.parse(handed)
    except lark.exceptions.UnexpectedInput:
        return False
    return True


def accepted_by_us(tokens: tuple[Token, ...]) -> bool:
    machine = _Machine(Source("test.spec", " " * 400), tokens, (), loaded())
    reports: list[int] = []
    recover = machine.recover
    machine.recover = lambda at: (reports.append(at), recover(at))[1]  # type: ignore[method-assign]
    machine.run()
    return not reports


@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
def test_lark_accepts_the_specs(path: Any) -> None:
    tokens, _ = lex(Source(path.name, path.read_text()))
    assert accepted_by_lark(tokens)


PIECES = (
    (
        "a b f 1 2.5 'x' ( ) [ ] , : = ~ -> => . + - * ^ .. |> < and or not if then else for in k { } ; "
        "minimize over require return while limit true tag with"
    )
    .replace("'x'", '"x"')
    .split()
)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=14))
def test_lark_agrees(pieces: list[str]) -> None:
    tokens, found = lex(Source("test.spec", " ".join(pieces)))
    if not found:
        assert accepted_by_us(tokens) == accepted_by_lark(tokens)
