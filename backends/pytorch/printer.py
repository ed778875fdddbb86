"""Prints the block of one function as lines of Python: the one printer of expressions and statements.

What differs by place (how a parameter or a network is reached, whether gradients are on) is in a `Manner`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from specc.backends.pytorch.expressions import Level, Piece, call, number
from specc.backends.pytorch.idioms import with_idioms
from specc.backends.pytorch.kinds import FILLS, Kind, Kinds
from specc.backends.pytorch.likes import with_likes
from specc.backends.pytorch.lines import INDENT, fit
from specc.backends.pytorch.plan import Plan, Statement, batched
from specc.backends.pytorch.spelling import TORCH, Site, filled
from specc.backends.pytorch.suggest import suggest

from specc.ir.liveness import felt
from specc.ir.ops import Op
from specc.ir.program import Block, Node, Value, walk
from specc.ir.types import DType, Shape, Type

USUAL = {"assign": {"solver": "exact"}}  # options of the host's functions that need no saying
LONGEST = 108  # of an expression, before a part of it gets a line and a name of its own
SHAPED = (".reshape(", "flatten(", ".permute(", ".transpose(", ".mT")  # worth a comment with the shape


class Functions(Protocol):
    """What the printer asks about the functions around it."""

    def name_of(self, function: str) -> str: ...

    def wrapped(self, function: str) -> str | None: ...

    def call_kind(self, node: Node, kinds: list[Kind]) -> list[Kind] | None: ...

    def is_plain(self, node: Node) -> bool: ...


@dataclass(slots=True)
class Manner:
    """How things are written where a function stands.

    gradients: "on" (an objective), "off" (a sampler, under no_grad), "either" (called from both).
    generator: the name of the generator that draws use, in a function that runs ahead of training.
    """

    functions: Functions
    taken: frozenset[str] = frozenset()
    gradients: str = "either"
    generator: str | None = None
    network: Callable[[str, str], str] = lambda bundle, function: bundle  # a bundle and a function over it, as called
    param: Callable[[Node], str] = lambda node: node["path"]
    copied: Callable[[Node], bool] = lambda node: False  # whether gradients in a parameter are taken in a copy of it
    layer: Callable[[Node], str | None] = lambda node: None  # the module that does a node's work
    extern: Callable[[str], str] = lambda name: name


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
    block = with_likes(with_idioms(block))
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


class _Printer:
    def __init__(self, plan: Plan, manner: Manner, indent: int, finish: Callable[[list[Piece]], str] | None) -> None:
        self.plan, self.manner, self.kinds, self.indent = plan, manner, plan.kinds, indent
        self.finished = finish is not None
        self.finish = finish or (lambda pieces: ", ".join(p.text for p in pieces))
        self.out: list[str] = []
        self.depth = 0
        self.too_long: set[int] = set()
        self.nested: list[tuple[int, Value]] = []  # texts that went into the statement at hand
        self.shaped = False
        self.depth_of_gradients = 0
        every = [n for n in walk(plan.block) if n.op is Op.GRAD]
        self.gradients_left = Counter(tuple(v.id for v in n.inputs[1:]) for n in every)
        wanted = {v.id for v in plan.block.results}
        self.felt = {v.id for n in felt(plan.block, set(wanted)) for v in n.outputs}  # what gradients of results pass
        wanted |= {n.inputs[0].id for n in every}
        self.followed = {v.id for n in felt(plan.block, wanted) for v in n.outputs}  # and those of values that have one inside

    def run(self) -> list[str]:
        *before, last = self.plan.body or [None]
        whole = last is not None and self.returned(last)
        self.statements(before if whole else self.plan.body)
        self.begin()
        if last is not None and whole:
            self.line(f"return {self.called(last.node)}")
            return self.out
        results = [self.tensor(v) if v.type.rank or not self.kinds[v].host else self.piece(v) for v in self.plan.block.results]
        self.line(f"return {self.finish(results)}")
        return self.out

    def returned(self, last: Statement) -> bool:
        """Whether the last statement is a call whose results are the block's, in order."""
        plain = last.kind == "let" and last.node.op is Op.CALL and last.node.get("lanes", 1) == 1
        same = [v.id for v in last.outputs] == [v.id for v in self.plan.block.results]
        return plain and same and len(last.outputs) > 1 and not self.finished

    # Lines

    def begin(self) -> None:
        self.nested, self.shaped = [], False

    def line(self, text: str, shape: Shape | None = None) -> None:
        """A line of code; where it is too long, a part of it is marked to get a line of its own."""
        width = len(text) + len(INDENT) * self.depth + self.indent
        if width > LONGEST + 12 or len(text) > LONGEST:
            parts = sorted(((n, v) for n, v in self.nested if 14 <= n <= 0.75 * len(text)), key=lambda p: -p[0])
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

    # Expressions

    def piece(self, value: Value) -> Piece:
        if value.id in self.plan.names:
            return Piece(self.plan.names[value.id], type=value.type, host=self.kinds[value].host, whole=self.kinds[value].whole)
        node = self.plan.node_of[value.id]
        made = self.expression(node)
        if not self.plan.trivial(value):
            self.nested.append((len(made.text), value))
        return made

    def tensor(self, value: Value) -> Piece:
        """The value as a tensor, whatever it is."""
        piece = self.piece(value)
        return _lifted(piece, value.type) if piece.host else piece

    def expression(self, node: Node) -> Piece:
        """What a node computes. Its result is a tensor or a number, as `kinds` says."""
        value = node.outputs[0]
        host = self.kinds[value].host
        if node.op is Op.CONST and host:
            return number(node["value"] if value.type.dtype is not DType.BOOL else bool(node["value"]), value.type)
        made = self.spelled(node)
        text, level = made if isinstance(made, tuple) else (made, Level.ATOM)
        self.shaped |= any(word in text for word in SHAPED) or node.op in (Op.NORMAL, Op.UNIFORM)
        if value.id in self.kinds.lifted:
            return _lifted(Piece(text, level, value.type, host=True), value.type)
        return Piece(text, level, value.type, host, whole=self.kinds[value].whole)

    def spelled(self, node: Node) -> str | tuple[str, Level]:
        if node.get("idiom") is not None:
            pieces = [self.tensor(v) for v in node.inputs]
            return str(node["idiom"]).format(*(p.atom if node["idiom"][0] == "{" else p.text for p in pieces))
        match node.op:
            case Op.PARAM:
                return self.manner.param(node) + ".detach()" * self.plan.copies(node)
            case Op.SPREAD if (whole := self.filled(node)) is not None:
                return whole
            case Op.CALL:
                return self.called(node)
            case Op.GRAD:
                return self.gradient(node, [node.inputs[0]])
            case Op.EXTERN:
                usual = USUAL.get(extern_name(node), {})
                options = {k: v for k, v in node.get("options") or () if usual.get(k) != v}
                shown = {k: repr(v) if not isinstance(v, str) else _quoted(v) for k, v in options.items()}
                return call(self.manner.extern(extern_name(node)), *(self.tensor(v).text for v in node.inputs), **shown)
            case _:
                module = self.manner.layer(node)
                if module is not None:
                    place = 1 if node.op is Op.TAKE else 0
                    return call(module, self.tensor(node.inputs[place]).text)
                return TORCH[node.op](self.site(node), *self.operands(node))

    def operands(self, node: Node) -> list[Piece]:
        pieces = [self.piece(v) for v in node.inputs]
        hosts = [p.host for p in pieces]
        result_host = self.kinds[node.outputs[0]].host or node.outputs[0].id in self.kinds.lifted
        if node.op in FILLS and node.op is not Op.EXPAND:
            return pieces
        if node.op in (Op.NORMAL, Op.UNIFORM):
            return pieces
        if node.op is Op.TAKE:
            return [self.tensor(node.inputs[0]), pieces[1]]
        if pieces and all(hosts) and not result_host:  # what numbers cannot do: at least one of them becomes a tensor
            chosen = next((i for i, v in enumerate(node.inputs) if self.kinds[v].number is None), 0)
            pieces[chosen] = _lifted(pieces[chosen], node.inputs[chosen].type)
        elif node.op not in TORCH or not _takes_numbers(node.op):
            pieces = [_lifted(p, p.type) if p.host else p for p in pieces] if not result_host else pieces
        pieces = [self.bare(v, p, node) for v, p in zip(node.inputs, pieces, strict=True)]
        return [self.exact(p, pieces, node) for p in pieces]

    def bare(self, value: Value, piece: Piece, node: Node) -> Piece:
        """Integers as they are where arithmetic makes them floats anyway."""
        inner = self.plan.node_of.get(value.id)
        if value.id in self.plan.names or inner is None or inner.op is not Op.CAST or piece.host or node.op not in _PROMOTES:
            return piece
        source = inner.inputs[0]
        floats = [v for v in node.inputs if v is not value and v.type.dtype is DType.FLOAT]
        free = all(self.kinds[v].host or v.type.rank for v in floats)  # a number of double precision would decide
        cast = any((made := self.plan.node_of.get(v.id)) is not None and made.op is Op.CAST for v in floats)
        if source.type.dtype is not DType.INT or not source.type.rank or not floats or not free:
            return piece
        if cast and node.op is not Op.DIV:
            return piece
        return self.piece(source)

    def exact(self, piece: Piece, pieces: list[Piece], node: Node) -> Piece:
        """2 beside a tensor of integers is 2.0 where the result is a float."""
        whole = piece.literal is not None and piece.type.dtype is DType.FLOAT and piece.text.lstrip("-").isdigit()
        ints = any(not p.host and p.type.dtype is DType.INT for p in pieces)
        if whole and ints and node.outputs[0].type.dtype is DType.FLOAT and node.op is not Op.DIV:
            return Piece(f"{piece.text}.0", piece.level, piece.type, True, piece.literal)
        return piece

    def site(self, node: Node) -> Site:
        like = batched(node.inputs)
        base = self.plan.base
        batch = call("len", self.piece(like).text) if like is not None else self.sizes()
        source = like if like is not None and node.op is not Op.RESHAPE else base
        device = None
        if source is not None and self.manner.generator is None and not self.kinds[source].host:
            device = f"{self.piece(source).atom}.device" if node.op in _ON_DEVICE else None
        single = node.op is Op.SPREAD and self.exactly(node.inputs[0])
        return Site(node, batch, device, self.manner.generator, single)

    def filled(self, node: Node) -> str | None:
        """An array of one number, spread over the examples, is an array of that number."""
        source = node.inputs[0]
        inner = self.plan.node_of.get(source.id)
        if source.id in self.plan.names or inner is None or inner.op is not Op.CONST or not inner.get("shape", ()):
            return None
        return None if isinstance(inner["value"], tuple) else filled(number(inner["value"], source.type), self.site(node))

    def exactly(self, value: Value) -> bool:
        """Whether a number of no dimensions is surely of single precision: what parameters and arrays lead to."""
        node = self.plan.node_of.get(value.id)
        if node is None or value.id in self.kinds.lifted or self.kinds[value].host:
            return False
        return node.op is Op.PARAM or any(v.type.rank or self.exactly(v) for v in node.inputs)

    def sizes(self) -> str:
        base = self.plan.base
        return "1" if base is None or base.id not in self.plan.names else call("len", self.plan.names[base.id])

    def called(self, node: Node) -> str:
        bundle = node.get("bundle")
        if self.manner.functions.is_plain(node):
            taken = self.manner.functions.call_kind(node, [self.kinds[v] for v in node.inputs])
            args = [self.piece(v) if taken is not None else self.tensor(v) for v in node.inputs]
            wrapped = self.manner.functions.wrapped(node["function"])
            if wrapped is not None:
                return wrapped.format(args[0].text)
            return call(self.manner.functions.name_of(node["function"]), *(a.text for a in args))
        name = self.manner.network(bundle, node["function"])
        lanes = node.get("lanes", 1)
        each = len(node.inputs) // lanes
        if lanes == 1:
            return call(name, *(self.tensor(v).text for v in node.inputs))
        columns = [[self.tensor(v).text for v in node.inputs[k::each]] for k in range(each)]
        return call(name, *(f"torch.cat([{', '.join(c)}])" for c in columns))

    def gradient(self, node: Node, inside: list[Value]) -> str:
        """The call that takes a gradient, of what the values inside lead to."""
        e, *wrt = (self.piece(v) for v in node.inputs)
        of = e.text if not node.inputs[0].type.rank else f"{e.atom}.sum()"
        text = wrt[0].text if len(wrt) == 1 else f"[{', '.join(p.text for p in wrt)}]"
        alone = self.felt.isdisjoint(v.id for v in (*node.outputs, *inside))  # nothing else goes back through its graph
        again = "True" if (self.manner.gradients != "off" and not alone) or self.depth_of_gradients > 1 else None
        same = tuple(v.id for v in node.inputs[1:])
        self.gradients_left[same] -= 1
        kept = "True" if again is None and self.gradients_left[same] > 0 else None  # for the next one in the same values
        passed = self.felt if self.depth_of_gradients <= 1 else self.followed
        if again is not None and passed.isdisjoint(v.id for v in node.outputs):
            again, kept = None, "True"  # others go back through the same graph, but not through this gradient
        return call("torch.autograd.grad", of, text, create_graph=again, retain_graph=kept)

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
        """Gradients in a value are asked for. What an entry is given is its caller's and stays as it is."""
        name = self.piece(value).text
        if self.out and self.out[-1].startswith(f"{INDENT * self.depth}{name} = ") and self.out[-1].endswith(".detach()"):
            self.out[-1] += ".requires_grad_()"
            return
        given = self.manner.gradients != "either" and any(v is value for v in self.plan.block.params)
        self.line(f"{name} = {name}.detach().requires_grad_()" if given else f"{name}.requires_grad_()")

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
        carried = node["carried"]
        self.moves(names, args[:carried])
        self.line(f"for {variable} in {blocks}:")
        self.inside(lambda: self.line(f"{', '.join(names)} = {call(item, *names, *args[carried:])}"))


