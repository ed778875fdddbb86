"""Cases for every op of the table, at both levels: each column of the table is tested on them.

for case in CASES[op]:
    program = case.program()  # an entry `main` that applies the op; with parameters, in a network `net`
    (want,) = run(program, "main", case.feeds(), case.weights())
"""

from __future__ import annotations

from array_cases import ARRAY_CASES
from op_case import AWAY, FLAGS, SOME, Case, Fill, between, case, exactly, one, per, rows, whole

from specc.ir.formats import FORMATS
from specc.ir.ops import Op

# Families


def unary(op: Op, fill: Fill = SOME, *edges: float, smooth: bool = True) -> list[Case]:
    """A vector, an image, a scalar and a shared value; then numbers where such functions go wrong."""
    shapes = [
        per(5, fill=fill),
        per(2, 1, 3, fill=fill),
        per(fill=fill),
        one(4, fill=fill),
        rows(3, fill=fill),
        rows(fill=fill),
    ]
    extra = [case(op, per(len(edges), fill=exactly(*edges)), smooth=False)] if edges else []
    return [case(op, o, smooth=smooth) for o in shapes] + extra


def binary(op: Op, a: Fill = SOME, b: Fill = SOME, smooth: bool = True) -> list[Case]:
    """Every way in which shapes meet."""
    pairs = [
        (per(4, fill=a), per(4, fill=b)),
        (per(fill=a), per(2, 3, fill=b)),
        (per(3, 1, fill=a), one(4, fill=b)),
        (one(2, 3, fill=a), per(3, fill=b)),
        (one(fill=a), per(fill=b)),
        (one(3, fill=a), one(2, 1, fill=b)),
        (rows(2, 3, fill=a), rows(1, 3, fill=b)),
        (rows(1, 1, fill=a), rows(2, 3, fill=b)),
        (rows(3, fill=a), one(3, fill=b)),
    ]
    return [case(op, *pair, smooth=smooth) for pair in pairs]


def reduction(op: Op, fill: Fill = SOME) -> list[Case]:
    three = [case(op, per(2, 3, 4, fill=fill), axes=axes) for axes in ((0,), (1, 2), (-1,), (0, 1, 2), ())]
    return [
        *three,
        case(op, per(1, fill=fill), axes=(0,)),
        case(op, one(2, 3, fill=fill), axes=(1,)),
        case(op, rows(2, 3, fill=fill), axes=(1,)),
        case(op, rows(2, fill=fill), axes=(0,)),
    ]


def along(op: Op, fill: Fill = SOME, smooth: bool = True) -> list[Case]:
    operands = [(per(4, fill=fill), 0), (per(2, 3, fill=fill), 0), (per(2, 3, 2, fill=fill), 1), (per(2, 3, fill=fill), -1)]
    operands += [(one(3, fill=fill), 0), (rows(3, 2, fill=fill), 1), (rows(3, 2, fill=fill), -1), (per(1, fill=fill), 0)]
    return [case(op, o, axis=axis, smooth=smooth) for o, axis in operands]


SMALL, HALVES = 1e-9, (-2.5, -1.5, -0.5, 0.0, 0.5, 1.5, 2.5)
INTS, ANY_INTS = whole(-4, 5), whole(1, 5)

