"""Brackets and braces are matched before parsing, so that a missing one is reported at its opener and costs one message.

What is repaired here is a copy: a closer that was forgotten is put where the layout says that it belongs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from specc.diagnostics import Diagnostic, Label
from specc.source import Source, Span
from specc.syntax.depth import MAX_DEPTH
from specc.syntax.tokens import CLOSERS, OPEN_ENDED, OPENERS, Token


def match(source: Source, tokens: list[Token]) -> tuple[list[Token], list[Diagnostic]]:
    """The tokens with every delimiter in a pair, and what was wrong. Linear; well-formed text is returned as it is."""
    stack: list[str] = []
    for token in tokens:
        kind = token.kind
        if kind in CLOSERS:
            if len(stack) >= MAX_DEPTH:
                return [], [_too_deep(source, token)]
            if kind == "{" and stack and stack[-1] != "{":
                break
            stack.append(kind)
        elif kind in OPENERS and (not stack or CLOSERS[stack.pop()] != kind):
            break
    else:
        if not stack:
            return tokens, []
    repair = _Repair(source, tokens)
    repair.run()
    return repair.result(), repair.found


def _too_deep(source: Source, token: Token) -> Diagnostic:
    return Diagnostic(
        code="E0112",
        message=f"this is nested more than {MAX_DEPTH} levels deep",
        span=Span(source, token.start, token.stop),
        help="name the inner parts and use the names",
    )


@dataclass(slots=True)
class _Open:
    """A delimiter that waits for its partner."""

    at: int  # index of its token
    kind: str
    indent: int  # column of the first token on its line


@dataclass(slots=True)
class _Repair:
    """One walk over the tokens, keeping what is open; indentation says which brace was forgotten."""

    source: Source
    tokens: Sequence[Token]
    found: list[Diagnostic] = field(default_factory=list)
    stack: list[_Open] = field(default_factory=list)
    inserted: dict[int, list[str]] = field(default_factory=dict)
    dropped: set[int] = field(default_factory=set)
    partners: dict[int, int] = field(default_factory=dict)  # braces alone, as if there were no brackets

    def run(self) -> None:
        kinds = [t.kind for t in self.tokens]
        surplus = kinds.count("{") - kinds.count("}")
        self.pair_braces()
        indent, skip_to = 0, -1
        for i, token in enumerate(self.tokens):
            if i <= skip_to:
                self.dropped.add(i)
                continue
            kind = token.kind
            if token.fresh:
                indent = self.source.locate(token.start)[1]
                if surplus > 0 and kind != "EOF":
                    surplus -= self.close_by_layout(i, indent, surplus)
            if kind in CLOSERS:
                if kind == "{" and self.stack and self.stack[-1].kind != "{":
                    end = self.braces_in_expression(i)
                    if end:
                        skip_to = end
                        self.dropped.add(i)
                        continue
                    self.close_brackets(i)
                self.stack.append(_Open(i, kind, indent))
            elif kind in OPENERS:
                self.closer(i, kind)
            if len(self.stack) > MAX_DEPTH:
                self.found = [_too_deep(self.source, token)]
                self.tokens = ()
                return
        last = len(self.tokens) - 1
        while self.stack:
            self.close_brackets(last)
            if self.stack:
                self.forgotten([self.stack.pop()], last)

    def pair_braces(self) -> None:
        waiting: list[int] = []
        for i, token in enumerate(self.tokens):
            if token.kind == "{":
                waiting.append(i)
            elif token.kind == "}" and waiting:
                self.partners[waiting.pop()] = i

    def result(self) -> list[Token]:
        out: list[Token] = []
        for i, token in enumerate(self.tokens):
            for closer in self.inserted.get(i, ()):
                out.append(Token(closer, closer, token.start, token.start, False, ()))
            if i not in self.dropped:
                out.append(token)
        return out

    def closer(self, i: int, kind: str) -> None:
        wanted = OPENERS[kind]
        if kind == "}":
            self.close_brackets(i)
        if self.stack and self.stack[-1].kind == wanted:
            self.stack.pop()
            return
        token = self.tokens[i]
        top = self.stack[-1] if self.stack else None
        if top and top.kind != "{" and any(o.kind == wanted for o in self.stack[-3:]):
            openers = []
            while self.stack[-1].kind != wanted:
                openers.append(self.stack.pop())
            self.forgotten(openers, i)
            self.stack.pop()
            return
        labels: tuple[Label, ...] = ()
        if top and top.kind != "{":
            opener = self.tokens[top.at]
            labels = (Label(span=self.span(opener), text=f"this would be closed by `{CLOSERS[top.kind]}`"),)
            self.inserted.setdefault(i, []).append(CLOSERS[self.stack.pop().kind])
        self.dropped.add(i)
        message = f"`{kind}` closes nothing"
        help_ = f"take it out, or write the missing `{wanted}`"
        self.found.append(Diagnostic(code="E0103", message=message, span=self.span(token), labels=labels, help=help_))

    def close_by_layout(self, i: int, indent: int, surplus: int) -> int:
        """Close the braces whose line starts further right than line `i` (or as far, when it is not a `}`)."""
        closed = 0
        own = self.tokens[i].kind == "}"
        braces = [o for o in self.stack if o.kind == "{"]
        if own and not any(o.indent == indent for o in braces):
            return 0
        while braces and closed < surplus:
            if braces[-1].indent < indent or (own and braces[-1].indent == indent):
                break
            self.close_brackets(i)
            if not self.stack or self.stack[-1].kind != "{":
                break
            self.forgotten([self.stack.pop()], i)
            braces.pop()
            closed += 1
        return closed

    def close_brackets(self, i: int) -> None:
        openers = []
        while self.stack and self.stack[-1].kind != "{":
            openers.append(self.stack.pop())
        while openers:  # those on one line share a message
            line = self.line_of(openers[0])
            together = [o for o in openers if self.line_of(o) == line]
            openers = openers[len(together) :]
            self.forgotten(together, i)

    def line_of(self, opener: _Open) -> int:
        return self.source.locate(self.tokens[opener.at].start)[0]

    def forgotten(self, openers: list[_Open], limit: int) -> None:
        """Report openers without partners, innermost first, and put the partners at the end of the innermost one's line,
        or before `limit` at the latest."""
        outer = openers[-1]
        place = limit
        if outer.kind != "{":
            for j in range(openers[0].at + 1, limit):
                if self.tokens[j].fresh and self.tokens[j - 1].kind not in OPEN_ENDED:
                    place = j
                    break
        closers = [CLOSERS[o.kind] for o in openers]
        self.inserted.setdefault(place, []).extend(closers)
        what = {"{": "this block", "(": "this parenthesis", "[": "this bracket"}[outer.kind]
        self.found.append(
            Diagnostic(
                code="E0102",
                message=f"{what} is never closed",
                span=self.span(self.tokens[outer.at]),
                caption="opened here",
                help=f"write the missing `{''.join(closers)}`",
            )
        )

    def braces_in_expression(self, i: int) -> int:
        """When `{ ... }` stands whole inside brackets, report it and say where it ends; else 0: a bracket was forgotten."""
        end = self.partners.get(i, 0)
        after = self.tokens[end + 1]  # there is one: the end of the file
        if not end or after.fresh or after.kind in ("{", "}", ";", "EOF"):
            return 0
        if any(self.tokens[j].fresh for j in range(i + 1, end)):
            return 0
        span = Span(self.source, self.tokens[i].start, self.tokens[end].stop)
        message = "braces do not occur inside an expression"
        help_ = "a list is `[a, b]`; named values are arguments: `f(a = 1)`"
        self.found.append(Diagnostic(code="E0116", message=message, span=span, help=help_))
        return end

    def span(self, token: Token) -> Span:
        return Span(self.source, token.start, token.stop)
