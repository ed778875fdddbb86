"""The cases of ops that move numbers, of layers, of draws and of the batch; `cases` joins them with its own."""

from __future__ import annotations

from typing import Any

import numpy as np
from op_case import EXAMPLES, Case, Operand, between, bias, case, exactly, one, per, rows, weight, whole

from specc.ir.ops import Op
from specc.ir.types import BATCH

INTS = whole(-4, 5)
SEEDS = whole(-(2**40), 2**62)


def _regular(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return (rng.normal(size=shape) + 3 * np.eye(shape[-1])).astype(np.float32).astype(np.float64)


def _definite(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    a = np.atleast_2d(rng.normal(size=shape))
    return (a @ a.swapaxes(-1, -2) + np.eye(shape[-1])).astype(np.float32).astype(np.float64)


REGULAR, DEFINITE = _regular, _definite


def layer(op: Op, *shape: int, weight_shape: tuple[int, ...], out: int, **attrs: Any) -> list[Case]:
    """With a bias and without, for an example and for a batch."""
    w = weight(*weight_shape)
    return [
        case(op, per(*shape), w, bias(out), **attrs),
        case(op, per(*shape), w, **attrs),
        case(op, rows(*shape), w, bias(out), **attrs),
    ]


def transposed(*shape: int, **attrs: Any) -> list[Case]:
    return layer(Op.CONV_TRANSPOSE, *shape, **attrs)


def norm(op: Op, *shape: int, n: int, shift: bool = True, **attrs: Any) -> list[Case]:
    scale = weight(n, path="layer.weight")
    cases = [case(op, per(*shape), **attrs), case(op, per(*shape), scale, **attrs), case(op, rows(*shape), scale, **attrs)]
    if shift:
        cases += [case(op, x, scale, bias(n), **attrs) for x in (per(*shape), rows(*shape))]
    return cases


def draws(op: Op) -> list[Case]:
    seed, index = per(fill=SEEDS), one(fill=whole(0, 50))
    keyed: dict[str, Any] = {"keyed": True, "axes": ("example",)}
    return [
        case(op, seed, shape=(), place=0, **keyed),
        case(op, seed, shape=(3,), place=1, **keyed),
        case(op, seed, index, shape=(2, 2), place=7, **keyed),
        case(op, seed, index, index, shape=(1, 2, 3), place=100, **keyed),
        case(op, rows(fill=SEEDS), index, shape=(4,), place=2, **keyed),
    ]


def at(n: int, *shape: int) -> tuple[Operand, Operand, Operand]:
    """Indices below n: one set an example, a shared set, and at array level."""
    fill = whole(0, n)
    return per(*shape, fill=fill), one(*shape, fill=fill), rows(*shape, fill=fill)


ARRAY_CASES: dict[Op, list[Case]] = {
    Op.RESHAPE: [
        case(Op.RESHAPE, per(2, 6), shape=(3, 4)),
        case(Op.RESHAPE, per(), shape=(1,)),
        case(Op.RESHAPE, per(1, 1), shape=()),
        case(Op.RESHAPE, one(6), shape=(2, 1, 3)),
        case(Op.RESHAPE, rows(2, 3), shape=(BATCH, 6)),
        case(Op.RESHAPE, rows(), shape=(BATCH, 1, 1)),
        case(Op.RESHAPE, per(4, fill=INTS), shape=(2, 2)),
    ],
    Op.TRANSPOSE: [
        case(Op.TRANSPOSE, per(2, 3, 4), perm=(2, 0, 1)),
        case(Op.TRANSPOSE, per(3, 2), perm=(1, 0)),
        case(Op.TRANSPOSE, per(3), perm=(0,)),
        case(Op.TRANSPOSE, one(2, 3), perm=(1, 0)),
        case(Op.TRANSPOSE, rows(2, 3), perm=(0, 2, 1)),
    ],
    Op.EXPAND: [
        case(Op.EXPAND, per(1, 3), shape=(4, 3)),
        case(Op.EXPAND, per(2, 1, 1), shape=(2, 5, 3)),
        case(Op.EXPAND, per(2), shape=(2,)),
        case(Op.EXPAND, one(1), shape=(3,)),
        case(Op.EXPAND, rows(1), shape=(BATCH, 4)),
    ],
    Op.SLICE: [
        case(Op.SLICE, per(7), axis=0, start=1, stop=6, step=2),
        case(Op.SLICE, per(7), axis=0, start=0, stop=7, step=1),
        case(Op.SLICE, per(2, 4), axis=1, start=3, stop=4, step=1),
        case(Op.SLICE, per(2, 4, 3), axis=-2, start=0, stop=3, step=2),
        case(Op.SLICE, one(5), axis=0, start=2, stop=5, step=1),
        case(Op.SLICE, rows(4, 2), axis=1, start=1, stop=3, step=1),
        case(Op.SLICE, per(4, fill=INTS), axis=0, start=0, stop=2, step=1),
    ],
    Op.CONCAT: [
        case(Op.CONCAT, per(2), per(3), axis=0),
        case(Op.CONCAT, per(2, 3), one(2, 1), per(2, 2), axis=1),
        case(Op.CONCAT, one(2), per(2), axis=0),
        case(Op.CONCAT, one(2), one(1), axis=0),
        case(Op.CONCAT, per(2, 3), axis=0),
        case(Op.CONCAT, per(2, 1, 2), per(1, 1, 2), axis=-3),
        case(Op.CONCAT, rows(2), rows(3), axis=1),
        case(Op.CONCAT, per(2, fill=INTS), per(1, fill=INTS), axis=0),
    ],
    Op.PAD: [
        case(Op.PAD, per(3), pads=((1, 2),), value=0.0),
        case(Op.PAD, per(2, 3), pads=((0, 0), (2, 0)), value=1.5),
        case(Op.PAD, per(1, 2, 2), pads=((0, 0), (1, 1), (0, 1)), value=0.0),
        case(Op.PAD, one(2), pads=((0, 1),), value=-1.0),
        case(Op.PAD, rows(3), pads=((0, 0), (1, 2)), value=0.0),
    ],
    Op.FLIP: [case(Op.FLIP, o, axis=i) for o, i in ((per(4), 0), (per(2, 3), 1), (per(2, 3), -2), (one(3), 0), (rows(3), 1))],
    Op.TAKE: [
        *[case(Op.TAKE, per(5), index, axis=0, batch=0) for index in at(5, 3)[:2]],
        *[case(Op.TAKE, per(2, 4, 3), index, axis=1, batch=0) for index in at(4)[:2]],
        *[case(Op.TAKE, one(7, 3), index, axis=0, batch=0) for index in (*at(7), *at(7, 2, 2))],
        *[case(Op.TAKE, one(2, 7), index, axis=1, batch=0) for index in (*at(7)[:2], *at(7, 2)[:2])],
        case(Op.TAKE, per(2, 3), at(3, 2, 2)[0], axis=-1, batch=0),
        case(Op.TAKE, rows(4, 2), at(4, 3)[1], axis=1, batch=0),
        case(Op.TAKE, rows(4, 2), at(4, 3)[2], axis=1, batch=1),
        case(Op.TAKE, rows(2, 4), at(4)[2], axis=2, batch=1),
        case(Op.TAKE, one(4, fill=INTS), at(4, 2)[0], axis=0, batch=0),
        *[case(Op.TAKE, per(3, 5), index, axis=1, batch=1) for index in at(5, 3)[:2]],  # an item at each place
        case(Op.TAKE, one(3, 5), at(5, 3)[0], axis=1, batch=1),
        case(Op.TAKE, per(2, 3, 4), at(4, 2, 3)[0], axis=2, batch=2),
        case(Op.TAKE, per(2, 3, 4), at(3, 2)[0], axis=1, batch=1),
        case(Op.TAKE, per(2, 3, 4), at(4, 2)[0], axis=2, batch=1),
        case(Op.TAKE, per(2, 3, 4), at(4, 2, 5)[0], axis=2, batch=1),
        case(Op.TAKE, rows(3, 5), at(5, 3)[2], axis=2, batch=2),
    ],
    Op.SCATTER_ADD: [
        *[case(Op.SCATTER_ADD, per(4), index, axis=0, n=3, batch=0) for index in at(3, 4)[:2]],
        *[case(Op.SCATTER_ADD, per(2, 4), index, axis=1, n=6, batch=0) for index in at(6, 4)[:2]],
        *[case(Op.SCATTER_ADD, per(2, 2, 3), index, axis=0, n=3, batch=0) for index in at(3, 2, 2)[:2]],
        case(Op.SCATTER_ADD, per(3), at(4)[0], axis=0, n=4, batch=0),
        case(Op.SCATTER_ADD, one(3), at(2, 3)[0], axis=0, n=2, batch=0),
        case(Op.SCATTER_ADD, rows(3, 2), at(4, 3)[2], axis=1, n=4, batch=1),
        case(Op.SCATTER_ADD, rows(3, 2), at(4, 3)[1], axis=1, n=4, batch=0),
        *[case(Op.SCATTER_ADD, per(3), index, axis=1, n=5, batch=1) for index in at(5, 3)[:2]],
        case(Op.SCATTER_ADD, per(2, 3), at(4, 2, 3)[0], axis=2, n=4, batch=2),
        case(Op.SCATTER_ADD, per(2, 3, 4), at(5, 2, 4)[0], axis=2, n=5, batch=1),
        case(Op.SCATTER_ADD, rows(3), at(5, 3)[2], axis=2, n=5, batch=2),
    ],
    Op.CHOLESKY: [case(Op.CHOLESKY, per(n, n, fill=DEFINITE)) for n in (1, 2, 4, 9)]
    + [case(Op.CHOLESKY, rows(3, 3, fill=DEFINITE)), case(Op.CHOLESKY, one(5, 2, 2, fill=DEFINITE))],
    Op.INV: [case(Op.INV, per(n, n, fill=REGULAR)) for n in (1, 2, 4, 9)]
    + [case(Op.INV, rows(3, 3, fill=DEFINITE)), case(Op.INV, one(5, 2, 2, fill=REGULAR))],
    Op.MATMUL: [
        case(Op.MATMUL, per(2, 3), per(3, 4)),
        case(Op.MATMUL, per(2, 3), one(3, 1)),
        case(Op.MATMUL, one(4, 2), per(2, 3)),
        case(Op.MATMUL, one(2, 1, 2), one(2, 3)),
        case(Op.MATMUL, per(5, 2, 3), one(3, 2)),
        case(Op.MATMUL, per(2, 3), one(4, 3, 2)),
        case(Op.MATMUL, per(1, 2, 3), per(4, 3, 1)),
        case(Op.MATMUL, rows(2, 3), rows(3, 2)),
        case(Op.MATMUL, rows(2, 3), one(3, 2)),
    ],
    Op.LINEAR: [
        *layer(Op.LINEAR, 3, weight_shape=(4, 3), out=4),
        case(Op.LINEAR, per(2, 40), weight(3, 40), bias(3), smooth=False, rounds=("mxfp4", "mxfp6_e3m2", "mxfp6_e3m2")),
        case(Op.LINEAR, rows(40), weight(3, 40), smooth=False, rounds=("mxint8", "mxfp8_e4m3", "mxfp4")),
        *layer(Op.LINEAR, 2, 5, weight_shape=(1, 5), out=1),
        *layer(Op.LINEAR, 2, 2, 1, weight_shape=(3, 1), out=3),
    ],
    Op.CONV: [
        *layer(Op.CONV, 2, 7, weight_shape=(3, 2, 3), out=3, stride=1, padding=1, dilation=1, groups=1),
        *layer(Op.CONV, 2, 7, weight_shape=(4, 1, 2), out=4, stride=2, padding=0, dilation=2, groups=2),
        *layer(Op.CONV, 3, 4, 5, weight_shape=(2, 3, 1, 1), out=2, stride=1, padding=0, dilation=1, groups=1),
        *layer(Op.CONV, 2, 6, 5, weight_shape=(2, 1, 3, 3), out=2, stride=2, padding=1, dilation=1, groups=2),
        *layer(Op.CONV, 1, 7, 7, weight_shape=(2, 1, 3, 2), out=2, stride=3, padding=2, dilation=2, groups=1),
        *layer(Op.CONV, 2, 7, 3, weight_shape=(2, 2, 3, 1), out=2, stride=(3, 1), padding=(1, 0), dilation=(1, 2), groups=1),
        *layer(Op.CONV, 2, 7, 6, weight_shape=(3, 2, 3, 2), out=3, stride=1, padding=(1, 0), dilation=(1, 2), groups=1),
        *layer(Op.CONV, 2, 3, 4, 3, weight_shape=(2, 2, 2, 3, 1), out=2, stride=1, padding=1, dilation=1, groups=1),
    ],
    Op.CONV_TRANSPOSE: [
        *transposed(2, 4, weight_shape=(2, 3, 4), out=3, stride=2, padding=1, dilation=1, groups=1, output_padding=0),
        *transposed(4, 3, 2, weight_shape=(4, 1, 3, 3), out=2, stride=2, padding=1, dilation=1, groups=2, output_padding=1),
        *transposed(
            2,
            3,
            2,
            weight_shape=(2, 1, 4, 3),
            out=1,
            stride=(2, 1),
            padding=(1, 0),
            dilation=(1, 2),
            groups=1,
            output_padding=(1, 0),
        ),
        *transposed(1, 3, 3, weight_shape=(1, 2, 2, 3), out=2, stride=1, padding=0, dilation=2, groups=1, output_padding=0),
    ],
    Op.AVG_POOL: [
        case(Op.AVG_POOL, x, window=k, spatial=s)
        for x, k, s in (
            (per(2, 4, 6), 2, 2),
            (per(3, 6), 3, 1),
            (per(1, 2, 2), 1, 2),
            (rows(2, 4, 4), 4, 2),
            (per(1, 2, 4, 2), 2, 3),
        )
    ],
    Op.RESIZE: [
        case(Op.RESIZE, x, factor=k, spatial=s)
        for x, k, s in (
            (per(2, 2, 3), 2, 2),
            (per(3, 2), 3, 1),
            (per(1, 2, 2), 1, 2),
            (rows(2, 2, 2), 2, 2),
            (per(1, 1, 2, 2), 2, 3),
        )
    ],
    Op.LAYERNORM: [*norm(Op.LAYERNORM, 5, n=5, eps=1e-5), *norm(Op.LAYERNORM, 2, 3, n=3, eps=1e-2)],
    Op.GROUPNORM: [
        *norm(Op.GROUPNORM, 4, 3, 2, n=4, groups=2, eps=1e-5, spatial=2),
        *norm(Op.GROUPNORM, 3, 5, n=3, groups=1, eps=1e-5, spatial=1),
        *norm(Op.GROUPNORM, 2, 2, 3, n=2, groups=2, eps=1e-2, spatial=2),
    ],
    Op.RMSNORM: [*norm(Op.RMSNORM, 5, n=5, shift=False, eps=1e-5), *norm(Op.RMSNORM, 2, 3, n=3, shift=False, eps=1e-2)],
    Op.ATTENTION: [
        case(Op.ATTENTION, per(2, 3, 4), per(2, 3, 4), per(2, 3, 4), causal=False),
        case(Op.ATTENTION, per(2, 3, 4), per(2, 3, 4), per(2, 3, 4), causal=True),
        case(Op.ATTENTION, per(1, 2, 4), per(1, 5, 4), per(1, 5, 3), causal=False),
        case(Op.ATTENTION, per(2, 3, 4), one(2, 1, 4), one(2, 1, 4), causal=False),
        case(Op.ATTENTION, per(1, 1, 1), per(1, 1, 1), per(1, 1, 1), causal=True),
        case(Op.ATTENTION, rows(2, 3, 4), rows(2, 3, 4), rows(2, 3, 4), causal=True),
        case(Op.ATTENTION, rows(2, 3, 4), rows(2, 2, 4), rows(2, 2, 4), causal=False),
        case(Op.ATTENTION, per(2, 3, 4), per(2, 3, 4), per(2, 3, 4), smooth=False, causal=True, format="int8"),
        case(
            Op.ATTENTION,
            rows(1, 5, 4),
            rows(1, 5, 4),
            rows(1, 5, 4),
            smooth=False,
            causal=False,
            format="int4",
            block=2,
            affine=True,
        ),
        case(Op.ATTENTION, rows(1, 3, 4), rows(1, 40, 4), rows(1, 40, 4), smooth=False, causal=False, format="mxfp4", block=32),
    ],
    Op.NORMAL: draws(Op.NORMAL),
    Op.UNIFORM: draws(Op.UNIFORM),
    Op.STOP: [case(Op.STOP, x, smooth=False) for x in (per(3), per(), one(2), rows(2))],
    Op.SPREAD: [
        case(Op.SPREAD, one(3), per()),
        case(Op.SPREAD, one(), per(2)),
        case(Op.SPREAD, one(2, 2, fill=INTS), per()),
        case(Op.SPREAD, one(2), rows(3)),
    ],
    Op.BATCH_SIZE: [case(Op.BATCH_SIZE, like, smooth=False) for like in (per(2), per(), rows(3))],
    Op.BATCH_INDEX: [case(Op.BATCH_INDEX, like, smooth=False) for like in (per(2), per(), rows(3))],
    Op.BATCH_SUM: [case(Op.BATCH_SUM, x) for x in (per(), per(2, 3), per(1))],
    Op.BATCH_MEAN: [case(Op.BATCH_MEAN, x) for x in (per(), per(2, 3), per(1))],
    Op.BATCH_TAKE: [case(Op.BATCH_TAKE, x, at(EXAMPLES)[0]) for x in (per(), per(2, 3), per(2, fill=INTS))],
    Op.BATCH_GATHER: [case(Op.BATCH_GATHER, x) for x in (per(), per(2, 3), per(2, fill=INTS))],
    Op.BATCH_SCATTER: [case(Op.BATCH_SCATTER, x) for x in (rows(), rows(2, 3), rows(2, fill=INTS))],
    Op.BATCH_COST: [
        *[case(Op.BATCH_COST, per(*s), per(*s), cost=cost) for s in ((3,), (2, 2), ()) for cost in ("sqdist", "dist")],
        case(Op.BATCH_COST, rows(2), rows(2), cost="sqdist"),
        case(Op.BATCH_COST, per(1, fill=exactly(1.0, 3.0, 7.0)), per(1, fill=between(-1, 0)), cost="dist"),
    ],
}
