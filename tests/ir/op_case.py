"""What a case of an op is: operands with their numbers, attributes, and the program that applies the op to them once.

Numbers are exact in float32, so that every backend starts from the same ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from specc.ir.ops import Op
from specc.ir.program import Builder, Entry, Function, Ids, Input, Program, Value
from specc.ir.types import BATCH, EXAMPLE, DType, Shape, Type
from specc.ir.verify import verify

EXAMPLES = 3
Array = np.ndarray
Fill = Callable[[np.random.Generator, tuple[int, ...]], Array]


@dataclass(frozen=True, slots=True)
class Operand:
    """A type and the numbers to fill it with. `path` makes it a parameter of a network."""

    type: Type
    fill: Fill
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """An op on operands. `smooth` says that its derivatives agree with finite differences of 1e-4 around the numbers."""

    op: Op
    operands: tuple[Operand, ...]
    attrs: dict[str, Any] = field(default_factory=dict)
    smooth: bool = True

    @property
    def level(self) -> str:
        """A shape that holds the batch is of array level, but for the operand of BATCH_SCATTER."""
        whole = any(BATCH in o.type.shape for o in self.operands) and self.op is not Op.BATCH_SCATTER
        return "array" if whole else "example"

    def __str__(self) -> str:
        operands = ", ".join(str(o.type) for o in self.operands)
        attrs = ", ".join(f"{k}={v}" for k, v in self.attrs.items())
        return f"{self.op.value}({operands}{'; ' + attrs if attrs else ''})"[:90]

    def arrays(self, seed: int = 0) -> list[Array]:
        """The operands: what varies by example is stacked, (3, *shape)."""
        rng = np.random.default_rng([seed, len(self.operands), list(Op).index(self.op)])
        made = []
        for o in self.operands:
            shape = tuple(EXAMPLES if d == BATCH else int(d) for d in o.type.shape)
            made.append(np.asarray(o.fill(rng, (EXAMPLES, *shape) if o.type.axes else shape)))
        return made

    def feeds(self, seed: int = 0) -> dict[str, Array]:
        """Inputs of the entry `main`, by name."""
        return {f"a{i}": a for i, (o, a) in enumerate(zip(self.operands, self.arrays(seed), strict=True)) if o.path is None}

    def weights(self, seed: int = 0) -> dict[str, Array]:
        """Parameters by path."""
        return {f"net.{o.path}": a for o, a in zip(self.operands, self.arrays(seed), strict=True) if o.path is not None}

    def program(self) -> Program:
        """A program at this case's level whose entry `main` applies the op once."""
        ids, functions, networks = Ids(), {}, {}
        main = Builder(ids)
        given = [main.param(o.type, f"a{i}") for i, o in enumerate(self.operands) if o.path is None]
        if len(given) == len(self.operands):
            result = main.add(self.op, *given, **self.attrs)
        else:
            net = Builder(ids)
            inside = iter([net.param(v.type, v.name) for v in given])
            out = net.add(self.op, *(next(inside) if o.path is None else _param(net, o) for o in self.operands), **self.attrs)
            functions["net"] = Function(name="net", kind="network", block=net.block(out))
            networks["net"] = "net"
            result = main.add(Op.CALL, *given, function="net", bundle="net", types=(out.type,))
        functions["main"] = Function(name="main", kind="entry", block=main.block(result))
        inputs = tuple(Input(name=v.name or "", role="argument", type=v.type) for v in given)
        entries = {"main": Entry(name="main", role="query", function="main", inputs=inputs)}
        made = Program(
            name="case", level=self.level, spec="", digest="", functions=functions, networks=networks, entries=entries
        )
        return verify(made)


def _param(builder: Builder, o: Operand) -> Value:
    return builder.add(Op.PARAM, path=o.path, shape=o.type.shape, init=("zeros",))


# Numbers


def between(low: float, high: float) -> Fill:
    return lambda rng, shape: rng.uniform(low, high, shape).astype(np.float32).astype(np.float64)


def whole(low: int, high: int) -> Fill:
    """Ints from low to high - 1."""
    return lambda rng, shape: rng.integers(low, high, shape)


def exactly(*values: float | bool) -> Fill:
    """These, over and over."""
    array = np.asarray(values)
    array = array.astype(np.float32).astype(np.float64) if array.dtype.kind == "f" else array
    return lambda rng, shape: np.resize(array, shape)


SOME = between(-2, 2)
AWAY = between(0.3, 1.7)  # from 0
FLAGS: Fill = lambda rng, shape: rng.random(shape) < 0.5


# Operands


def per(*shape: int, fill: Fill = SOME) -> Operand:
    """One an example, at example level."""
    return Operand(_typed(fill, shape).over(EXAMPLE), fill)


def one(*shape: int, fill: Fill = SOME) -> Operand:
    """Shared by the examples, at either level."""
    return Operand(_typed(fill, shape), fill)


def rows(*shape: int, fill: Fill = SOME) -> Operand:
    """One an example, at array level: (B, *shape)."""
    return Operand(_typed(fill, (BATCH, *shape)), fill)


def weight(*shape: int, fill: Fill = SOME, path: str = "layer.weight") -> Operand:
    return Operand(Type(DType.FLOAT, shape), fill, path)


def bias(n: int) -> Operand:
    return weight(n, path="layer.bias")


def _typed(fill: Fill, shape: Shape) -> Type:
    kind = fill(np.random.default_rng(0), (1,)).dtype.kind
    return Type({"f": DType.FLOAT, "i": DType.INT, "b": DType.BOOL}[kind], shape)


def case(op: Op, *operands: Operand, smooth: bool = True, **attrs: Any) -> Case:
    smooth = smooth and any(o.type.dtype is DType.FLOAT for o in operands)
    return Case(op, operands, attrs, smooth)
