"""`specc fmt`: one spelling for every spec, made from its tokens so that no comment is lost.

Two spaces an indent and one statement a line. What the author broke stays broken: a statement that goes on over several
lines keeps its lines, and a block on one line keeps to it while it fits.
"""

from __future__ import annotations

from specc.diagnostics import Diagnostic
from specc.source import Source
from specc.syntax.lexer import lex
from specc.syntax.parser import parse
from specc.syntax.tokens import LEADING_WORDS, OPERAND_ENDS, OPERAND_STARTS, Token

WIDTH = 128
TIGHT_BEFORE = frozenset((",", ")", "]", "'", ".", ":", "^", ".."))
TIGHT_AFTER = frozenset(("(", "[", ".", "^", ".."))


def format_text(source: Source) -> str | tuple[Diagnostic, ...]:
    """The text as it should be; for a text with errors, the errors. Formatting twice changes nothing more."""
    _, found = parse(source)
    if any(d.severity == "error" for d in found):
        return found
    return _Printer(source, lex(source)[0]).run()


class _Printer:
    """Writes lines from tokens; `line` is the one being written."""

    def __init__(self, source: Source, tokens: tuple[Token, ...]) -> None:
        self.source = source
        self.tokens = tokens
        self.lines: list[str] = []
        self.line = ""
        self.partner: dict[int, int] = {}  # index of each `{` to that of its `}`
        self.flat: set[int] = set()  # the `{` of blocks on one line
        self.minus: set[int] = set()  # the `-` that are signs
        stack: list[int] = []
        for i, token in enumerate(tokens):
            if token.kind == "{":
                stack.append(i)
            elif token.kind == "}":
                self.partner[stack[-1]] = i
                if not token.fresh and not any(tokens[j].fresh for j in range(stack[-1] + 1, i)):
                    self.flat.add(stack[-1])
                stack.pop()
            elif token.kind == "-" and (i == 0 or tokens[i - 1].kind not in OPERAND_ENDS):
                self.minus.add(i)

    def run(self) -> str:
        self.statements(0, len(self.tokens) - 1, 0)
        self.between(self.tokens[-1], 0, last=True)
        return "".join(line.rstrip() + "\n" for line in self.lines)

    def statements(self, at: int, stop: int, indent: int) -> None:
        """Write the statements of tokens `at` to `stop`, a line or more each."""
        while at < stop:
            self.between(self.tokens[at], indent)
            at = self.statement(at, indent)

    def statement(self, at: int, indent: int) -> int:
        """Write one statement; the index after its end."""
        first, depth, fits = at, 0, self.fits(at, indent)
        self.line = " " * indent
        while (token := self.tokens[at]).kind != "END":
            kind = token.kind
            depth -= kind in (")", "]")
            if at > first:
                self.inside(at, indent + (2 * depth if depth or kind in (")", "]") else 4), indent)
            depth += kind in ("(", "[")
            if kind != "{":
                piece = self.piece(at, first)
                self.line += piece if self.line.strip() else piece.lstrip()
                at += 1
                continue
            close = self.partner[at]
            if fits and at in self.flat:
                self.line += self.flat_block(at)
            else:
                self.flush((self.line + " {") if self.line.strip() else " " * indent + "{")
                self.statements(at + 1, close, indent + 2)
                self.between(self.tokens[close], indent + 2, last=True)
                self.line = " " * indent + "}"
            at = close + 1
        self.flush(self.line + (";" if self.needs_semicolon(at + 1) else ""))
        return at + 1

    def inside(self, at: int, indent: int, statement_indent: int) -> None:
        """Before token `at`, which is not its statement's first: its comments, and the line break that the author made."""
        token = self.tokens[at]
        comments = [t for t in token.trivia if t.kind != "blank"]
        if not token.fresh or (token.kind == "else" and not comments):
            return
        if token.kind == "else":
            indent = statement_indent
        self.flush(self.line)
        for comment in comments:
            self.comment(comment.kind == "trailing", comment.text, comment.start, indent)
        self.line = " " * indent

    def between(self, token: Token, indent: int, last: bool = False) -> None:
        """Comments and single blank lines before a statement, or before what closes the block."""
        blank = False
        for trivia in token.trivia:
            if trivia.kind == "blank":
                blank = True
                continue
            self.blank(blank)
            blank = False
            self.comment(trivia.kind == "trailing", trivia.text, trivia.start, indent)
        self.blank(blank and not last)

    def blank(self, wanted: bool) -> None:
        if wanted and self.lines and self.lines[-1] and not self.opens(self.lines[-1]):
            self.lines.append("")

    def opens(self, line: str) -> bool:
        return line.endswith("{") and not line.lstrip().startswith("#")

    def comment(self, trailing: bool, text: str, start: int, indent: int) -> None:
        """A comment; after code it keeps its column where that leaves two spaces."""
        if len(text) > 1 and text[1].isalnum():
            text = "# " + text[1:]
        if trailing and self.lines:
            column = self.source.locate(start)[1] - 1
            self.lines[-1] = self.lines[-1].ljust(max(column, len(self.lines[-1]) + 2)) + text
        else:
            self.lines.append(" " * indent + text)

    def flush(self, line: str) -> None:
        self.lines.append(line.rstrip())

    def flat_block(self, at: int) -> str:
        """A block on one line, from the space before its brace."""
        pieces: list[str] = [""]
        stop = self.partner[at]
        i = first = at + 1
        while i < stop:
            if self.tokens[i].kind == "END":
                pieces.append("")
                i = first = i + 1
            elif self.tokens[i].kind == "{":
                pieces[-1] += self.flat_block(i)
                i = self.partner[i] + 1
            else:
                pieces[-1] += self.piece(i, first)
                i += 1
        inner = "; ".join(p for p in pieces if p)
        return f" {{ {inner} }}" if inner else " { }"

    def piece(self, at: int, first: int) -> str:
        """A token with the space before it."""
        text = self.tokens[at].text
        return " " + text if at > first and self.spaced(at) else text

    def spaced(self, at: int) -> bool:
        before, here = self.tokens[at - 1].kind, self.tokens[at].kind
        if before == ",":
            return here not in (")", "]")
        if here in TIGHT_BEFORE or before in TIGHT_AFTER or at - 1 in self.minus:
            return False
        if here in ("(", "["):
            return before not in OPERAND_ENDS
        return not (before == ":" and self.in_index(at - 1))

    def in_index(self, at: int) -> bool:
        """Whether the colon at token `at` is a slice's: the innermost bracket is `[`."""
        depth = 0
        for i in range(at - 1, -1, -1):
            kind = self.tokens[i].kind
            if kind in (")", "]"):
                depth += 1
            elif kind in ("(", "["):
                if depth == 0:
                    return kind == "["
                depth -= 1
            elif kind in ("END", "{", "}"):
                return False
        return False

    def needs_semicolon(self, at: int) -> bool:
        """Whether the statement at token `at` would be read, on a line of its own, as going on from the one before."""
        if at + 1 >= len(self.tokens):
            return False
        token, after = self.tokens[at], self.tokens[at + 1]
        return token.kind == "-" or (token.text in LEADING_WORDS and (after.kind in OPERAND_STARTS or after.kind == "{"))

    def fits(self, at: int, indent: int) -> bool:
        """Whether the lines of a statement are short enough with its one-line blocks left on them."""
        first, width = at, indent
        while (token := self.tokens[at]).kind != "END" and width <= WIDTH:
            if token.fresh and at > first and token.kind != "else":
                width = indent + 4
            if token.kind != "{":
                width += len(token.text) + (at > first and self.spaced(at))
            elif at in self.flat:
                width += len(self.flat_block(at))
                at = self.partner[at]
            else:
                width = indent + 1
                at = self.partner[at]
            at += 1
        return width <= WIDTH
