"""Nodes of the tree from the parser's reductions: one method for each alias of the grammar.

A method gets the values of its production's symbols, tokens included, and returns the value of the whole. What the grammar
lets through but no program means (`1 = x`, a second type) is reported here and the statement kept as far as it goes.
"""

from __future__ import annotations

import math
import re
from typing import Any

from specc.diagnostics import Diagnostic, Label
from specc.source import Source, Span
from specc.syntax import tree
from specc.syntax.depth import MAX_DEPTH, too_deep
from specc.syntax.tokens import Token

Values = list[Any]
PART_NAMES = {":": "type", "=": "value", "->": "result", "~": "law", "with": "`with { }`"}
ESCAPES = {'\\"': '"', "\\\\": "\\", "\\n": "\n"}


class Builder:
    """Builds the nodes of one source and collects what is wrong with them."""

    def __init__(self, source: Source, first: Token) -> None:
        self.source = source
        self.first_token = first
        self.found: list[Diagnostic] = []
        self.stray_blocks: set[int] = set()  # starts of blocks whose head had an error of its own

    def report(self, code: str, message: str, span: Span, help_: str, labels: tuple[Label, ...] = ()) -> None:
        self.found.append(Diagnostic(code=code, message=message, span=span, help=help_, labels=labels))

    def at(self, token: Token) -> Span:
        return Span(self.source, token.start, token.stop)

    def over(self, first: Any, last: Any) -> Span:
        """The span from one value to another; a list or an absent one must not be given."""
        start = first.start if isinstance(first, Token) else first.span.start
        stop = last.stop if isinstance(last, Token) else last.span.stop
        return Span(self.source, start, stop)

    # Lists -------------------------------------------------------------------------------------------------------------

    def empty(self, v: Values) -> Values:
        return []

    def first(self, v: Values) -> Values:
        return v

    def append(self, v: Values) -> Values:
        v[0].append(v[1])
        items: Values = v[0]
        return items

    def append_comma(self, v: Values) -> Values:
        v[0].append(v[2])
        items: Values = v[0]
        return items

    def absent(self, v: Values) -> None:
        return None

    def same(self, v: Values) -> Any:
        return v[0]

    # Expressions -------------------------------------------------------------------------------------------------------

    def name(self, v: Values) -> tree.Expr:
        token = v[0]
        return tree.Name(span=Span(self.source, token.start, token.stop), id=token.text)

    def number(self, v: Values) -> tree.Expr:
        token = v[0]
        span = self.at(token)
        value: int | float = 0
        if len(token.text) > 400:
            self.report("E0107", "this number has too many digits", span, "write it as `1e9`")
        elif token.text.isdigit():
            value = int(token.text)
        else:
            value = float(token.text)
            if math.isinf(value):
                self.report("E0107", f"`{token.text}` is too large for a number", span, "the largest is about 1.8e308")
        return tree.Number(span=span, value=value, text=token.text)

    def string(self, v: Values) -> tree.Expr:
        return tree.String(span=self.at(v[0]), value=self.text_of(v[0]))

    def bool_(self, v: Values) -> tree.Expr:
        return tree.Bool(span=self.at(v[0]), value=v[0].text == "true")

    def binary(self, v: Values) -> tree.Expr:
        left, op, right = v
        return tree.Binary(span=Span(self.source, left.span.start, right.span.stop), op=op.text, left=left, right=right)

    def unary(self, v: Values) -> tree.Expr:
        return tree.Unary(span=self.over(v[0], v[1]), op=v[0].text, operand=v[1])

    def ternary(self, v: Values) -> tree.Expr:
        return tree.Ternary(span=self.over(v[0], v[5]), test=v[1], then=v[3], other=v[5])

    def lambda_(self, v: Values) -> tree.Expr:
        head = v[0]
        items = head.items if isinstance(head, tree.Tuple) else (head.value if isinstance(head, tree.Paren) else head,)
        names = tuple(x.id for x in items if isinstance(x, tree.Name))
        if len(names) != len(items):
            self.report("E0115", "only names stand before `=>`", head.span, "write `u => ...` or `(z, t) => ...`")
        return tree.Lambda(span=self.over(head, v[2]), params=names, body=v[2])

    def call(self, v: Values) -> tree.Expr:
        args = tuple(v[2]) if len(v) > 3 else ()
        return tree.Call(span=Span(self.source, v[0].span.start, v[-1].stop), func=v[0], args=args)

    def argument(self, v: Values) -> tree.Arg:
        return tree.Arg(span=v[0].span, name=None, type=None, value=v[0])

    def named_argument(self, v: Values) -> tree.Arg:
        return tree.Arg(span=self.over(v[0], v[2]), name=v[0].text, type=None, value=v[2])

    def parameter(self, v: Values) -> tree.Arg:
        return tree.Arg(span=self.over(v[0], v[-1]), name=v[0].text, type=v[2], value=v[4] if len(v) > 3 else None)

    def index(self, v: Values) -> tree.Expr:
        return tree.Index(span=self.over(v[0], v[3]), value=v[0], items=tuple(v[2]))

    def slice_all(self, v: Values) -> tree.Slice:
        return tree.Slice(span=self.at(v[0]), start=None, stop=None)

    def slice_from(self, v: Values) -> tree.Slice:
        return tree.Slice(span=self.over(v[0], v[1]), start=v[0], stop=None)

    def slice_to(self, v: Values) -> tree.Slice:
        return tree.Slice(span=self.over(v[0], v[1]), start=None, stop=v[1])

    def slice_both(self, v: Values) -> tree.Slice:
        return tree.Slice(span=self.over(v[0], v[2]), start=v[0], stop=v[2])

    def attribute(self, v: Values) -> tree.Expr:
        return tree.Attribute(span=self.over(v[0], v[2]), value=v[0], name=v[2].text)

    def prime(self, v: Values) -> tree.Expr:
        return tree.Prime(span=self.over(v[0], v[1]), value=v[0])

    def paren(self, v: Values) -> tree.Expr:
        return tree.Paren(span=self.over(v[0], v[2]), value=v[1])

    def empty_tuple(self, v: Values) -> tree.Expr:
        return tree.Tuple(span=self.over(v[0], v[-1]), items=())

    def single_tuple(self, v: Values) -> tree.Expr:
        return tree.Tuple(span=self.over(v[0], v[-1]), items=(v[1],))

    def tuple_(self, v: Values) -> tree.Expr:
        return tree.Tuple(span=self.over(v[0], v[-1]), items=(v[1], *v[3]))

    def empty_list(self, v: Values) -> tree.Expr:
        return tree.List(span=self.over(v[0], v[-1]), items=())

    def list_(self, v: Values) -> tree.Expr:
        return tree.List(span=self.over(v[0], v[-1]), items=tuple(v[1]))

    def comprehension(self, v: Values) -> tree.Expr:
        return tree.Comprehension(span=self.over(v[0], v[6]), value=v[1], pattern=v[3], iterable=v[5])

    def text_of(self, token: Token) -> str:
        body = token.text[1:-1]
        if "\\" not in body:
            return body

        def escape(match: re.Match[str]) -> str:
            if match[0] not in ESCAPES:
                place = Span(self.source, token.start + 1 + match.start(), token.start + 1 + match.end())
                self.report("E0106", f"`{match[0]}` means nothing in a text", place, 'the escapes are `\\"`, `\\\\` and `\\n`')
            return ESCAPES.get(match[0], match[0])

        return re.sub(r"\\.?", escape, body)

    # Sections ----------------------------------------------------------------------------------------------------------

    def kind(self, v: Values) -> tuple[Token, bool, Span]:
        return v[0], False, self.at(v[0])

    def extern_kind(self, v: Values) -> tuple[Token, bool, Span]:
        return v[1], True, self.over(v[0], v[1])

    def flag(self, v: Values) -> tree.Clause:
        return tree.Clause(span=self.at(v[0]), word=v[0].text, values=())

    def clause(self, v: Values) -> tree.Clause:
        return tree.Clause(span=self.over(v[0], v[1][-1]), word=v[0].text, values=tuple(v[1]))

    def part(self, v: Values) -> tuple[Token, Any]:
        return v[0], v[1]

    def section(self, v: Values) -> tree.Section:
        (kind, extern, span), head, parts = v[:3]
        given: dict[str, tuple[Token, Any]] = {}
        clauses = []
        for part in parts:
            if isinstance(part, tree.Clause):
                clauses.append(part)
                span = span.to(part.span)
                continue
            token, value = part
            if token.kind in given:
                labels = (Label(span=self.at(given[token.kind][0]), text="the first one"),)
                what = PART_NAMES[token.kind]
                self.report("E0114", f"this section is given a second {what}", self.at(token), "keep one of them", labels)
            given[token.kind] = part
            span = span.to((value[-1] if token.kind == "=" else value).span)
        if head is not None:
            span = span.to(head.span)
        values = {symbol: value for symbol, (_, value) in given.items()}
        body = v[3] if len(v) > 3 else None
        return tree.Section(
            span=span.to(body.span) if body else span,
            kind=kind.text,
            kind_span=self.at(kind),
            head=head,
            type=values.get(":"),
            values=tuple(values.get("=", ())),
            result=values.get("->"),
            law=values.get("~"),
            clauses=tuple(clauses),
            overrides=values.get("with"),
            body=body,
            extern=extern,
        )

    # Statements --------------------------------------------------------------------------------------------------------

    def file(self, v: Values) -> Values:
        items: Values = v[0]
        return items

    def append_item(self, v: Values) -> Values:
        items: Values = v[0]
        item = v[1]
        if item is None:
            return items
        if item.span.stop - item.span.start > MAX_DEPTH and too_deep(item):
            help_ = "name the inner parts and use the names"
            self.report("E0112", f"this statement is nested more than {MAX_DEPTH} levels deep", item.span, help_)
        else:
            items.append(item)
        return items

    def block(self, v: Values) -> tree.Block:
        for item in v[1]:
            if isinstance(item, tree.Import):
                self.report("E0117", "an import stands outside every block", item.span, "move it to the top of the file")
        return tree.Block(span=self.over(v[0], v[2]), items=tuple(v[1]))

    def bare_block(self, v: Values) -> tree.Block:
        if v[0].span.start not in self.stray_blocks:
            place = Span(self.source, v[0].span.start, v[0].span.start + 1)
            self.report("E0110", "this block belongs to nothing", place, "say what it is: `train { ... }`, `if c { ... }`")
        block: tree.Block = v[0]
        return block

    def expression_statement(self, v: Values) -> tree.Statement:
        return tree.ExprStatement(span=v[0].span, value=v[0])

    def one_name(self, v: Values) -> tuple[str, ...]:
        return (v[0].text,)

    def many_names(self, v: Values) -> tuple[str, ...]:
        return tuple(token.text for token in v[1])

    def for_(self, v: Values) -> tree.Statement:
        return tree.For(span=self.over(v[0], v[4]), pattern=v[1], iterable=v[3], body=v[4], static=False)

    def static_for(self, v: Values) -> tree.Statement:
        return tree.For(span=self.over(v[0], v[5]), pattern=v[2], iterable=v[4], body=v[5], static=True)

    def while_(self, v: Values) -> tree.Statement:
        return tree.While(span=self.over(v[0], v[4]), test=v[1], limit=v[3], body=v[4])

    def repeat_(self, v: Values) -> tree.Statement:
        return tree.Repeat(span=self.over(v[0], v[2]), count=v[1], body=v[2])

    def if_(self, v: Values) -> tree.Statement:
        return tree.If(span=self.over(v[0], v[2]), test=v[1], then=v[2], other=None)

    def if_else(self, v: Values) -> tree.Statement:
        other = v[4]
        if isinstance(other, tree.If):
            other = tree.Block(span=other.span, items=(other,))
        return tree.If(span=self.over(v[0], other), test=v[1], then=v[2], other=other)

    def minimize(self, v: Values) -> tree.Statement:
        span = self.over(v[0], v[2][-1] if v[2] else v[1])
        return tree.Minimize(span=span, value=v[1], clauses=tuple(v[2]))

    def update(self, v: Values) -> tree.Statement:
        span = self.over(v[0], v[4][-1] if v[4] else v[3])
        self.check_target(v[1])
        return tree.Update(span=span, target=v[1], value=v[3], clauses=tuple(v[4]))

    def require(self, v: Values) -> tree.Statement:
        message = self.text_of(v[3]) if len(v) > 3 else None
        return tree.Require(span=self.over(v[0], v[-1]), test=v[1], message=message)

    def return_(self, v: Values) -> tree.Statement:
        values = tuple(v[1]) if len(v) > 1 else ()
        return tree.Return(span=self.over(v[0], values[-1] if values else v[0]), values=values)

    def import_(self, v: Values) -> tree.Statement:
        alias = v[3].text if len(v) > 2 else None
        return tree.Import(span=self.over(v[0], v[-1]), path=self.text_of(v[1]), alias=alias)

    def version(self, v: Values) -> tree.Statement:
        span = self.over(v[0], v[1])
        whole = v[1].text.isdigit() and len(v[1].text) < 9
        if v[0] is not self.first_token:
            self.report("E0117", "the version of the language stands once, on the first line", span, "move this line")
        elif not whole:
            self.report("E0117", f"`{v[1].text}` is not a version of the language", span, "write `specc 1`")
        return tree.Version(span=span, number=int(v[1].text) if whole else 0)

    def bind(self, v: Values) -> tree.Statement:
        return self.bound(v[0], None, v[2], False, v[3])

    def draw(self, v: Values) -> tree.Statement:
        return self.bound(v[0], None, [v[2]], True, v[3])

    def declare(self, v: Values) -> tree.Statement:
        return self.bound([v[0]], v[2], [], False, v[3])

    def typed_bind(self, v: Values) -> tree.Statement:
        return self.bound([v[0]], v[2], v[4], False, v[5])

    def typed_draw(self, v: Values) -> tree.Statement:
        return self.bound([v[0]], v[2], [v[4]], True, v[5])

    def bound(self, targets: Values, type_: tree.Expr | None, values: Values, draw: bool, clauses: Values) -> tree.Bind:
        for target in targets:
            if type(target) is not tree.Name:
                self.check_target(target)
        last = clauses[-1] if clauses else values[-1] if values else type_
        span = Span(self.source, targets[0].span.start, last.span.stop)  # type: ignore[union-attr]
        return tree.Bind(span=span, targets=tuple(targets), type=type_, values=tuple(values), draw=draw, clauses=tuple(clauses))

    def method(self, v: Values) -> tree.Statement | None:
        return self.method_of(v[0], None, v[1])

    def typed_method(self, v: Values) -> tree.Statement | None:
        return self.method_of(v[0], v[2], v[3])

    def signature(self, v: Values) -> tree.Statement | None:
        return self.method_of(v[0], v[2], None)

    def method_of(self, head: tree.Expr, result: tree.Expr | None, body: tree.Block | None) -> tree.Method | None:
        if not (isinstance(head, tree.Call) and isinstance(head.func, tree.Name)):
            self.report("E0113", "this cannot be the head of a definition", head.span, "a function is `name(x) { ... }`")
            return None
        self.check_target(head)
        span = self.over(head, body or result)
        return tree.Method(span=span, name=head.func.id, params=head.args, result=result, body=body)

    def check_target(self, target: tree.Expr) -> None:
        """Whether a value can be bound to this; what names it is not the parser's business."""
        match target:
            case tree.Name() | tree.Attribute() | tree.Index() | tree.String():
                return
            case tree.Tuple(items=items) if items:
                for item in items:
                    self.check_target(item)
            case tree.Paren(value=value):
                self.check_target(value)
            case tree.Call(func=tree.Name() | tree.Attribute() | tree.Prime() | tree.Call(), args=args):
                for arg in args:
                    if arg.name is None and not is_pattern(arg.value):
                        self.report("E0115", "a parameter is a name", arg.span, "write `f(x, t) = ...`")
            case _:
                help_ = "names, `f(x)` and `a, b` stand on the left of `=` and `~`; `==` compares"
                self.report("E0113", "nothing can be bound to this", target.span, help_)


def is_pattern(value: tree.Expr | None) -> bool:
    """A name, or a tuple of names."""
    if isinstance(value, tree.Tuple):
        return all(isinstance(x, tree.Name) for x in value.items)
    return isinstance(value, tree.Name)
