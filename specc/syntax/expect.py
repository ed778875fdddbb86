"""What to say about a token that does not fit: what was found, what could have stood there, and the way out."""

from __future__ import annotations

from specc.diagnostics import Diagnostic
from specc.source import Source, Span
from specc.syntax.tables import Tables
from specc.syntax.tokens import CLOSERS, INFIX, OPERAND_ENDS, RESERVED, Token

VALUE_STARTS = frozenset(("NAME", "NUMBER", "STRING", "BOOL", "(", "["))

WORDS = {
    "NAME": "a name",
    "(": "`(`",
    "KIND": "the kind of a section",
    "STRING": "a quoted text",
    "NUMBER": "a number",
    "END": "the end of the line",
    "WORD": "a clause",
    "{": "a block `{ ... }`",
}
"""How terminals are called when they are expected; the others are shown as they are spelled."""

BESIDE = frozenset(("NAME", "NUMBER", "STRING", "BOOL", "WORD", "for", "in", "not", "if"))
APART = "write `;` or a new line between two statements"
JOINED = "an operator is missing, or the `;` between two statements"
CLAUSELESS = "this statement takes no clauses; write `;` or a new line between two statements"
VALUES = "a value is a name, a number, a text, a call or `( ... )`"
INNER = "`,` parts values, and a product needs its `*`"
HEADS = frozenset(("if", "while", "repeat", "in", "limit"))

SHOWN = (")", "]", ",", "=", "in", "limit", "then", "else", "as", "{", "for", "WORD", "END")
"""What is worth naming beside an operator, in this order."""

Finding = tuple[str, str, str]  # code, message, help


def unexpected(tables: Tables, states: list[int], tokens: tuple[Token, ...], at: int, source: Source) -> Diagnostic:
    """The diagnostic of token `at`, which the machine in `states` cannot take."""
    token = tokens[at]
    last = tokens[at - 1] if at else None
    rules = {rule.origin for rule in tables.rules}
    fits = {kind for kind in tables.rows[states[-1]] if kind not in rules and accepts(tables, states, kind)}
    if "{" in fits:
        fits.discard("then")  # an `if` at the start of a statement wants its block
    for j in range(max(1, at - 2), at):
        if tokens[j].fresh and tokens[j - 1].kind in INFIX and not fits & {")", "]"}:
            return line_went_on(tokens[j - 1], source)
    code, message, help_ = special(token, last, fits, tokens, at) or (
        "E0101",
        f"expected {expectation(fits)}, found {found(token)}",
        general_help(token, fits),
    )
    span = Span(source, token.start, token.stop)
    if token.kind in ("END", "$END") and last is not None:
        span = Span(source, last.start, last.stop)
    return Diagnostic(code=code, message=message, span=span, help=help_)


def general_help(token: Token, fits: set[str]) -> str:
    if token.text in RESERVED and "NAME" in fits:
        return f"`{token.text}` is reserved and cannot be a name"
    if "KIND" in fits:
        return "a statement begins with a name or the kind of a section"
    if fits >= VALUE_STARTS:
        return VALUES
    if "NAME" in fits:
        return "a name is letters, digits and `_`"
    if "{" in fits:
        return "a block is written `{ ... }`"
    if "END" in fits:
        return "a statement ends at a newline or `;`"
    return ""


def line_went_on(operator: Token, source: Source) -> Diagnostic:
    """A line that ends in an operator has swallowed the statement after it: the mistake is at its end."""
    return Diagnostic(
        code="E0101",
        message=f"expected a value after `{operator.text}`, but the line ends",
        span=Span(source, operator.start, operator.stop),
        help="the next line was read as a part of this one, and does not fit",
    )


def accepts(tables: Tables, states: list[int], kind: str) -> bool:
    """Whether the machine would in the end shift this terminal."""
    stack = list(states)
    while True:
        action = tables.rows[stack[-1]].get(kind)
        if action is None:
            return False
        if action >= 0:
            return True
        rule = tables.rules[~action]
        del stack[len(stack) - rule.size :]
        stack.append(tables.rows[stack[-1]][rule.origin])


