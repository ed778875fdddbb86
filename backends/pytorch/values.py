"""What a node computes, as an expression of Python: the values of a plan that have no line of their own, in one another."""

from __future__ import annotations

from collections import Counter

from specc.backends.pytorch.expressions import Level, Piece, call, infix
from specc.backends.pytorch.fills import filled
from specc.backends.pytorch.kinds import FILLS
from specc.backends.pytorch.manner import Manner
from specc.backends.pytorch.numbers import number
from specc.backends.pytorch.plan import Plan, batched
from specc.backends.pytorch.site import Site
from specc.backends.pytorch.spelling import TORCH

from specc.ir.liveness import felt
from specc.ir.ops import Op
from specc.ir.program import Node, Value, walk
from specc.ir.types import DType, Type

USUAL = {"assign": {"solver": "exact"}}  # options of the host's functions that need no saying
SHAPED = (".reshape(", "flatten(", ".permute(", ".transpose(", ".mT")  # worth a comment with the shape


class Expressions:
    """Writes the values of a plan in a manner. `nested` collects the texts that went into the statement at hand, and `shaped`
    says whether its shape is worth a comment."""

    def __init__(self, plan: Plan, manner: Manner) -> None:
        self.plan, self.manner, self.kinds = plan, manner, plan.kinds
        self.nested: list[tuple[int, Value]] = []
        self.shaped = False
        self.depth_of_gradients = 0
        every = [n for n in walk(plan.block) if n.op is Op.GRAD]
        self.gradients_left = Counter(tuple(v.id for v in n.inputs[1:]) for n in every)
        wanted = {v.id for v in plan.block.results}
        self.felt = {v.id for n in felt(plan.block, set(wanted)) for v in n.outputs}  # what gradients of results pass
        wanted |= {n.inputs[0].id for n in every}
        self.followed = {v.id for n in felt(plan.block, wanted) for v in n.outputs}  # and those of values that have one inside

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
            if node["idiom"] == "@":
                return infix("@", *pieces)
            parts = str(node["idiom"]).split("{}")
            shown = (p.atom if after[:1] in (".", "[") else p.text for p, after in zip(pieces, parts[1:], strict=True))
            return parts[0] + "".join(s + after for s, after in zip(shown, parts[1:], strict=True))
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
        source = like if like is not None and node.op is not Op.RESHAPE else self.plan.base

        def batch() -> str:
            return call("len", self.piece(like).text) if like is not None else self.sizes()

        def device() -> str | None:
            known = source is not None and self.manner.generator is None and not self.kinds[source].host
            return f"{self.piece(source).atom}.device" if known and node.op in _ON_DEVICE else None

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
