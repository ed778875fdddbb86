"""Which values are plain Python numbers in the printed code, and which are tensors.

Constants, sizes, loop indices and a sampler's arguments are numbers, and so is arithmetic on them that cannot fail. Where a
tensor is needed instead (a function of a schedule, a carried value), the number is made a tensor of double precision
and no dimensions: small differences survive, and it meets tensors of any precision and device without changing them.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, field

from specc.ir.ops import Op
from specc.ir.program import Block, Node, Value
from specc.ir.types import DType
from specc.record import record


@record
class Kind:
    """host: a Python number. number: which, if known. indexed: depends on a loop index. whole: may be an int in Python."""

    host: bool
    number: float | int | bool | None = None
    indexed: bool = False
    whole: bool = False


TENSOR = Kind(False)

FOLD: dict[Op, Callable[..., float]] = {
    Op.NEG: operator.neg,
    Op.ABS: abs,
    Op.ADD: operator.add,
    Op.SUB: operator.sub,
    Op.MUL: operator.mul,
    Op.DIV: operator.truediv,
    Op.FLOORDIV: operator.floordiv,
    Op.MOD: operator.mod,
    Op.POW: operator.pow,
    Op.MIN: min,
    Op.MAX: max,
    Op.EQ: operator.eq,
    Op.NE: operator.ne,
    Op.LT: operator.lt,
    Op.LE: operator.le,
    Op.AND: lambda a, b: a and b,
    Op.OR: lambda a, b: a or b,
    Op.NOT: operator.not_,
    Op.EXP: math.exp,
    Op.EXPM1: math.expm1,
    Op.LOG: math.log,
    Op.LOG1P: math.log1p,
    Op.SQRT: math.sqrt,
    Op.SIN: math.sin,
    Op.COS: math.cos,
    Op.TAN: math.tan,
    Op.ASIN: math.asin,
    Op.ACOS: math.acos,
    Op.ATAN: math.atan,
    Op.TANH: math.tanh,
    Op.ERF: math.erf,
    Op.LGAMMA: math.lgamma,
    Op.FLOOR: math.floor,
    Op.CEIL: math.ceil,
    Op.ROUND: round,
}
SAFE = {Op.NEG, Op.ABS, Op.ADD, Op.SUB, Op.MUL, Op.MIN, Op.MAX, Op.EQ, Op.NE, Op.LT, Op.LE, Op.AND, Op.OR, Op.NOT}
SMOOTH = {Op.SIN, Op.COS, Op.ATAN, Op.TANH, Op.ERF}  # defined, and bounded, everywhere
GROWS = {Op.EXP, Op.EXPM1, Op.SQRT}  # which a loop may lead to where Python raises errors, and a tensor is infinite or nan
WHOLE = {Op.NEG, Op.ABS, Op.ADD, Op.SUB, Op.MUL, Op.MIN, Op.MAX, Op.POW, Op.WHERE, Op.FLOORDIV, Op.MOD}
ROUNDS = {Op.FLOOR, Op.CEIL, Op.ROUND}
MIXED = SAFE | {Op.DIV, Op.FLOORDIV, Op.MOD, Op.POW, Op.WHERE, Op.CAST}  # operators that take numbers beside tensors
FILLS = {Op.SPREAD, Op.RESHAPE, Op.EXPAND}


@dataclass(slots=True)
class Kinds:
    """Finds the kind of every value of a function. `call_kind(node, kinds of arguments)` says, for a call of a plain
    function, whether it takes numbers as they are and the kinds of its results (None: it wants tensors)."""

    call_kind: Callable[[Node, list[Kind]], list[Kind] | None]
    is_plain: Callable[[Node], bool]
    of: dict[int, Kind] = field(default_factory=dict)
    lifted: set[int] = field(default_factory=set)  # numbers that are made tensors where they are defined
    made: set[int] = field(default_factory=set)  # values with a node of their own, which can be lifted there
    _kept: set[int] = field(default_factory=set)  # lifted values that are numbers still, once what they come from is lifted

    def run(self, block: Block, params: list[Kind]) -> Kinds:
        while True:
            before = len(self.lifted)
            self._kept = set()
            for value, kind in zip(block.params, params, strict=True):
                self.of[value.id] = kind
            self.nodes(block)
            if len(self.lifted) == before:
                self.lifted = self._kept
                return self

    def __getitem__(self, value: Value) -> Kind:
        return self.of.get(value.id, TENSOR)

    def nodes(self, block: Block) -> None:
        for node in block.nodes:
            results = self.node(node)
            for value, kind in zip(node.outputs, results, strict=True):
                self.made.add(value.id)
                self._kept.discard(value.id)
                if kind.host and value.id in self.lifted:
                    self._kept.add(value.id)
                    kind = TENSOR
                self.of[value.id] = kind

    def want_tensors(self, values: tuple[Value, ...] | list[Value]) -> None:
        for value in values:
            kind = self[value]
            if kind.host and kind.number is None and value.id in self.made:
                self.lifted.add(value.id)

    def node(self, node: Node) -> list[Kind]:
        kinds = [self[v] for v in node.inputs]
        host = bool(kinds) and all(k.host for k in kinds)
        match node.op:
            case Op.CONST:
                value = node["value"]
                if node.get("shape", ()) or isinstance(value, tuple):
                    return [TENSOR]
                kind = DType(node.get("dtype", "float"))
                value = bool(value) if kind is DType.BOOL else value
                return [Kind(True, value, whole=value == value and abs(value) < 1e15 and value == int(value))]
            case Op.BATCH_SIZE:
                return [Kind(True, whole=True)]
            case Op.FOR | Op.WHILE | Op.IF:
                return self.control(node)
            case Op.PARTS:
                for region in node.regions:
                    self.nodes(region)
                    self.want_tensors(list(region.results))
                return [TENSOR] * len(node.outputs)
            case Op.CALL if self.is_plain(node):
                found = self.call_kind(node, kinds)
                if found is None:
                    self.want_tensors(node.inputs)
                    return [TENSOR] * len(node.outputs)
                return found
            case Op.NORMAL | Op.UNIFORM:
                return [TENSOR]
            case Op.TAKE:
                self.want_tensors(node.inputs[:1])
                return [TENSOR]
            case _ if node.op in FILLS:
                if node.op is Op.EXPAND:
                    self.want_tensors(node.inputs)
                return [TENSOR]
            case _ if host:
                return [self.arithmetic(node, kinds)]
            case _:
                if node.op not in MIXED:
                    self.want_tensors(node.inputs)
                return [TENSOR] * len(node.outputs)

    def arithmetic(self, node: Node, kinds: list[Kind]) -> Kind:
        """Numbers only: a number again where that cannot fail."""
        indexed = any(k.indexed for k in kinds)
        whole = (node.op in WHOLE and all(k.whole for k in kinds[node.op is Op.WHERE :])) or node.op in ROUNDS
        numbers = [k.number for k in kinds]
        if node.op is Op.CAST:
            return Kind(True, numbers[0], indexed, kinds[0].whole or DType(node["dtype"]) is not DType.FLOAT)
        if node.op is Op.WHERE:
            return Kind(True, None, indexed, whole)
        if all(n is not None for n in numbers) and node.op in FOLD:
            try:
                number = FOLD[node.op](*numbers)
            except (ArithmeticError, ValueError):
                number = None
            if isinstance(number, (int, float)):
                return Kind(True, number, False, whole)
        elif (
            node.op in SAFE | SMOOTH
            or (node.op in GROWS | ROUNDS and not indexed)
            or (node.op in (Op.DIV, Op.FLOORDIV, Op.MOD) and numbers[1] != 0 and not kinds[1].indexed)
        ):
            return Kind(True, None, indexed, whole)
        elif node.op is Op.POW and _tame(numbers[0], numbers[1]):
            return Kind(True, None, indexed, whole and numbers[1] is not None)
        if node.op not in MIXED or node.op is Op.POW or numbers[-1] == 0 or any(k.indexed for k in kinds):
            self.want_tensors(node.inputs)
        return TENSOR

    def control(self, node: Node) -> list[Kind]:
        """Carried values stay numbers if every round leaves them numbers."""
        if node.op is Op.IF:
            for region in node.regions:
                self.nodes(region)
            pairs = list(zip(*(r.results for r in node.regions), strict=True))
            out = [TENSOR if not all(self[v].host for v in pair) else Kind(True, indexed=True) for pair in pairs]
            for pair, kind in zip(pairs, out, strict=True):
                if not kind.host:
                    self.want_tensors(list(pair))
            return out
        start = node.inputs[1:] if node.op is Op.FOR else node.inputs
        kinds = [Kind(True, None, True, self[v].whole) if self[v].host else TENSOR for v in start]
        while True:
            lifted = set(self.lifted)
            for region in node.regions:
                params = region.params[1:] if node.op is Op.FOR else region.params
                if node.op is Op.FOR:
                    self.of[region.params[0].id] = Kind(True, None, True, True)
                for value, kind in zip(params, kinds, strict=True):
                    self.of[value.id] = kind
                self.nodes(region)
            ends = [self[v] for v in node.regions[-1].results]
            merged = [
                Kind(True, None, True, k.whole or e.whole) if k.host and e.host else TENSOR
                for k, e in zip(kinds, ends, strict=True)
            ]
            if merged == kinds:
                break
            kinds, self.lifted = merged, lifted  # what was wanted of numbers that are none
        for kind, first, last in zip(kinds, start, ends and node.regions[-1].results, strict=True):
            if not kind.host:
                self.want_tensors([first, last])
        return kinds


def _tame(base: float | None, exponent: float | None) -> bool:
    """Whether a power of numbers is always a real number."""
    if base is not None and base > 0:
        return True
    return exponent is not None and exponent >= 0 and exponent == int(exponent)
