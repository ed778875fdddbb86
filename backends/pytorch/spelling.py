"""The PyTorch column of the table of ops: how each op is written, given its operands as printed.

A spelling takes the site (the node and what is known where it stands) and the pieces of its operands, and gives text, or text
with the level at which it binds. Ops that are statements, calls or need the functions around them stand in `ELSEWHERE`.
"""

from __future__ import annotations

import re

from specc.backends.pytorch import layers, shapes
from specc.backends.pytorch.expressions import Level, Piece, call, compare, infix, negated, power, tuple_of
from specc.backends.pytorch.fills import const, draw, iota, number_like, spread, whole
from specc.backends.pytorch.numbers import literal
from specc.backends.pytorch.site import Site, Spelling, Text

from specc.ir.ops import Op
from specc.ir.types import DType

TO_KIND = {DType.FLOAT: "float", DType.INT: "long", DType.BOOL: "bool"}


def _method(name: str, host: str | None = None) -> Spelling:
    """x.name() for something short, torch.name(x) for an expression, host(x) for a plain number."""

    def spell(site: Site, x: Piece) -> Text:
        if x.host and host is not None:
            return call(host, x.text)
        return f"{x.text}.{name}()" if x.is_atom else call(f"torch.{name}", x.text)

    return spell


def _function(name: str) -> Spelling:
    return lambda site, x: call(name, x.text)


def _infix(symbol: str) -> Spelling:
    return lambda site, a, b: infix(symbol, a, b)


def _compare(symbol: str) -> Spelling:
    return lambda site, a, b: compare(symbol, a, b)


def _logic(symbol: str, word: str) -> Spelling:
    def spell(site: Site, a: Piece, b: Piece) -> Text:
        return infix(word if a.host and b.host else symbol, a, b)

    return spell


def _negate(site: Site, x: Piece) -> Text:
    return negated(x)


def _not(site: Site, x: Piece) -> Text:
    return (f"not {x.at(Level.NOT)}", Level.NOT) if x.host else (f"~{x.at(Level.SIGN)}", Level.SIGN)


def _cast(site: Site, x: Piece) -> Text:
    kind = DType(site["dtype"])
    if kind is x.type.dtype or (x.host and kind is DType.FLOAT):  # Python's numbers mix
        return x.text, x.level
    if x.host:
        return call(kind.value, x.text)
    return f"{x.atom}.{TO_KIND[kind]}()"


def _power(site: Site, a: Piece, b: Piece) -> Text:
    if not a.host and b.literal == 2:
        return f"{a.atom}.square()"
    if not a.host and b.literal == 0.5:
        return _method("sqrt")(site, a)
    return power(a, b)


def _bounded(function: str, method: str, option: str) -> Spelling:
    """The larger or smaller of two: clamp where one is a number."""

    def spell(site: Site, a: Piece, b: Piece) -> Text:
        if a.host and b.host:
            return call(function, a.text, b.text)
        if a.host or b.host:
            tensor, bound = (b, a) if a.host else (a, b)
            below = re.fullmatch(r"(.*)\.clamp\(min=([^(),]+)\)", tensor.text)
            if below is not None and option == "max":
                return call(f"{below[1]}.clamp", below[2], bound.text)
            return call(f"{tensor.atom}.clamp", **{option: bound.text})
        return call(method, a.text, b.text)

    return spell


def _where(site: Site, c: Piece, a: Piece, b: Piece) -> Text:
    if c.host:
        if a.host != b.host and site.node.out.type.rank:  # a number in place of a tensor
            a, b = Piece(number_like(a, b)) if a.host else a, Piece(number_like(b, a)) if b.host else b
        return f"{a.at(Level.OR)} if {c.at(Level.OR)} else {b.at(Level.CHOICE)}", Level.CHOICE
    if a.host and b.host:
        a, b = _as_float(a, site), _as_float(b, site)
    return call("torch.where", c.text, a.text, b.text)


def _as_float(x: Piece, site: Site) -> Piece:
    """2 as 2.0 where a float comes out."""
    if site.node.out.type.dtype is DType.FLOAT and x.text.lstrip("-").isdigit():
        return Piece(f"{x.text}.0", x.level, x.type, True, x.literal)
    return x


def _axes(axes: tuple[int, ...], rank: int) -> str:
    places = sorted(i % rank for i in axes)
    if len(places) == 1:
        return str(-1 if places[0] == rank - 1 and rank > 1 else places[0])
    return tuple_of([str(i) for i in places])


