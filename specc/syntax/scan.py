"""The first half of the lexer: characters to raw tokens, before lines, delimiters and words are given a meaning."""

from __future__ import annotations

import re
import unicodedata

from specc.diagnostics import Diagnostic
from specc.source import Source, Span
from specc.syntax.tokens import RESERVED, Token, Trivia

# Combining marks are part of a name, so that a decomposed `é` is the same name as a composed one.
MARKS = "\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u064b-\u065f\u0900-\u0903\u093a-\u094f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20f0"

PATTERN = re.compile(
    rf"""[^\S\n]*+(?:
    (?P<NAME>[^\W\d][\w{MARKS}]*)
  | (?P<PUNCT>->|=>|\|>|\.\.|[()\[\]{{}},';]|[:~^+](?![=+])|-(?!=)|=(?!=)|\.(?![0-9]))
  | (?P<NUMBER>(?>[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)(?!\w|\.(?![.\w])))
  | (?P<NEWLINE>\n)
  | (?P<STRING>"(?:[^"\\\n]|\\[^\n])*+")
  | (?P<CMP>[=!<>]=|[<>])
  | (?P<FOREIGN>\*\*(?!=)|&&|\|\||(?:\*\*|//|[-+*/@^%])=(?!=)|:=|~=|\+\+|!|%)
  | (?P<MUL>//|[*/@])
  | (?P<COMMENT>\#[^\n]*)
  | (?P<BADNUMBER>[0-9]\w*(?:\.\w*)?|\.[0-9]\w*)
  | (?P<OPENSTRING>"[^\n]*)
  | (?P<END>\Z)
  | (?P<BAD>[^\s])
)""",
    re.VERBOSE,
)

LOOKALIKES = {
    "−": "-", "–": "-", "—": "-", "×": "*", "·": "*", "⋅": "*", "∗": "*", "÷": "/", "≤": "<=", "≥": ">=", "≠": "!=",
    "→": "->", "⇒": "=>", "“": '"', "”": '"', "„": '"', "‘": '"', "’": "'", "′": "'", "∼": "~", "∧": "and", "∨": "or",
    "¬": "not", "`": '"', "|": "|>", "&": "and",
}  # fmt: skip

FOREIGN = {
    "**": ("^", "powers are written `^`: `t^2`"),
    "&&": ("and", "write `and`"),
    "||": ("or", "write `or`"),
    "!": ("not", "write `not`"),
    ":=": ("=", "write `=`"),
    "~=": ("~", "a draw is `z ~ law`; `!=` is inequality"),
    "%": ("*", "the remainder is `mod(a, b)`"),
    "++": ("+", "write `n = n + 1`"),
}

KINDS = dict.fromkeys(("*", "/", "//", "@"), "MUL") | dict.fromkeys(("<", ">", "<=", ">=", "==", "!="), "CMP")
PUNCTUATION = frozenset(
    ("(", ")", "[", "]", "{", "}", ",", ":", "~", "^", "+", "-", "'", "=", ".", "..", "->", "=>", "|>", ";")
)


def scan(source: Source) -> tuple[list[Token], list[Diagnostic]]:
    """All tokens of a text with their trivia, then one of kind "EOF". Names are not yet told apart."""
    text = source.text
    tokens: list[Token] = []
    found: list[Diagnostic] = []
    trivia: list[Trivia] = []
    newlines, line_has_code, fresh = 0, False, True
    add = tokens.append
    make = Token._make
    none: tuple[Trivia, ...] = ()
    for match in PATTERN.finditer(text):
        group = match.lastgroup
        start, stop = match.span(group)  # type: ignore[arg-type]
        if group == "NEWLINE":
            if newlines == 1 and not (trivia and trivia[-1].kind == "blank") and (tokens or trivia):
                trivia.append(Trivia("blank", "", start, stop))
            newlines = 1
            line_has_code, fresh = False, True
            continue
        if group == "COMMENT":
            trivia.append(Trivia("trailing" if line_has_code else "comment", match[group].rstrip(), start, stop))
            newlines = 0
            continue
        piece = text[start:stop]
        kind = group
        if group == "NAME":
            if not piece.isascii():
                piece = unicodedata.normalize("NFKC", piece)
                if not piece.isidentifier() or any("<super>" in unicodedata.decomposition(c) for c in text[start:stop]):
                    found.append(_bad_name(source, start, stop))
            kind = piece if piece in RESERVED else "NAME"
            if piece in ("true", "false"):
                kind = "BOOL"
        elif group == "PUNCT":
            kind = piece
        elif group not in ("NUMBER", "STRING", "CMP", "MUL"):
            if group == "END":
                break
            kind, piece = _odd(source, str(group), start, stop, found)
            if not kind:
                line_has_code = True
                continue
        add(make((kind, piece, start, stop, fresh, tuple(trivia) if trivia else none)))
        if trivia:
            trivia = []
        newlines, line_has_code, fresh = 0, True, False
    add(Token("EOF", "", len(text), len(text), True, tuple(trivia)))
    return tokens, found


