"""Tokens to tree: an LALR(1) machine over Lark's tables that builds nodes as it reduces, and goes on after an error.

Lark generates the tables and is what the tests compare with; the machine here is forty lines, starts in a millisecond and
needs no third-party module.
"""

from __future__ import annotations

import gc
import sys
from bisect import bisect_left
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any

from specc.diagnostics import Diagnostic
from specc.source import Source, Span
from specc.syntax import tree
from specc.syntax.build import Builder
from specc.syntax.expect import unexpected
from specc.syntax.lexer import lex
from specc.syntax.tables import Tables, load
from specc.syntax.tokens import Token

MAX_ERRORS = 100
MAX_BYTES = 10 * 2**20
STDIN = Path("-")

tables = cache(load)


def parse(source: Source) -> tuple[tree.File, tuple[Diagnostic, ...]]:
    """The tree of a text, and all that is wrong with its form. Statements with an error are left out of the tree."""
    collecting = gc.isenabled()
    gc.disable()  # nothing here makes cycles, and the collector's walks would make long files slower than linear
    try:
        tokens, found = lex(source)
        machine = _Machine(source, tokens, found, tables())
        items = machine.run()
    finally:
        if collecting:
            gc.enable()
    file = tree.File(span=Span(source, 0, len(source.text)), items=tuple(items))
    every = {(d.code, d.span.start, d.message): d for d in (*found, *machine.builder.found)}
    return file, tuple(sorted(every.values(), key=lambda d: d.span.start)[:MAX_ERRORS])


def read(path: Path | str) -> tuple[Source | None, tuple[Diagnostic, ...]]:
    """A file as a source, or why it cannot be one. `-` is what comes in on stdin."""
    path = Path(path)
    nowhere = Span(Source(str(path), ""), 0, 0)

    def refuse(code: str, message: str, help_: str) -> tuple[None, tuple[Diagnostic, ...]]:
        return None, (Diagnostic(code=code, message=message, span=nowhere, help=help_),)

    try:
        if path.is_dir():
            return refuse("E0152", f"`{path}` is a folder, not a spec", "name one of the files in it")
        with nullcontext(sys.stdin.buffer) if path == STDIN else path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)  # a device has no size, and may have no end
        if len(data) > MAX_BYTES:
            return refuse("E0155", f"`{path}` is larger than 10 MB", "a spec is a few kilobytes of text")
    except FileNotFoundError:
        return refuse("E0151", f"there is no file `{path}`", "check the spelling and the folder")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "the name is not one"
        return refuse("E0151", f"`{path}` cannot be read: {reason}", "check its name and its permissions")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return refuse("E0154", f"`{path}` is not UTF-8 text (line {line})", "save it as UTF-8")
    if "\0" in text:
        return refuse("E0154", f"`{path}` holds zero bytes: it is not a text", "name a spec")
    if not text.strip():
        return refuse("E0153", f"`{path}` is empty", "a spec begins with `specc 1`")
    return Source(str(path), text), ()


