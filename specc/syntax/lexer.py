"""The lexer: where statements end, and which words head a section or a clause.

Hardly any word is reserved. Two values never stand side by side in an expression, so a name at the start of a statement
that another value follows is a section's kind, and a name that follows a value elsewhere is a clause's word.
"""

from __future__ import annotations

from specc.diagnostics import Diagnostic
from specc.source import Source, Span
from specc.syntax import delimiters
from specc.syntax.scan import scan
from specc.syntax.tokens import (
    LEADING,
    LEADING_WORDS,
    OPEN_ENDED,
    OPERAND_ENDS,
    OPERAND_STARTS,
    RESERVED,
    STATEMENT_WORDS,
    Token,
)

CLAUSE_WORDS = LEADING_WORDS | {"for", "in"}
VALUE_STARTS = frozenset(("NAME", "NUMBER", "STRING", "BOOL"))
HEAD_WORDS = {"for": "in", "while": "limit", "import": "as"}
"""What a statement's first word makes of a later one."""

FOREIGN_WORDS = {
    "def": "a function is `f(x) = ...`, or `f(x) { ... return ... }`",
    "func": "a function is `f(x) = ...`, or `f(x) { ... return ... }`",
    "fn": "a function is `f(x) = ...`, or `f(x) { ... return ... }`",
    "let": "a value is bound by `a = ...` alone",
    "var": "a value is bound by `a = ...` alone; state that `update` changes is `state a: scalar = 0`",
    "const": "a value is bound by `a = ...` alone",
}

STATIC_HELP = {
    "if": "a test that is known while compiling is resolved then without being asked: write `if`",
    "while": "use `static for i in 1..n`, or leave `static` out",
    "repeat": "`repeat` is always unrolled: leave `static` out",
}

NO_END = frozenset(("END", "{", ""))


def lex(source: Source) -> tuple[tuple[Token, ...], tuple[Diagnostic, ...]]:
    """The tokens that the grammar reads, ending with "$END"; nesting that is too deep leaves only that one."""
    raw, odd = scan(source)
    matched, unmatched = delimiters.match(source, raw)
    if not matched:
        return (Token("$END", "", len(source.text), len(source.text), True, ()),), (*odd, *unmatched)
    words = _Words(source, matched)
    tokens = words.run()
    return tuple(tokens), tuple(sorted((*odd, *unmatched, *words.found), key=lambda d: d.span.start))


