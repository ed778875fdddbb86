"""Prints the block of one function as lines of Python: its statements, and through `Expressions` what stands in them.

What differs by place (how a parameter or a network is reached, whether gradients are on) is in a `Manner`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from specc.backends.pytorch.expressions import Level, Piece, call
from specc.backends.pytorch.idioms import with_idioms
from specc.backends.pytorch.kinds import Kind, Kinds
from specc.backends.pytorch.likes import with_likes
from specc.backends.pytorch.lines import INDENT, fit
from specc.backends.pytorch.manner import Manner
from specc.backends.pytorch.plan import Plan, Statement, batched
from specc.backends.pytorch.rounds import with_tests_once
from specc.backends.pytorch.spreads import with_spreads
from specc.backends.pytorch.suggest import suggest
from specc.backends.pytorch.values import Expressions

from specc.ir.ops import Op
from specc.ir.program import Block, Value, walk
from specc.ir.types import Shape, Type

LONGEST = 108  # of an expression, before a part of it gets a line and a name of its own


@dataclass(slots=True)
class Printed:
    """Lines of a body without indentation, and the names of its parameters."""

    lines: list[str]
    params: list[str]
    kinds: Kinds
    results: list[Kind] = field(default_factory=list)


def print_block(
    block: Block,
    manner: Manner,
    params: list[Kind] | None = None,
    indent: int = 4,
    finish: Callable[[list[Piece]], str] | None = None,
) -> Printed:
    """The statements of a block, the last of them its return. finish: what to write after `return`, from the results."""
    block = with_likes(with_spreads(with_idioms(with_tests_once(block))))
    starts = params or [Kind(False)] * len(block.params)
    kinds = Kinds(manner.functions.call_kind, manner.functions.is_plain).run(block, starts)
    forced: set[int] = set()
    while True:
        base = batched(block.params) or next(iter(block.params), None)
        plan = Plan(block, kinds, suggest, manner.taken, forced, base=base, copied=manner.copied).make()
        printer = _Printer(plan, manner, indent, finish)
        lines = printer.run()
        if not printer.too_long - forced:
            break
        forced |= printer.too_long
    return Printed(lines, [plan.names[v.id] for v in block.params], kinds, [kinds[v] for v in block.results])


class _Printer(Expressions):
    def __init__(self, plan: Plan, manner: Manner, indent: int, finish: Callable[[list[Piece]], str] | None) -> None:
        super().__init__(plan, manner)
        self.indent, self.finished = indent, finish is not None
        self.finish = finish or (lambda pieces: ", ".join(p.text for p in pieces))
        self.out: list[str] = []
        self.depth = 0
        self.too_long: set[int] = set()
        self.watched: dict[int, int] = {}  # what gradients have been asked in, and the depth of the first

    def run(self) -> list[str]:
        *before, last = self.plan.body or [None]
        whole = last is not None and self.returned(last)
        self.statements(before if whole else self.plan.body)
        self.begin()
        if last is not None and whole:
            self.line(f"return {self.called(last.node)}")
            return self.out
        results = [self.tensor(v) if v.type.rank or not self.kinds[v].host else self.piece(v) for v in self.plan.block.results]
        self.line(f"return {self.finish(results)}", most=0.75 if len(results) == 1 else 1)
        return self.out

    def returned(self, last: Statement) -> bool:
        """Whether the last statement is a call whose results are the block's, in order."""
        plain = last.kind == "let" and last.node.op is Op.CALL and last.node.get("lanes", 1) == 1
        same = [v.id for v in last.outputs] == [v.id for v in self.plan.block.results]
        return plain and same and len(last.outputs) > 1 and not self.finished

    # Lines

    def begin(self) -> None:
        self.nested, self.shaped = [], False

    def line(self, text: str, shape: Shape | None = None, most: float = 0.75) -> None:
        """A line of code; where it is too long, a part of it, at most a share, is marked to get a line of its own."""
        width = len(text) + len(INDENT) * self.depth + self.indent
        if width > LONGEST + 12 or len(text) > LONGEST:
            parts = sorted(((n, v) for n, v in self.nested if 14 <= n <= most * len(text)), key=lambda p: -p[0])
            chosen = next((v for _, v in parts if v.id not in self.plan.forced), None)
            if chosen is not None:
                self.too_long.add(chosen.id)
        comment = f"  # ({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})" if shape is not None else ""
        if width + len(comment) > 116:
            comment = ""
        room = 128 - self.indent - len(INDENT) * self.depth
        self.out += [INDENT * self.depth + part for part in fit(text + comment, room)]

    def let(self, target: str, value: Piece, type: Type | None = None) -> None:
        if target != value.text:
            shape = type.shape if type is not None and self.shaped and type.shape else None
            self.line(f"{target} = {value.text}", shape)

    # Statements

    def statements(self, body: Iterable[Statement]) -> None:
        for s in body:
            self.begin()
            getattr(self, f"_{s.kind}")(s)

    def _let(self, s: Statement) -> None:
        node = s.node
        names = [self.plan.names[v.id] for v in s.outputs]
        lanes = node.get("lanes", 1) if node.op is Op.CALL else 1
        if lanes > 1:
            self._lanes(s, names, lanes)
        elif len(names) == 1:
            self.let(names[0], self.expression(node), node.outputs[0].type)
        else:
            self.line(f"{', '.join(names)} = {self.expression(node).text}")

    def _lanes(self, s: Statement, names: list[str], lanes: int) -> None:
        """One call for several lists of arguments; results come apart again."""
        text, each = self.called(s.node), len(names) // lanes
        if each == 1:
            self.line(f"{', '.join(names)} = {text}.chunk({lanes})")
            return
        self.line(f"parts = {text}")
        for k in range(each):
            if any(n != "_" for n in names[k::each]):
                self.line(f"{', '.join(names[k::each])} = parts[{k}].chunk({lanes})")

    def _chunk(self, s: Statement) -> None:
        names = ", ".join(self.plan.names[v.id] for v in s.outputs)
        x = self.tensor(s.node.inputs[0])
        axis, rank = s.node["axis"] % x.type.rank, x.type.rank
        sizes = [int(v.type.shape[axis]) for v in s.outputs]
        dim = "-1" if axis == rank - 1 else str(axis)
        if len(set(sizes)) == 1:
            self.line(f"{names} = {call(f'{x.atom}.chunk', str(len(sizes)), dim=dim)}")
        else:
            self.line(f"{names} = {call(f'{x.atom}.split', str(sizes), dim=dim)}")

    def _grad(self, s: Statement) -> None:
        for value in s.node.inputs[1:]:
            if value.id in self.plan.names:  # others are parameters, which have theirs
                self.watch(value)
        scoped = self.manner.gradients != "on" and not self.depth_of_gradients
        self.depth_of_gradients += 1
        if scoped:
            self.line("with torch.enable_grad():")
            self.depth += 1
        self.statements(s.bodies[0])
        self.begin()
        names = [self.plan.names[v.id] for v in s.outputs]
        text = self.gradient(s.node, [v for inner in s.bodies[0] for v in inner.outputs])
        self.line(f"{names[0]} = {text}[0]" if len(names) == 1 else f"{', '.join(names)} = {text}")
        self.depth_of_gradients -= 1
        self.depth -= scoped

    def watch(self, value: Value) -> None:
        """Asks for gradients in a value. What an objective or sampler is given belongs to its caller and stays as it is."""
        before = self.watched.get(value.id)
        if before == 0:
            return  # the whole function knows
        self.watched.setdefault(value.id, self.depth)
        name = self.piece(value).text
        if self.out and self.out[-1].startswith(f"{INDENT * self.depth}{name} = ") and self.out[-1].endswith(".detach()"):
            self.out[-1] += ".requires_grad_()"
            return
        given = self.manner.gradients != "either" and any(v is value for v in self.plan.block.params)
        self.line(f"{name} = {name}.detach().requires_grad_()" if given and before is None else f"{name}.requires_grad_()")

    def _start(self, s: Statement, values: tuple[Value, ...]) -> None:
        """Loop variables that are not in place already."""
        pieces = [self.piece(v) if self.kinds[o].host else self.tensor(v) for v, o in zip(values, s.outputs, strict=True)]
        self.moves(s.carried, [p.text for p in pieces])

    def moves(self, targets: list[str], texts: list[str]) -> None:
        pairs = [(t, x) for t, x in zip(targets, texts, strict=True) if t != x]
        clash = any(_mentions(x, t) for i, (t, _) in enumerate(pairs) for _, x in pairs[i + 1 :])
        if clash:
            self.line(f"{', '.join(t for t, _ in pairs)} = {', '.join(x for _, x in pairs)}")
        else:
            for target, text in pairs:
                self.line(f"{target} = {text}")

    def _end(self, s: Statement) -> None:
        """New values into the loop's variables, where the body has not put them there."""
        self.begin()
        left = [k for k, done in enumerate(s.in_place) if not done]
        results = [s.node.regions[-1].results[k] for k in left]
        pieces = [
            self.piece(v) if self.kinds[s.outputs[k]].host else self.tensor(v) for k, v in zip(left, results, strict=True)
        ]
        self.moves([s.carried[k] for k in left], [p.text for p in pieces])

    def inside(self, body: Callable[[], None]) -> None:
        self.depth += 1
        before = len(self.out)
        body()
        if len(self.out) == before:
            self.line("pass")
        self.depth -= 1

    def _for(self, s: Statement) -> None:
        self._start(s, s.node.inputs[1:])
        index = self.plan.names[s.node.regions[0].params[0].id]
        count = self.piece(s.node.inputs[0])
        self.line(f"for {index} in range({count.text if count.host else f'int({count.text})'}):")

        def body() -> None:
            self.statements(s.bodies[0])
            self._end(s)

        self.inside(body)

    def _while(self, s: Statement) -> None:
        self._start(s, s.node.inputs)
        self.line(f"for _ in range({s.node['limit']}):")

        def body() -> None:
            self.statements(s.bodies[0])
            self.begin()
            self.line(f"if {self.stop(s.node.regions[0].results[0])}:")
            self.inside(lambda: self.line("break"))
            self.statements(s.bodies[1])
            self._end(s)

        self.inside(body)

    def stop(self, test: Value) -> str:
        """The opposite of a test: `not going.any()`."""
        node = self.plan.node_of.get(test.id)
        if test.id not in self.plan.names and node is not None and node.op is Op.NOT:
            return self.piece(node.inputs[0]).text
        if test.id not in self.plan.names and node is not None and node.op is Op.CAST:
            reached = self.plan.node_of.get(node.inputs[0].id)
            if reached is not None and reached.op is Op.AMAX and node.inputs[0].id not in self.plan.names:
                counted = self.plan.node_of.get(reached.inputs[0].id)
                if counted is not None and counted.op is Op.CAST and reached.inputs[0].id not in self.plan.names:
                    return f"not {self.piece(counted.inputs[0]).atom}.any()"
        return f"not {self.piece(test).at(Level.NOT)}"

    def _if(self, s: Statement) -> None:
        self.line(f"if {self.piece(s.node.inputs[0]).text}:")
        names = [self.plan.names[v.id] for v in s.outputs]
        for k, region in enumerate(s.node.regions):
            if k:
                self.line("else:")

            def body(k: int = k, region: Block = region) -> None:
                self.statements(s.bodies[k])
                self.begin()
                pieces = [
                    self.piece(v) if self.kinds[o].host else self.tensor(v)
                    for v, o in zip(region.results, s.outputs, strict=True)
                ]
                self.moves(names, [p.text for p in pieces])

            self.inside(body)

    def _parts(self, s: Statement) -> None:
        """Each part of the batch in turn, and what comes of them together again."""
        whole, (cut,) = [self.tensor(v).text for v in s.node.inputs], s.carried
        self.line(f"{cut} = int({s.node['share']!r} * len({whole[0]}) + 0.5)")
        for where, region, body in zip((f":{cut}", f"{cut}:"), s.node.regions, s.bodies, strict=True):
            read = {v.id for n in walk(region) for v in n.inputs} | {v.id for v in region.results}
            pairs = [
                (self.plan.names[p.id], f"{w}[{where}]") for p, w in zip(region.params, whole, strict=True) if p.id in read
            ]
            self.line(f"{', '.join(n for n, _ in pairs)} = {', '.join(t for _, t in pairs)}")
            self.statements(body)
        self.begin()
        for k, value in enumerate(s.outputs):
            ends = ", ".join(self.tensor(region.results[k]).text for region in s.node.regions)
            self.line(f"{self.plan.names[value.id]} = torch.cat([{ends}])")

    def _repeat(self, s: Statement) -> None:
        node = s.node
        names = [self.plan.names[v.id] for v in s.outputs]
        args = [self.tensor(v).text for v in node.inputs]
        blocks = self.manner.network(node["bundle"], "")
        blocks = f"reversed({blocks})" if node.get("reverse", False) else blocks
        item = self.manner.network(f"{node['bundle']}.*", node["function"])
        variable = item.split(".")[0]
        carried, cut = node["carried"], node.get("cut", ())
        first = len(args) - len(cut)
        self.moves(names[:carried], args[:carried])
        if not cut:
            self.line(f"for {variable} in {blocks}:")
            self.inside(lambda: self.line(f"{', '.join(names)} = {call(item, *names, *args[carried:])}"))
            return
        own = [call(f"{a}.chunk", str(node["count"]), dim=str(axis)) for a, axis in zip(args[first:], cut, strict=True)]
        self.line("parts = []")
        self.line(f"for {variable}, *cut in zip({', '.join([blocks, *own])}):")
        turn = call(item, *names[:carried], *args[carried:first], "*cut")
        self.inside(lambda: self.line(f"{', '.join(names[:carried])}, *kept = {turn}"))
        self.inside(lambda: self.line("parts.append(kept)"))
        for k, (name, axis) in enumerate(zip(names[carried:], cut, strict=True)):
            self.line(f"{name} = torch.cat([kept[{k}] for kept in parts], dim={axis})")


def _mentions(text: str, name: str) -> bool:
    return name in "".join(c if c.isalnum() or c == "_" else " " for c in text).split()