class _Machine:
    """The state of one parse: two stacks in step, and a place in the tokens."""

    def __init__(self, source: Source, tokens: tuple[Token, ...], found: tuple[Diagnostic, ...], tables: Tables) -> None:
        self.source = source
        self.tokens = tokens
        self.rows = tables.rows
        self.tables = tables
        self.builder = Builder(source, tokens[0])
        self.damaged = [d.span.start for d in found]  # sorted: where the lexer has complained already
        self.quiet: set[int] = set()  # tokens after a block that was parsed for its statements only
        self.recovered_at = -1
        self.states = [0]
        self.values: list[Any] = []

    def run(self) -> list[tree.Statement]:
        """The statements of the file. Linear: each token is shifted once, and errors are at most `MAX_ERRORS`."""
        rows, states, values, tokens = self.rows, self.states, self.values, self.tokens
        rules: list[tuple[str, int, Callable[[list[Any]], Any] | None]] = [
            (r.origin, r.size, getattr(self.builder, r.action) if r.action else None) for r in self.tables.rules
        ]
        chains: dict[tuple[int, int, str], int] = {}  # where runs of single-child reductions end
        end = self.tables.end
        at = 0
        token = tokens[0]
        kind = token.kind
        row = rows[0]
        while True:
            action = row.get(kind)
            if action is None:
                at = self.recover(at)
                if at < 0:
                    return self.remains()
                token = tokens[at]
                kind = token.kind
                row = rows[states[-1]]
            elif action >= 0:
                states.append(action)
                values.append(token)
                row = rows[action]
                at += 1
                token = tokens[at]
                kind = token.kind
            else:
                origin, size, build = rules[~action]
                if build is None:
                    key = (states[-2], states[-1], kind)
                    state = chains.get(key)
                    if state is None:
                        state = chains[key] = self.chain(kind, rules)
                    states[-1] = state
                    row = rows[state]
                    continue
                if size:
                    children = values[-size:]
                    del values[-size:], states[-size:]
                    values.append(build(children))
                else:
                    values.append(build([]))
                state = rows[states[-1]][origin]
                states.append(state)
                if state == end:
                    items: list[tree.Statement] = values[-1]
                    return items
                row = rows[state]

    def chain(self, kind: str, rules: list[tuple[str, int, Any]]) -> int:
        """The state after all the reductions that only hand one value through."""
        below, state = self.states[-2], self.states[-1]
        while True:
            action = self.rows[state].get(kind, 0)
            if action >= 0 or rules[~action][2] is not None or rules[~action][1] != 1:
                return state
            state = self.rows[below][rules[~action][0]]

    def remains(self) -> list[tree.Statement]:
        """The statements at the top of the file that were whole when the parse was given up."""
        items = self.values[0] if self.values and isinstance(self.values[0], list) else []
        return [x for x in items if isinstance(x, tree.Node)]  # type: ignore[misc]

    def recover(self, at: int) -> int:
        """Report what is at token `at`, drop the statement, and say at which token to go on; -1 to give up."""
        tokens, states, values = self.tokens, self.states, self.values
        if at == self.recovered_at:
            return -1
        self.recovered_at = at
        report = unexpected(self.tables, self.states_before(at), tokens, at, self.source)
        resume = at
        if report.code == "E0116":
            resume = self.after_braces(at)
        while tokens[resume].kind not in ("END", "}", "$END", "{"):
            resume += 1
        if at not in self.quiet and not self.is_damaged(at, resume):
            self.builder.found.append(report)
            if len(self.builder.found) >= MAX_ERRORS:
                return -1
        bottom = self.statement_bottom()
        del states[bottom + 1 :], values[bottom:]
        if "item" not in self.rows[states[-1]]:
            states.append(self.rows[states[-1]]["items"])
            values.append([])
        if tokens[resume].kind == "{":
            self.builder.stray_blocks.add(tokens[resume].start)
            self.quiet.add(self.after_braces(resume))
        return resume + 1 if tokens[resume].kind == "END" else resume

    def statement_bottom(self) -> int:
        """Where in the stack the list of statements is that the present statement would join."""
        place, braces = len(self.values), 0
        while True:
            row = self.rows[self.states[place]]
            if not braces and ("item" in row or "items" in row):
                return place
            place -= 1
            value = self.values[place]
            if isinstance(value, Token):
                braces += (value.kind == "}") - (value.kind == "{")

    def states_before(self, at: int) -> list[int]:
        """The stack of states as it was before token `at` was looked at: reductions that it caused say less of what fits."""
        states = self.states[: self.statement_bottom() + 1]
        if "item" not in self.rows[states[-1]]:
            return states
        depth, first = 0, at
        while first > 0:
            kind = self.tokens[first - 1].kind
            depth += (kind == "}") - (kind == "{")
            if depth < 0 or (depth == 0 and kind == "END"):
                break
            first -= 1
        for token in self.tokens[first:at]:
            while (action := self.rows[states[-1]].get(token.kind, 0)) < 0:
                rule = self.tables.rules[~action]
                del states[len(states) - rule.size :]
                states.append(self.rows[states[-1]][rule.origin])
            states.append(action)
        return states

    def is_damaged(self, at: int, resume: int) -> bool:
        """Whether the lexer has complained about the statement that ends at token `resume`: one message is enough."""
        first = at
        while first > 0 and self.tokens[first - 1].kind not in ("END", "{", "}"):
            first -= 1
        place = bisect_left(self.damaged, self.tokens[first].start)
        line_end = self.source.text.find("\n", self.tokens[resume].stop) % (len(self.source.text) + 1)
        last = min(line_end, self.tokens[min(resume + 1, len(self.tokens) - 1)].start)
        return place < len(self.damaged) and self.damaged[place] <= last

    def after_braces(self, at: int) -> int:
        """The token after the `}` that closes the `{` at token `at`."""
        depth = 0
        while True:
            depth += (self.tokens[at].kind == "{") - (self.tokens[at].kind == "}")
            at += 1
            if depth == 0:
                return at