def _odd(source: Source, group: str, start: int, stop: int, found: list[Diagnostic]) -> tuple[str, str]:
    """A piece that is not specc, reported; what to go on with in its place: a kind and a text, or nothing."""
    span = Span(source, start, stop)
    piece = span.text
    if group == "BAD":
        return _odd_character(span, found)
    if group == "FOREIGN":
        if piece in FOREIGN:
            instead, help_ = FOREIGN[piece]
            code = "E0108" if piece == "**" else "E0109"
        else:
            code, instead, help_ = "E0109", "=", f"write `n = n {piece[:-1]} ...` in full"
        found.append(Diagnostic(code=code, message=f"`{piece}` is not an operator of specc", span=span, help=help_))
        return KINDS.get(instead, instead), instead
    if group == "OPENSTRING":
        message = "this text has no closing quote"
        found.append(Diagnostic(code="E0105", message=message, span=span, help='close it with `"` on the same line'))
        return "STRING", piece.rstrip() + '"'
    found.append(_bad_number(span))
    return "NUMBER", _meant(piece)


def _odd_character(span: Span, found: list[Diagnostic]) -> tuple[str, str]:
    character = span.text
    folded = unicodedata.normalize("NFKC", character).strip()
    if folded in PUNCTUATION:
        return folded, folded
    if folded in KINDS:
        return KINDS[folded], folded
    if not folded or character == "\ufeff":
        return "", ""
    last = found[-1] if found else None
    instead = LOOKALIKES.get(character, "")
    if last and not instead and last.code == "E0104" and last.span.stop == span.start and not last.help:
        found[-1] = Diagnostic(code="E0104", message="these characters mean nothing here", span=last.span.to(span))
        return "", ""
    if folded.isascii() and folded != character:
        instead = folded
    shown = f"`{character}`" if character.isprintable() else f"the character U+{ord(character):04X}"
    help_ = f"write `{instead}`" if instead else ""
    found.append(Diagnostic(code="E0104", message=f"{shown} means nothing here", span=span, help=help_))
    if instead in PUNCTUATION or instead in RESERVED:
        return instead, instead
    return KINDS.get(instead, ""), instead


def _bad_name(source: Source, start: int, stop: int) -> Diagnostic:
    span = Span(source, start, stop)
    help_ = "write powers with `^`: `x^2`" if any("<super>" in unicodedata.decomposition(c) for c in span.text) else ""
    return Diagnostic(code="E0104", message=f"`{span.text}` is not a name", span=span, help=help_)


def _meant(piece: str) -> str:
    """The number that was probably meant, so that what follows from it is no mistake of its own."""
    if re.fullmatch(r"0[xX][0-9a-fA-F]+", piece):
        return str(int(piece, 16))
    found = re.match(r"[0-9]*(?:\.[0-9]+)?", piece.replace("_", ""))
    text = found[0] if found is not None else ""
    return f"0{text}" if text[:1] in ("", ".") else text


def _bad_number(span: Span) -> Diagnostic:
    piece = span.text
    product = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([^\W\d_]\w*)", piece)
    if piece.startswith("."):
        help_ = f"write `0{piece}`"
    elif piece.endswith("."):
        help_ = f"write `{piece}0`"
    elif "_" in piece and piece.replace("_", "").isdecimal():
        help_ = f"write `{piece.replace('_', '')}`"
    elif piece != (meant := _meant(piece)) and piece[:2] in ("0x", "0X"):
        help_ = f"write `{meant}`"
    elif product and not re.fullmatch(r"[eE]|[eExXbBoO][0-9a-fA-F]+", product[2]):
        help_ = f"a product needs its sign: `{product[1]} * {product[2]}`"
    else:
        help_ = "numbers are such as `200`, `0.5` and `1e-4`"
    return Diagnostic(code="E0107", message=f"`{piece}` is not a number", span=span, help=help_)