def _reduce(name: str) -> Spelling:
    def spell(site: Site, x: Piece) -> Text:
        axes, rank = tuple(site["axes"]), x.type.rank
        if not axes:
            return x.text, x.level
        if len(axes) == rank and name != "logsumexp":
            return f"{x.atom}.{name}()"
        return call(f"{x.atom}.{name}", dim=_axes(axes, rank))

    return spell


def _mean(site: Site, x: Piece) -> Text:
    if x.type.dtype is DType.INT:
        x = Piece(f"{x.atom}.float()", type=x.type)
    return _reduce("mean")(site, x)


def _prod(site: Site, x: Piece) -> Text:
    """torch.prod takes one dimension at a time."""
    axes, rank = sorted((i % x.type.rank for i in site["axes"]), reverse=True), x.type.rank
    if len(axes) == rank and rank:
        return f"{x.atom}.prod()"
    return x.atom + "".join(f".prod(dim={i})" for i in axes)


def _along(name: str, after: str = "") -> Spelling:
    def spell(site: Site, x: Piece) -> Text:
        return call(f"{x.atom}.{name}", dim=_axes((site["axis"],), x.type.rank)) + after

    return spell


def _transpose(site: Site, x: Piece) -> Text:
    return shapes.transpose(x, site["perm"])


def _concat(site: Site, *parts: Piece) -> Text:
    if len(parts) == 1:
        return parts[0].text, parts[0].level
    axis = site["axis"] % parts[0].type.rank
    rank = parts[0].type.rank
    dim = None if axis == 0 else "-1" if axis == rank - 1 else str(axis)
    return call("torch.cat", f"[{', '.join(p.text for p in parts)}]", dim=dim)


def _flip(site: Site, x: Piece) -> Text:
    return call(f"{x.atom}.flip", str(site["axis"] % x.type.rank))


def _take(site: Site, x: Piece, at: Piece) -> Text:
    return shapes.take(x, at, site["axis"], site.node.get("batch", 0))


def _scatter_add(site: Site, x: Piece, at: Piece) -> Text:
    return shapes.scatter_add(x, at, site["axis"], site["n"], site.node.get("batch", 0), site.batch)


def _reshape(site: Site, x: Piece, like: Piece | None = None) -> Text:
    shape = tuple(site["shape"])
    if like is not None:
        return f"{x.atom}.reshape_as({like.text})"
    if x.host:
        return whole(x, shape, site)
    return shapes.reshape(x, shape), (x.level if shape == x.type.shape else Level.ATOM)


def _batch_index(site: Site, like: Piece) -> Text:
    return call("torch.arange", call("len", like.text), device=f"{like.atom}.device")


def _batch_cost(site: Site, a: Piece, b: Piece) -> Text:
    rows = [
        p.text if p.type.rank == 2 else f"{p.atom}[:, None]" if p.type.rank == 1 else f"{p.atom}.flatten(1)" for p in (a, b)
    ]
    distance = call("torch.cdist", *rows)
    return distance if site.node.get("cost", "sqdist") == "dist" else f"{distance}.square()"