_PROMOTES = {Op.ADD, Op.SUB, Op.MUL, Op.DIV}  # where integers beside floats become floats
_ON_DEVICE = {Op.IOTA, Op.CONST, Op.NORMAL, Op.UNIFORM, Op.RESHAPE, Op.SPREAD}
_NUMBERS = {
    Op.NEG, Op.ABS, Op.ADD, Op.SUB, Op.MUL, Op.DIV, Op.FLOORDIV, Op.MOD, Op.POW, Op.MIN, Op.MAX, Op.EQ, Op.NE, Op.LT, Op.LE,
    Op.AND, Op.OR, Op.NOT, Op.WHERE, Op.CAST,
}  # fmt: skip


def extern_name(node: Node) -> str:
    """The function of the host's that a node calls."""
    return node.get("name") or node.outputs[0].name or "extern"


def _takes_numbers(op: Op) -> bool:
    return op in _NUMBERS


def _lifted(piece: Piece, type: Type) -> Piece:
    """A number as a tensor without dimensions."""
    if type.dtype is DType.FLOAT:
        return Piece(call("torch.tensor", piece.text, dtype="torch.float64"), type=type)
    return Piece(call("torch.tensor", piece.text), type=type)


def _quoted(text: str) -> str:
    body = repr(text)
    return body if '"' in text else f'"{body[1:-1]}"'.replace("\\'", "'")


def _mentions(text: str, name: str) -> bool:
    return name in "".join(c if c.isalnum() or c == "_" else " " for c in text).split()
