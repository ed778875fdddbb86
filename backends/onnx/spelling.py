"""The ONNX column of the table of ops: one row an op, or the reason why there is none.

A row writes the nodes of one IR node and gives the names of its results. Where ONNX has no such op, the row spells it in
others, in double precision where float32 would lose digits (`expm1` near 0, `erfinv` near 1).
"""

from __future__ import annotations

from specc.backends.onnx import arrays, attention, control, layers, numbers
from specc.backends.onnx.emit import Emitter, Spell, Weight
from specc.backends.onnx.noise import draw
from specc.backends.onnx.rounding import round_to

from specc.ir.ops import Op
from specc.ir.program import Node
from specc.ir.types import DType

FLOAT, INT, BOOL = DType.FLOAT, DType.INT, DType.BOOL


def real(kind: str) -> Spell:
    """An ONNX op of floats."""
    return lambda e, node: e.op(kind, *e.names(node, FLOAT))


def same(kind: str) -> Spell:
    """An ONNX op whose operands are of the kind of the result."""
    return lambda e, node: e.op(kind, *e.names(node, node.out.type.dtype))


def compare(kind: str) -> Spell:
    """A comparison: operands as floats if one of them is."""
    return lambda e, node: e.op(kind, *e.names(node, _common(node)))


def _common(node: Node) -> DType:
    kinds = {v.type.dtype for v in node.inputs}
    return next(kind for kind in (FLOAT, INT, BOOL) if kind in kinds)


def _ne(e: Emitter, node: Node) -> str:
    return e.op("Not", e.op("Equal", *e.names(node, _common(node))))


def _alias(e: Emitter, node: Node) -> str | Weight:
    return e.env[node.inputs[0].id]


ONNX: dict[Op, Spell] = {
    Op.CONST: numbers.const,
    Op.PARAM: layers.param,
    Op.IOTA: numbers.iota,
    Op.NEG: same("Neg"),
    Op.ABS: same("Abs"),
    Op.SIGN: same("Sign"),
    Op.EXP: real("Exp"),
    Op.EXPM1: numbers.expm1,
    Op.LOG: real("Log"),
    Op.LOG1P: numbers.log1p,
    Op.SQRT: real("Sqrt"),
    Op.SIN: real("Sin"),
    Op.COS: real("Cos"),
    Op.TAN: real("Tan"),
    Op.ASIN: real("Asin"),
    Op.ACOS: real("Acos"),
    Op.ATAN: real("Atan"),
    Op.TANH: real("Tanh"),
    Op.SIGMOID: real("Sigmoid"),
    Op.SOFTPLUS: real("Softplus"),
    Op.ERF: real("Erf"),
    Op.ERFINV: numbers.erfinv,
    Op.LGAMMA: numbers.lgamma,
    Op.FLOOR: real("Floor"),
    Op.CEIL: real("Ceil"),
    Op.ROUND: real("Round"),
    Op.NOT: same("Not"),
    Op.CAST: numbers.cast,
    Op.SILU: numbers.silu,
    Op.GELU: real("Gelu"),
    Op.RELU: real("Relu"),
    Op.ADD: same("Add"),
    Op.SUB: same("Sub"),
    Op.MUL: same("Mul"),
    Op.DIV: same("Div"),
    Op.FLOORDIV: numbers.floordiv,
    Op.MOD: numbers.mod,
    Op.POW: same("Pow"),
    Op.MIN: same("Min"),
    Op.MAX: same("Max"),
    Op.EQ: compare("Equal"),
    Op.NE: _ne,
    Op.LT: compare("Less"),
    Op.LE: compare("LessOrEqual"),
    Op.AND: same("And"),
    Op.OR: same("Or"),
    Op.WHERE: numbers.where,
    Op.SUM: arrays.reduce("ReduceSum"),
    Op.MEAN: arrays.reduce("ReduceMean"),
    Op.PROD: arrays.reduce("ReduceProd"),
    Op.AMAX: arrays.reduce("ReduceMax"),
    Op.AMIN: arrays.reduce("ReduceMin"),
    Op.ARGMAX: arrays.argmax,
    Op.LOGSUMEXP: arrays.reduce("ReduceLogSumExp"),
    Op.SOFTMAX: arrays.softmax,
    Op.CUMSUM: arrays.cumsum,
    Op.SORT: arrays.sort,
    Op.RESHAPE: arrays.reshape,
    Op.TRANSPOSE: arrays.transpose,
    Op.EXPAND: arrays.expand,
    Op.SLICE: arrays.slice_,
    Op.CONCAT: arrays.concat,
    Op.PAD: arrays.pad,
    Op.FLIP: arrays.flip,
    Op.TAKE: arrays.take,
    Op.SCATTER_ADD: arrays.scatter_add,
    Op.ROUND_TO: round_to,
    Op.MATMUL: attention.matmul,
    Op.CHOLESKY: arrays.written_out,
    Op.INV: arrays.written_out,
    Op.LINEAR: layers.linear,
    Op.CONV: layers.conv,
    Op.CONV_TRANSPOSE: layers.conv_transpose,
    Op.AVG_POOL: layers.avg_pool,
    Op.RESIZE: layers.resize,
    Op.LAYERNORM: layers.layernorm,
    Op.GROUPNORM: layers.groupnorm,
    Op.RMSNORM: layers.rmsnorm,
    Op.ATTENTION: attention.attention,
    Op.NORMAL: draw,
    Op.UNIFORM: draw,
    Op.STOP: _alias,
    Op.FOR: control.for_,
    Op.WHILE: control.while_,
    Op.IF: control.if_,
    Op.PARTS: control.parts,
    Op.CALL: control.call,
    Op.REPEAT: control.repeat,
    Op.SPREAD: arrays.spread,
    Op.BATCH_SIZE: arrays.batch_size,
    Op.BATCH_INDEX: arrays.batch_index,
    Op.BATCH_SUM: arrays.batch_reduce("ReduceSum"),
    Op.BATCH_MEAN: arrays.batch_reduce("ReduceMean"),
    Op.BATCH_TAKE: arrays.batch_take,
    Op.BATCH_GATHER: _alias,
    Op.BATCH_SCATTER: _alias,
    Op.BATCH_COST: arrays.batch_cost,
}

UNSUPPORTED: dict[Op, str] = {
    Op.GRAD: "the pass `expand_grad` turns it into nodes before a graph is written",
    Op.EXTERN: "a function of the host's has no graph; networks from outside are exported by their own library",
}
