"""The one table of ops: signature, shape rule, axis rule and a line of documentation each.

The same op serves both levels. At example level `rule` sees the shape of one example and result axes are the union of the
operands' axes; at array level it sees whole arrays. `lift` says how the `batch` pass carries an op from one to the other.
The other columns stand beside their backends: `specc.reference.ops`, `specc.ir.derivatives`, `specc.backends.pytorch.spelling`,
`specc.backends.onnx.spelling`.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

from specc.ir import rules
from specc.ir.types import Type
from specc.record import record

Rule = Callable[[tuple[Type, ...], dict[str, Any]], tuple[Type, ...]]


class Op(Enum):
    # Values
    CONST = "const"
    PARAM = "param"
    IOTA = "iota"
    # One number to one number
    NEG = "neg"
    ABS = "abs"
    SIGN = "sign"
    EXP = "exp"
    EXPM1 = "expm1"
    LOG = "log"
    LOG1P = "log1p"
    SQRT = "sqrt"
    SIN = "sin"
    COS = "cos"
    TAN = "tan"
    ASIN = "asin"
    ACOS = "acos"
    ATAN = "atan"
    TANH = "tanh"
    SIGMOID = "sigmoid"
    SOFTPLUS = "softplus"
    ERF = "erf"
    ERFINV = "erfinv"
    LGAMMA = "lgamma"
    FLOOR = "floor"
    CEIL = "ceil"
    ROUND = "round"
    NOT = "not"
    CAST = "cast"
    SILU = "silu"
    GELU = "gelu"
    RELU = "relu"
    # Two numbers to one
    ADD = "add"
    SUB = "sub"
    MUL = "mul"
    DIV = "div"
    FLOORDIV = "floordiv"
    MOD = "mod"
    POW = "pow"
    MIN = "min"
    MAX = "max"
    EQ = "eq"
    NE = "ne"
    LT = "lt"
    LE = "le"
    AND = "and"
    OR = "or"
    WHERE = "where"
    # Reductions and scans
    SUM = "sum"
    MEAN = "mean"
    PROD = "prod"
    AMAX = "amax"
    AMIN = "amin"
    ARGMAX = "argmax"
    LOGSUMEXP = "logsumexp"
    SOFTMAX = "softmax"
    CUMSUM = "cumsum"
    SORT = "sort"
    # Shapes
    RESHAPE = "reshape"
    TRANSPOSE = "transpose"
    EXPAND = "expand"
    SLICE = "slice"
    CONCAT = "concat"
    PAD = "pad"
    FLIP = "flip"
    TAKE = "take"
    SCATTER_ADD = "scatter_add"
    # Rounding to a format, with scales from the numbers themselves
    ROUND_TO = "round_to"
    # Linear maps and layers
    MATMUL = "matmul"
    CHOLESKY = "cholesky"
    INV = "inv"
    LINEAR = "linear"
    CONV = "conv"
    CONV_TRANSPOSE = "conv_transpose"
    AVG_POOL = "avg_pool"
    RESIZE = "resize"
    LAYERNORM = "layernorm"
    GROUPNORM = "groupnorm"
    RMSNORM = "rmsnorm"
    ATTENTION = "attention"
    # Draws
    NORMAL = "normal"
    UNIFORM = "uniform"
    # Derivatives
    STOP = "stop"
    GRAD = "grad"
    # Control
    FOR = "for"
    WHILE = "while"
    IF = "if"
    PARTS = "parts"
    CALL = "call"
    REPEAT = "repeat"
    # Batch
    SPREAD = "spread"
    BATCH_SIZE = "batch_size"
    BATCH_INDEX = "batch_index"
    BATCH_SUM = "batch_sum"
    BATCH_MEAN = "batch_mean"
    BATCH_TAKE = "batch_take"
    BATCH_GATHER = "batch_gather"
    BATCH_SCATTER = "batch_scatter"
    BATCH_COST = "batch_cost"
    # The host's own
    EXTERN = "extern"


class Lift(Enum):
    """How the `batch` pass makes the example axis explicit."""

    SAME = "same"  # nothing to do: leading dimensions pass through (reductions over negative axes, layers, draws)
    ALIGN = "align"  # elementwise: operands of lower rank get ones after the batch
    AXES = "axes"  # attributes that count dimensions (axis, axes, perm, shape, pads) move by one
    JOIN = "join"  # as AXES, and every operand must have the batch once one has it
    SPECIAL = "special"  # a rule of its own in the pass


@record
class Row:
    signature: str
    rule: Rule
    lift: Lift
    doc: str
    pure: bool = True


OPS: dict[Op, Row] = {
    Op.CONST: Row("const(value, shape, dtype)", rules.const, Lift.SAME, "A number, or an array as a flat tuple of numbers."),
    Op.PARAM: Row(
        "param(path, shape, init[, dtype])", rules.param, Lift.SAME, "A parameter or state of the bundle at hand, by its path."
    ),
    Op.IOTA: Row("iota(n)", rules.iota, Lift.SAME, "The integers 0 to n - 1: int (n)."),
    Op.NEG: Row("neg(x)", rules.floating_or_int, Lift.ALIGN, "-x"),
    Op.ABS: Row("abs(x)", rules.floating_or_int, Lift.ALIGN, "Absolute value."),
    Op.SIGN: Row("sign(x)", rules.floating_or_int, Lift.ALIGN, "-1, 0 or 1."),
    Op.EXP: Row("exp(x)", rules.floating, Lift.ALIGN, "e to the x."),
    Op.EXPM1: Row("expm1(x)", rules.floating, Lift.ALIGN, "exp(x) - 1, exact near 0."),
    Op.LOG: Row("log(x)", rules.floating, Lift.ALIGN, "Natural logarithm."),
    Op.LOG1P: Row("log1p(x)", rules.floating, Lift.ALIGN, "log(1 + x), exact near 0."),
    Op.SQRT: Row("sqrt(x)", rules.floating, Lift.ALIGN, "Square root."),
    Op.SIN: Row("sin(x)", rules.floating, Lift.ALIGN, "Sine of radians."),
    Op.COS: Row("cos(x)", rules.floating, Lift.ALIGN, "Cosine of radians."),
    Op.TAN: Row("tan(x)", rules.floating, Lift.ALIGN, "Tangent of radians."),
    Op.ASIN: Row("asin(x)", rules.floating, Lift.ALIGN, "Inverse sine, in radians."),
    Op.ACOS: Row("acos(x)", rules.floating, Lift.ALIGN, "Inverse cosine, in radians."),
    Op.ATAN: Row("atan(x)", rules.floating, Lift.ALIGN, "Inverse tangent, in radians."),
    Op.TANH: Row("tanh(x)", rules.floating, Lift.ALIGN, "Hyperbolic tangent."),
    Op.SIGMOID: Row("sigmoid(x)", rules.floating, Lift.ALIGN, "1 / (1 + exp(-x))"),
    Op.SOFTPLUS: Row("softplus(x)", rules.floating, Lift.ALIGN, "log(1 + exp(x)) without overflow."),
    Op.ERF: Row("erf(x)", rules.floating, Lift.ALIGN, "Error function."),
    Op.ERFINV: Row("erfinv(x)", rules.floating, Lift.ALIGN, "Inverse error function on (-1, 1)."),
    Op.LGAMMA: Row("lgamma(x)", rules.floating, Lift.ALIGN, "Log of the absolute value of the gamma function."),
    Op.FLOOR: Row("floor(x)", rules.floating, Lift.ALIGN, "Largest integer not above x."),
    Op.CEIL: Row("ceil(x)", rules.floating, Lift.ALIGN, "Smallest integer not below x."),
    Op.ROUND: Row("round(x)", rules.floating, Lift.ALIGN, "Nearest integer, ties to even."),
    Op.NOT: Row("not(x)", rules.logical, Lift.ALIGN, "Logical complement."),
    Op.CAST: Row(
        "cast(x, dtype)", rules.cast, Lift.ALIGN, "The same value as another kind of number; floats are cut towards 0."
    ),
    Op.SILU: Row("silu(x)", rules.floating, Lift.ALIGN, "x sigmoid(x)"),
    Op.GELU: Row("gelu(x)", rules.floating, Lift.ALIGN, "x Phi(x), with the exact normal distribution function."),
    Op.RELU: Row("relu(x)", rules.floating, Lift.ALIGN, "max(x, 0)"),
    Op.ADD: Row("add(a, b)", rules.arithmetic, Lift.ALIGN, "a + b"),
    Op.SUB: Row("sub(a, b)", rules.arithmetic, Lift.ALIGN, "a - b"),
    Op.MUL: Row("mul(a, b)", rules.arithmetic, Lift.ALIGN, "a b"),
    Op.DIV: Row("div(a, b)", rules.division, Lift.ALIGN, "a / b as floats."),
    Op.FLOORDIV: Row("floordiv(a, b)", rules.arithmetic, Lift.ALIGN, "Floor of a / b."),
    Op.MOD: Row("mod(a, b)", rules.arithmetic, Lift.ALIGN, "a - b floor(a / b): the sign of b."),
    Op.POW: Row("pow(a, b)", rules.arithmetic, Lift.ALIGN, "a to the b."),
    Op.MIN: Row("min(a, b)", rules.arithmetic, Lift.ALIGN, "The smaller, element by element."),
    Op.MAX: Row("max(a, b)", rules.arithmetic, Lift.ALIGN, "The larger, element by element."),
    Op.EQ: Row("eq(a, b)", rules.comparison, Lift.ALIGN, "a == b"),
    Op.NE: Row("ne(a, b)", rules.comparison, Lift.ALIGN, "a != b"),
    Op.LT: Row("lt(a, b)", rules.comparison, Lift.ALIGN, "a < b"),
    Op.LE: Row("le(a, b)", rules.comparison, Lift.ALIGN, "a <= b"),
    Op.AND: Row("and(a, b)", rules.logical, Lift.ALIGN, "Both."),
    Op.OR: Row("or(a, b)", rules.logical, Lift.ALIGN, "Either."),
    Op.WHERE: Row("where(c, a, b)", rules.where, Lift.ALIGN, "a where c holds, else b."),
    Op.SUM: Row("sum(x, axes)", rules.reduce, Lift.AXES, "Sum over axes (a tuple), which disappear."),
    Op.MEAN: Row("mean(x, axes)", rules.reduce, Lift.AXES, "Mean over axes, which disappear."),
    Op.PROD: Row("prod(x, axes)", rules.reduce, Lift.AXES, "Product over axes, which disappear."),
    Op.AMAX: Row("amax(x, axes)", rules.reduce, Lift.AXES, "Largest over axes, which disappear."),
    Op.AMIN: Row("amin(x, axes)", rules.reduce, Lift.AXES, "Smallest over axes, which disappear."),
    Op.ARGMAX: Row(
        "argmax(x, axis)", rules.argmax, Lift.AXES, "Index of the first largest along an axis, which disappears: int."
    ),
    Op.LOGSUMEXP: Row(
        "logsumexp(x, axes)", rules.reduce, Lift.AXES, "log sum exp over axes, which disappear, without overflow."
    ),
    Op.SOFTMAX: Row("softmax(x, axis)", rules.along, Lift.AXES, "exp(x) normalised along an axis."),
    Op.CUMSUM: Row("cumsum(x, axis)", rules.along, Lift.AXES, "Running sum along an axis."),
    Op.SORT: Row("sort(x, axis)", rules.along, Lift.AXES, "Ascending along an axis."),
    Op.RESHAPE: Row("reshape(x, shape)", rules.reshape, Lift.AXES, "The same elements, row-major, in another shape."),
    Op.TRANSPOSE: Row("transpose(x, perm)", rules.transpose, Lift.AXES, "Dimension i of the result is dimension perm[i] of x."),
    Op.EXPAND: Row("expand(x, shape)", rules.expand, Lift.AXES, "Repeat dimensions of size 1; the rank stays."),
    Op.SLICE: Row("slice(x, axis, start, stop, step)", rules.slice_, Lift.AXES, "Elements start to stop - 1 along an axis."),
    Op.CONCAT: Row("concat(x..., axis)", rules.concat, Lift.JOIN, "One after another along an axis."),
    Op.PAD: Row("pad(x, pads, value)", rules.pad, Lift.AXES, "pads: (before, after) for each dimension."),
    Op.FLIP: Row("flip(x, axis)", rules.along, Lift.AXES, "Reversed along an axis."),
    Op.TAKE: Row(
        "take(x, index, axis, batch=0)",
        rules.take,
        Lift.SPECIAL,
        "x at integer indices along an axis, which the index's dimensions replace; both lead with `batch` common dimensions.",
    ),
    Op.SCATTER_ADD: Row(
        "scatter_add(x, index, axis, n, batch=0)",
        rules.scatter_add,
        Lift.SPECIAL,
        "The transpose of `take`: adds x at indices into n zeros.",
    ),
    Op.ROUND_TO: Row(
        "round_to(x, format, axes, block=0, affine=false)",
        rules.round_to,
        Lift.AXES,
        "The nearest numbers of a format; those along axes share a scale, or each `block` of them. Derivatives pass straight "
        "through.",
    ),
    Op.MATMUL: Row(
        "matmul(a, b)", rules.matmul, Lift.SPECIAL, "Matrix product of the last two dimensions; those before broadcast."
    ),
    Op.CHOLESKY: Row(
        "cholesky(a)", rules.square, Lift.SAME, "The lower triangular l with l l' = a, of positive definite (..., n, n)."
    ),
    Op.INV: Row("inv(a)", rules.square, Lift.SAME, "The inverse of matrices (..., n, n)."),
    Op.LINEAR: Row(
        "linear(x, weight[, bias], rounds=())",
        rules.linear,
        Lift.SAME,
        "x (..., d) with weight (n, d), bias (n): (..., n). rounds: formats of weight, x and gradients, whose blocks lie along "
        "what each product sums over, in training those of the backward pass as well.",
    ),
    Op.CONV: Row(
        "conv(x, weight[, bias], stride, padding, dilation, groups)",
        rules.conv,
        Lift.SAME,
        "Cross-correlation of x ([B,] c, *s) with weight (o, c / groups, *k); options are one number, or one a dimension.",
    ),
    Op.CONV_TRANSPOSE: Row(
        "conv_transpose(x, weight[, bias], stride, padding, dilation, groups, output_padding)",
        rules.conv_transpose,
        Lift.SAME,
        "The transpose of `conv` in x: x ([B,] o, *s), weight (o, c / groups, *k).",
    ),
    Op.AVG_POOL: Row(
        "avg_pool(x, window, spatial)", rules.avg_pool, Lift.SAME, "Mean of windows over the last `spatial` dimensions."
    ),
    Op.RESIZE: Row(
        "resize(x, factor, spatial)", rules.resize, Lift.SAME, "Each element repeated in the last `spatial` dimensions."
    ),
    Op.LAYERNORM: Row(
        "layernorm(x[, scale, bias], eps)", rules.lastnorm, Lift.SAME, "Mean 0, variance 1 over the last dimension."
    ),
    Op.GROUPNORM: Row(
        "groupnorm(x[, scale, bias], groups, eps, spatial)",
        rules.groupnorm,
        Lift.SAME,
        "Mean 0, variance 1 over groups of channels; x ([B,] c, *s) with `spatial` dimensions.",
    ),
    Op.RMSNORM: Row("rmsnorm(x[, scale], eps)", rules.lastnorm, Lift.SAME, "Mean square 1 over the last dimension."),
    Op.ATTENTION: Row(
        "attention(q, k, v, causal, format='', block=0, affine=false)",
        rules.attention,
        Lift.SPECIAL,
        "softmax(q k' / sqrt(d)) v; q ([B,] h, n, d), k, v ([B,] h, m, d). The softmax is rounded to a format, by rows.",
    ),
    Op.NORMAL: Row(
        "normal([seed, index...], shape, place, keyed, axes)",
        rules.draw,
        Lift.SPECIAL,
        "Standard normal numbers, named by place, loop indices and (when keyed) the seed of the example.",
    ),
    Op.UNIFORM: Row(
        "uniform([seed, index...], shape, place, keyed, axes)",
        rules.draw,
        Lift.SPECIAL,
        "Uniform numbers in (0, 1), named as in `normal`.",
    ),
    Op.STOP: Row("stop(x)", rules.identity, Lift.ALIGN, "x, through which no derivative passes."),
    Op.GRAD: Row(
        "grad(e, v...)",
        rules.grad,
        Lift.SPECIAL,
        "Gradients of sum(e) in values v of the same block, one result each.",
        pure=True,
    ),
    Op.FOR: Row(
        "for(count, carried..., captured)",
        rules.carried_for,
        Lift.SPECIAL,
        "Region (index, carried...) -> carried, run for index 0 to count - 1.",
        pure=False,
    ),
    Op.WHILE: Row(
        "while(carried..., limit)",
        rules.carried_while,
        Lift.SPECIAL,
        "Regions test (carried...) -> bool and body (carried...) -> carried; at most `limit` rounds.",
        pure=False,
    ),
    Op.IF: Row(
        "if(test)", rules.branch, Lift.SPECIAL, "Two regions without parameters; the shared test picks one.", pure=False
    ),
    Op.PARTS: Row(
        "parts(args..., share)",
        rules.branch,
        Lift.SPECIAL,
        "Regions (args...) -> results for the first `share` of the examples and for the others; results come together again.",
        pure=False,
    ),
    Op.CALL: Row(
        "call(args..., function, bundle, lanes)",
        rules.call,
        Lift.SPECIAL,
        "A function over the bundle's parameters; with lanes > 1 the arguments of each lane in turn, for one batched run.",
    ),
    Op.REPEAT: Row(
        "repeat(args..., function, bundle, count, carried, reverse=false, cut=())",
        rules.repeat,
        Lift.SPECIAL,
        "A network applied `count` times over bundle.0, bundle.1, ... (from the last one with `reverse`); the first `carried` "
        "arguments are its results again. The last ones are cut along the axes `cut`, a part for each turn, and its results "
        "for them are put together again.",
    ),
    Op.SPREAD: Row("spread(x, like)", rules.spread, Lift.SPECIAL, "A shared value, one for each example of `like`."),
    Op.BATCH_SIZE: Row("batch_size(like)", rules.batch_size, Lift.SPECIAL, "Number of examples, shared int."),
    Op.BATCH_INDEX: Row("batch_index(like)", rules.batch_index, Lift.SPECIAL, "Place of the example in the batch, int."),
    Op.BATCH_SUM: Row("batch_sum(x)", rules.batch_reduce, Lift.SPECIAL, "Sum over examples, shared."),
    Op.BATCH_MEAN: Row("batch_mean(x)", rules.batch_reduce, Lift.SPECIAL, "Mean over examples, shared."),
    Op.BATCH_TAKE: Row("batch_take(x, index)", rules.batch_take, Lift.SPECIAL, "The example of x at each example's index."),
    Op.BATCH_GATHER: Row("batch_gather(x)", rules.batch_gather, Lift.SPECIAL, "All examples as one shared array (B, *shape)."),
    Op.BATCH_SCATTER: Row(
        "batch_scatter(x)", rules.batch_scatter, Lift.SPECIAL, "A shared array (B, *shape), one row an example."
    ),
    Op.BATCH_COST: Row(
        "batch_cost(a, b, cost)", rules.batch_cost, Lift.SPECIAL, "Cost of every pair, shared (B, B): sqdist or dist."
    ),
    Op.EXTERN: Row(
        "extern(args..., name, options, types)",
        rules.extern,
        Lift.SPECIAL,
        "A function of the host's, declared in the library.",
        pure=False,
    ),
}