class _Words:
    """One walk over matched tokens that ends statements and classifies names."""

    def __init__(self, source: Source, tokens: list[Token]) -> None:
        self.source = source
        self.raw = tokens
        self.found: list[Diagnostic] = []

    def run(self) -> list[Token]:
        raw = self.raw
        out: list[Token] = []
        add = out.append
        brackets = 0  # depth of ( and [ around this place; a brace never stands inside them
        begins, head, prev = True, "", ""
        for i, token in enumerate(raw):
            kind = token.kind
            if token.fresh and not brackets and prev not in NO_END and not self.goes_on(i, prev):
                add(self.end(out[-1]))
                begins, head, prev = True, "", "END"
            if kind == "NAME":
                if begins:
                    kind = head = self.first_word(i)
                elif prev in OPERAND_ENDS or prev == "}":
                    kind = self.later_word(i, head, brackets)
                elif prev == "static":
                    kind = head = "for"
                elif prev == "extern":
                    kind = head = "KIND"
                elif prev in ("WORD", "KIND") and not brackets:
                    kind = self.after_word(i)
                if not kind:
                    continue
                if kind == "elif":
                    self.report(token, "E0109", "`elif` is not a word of specc", "write `else if`")
                    add(token._replace(kind="else", text="else"))
                    token, kind = token._replace(kind="if", text="if", trivia=()), "if"
                if kind != "NAME":
                    token = token._replace(kind=kind)
            elif prev == "." and token.text in RESERVED:
                kind = "NAME"
                token = token._replace(kind=kind)
            elif kind in ("(", "["):
                brackets += 1
            elif kind in (")", "]"):
                brackets -= 1
            elif kind == "{":
                add(token)
                begins, head, prev = True, "", "{"
                continue
            elif kind == ";":
                if prev not in NO_END:
                    add(token._replace(kind="END"))
                    prev = "END"
                elif token.trivia and i + 1 < len(raw):
                    raw[i + 1] = raw[i + 1]._replace(trivia=token.trivia + raw[i + 1].trivia)
                begins, head = True, ""
                continue
            elif kind in ("}", "EOF"):
                if prev not in NO_END:
                    add(self.end(out[-1]))
                if kind == "EOF":
                    add(token._replace(kind="$END"))
                    break
            add(token)
            begins, prev = False, kind
        return out

    def end(self, last: Token) -> Token:
        return Token("END", "", last.stop, last.stop, False, ())

    def goes_on(self, i: int, prev: str) -> bool:
        """Whether the newline before token `i` does not end the statement."""
        token = self.raw[i]
        kind = token.kind
        if kind == "{":
            self.report(token, "E0110", "this `{` begins a line of its own", "a block opens on the line that it belongs to")
            return True
        if kind == "EOF" or kind == "}":
            return False
        if prev in OPEN_ENDED or kind in LEADING:
            return True
        if kind == "NAME" and token.text == "elif":
            return prev == "}"
        if kind == "NAME" and token.text in LEADING_WORDS:
            after = self.raw[i + 1]
            return after.kind in OPERAND_STARTS or (token.text == "with" and after.kind == "{")
        return False

    def report(self, token: Token, code: str, message: str, help_: str) -> None:
        self.found.append(Diagnostic(code=code, message=message, span=Span(self.source, token.start, token.stop), help=help_))

    def first_word(self, i: int) -> str:
        """The kind of a name that begins a statement; "" to leave it out."""
        token, after = self.raw[i], self.raw[i + 1]
        text, next_kind = token.text, after.kind
        if after.fresh and next_kind != "{":
            return text if text == "return" else "NAME"
        if text in STATEMENT_WORDS and (kind := self.statement_word(text, i)):
            return kind if kind != "NAME" else ""
        if text in FOREIGN_WORDS and next_kind == "NAME":
            self.report(token, "E0109", f"`{text}` is not a word of specc", FOREIGN_WORDS[text])
            return ""
        if text == "extern" and next_kind == "NAME":
            third = self.raw[i + 2]
            if third.kind in ("NAME", "STRING") and not third.fresh and third.text not in CLAUSE_WORDS:
                return "extern"
        return "KIND" if next_kind in VALUE_STARTS or next_kind == "{" else "NAME"

    def statement_word(self, text: str, i: int) -> str:
        """The keyword that a statement's first word is; "NAME" to leave it out, "" when it is a name like any other."""
        token, after = self.raw[i], self.raw[i + 1]
        match text:
            case "static" if after.text in ("if", "while", "repeat"):
                self.report(token, "E0120", f"`static` belongs before `for`, not `{after.text}`", STATIC_HELP[after.text])
                return "NAME"
            case "static":
                return text if after.text == "for" and self.raw[i + 2].kind in ("NAME", "(") else ""
            case "import":
                return text if after.kind in ("STRING", "NAME") else ""
            case "specc":
                return text if after.kind == "NUMBER" else ""
            case "return" if after.kind in (";", "}", "EOF", "{"):
                return text
            case "for" | "while" | "repeat" if after.kind == "{":
                return text
            case "update" | "repeat" if after.start == token.stop and not (text == "repeat" and self.block_follows(i + 1)):
                return ""
            case "for":
                return text if after.kind in VALUE_STARTS or after.kind == "(" else ""
            case _:
                return text if after.kind in OPERAND_STARTS else ""

    def block_follows(self, i: int) -> bool:
        """Whether the parenthesis opened at token `i` closes before a `{`."""
        depth = 0
        for j in range(i, len(self.raw)):
            depth += (self.raw[j].kind == "(") - (self.raw[j].kind == ")")
            if depth <= 0:
                return self.raw[j].kind == ")" and self.raw[j + 1].kind == "{"
        return False

    def later_word(self, i: int, head: str, brackets: int) -> str:
        """The kind of a name that follows a value."""
        text = self.raw[i].text
        if brackets:
            return text if text in ("for", "in") else "NAME"
        if HEAD_WORDS.get(head) == text:
            return text
        if text == "elif" and self.raw[i - 1].kind == "}":
            return text
        if text == "with" and self.raw[i + 1].kind == "{":
            return "with"
        return "WORD"

    def after_word(self, i: int) -> str:
        """The kind of a name that follows a kind or a clause's word: its value, unless it is plainly the next clause."""
        token, after = self.raw[i], self.raw[i + 1]
        text = token.text
        if text == "with" and after.kind == "{":
            return "with"
        apart = after.start > token.stop and not after.fresh  # `over (x, v)`, not the call `over(x)`
        follows = apart and (after.kind in VALUE_STARTS or after.kind in ("[", "("))
        return "WORD" if text in CLAUSE_WORDS and follows else "NAME"