def special(token: Token, last: Token | None, fits: set[str], tokens: tuple[Token, ...], at: int) -> Finding | None:
    """The mistakes that have words of their own."""
    kind = token.kind
    wants_value = fits >= VALUE_STARTS
    if kind == "CMP" and "and" in fits:
        return "E0111", "comparisons do not form chains", "write `a < b and b < c`"
    if "limit" in fits and kind == "{":
        return "E0119", "this `while` has no limit", "every run-time loop is bounded: `while c limit 1000 { ... }`"
    if "else" in fits and "{" not in fits and kind in ("END", ")", "]", ",", "WORD", "{"):
        return "E0121", "this `if ... then` has no `else`", "an expression has a value either way: `if c then a else b`"
    if "then" in fits and kind == "{" and not starts_statement(tokens, at):
        return "E0121", "an `if` inside an expression has no block", "write `if c then a else b`"
    if kind == "else" and (not wants_value or "KIND" in fits):
        return "E0101", "this `else` belongs to no `if`", "it follows the `}` of an `if`, or `then` and a value"
    if wants_value:
        return no_value(token, last)
    if kind == "=" and "CMP" in fits:
        return "E0101", "`=` binds a value and cannot stand here", "`==` compares"
    if kind == "with":
        return "E0118", "`with { ... }` cannot stand here", "it overrides members of what a section uses"
    if last is None or fits & {"in", "as"}:
        return None
    if last.kind in OPERAND_ENDS and kind in BESIDE:
        help_ = INNER if "END" not in fits else CLAUSELESS if kind == "WORD" else JOINED
        if kind == "if":
            help_ = "write `if c then a else b`"
        return "E0118", f"nothing joins {found(last)} and {found(token)}", help_
    if last.kind == "}":
        return "E0118", f"the statement ends at `}}`, and {found(token)} follows", APART
    return None


def no_value(token: Token, last: Token | None) -> Finding | None:
    kind = token.kind
    after = f" after `{last.text}`" if last is not None and last.text else ""
    if kind == "{" and last is not None and last.kind in HEADS:
        return "E0101", f"expected a value{after}, found `{{`", VALUES
    if kind == "{":
        help_ = "a list is `[a, b]`; named values are arguments: `f(a = 1)`"
        if last is not None and last.kind == "=":
            help_ = "a function with statements has no `=`: `f(x) { ... }`; named values are arguments: `g(a = 1)`"
        return "E0116", "braces do not occur inside an expression", help_
    if kind == "'":
        return "E0101", f"expected a value{after}, found `'`", 'texts are written in double quotes: `"a.txt"`'
    if kind in ("END", "$END"):
        return "E0101", f"expected a value{after}, but the line ends", VALUES
    if last is not None and last.kind == "=" and kind == "=":
        return "E0101", "expected a value after `=`, found `=`", "`==` compares, without a space"
    return None


def starts_statement(tokens: tuple[Token, ...], at: int) -> bool:
    """Whether the innermost `if` before token `at` begins a statement."""
    for i in range(at - 1, -1, -1):
        if tokens[i].kind == "if":
            return i == 0 or tokens[i - 1].kind in ("END", "{", "else")
    return False


def expectation(fits: set[str]) -> str:
    """In words, what the set of terminals amounts to."""
    if fits >= VALUE_STARTS:
        closers = [f"`{c}`" for c in CLOSERS.values() if c in fits and c != "}"]
        return either(["a statement" if "KIND" in fits else "a value", *closers])
    names = [WORDS.get(kind, f"`{kind}`") for kind in SHOWN if kind in fits]
    if "+" in fits:
        names.insert(0, "an operator")
    elif not names or "NAME" in fits:
        names = [WORDS.get(kind, f"`{kind}`") for kind in sorted(fits)][:4] or ["something else"]
    return either(names)


def either(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " or " + names[-1]


def found(token: Token) -> str:
    """A token as a message names it."""
    if token.kind in ("END", "$END"):
        return "`;`" if token.text == ";" else "the end of the line" if token.kind == "END" else "the end of the file"
    text = token.text if len(token.text) <= 40 else token.text[:37] + "..."
    return text if token.kind == "STRING" else f"`{text}`"