TORCH: dict[Op, Spelling] = {
    Op.CONST: const,
    Op.IOTA: iota,
    Op.NEG: _negate,
    Op.ABS: _method("abs", "abs"),
    Op.SIGN: _method("sign"),
    Op.EXP: _method("exp", "math.exp"),
    Op.EXPM1: _method("expm1", "math.expm1"),
    Op.LOG: _method("log", "math.log"),
    Op.LOG1P: _method("log1p", "math.log1p"),
    Op.SQRT: _method("sqrt", "math.sqrt"),
    Op.SIN: _method("sin", "math.sin"),
    Op.COS: _method("cos", "math.cos"),
    Op.TAN: _method("tan", "math.tan"),
    Op.ASIN: _method("asin", "math.asin"),
    Op.ACOS: _method("acos", "math.acos"),
    Op.ATAN: _method("atan", "math.atan"),
    Op.TANH: _method("tanh", "math.tanh"),
    Op.SIGMOID: _method("sigmoid"),
    Op.SOFTPLUS: _function("F.softplus"),
    Op.ERF: _method("erf", "math.erf"),
    Op.ERFINV: _method("erfinv"),
    Op.LGAMMA: _method("lgamma", "math.lgamma"),
    Op.FLOOR: _method("floor", "math.floor"),
    Op.CEIL: _method("ceil", "math.ceil"),
    Op.ROUND: _method("round", "round"),
    Op.NOT: _not,
    Op.CAST: _cast,
    Op.SILU: _function("F.silu"),
    Op.GELU: _function("F.gelu"),
    Op.RELU: _function("F.relu"),
    Op.ADD: _infix("+"),
    Op.SUB: _infix("-"),
    Op.MUL: _infix("*"),
    Op.DIV: _infix("/"),
    Op.FLOORDIV: _infix("//"),
    Op.MOD: _infix("%"),
    Op.POW: _power,
    Op.MIN: _bounded("min", "torch.minimum", "max"),
    Op.MAX: _bounded("max", "torch.maximum", "min"),
    Op.EQ: _compare("=="),
    Op.NE: _compare("!="),
    Op.LT: _compare("<"),
    Op.LE: _compare("<="),
    Op.AND: _logic("&", "and"),
    Op.OR: _logic("|", "or"),
    Op.WHERE: _where,
    Op.SUM: _reduce("sum"),
    Op.MEAN: _mean,
    Op.PROD: _prod,
    Op.AMAX: _reduce("amax"),
    Op.AMIN: _reduce("amin"),
    Op.ARGMAX: _along("argmax"),
    Op.LOGSUMEXP: _reduce("logsumexp"),
    Op.SOFTMAX: _along("softmax"),
    Op.CUMSUM: _along("cumsum"),
    Op.SORT: _along("sort", ".values"),
    Op.RESHAPE: _reshape,
    Op.TRANSPOSE: _transpose,
    Op.EXPAND: lambda site, x: shapes.expand(x, tuple(site["shape"]), site.batch),
    Op.SLICE: lambda site, x: shapes.sliced(x, site["axis"], site["start"], site["stop"], site.node.get("step", 1)),
    Op.CONCAT: _concat,
    Op.PAD: lambda site, x: shapes.pad(x, site["pads"], literal(site.node.get("value", 0))),
    Op.FLIP: _flip,
    Op.TAKE: _take,
    Op.SCATTER_ADD: _scatter_add,
    Op.ROUND_TO: layers.round_to,
    Op.MATMUL: _infix("@"),
    Op.CHOLESKY: _function("torch.linalg.cholesky"),
    Op.INV: _function("torch.linalg.inv"),
    Op.LINEAR: layers.linear,
    Op.CONV: layers.conv,
    Op.CONV_TRANSPOSE: layers.conv_transpose,
    Op.AVG_POOL: layers.avg_pool,
    Op.RESIZE: layers.resize,
    Op.LAYERNORM: layers.layernorm,
    Op.GROUPNORM: layers.groupnorm,
    Op.RMSNORM: layers.rmsnorm,
    Op.ATTENTION: layers.attention,
    Op.NORMAL: draw("normal"),
    Op.UNIFORM: draw("uniform"),
    Op.STOP: lambda site, x: f"{x.atom}.detach()",
    Op.SPREAD: spread,
    Op.BATCH_SIZE: lambda site, like: call("len", like.text),
    Op.BATCH_INDEX: _batch_index,
    Op.BATCH_SUM: lambda site, x: f"{x.atom}.sum(dim=0)",
    Op.BATCH_MEAN: lambda site, x: f"{x.atom}.mean(dim=0)",
    Op.BATCH_TAKE: lambda site, x, at: f"{x.atom}[{at.text}]",
    Op.BATCH_GATHER: lambda site, x: (x.text, x.level),
    Op.BATCH_SCATTER: lambda site, x: (x.text, x.level),
    Op.BATCH_COST: _batch_cost,
}

ELSEWHERE: dict[Op, str] = {
    Op.PARAM: "an attribute of a module: modules.py",
    Op.GRAD: "torch.autograd.grad around the statements that it differentiates: gradients.py",
    Op.FOR: "a loop: printer.py",
    Op.WHILE: "a loop: printer.py",
    Op.IF: "a branch: printer.py",
    Op.PARTS: "parts of the batch: printer.py",
    Op.CALL: "a call of a function or module: values.py",
    Op.REPEAT: "a loop over a ModuleList: printer.py",
    Op.EXTERN: "a function in a part: values.py",
}