CASES: dict[Op, list[Case]] = {
    Op.CONST: [
        case(Op.CONST, value=2.5, shape=(), dtype="float"),
        case(Op.CONST, value=-0.5, shape=(2, 3), dtype="float"),
        case(Op.CONST, value=(0.1, 0.2, 0.3, 0.4), shape=(2, 2), dtype="float"),
        case(Op.CONST, value=7, shape=(), dtype="int"),
        case(Op.CONST, value=(True, False), shape=(2,), dtype="bool"),
    ],
    Op.IOTA: [case(Op.IOTA, n=5), case(Op.IOTA, n=1)],
    Op.NEG: [*unary(Op.NEG), case(Op.NEG, per(3, fill=INTS))],
    Op.ABS: [*unary(Op.ABS, between(-2, 2), -1.0, 0.0, 3.0), case(Op.ABS, per(3, fill=INTS))],
    Op.SIGN: [*unary(Op.SIGN, between(-2, 2), -3.0, 0.0, 0.5), case(Op.SIGN, per(6, fill=INTS))],
    Op.EXP: [*unary(Op.EXP, between(-2, 2), -80.0, 0.0, 80.0), case(Op.EXP, per(3, fill=INTS))],
    Op.EXPM1: unary(Op.EXPM1, between(-2, 2), SMALL, -SMALL, 0.0, 30.0),
    Op.LOG: unary(Op.LOG, AWAY, 1e-30, 1.0, 1e30),
    Op.LOG1P: unary(Op.LOG1P, between(-0.7, 2), SMALL, -SMALL, 0.0, 1e30),
    Op.SQRT: [*unary(Op.SQRT, AWAY, 0.0, 1.0, 4.0, 1e-30), case(Op.SQRT, per(3, fill=ANY_INTS))],
    Op.SIN: unary(Op.SIN, between(-7, 7)),
    Op.COS: unary(Op.COS, between(-7, 7)),
    Op.TAN: unary(Op.TAN, between(-1.2, 1.2)),
    Op.ASIN: unary(Op.ASIN, between(-0.9, 0.9), -1.0, 1.0, 0.0),
    Op.ACOS: unary(Op.ACOS, between(-0.9, 0.9), -1.0, 1.0, 0.0),
    Op.ATAN: unary(Op.ATAN, between(-4, 4), -1e8, 1e8, 0.0),
    Op.TANH: unary(Op.TANH, between(-2, 2), -30.0, 30.0, 1e-6),
    Op.SIGMOID: unary(Op.SIGMOID, between(-3, 3), -200.0, 200.0, 0.0),
    Op.SOFTPLUS: unary(Op.SOFTPLUS, between(-3, 3), -800.0, 800.0, 25.0, 0.0),
    Op.ERF: unary(Op.ERF, between(-2, 2), -6.0, 6.0, 1e-6),
    Op.ERFINV: unary(Op.ERFINV, between(-0.9, 0.9), 0.0, 1e-6, 0.99999, -0.99999),
    Op.LGAMMA: unary(Op.LGAMMA, between(0.2, 6), 0.5, 1.0, 2.0, 30.0, 1e-3),
    Op.FLOOR: unary(Op.FLOOR, between(-3, 3), *HALVES, -2.0, 3.0),
    Op.CEIL: unary(Op.CEIL, between(-3, 3), *HALVES, -2.0, 3.0),
    Op.ROUND: unary(Op.ROUND, between(-3, 3), *HALVES),
    Op.NOT: unary(Op.NOT, FLAGS),
    Op.CAST: [
        *[case(Op.CAST, o, dtype="int", smooth=False) for o in (per(4, fill=between(-3, 3)), per(), one(3), rows(3))],
        case(Op.CAST, per(7, fill=exactly(*HALVES)), dtype="int", smooth=False),
        case(Op.CAST, per(3, fill=INTS), dtype="float"),
        case(Op.CAST, rows(fill=INTS), dtype="float"),
        case(Op.CAST, per(3, fill=FLAGS), dtype="float"),
        case(Op.CAST, per(3, fill=FLAGS), dtype="int"),
        case(Op.CAST, per(9, fill=INTS), dtype="bool"),
        case(Op.CAST, per(3), dtype="float"),
    ],
    Op.SILU: unary(Op.SILU, between(-3, 3), -90.0, 0.0, 90.0),
    Op.GELU: unary(Op.GELU, between(-3, 3), -20.0, 0.0, 20.0),
    Op.RELU: unary(Op.RELU, between(-2, 2), -1.0, 0.0, 1.0),
    Op.ADD: binary(Op.ADD) + binary(Op.ADD, INTS, INTS)[:3] + [case(Op.ADD, per(3, fill=INTS), per(3))],
    Op.SUB: binary(Op.SUB) + binary(Op.SUB, INTS, INTS)[:3],
    Op.MUL: binary(Op.MUL) + binary(Op.MUL, INTS, INTS)[:3] + [case(Op.MUL, per(2, 3), one(3, fill=INTS))],
    Op.DIV: [*binary(Op.DIV, between(-2, 2), AWAY), case(Op.DIV, per(4, fill=INTS), per(4, fill=ANY_INTS))],
    Op.FLOORDIV: binary(Op.FLOORDIV, between(-9, 9), AWAY, smooth=False)
    + binary(Op.FLOORDIV, whole(-9, 10), ANY_INTS)[:3]
    + [case(Op.FLOORDIV, per(8, fill=whole(-9, 10)), one(fill=exactly(-2)))],
    Op.MOD: binary(Op.MOD, between(-9, 9), AWAY, smooth=False)
    + binary(Op.MOD, whole(-9, 10), ANY_INTS)[:3]
    + [
        case(Op.MOD, per(8, fill=whole(-9, 10)), one(fill=exactly(-3))),
        case(Op.MOD, per(4), one(fill=exactly(-0.7)), smooth=False),
    ],
    Op.POW: binary(Op.POW, AWAY)
    + [case(Op.POW, per(3), one(fill=exactly(n))) for n in (2.0, 3.0, 1.0)]
    + [case(Op.POW, per(3, fill=AWAY), one(fill=exactly(n))) for n in (0.5, -1.0, 0.0)]
    + [case(Op.POW, per(4, fill=INTS), one(fill=exactly(n))) for n in (0, 3)],
    Op.MIN: binary(Op.MIN) + binary(Op.MIN, INTS, INTS)[:2],
    Op.MAX: binary(Op.MAX) + binary(Op.MAX, INTS, INTS)[:2],
    **{
        op: binary(op, smooth=False)
        + binary(op, INTS, INTS)[:3]
        + [case(op, per(6, fill=INTS), one(fill=exactly(0.5)), smooth=False)]
        for op in (Op.EQ, Op.NE, Op.LT, Op.LE)
    },
    Op.AND: binary(Op.AND, FLAGS, FLAGS),
    Op.OR: binary(Op.OR, FLAGS, FLAGS),
    Op.WHERE: [
        case(Op.WHERE, per(4, fill=FLAGS), per(4), per(4)),
        case(Op.WHERE, per(fill=FLAGS), per(2, 3), one(3)),
        case(Op.WHERE, one(3, fill=FLAGS), per(3), per()),
        case(Op.WHERE, one(fill=FLAGS), one(2), one(2)),
        case(Op.WHERE, per(3, fill=FLAGS), per(3, fill=INTS), one(fill=INTS)),
        case(Op.WHERE, per(3, fill=FLAGS), per(3, fill=INTS), one()),
        case(Op.WHERE, rows(1, 1, fill=FLAGS), rows(2, 3), rows(2, 1)),
    ],
    Op.SUM: [*reduction(Op.SUM), case(Op.SUM, per(4, fill=INTS), axes=(0,))],
    Op.MEAN: reduction(Op.MEAN),
    Op.PROD: [*reduction(Op.PROD, AWAY), case(Op.PROD, per(4, fill=exactly(2.0, 0.0, -3.0, 0.5)), axes=(0,))],
    Op.AMAX: [*reduction(Op.AMAX), case(Op.AMAX, per(4, fill=INTS), axes=(0,))],
    Op.AMIN: [*reduction(Op.AMIN), case(Op.AMIN, per(4, fill=INTS), axes=(0,))],
    Op.ARGMAX: [
        *along(Op.ARGMAX, smooth=False),
        case(Op.ARGMAX, per(6, fill=exactly(1.0, 3.0, 2.0, 3.0, 3.0)), axis=0, smooth=False),
    ],
    Op.LOGSUMEXP: [
        *reduction(Op.LOGSUMEXP),
        case(Op.LOGSUMEXP, per(3, fill=exactly(10000.0, -10000.0, 10000.0)), axes=(0,), smooth=False),
    ],
    Op.SOFTMAX: [*along(Op.SOFTMAX), case(Op.SOFTMAX, per(3, fill=exactly(10000.0, -10000.0, 10000.0)), axis=0, smooth=False)],
    Op.CUMSUM: [*along(Op.CUMSUM), case(Op.CUMSUM, per(4, fill=INTS), axis=0)],
    Op.SORT: [*along(Op.SORT), case(Op.SORT, per(6, fill=exactly(1.0, 3.0, 2.0, 3.0)), axis=0, smooth=False)],
    Op.ROUND_TO: [
        *(
            case(Op.ROUND_TO, x, smooth=False, format="int4", axes=axes)
            for x in (per(3, 4), rows(3, 4))
            for axes in ((-1,), (1,))
        ),
        *(case(Op.ROUND_TO, one(5, 70), smooth=False, format=name, axes=(1,), block=32) for name in FORMATS),
        *(case(Op.ROUND_TO, per(6, fill=AWAY), smooth=False, format=f"int{b}", axes=(0,), affine=True) for b in (2, 3, 4, 8)),
        case(Op.ROUND_TO, one(4, 3, 2), smooth=False, format="ternary", axes=(0, 1, 2)),
        case(Op.ROUND_TO, one(4, 3, 2), smooth=False, format="fp8_e4m3", axes=(0, 2)),
        case(Op.ROUND_TO, per(2, 3), smooth=False, format="mxfp4", axes=(0,), block=32),
    ],
    **ARRAY_CASES,
}
