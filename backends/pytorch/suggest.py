"""Names for values that the author left without one but that need a line of their own."""

from __future__ import annotations

from collections.abc import Callable

from specc.ir.ops import Op
from specc.ir.program import Node, Value
from specc.ir.types import DType

LETTERS = ("a", "b", "c", "d", "p", "q", "r", "u", "v", "w")
SHORT = 5  # letters of a name that another one may end with
USUAL: dict[Op, tuple[str, ...]] = {
    Op.LINEAR: ("h",),
    Op.CONV: ("h",),
    Op.CONV_TRANSPOSE: ("h",),
    Op.CONCAT: ("h",),
    Op.LAYERNORM: ("h",),
    Op.GROUPNORM: ("h",),
    Op.RMSNORM: ("h",),
    Op.ATTENTION: ("a",),
    Op.NORMAL: ("w", "e"),
    Op.UNIFORM: ("u",),
    Op.GRAD: ("slope",),
    Op.BATCH_COST: ("cost",),
    Op.EXTERN: ("partner",),
    Op.CONST: ("table",),
    Op.IOTA: ("k",),
}


def suggest(node: Node, value: Value, name_of: Callable[[Value], str | None]) -> list[str]:
    """The usual name of such a value, best first."""
    lanes = node.get("lanes", 1)
    lane = node.outputs.index(value) * lanes // len(node.outputs) if lanes > 1 else 0
    source = name_of(node.inputs[lane * (len(node.inputs) // lanes)]) if node.inputs else None
    match node.op:
        case Op.RESHAPE if source and not source.endswith("_"):
            return [f"{source}_", *LETTERS]
        case Op.SPREAD if value.type.dtype is DType.INT:
            return ["null", *LETTERS]
        case Op.SPREAD if source and not source.endswith("_"):
            return [f"{source}_", *LETTERS]
        case Op.PARAM:
            return [node["path"].rpartition(".")[2], *LETTERS]
        case Op.CALL if node.get("bundle") is None:
            stem = node["function"].split(".")[0]
            known = [name_of(v) for v in node.inputs]
            if len(known) == 1 and known[0] and len(known[0]) <= 3:
                return [f"{stem}_{known[0]}", *LETTERS]
            return [f"{stem}_value", *LETTERS]
        case Op.CALL if node.get("bundle") in ("backbone",):
            return ["out", *LETTERS]
        case Op.CALL if value.type.rank == 1 and source and len(source) <= SHORT:  # a number for each example
            return [f"{node['bundle'].rpartition('.')[2]}_{source}", *LETTERS]
        case Op.CALL | Op.REPEAT:
            return ["h", *LETTERS]
        case Op.GRAD if (of := name_of(node.inputs[1])) and len(of) <= SHORT:
            return [f"slope_{of}", "slope", *LETTERS]
        case _:
            return [*USUAL.get(node.op, ()), *LETTERS]
