"""The parser's tables: made by Lark from `grammars/specc.lark`, kept beside it as JSON, so that parsing needs no Lark.

Run `python -m specc.syntax.tables` after a change of the grammar; until then the stale file is noticed and Lark is asked.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any, NamedTuple

from specc.installed import folder

PACKAGE = "specc.grammars"
GRAMMAR = "specc.lark"
TABLES = "specc.tables.json"


class Rule(NamedTuple):
    """One production: what it makes, of how many symbols, and the builder's method ("" hands a single child through)."""

    origin: str
    size: int
    action: str


class Tables(NamedTuple):
    """LALR(1) tables; state 0 begins. A row leads from a terminal to a state (shift) or to ~rule (reduce, negative),
    and from a nonterminal to a state."""

    rows: tuple[dict[str, int], ...]
    rules: tuple[Rule, ...]
    end: int


def load() -> Tables:
    """The tables of the grammar as installed."""
    grammar = _read(GRAMMAR)
    try:
        document = json.loads(_read(TABLES))
    except (OSError, ValueError):
        document = None
    if document is None or document["grammar"] != zlib.crc32(grammar):
        document = build(grammar.decode())
    return Tables(rows=tuple(document["rows"]), rules=tuple([Rule(*rule) for rule in document["rules"]]), end=document["end"])


def build(grammar: str) -> dict[str, Any]:
    """The JSON document of a grammar's tables; a conflict in the grammar is an error."""
    from lark.parsers.lalr_analysis import Shift

    lark = oracle(grammar)
    table = lark.parser.parser._parse_table
    spelling = spellings(lark)
    assert not {r.origin.name for r in lark.rules} & set(spelling.values()), "a rule is named as a word is spelled"
    numbers = {rule: n for n, rule in enumerate(lark.rules)}
    rows = {
        state: {spelling.get(k, k): (kind is Shift, target) for k, (kind, target) in row.items()}
        for state, row in table.states.items()
    }
    # Lark's numbering of states changes from run to run: number them as they are reached, so that the file does not.
    order = {table.start_states["start"]: 0}
    waiting = list(order)
    for state in waiting:
        for _, (shift, target) in sorted(rows[state].items()):
            if shift and target not in order:
                order[target] = len(order)
                waiting.append(target)
    return {
        "grammar": zlib.crc32(grammar.encode()),
        "end": order[table.end_states["start"]],
        "rules": [[r.origin.name, len(r.expansion), r.alias or ""] for r in lark.rules],
        "rows": [{k: order[x] if shift else ~numbers[x] for k, (shift, x) in sorted(rows[s].items())} for s in order],
    }


def oracle(grammar: str) -> Any:
    """Lark's own parser of the grammar, which reads tokens that are handed to it."""
    import lark
    from lark.lexer import Lexer

    class Handed(Lexer):
        def __init__(self, conf: Any) -> None: ...

        def lex(self, tokens: Any) -> Any:  # type: ignore[override]
            return iter(tokens)

    return lark.Lark(grammar, parser="lalr", lexer=Handed, keep_all_tokens=True, maybe_placeholders=False)


def spellings(lark: Any) -> dict[str, str]:
    """Lark's names of terminals that are spelled in the grammar, to their spelling: LPAR to `(`."""
    return {t.name: t.pattern.value for t in lark.terminals if t.pattern is not None} | {"$END": "$END"}


def write() -> Path:
    """Write the tables beside the grammar."""
    target = folder(PACKAGE) / TABLES
    document = build(_read(GRAMMAR).decode())
    parts = [f'"{k}": {json.dumps(document[k])}' for k in ("grammar", "end")]
    parts += [f'"{k}": [\n' + ",\n".join(json.dumps(x) for x in document[k]) + "\n]" for k in ("rules", "rows")]
    target.write_text("{" + ",\n".join(parts) + "}\n", encoding="utf-8")
    return target


def _read(name: str) -> bytes:
    return (folder(PACKAGE) / name).read_bytes()


if __name__ == "__main__":
    print(write())
