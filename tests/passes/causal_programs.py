"""Causal networks made at random of the ops that the incremental form knows, and their runs place by place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from programs import const, function, per, program

from specc.ir.calc import Calc
from specc.ir.ops import Op
from specc.ir.program import Builder, Function, Ids, Program, Value
from specc.ir.rewrite import ids_after
from specc.ir.types import FLOAT, DType, Type
from specc.ir.verify import verify
from specc.passes.incremental.derive import Derivation
from specc.passes.incremental.fixed import taken
from specc.passes.incremental.places import FIXED, Along, Known
from specc.passes.incremental.steps import Frame

PLACES, WIDTH, HEADS = 5, 4, 2
PLAIN = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}  # options of a convolution


class Writer:
    """Appends pieces to a network h: (PLACES, WIDTH) -> the same, with parameters of its own and a condition c: (WIDTH)."""

    def __init__(self, b: Builder, ids: Ids, c: Value, sub: list[str]) -> None:
        self.b, self.ids, self.c, self.sub, self.count = b, ids, c, sub, 0

    def param(self, *shape: int) -> Value:
        self.count += 1
        return self.b.add(Op.PARAM, path=f"p{self.count}.weight", shape=shape, init=("zeros",))

    def dense(self, h: Value, width: int = WIDTH) -> Value:
        return self.b.add(Op.LINEAR, h, self.param(width, int(h.type.shape[-1])))

    def heads(self, h: Value) -> Value:
        split = self.b.add(Op.RESHAPE, self.dense(h), shape=(PLACES, HEADS, WIDTH // HEADS))
        return self.b.add(Op.TRANSPOSE, split, perm=(1, 0, 2))

    def together(self, a: Value) -> Value:
        turned = self.b.add(Op.TRANSPOSE, a, perm=(1, 0, 2))
        return self.b.add(Op.RESHAPE, turned, shape=(PLACES, WIDTH))

    def where_from(self, along: tuple[int, int]) -> Value:
        """iota(PLACES) along one of two axes."""
        return self.b.add(Op.RESHAPE, self.b.add(Op.IOTA, n=PLACES), shape=along)

    def seen(self, window: int = PLACES) -> Value:
        """(PLACES, PLACES): true from the place back to `window` before it."""
        i, j = self.where_from((PLACES, 1)), self.where_from((1, PLACES))
        near = self.b.add(Op.LT, self.b.add(Op.SUB, i, j), const(self.b, window))
        return self.b.add(Op.AND, self.b.add(Op.LE, j, i), near)


def linear(w: Writer, h: Value) -> Value:
    return w.dense(w.b.add(Op.SILU, w.dense(h, 6)))


def norm(w: Writer, h: Value) -> Value:
    return w.b.add(Op.LAYERNORM, h, w.param(WIDTH), w.param(WIDTH), eps=1e-5)


def residual(w: Writer, h: Value) -> Value:
    return w.b.add(Op.ADD, h, w.b.add(Op.TANH, w.dense(norm(w, h))))


def attention(w: Writer, h: Value) -> Value:
    return w.together(w.b.add(Op.ATTENTION, w.heads(h), w.heads(h), w.heads(h), causal=True))


def _scores(w: Writer, h: Value) -> Value:
    return w.b.add(Op.MATMUL, w.heads(h), w.b.add(Op.TRANSPOSE, w.heads(h), perm=(0, 2, 1)))


def masked(w: Writer, h: Value) -> Value:
    """Attention written out, over a window, with a learnt number for each distance."""
    scores = w.b.add(Op.ADD, w.b.add(Op.DIV, _scores(w, h), const(w.b, 1.5)), w.param(HEADS, PLACES, PLACES))
    scores = w.b.add(Op.WHERE, w.seen(3), scores, const(w.b, -1e9))
    return w.together(w.b.add(Op.MATMUL, w.b.add(Op.SOFTMAX, scores, axis=2), w.heads(h)))


def added_mask(w: Writer, h: Value) -> Value:
    hidden = w.b.add(Op.WHERE, w.seen(), const(w.b, 0.0), const(w.b, -1e9))
    scores = w.b.add(Op.DIV, w.b.add(Op.ADD, _scores(w, h), hidden), const(w.b, 1.5))
    weights = w.b.add(Op.SOFTMAX, scores, axis=-1)
    return w.together(w.b.add(Op.MATMUL, weights, w.heads(h)))


def linear_attention(w: Writer, h: Value) -> Value:
    kept = w.b.add(Op.CAST, w.seen(), dtype="float")
    weights = w.b.add(Op.MUL, _scores(w, h), kept)
    total = w.b.add(Op.ADD, w.b.add(Op.ABS, w.b.add(Op.SUM, weights, axes=(2,))), const(w.b, 1.0))
    each = w.b.add(Op.RESHAPE, total, shape=(HEADS, PLACES, 1))
    return w.together(w.b.add(Op.DIV, w.b.add(Op.MATMUL, weights, w.heads(h)), each))


def triangle(w: Writer, h: Value) -> Value:
    """A known lower triangular matrix: decaying sums of what came before."""
    i, j = w.where_from((PLACES, 1)), w.where_from((1, PLACES))
    age = w.b.add(Op.CAST, w.b.add(Op.SUB, i, j), dtype="float")
    kept = w.b.add(Op.WHERE, w.seen(), w.b.add(Op.SUB, const(w.b, 1.0), w.b.add(Op.DIV, age, const(w.b, 9.0))), const(w.b, 0.0))
    return w.b.add(Op.MATMUL, kept, h)


def cross(w: Writer, h: Value) -> Value:
    context = w.b.add(
        Op.RESHAPE, w.b.add(Op.EXPAND, w.b.add(Op.RESHAPE, w.c, shape=(1, WIDTH)), shape=(3, WIDTH)), shape=(3, 4)
    )
    context = w.b.add(Op.MUL, context, w.param(3, WIDTH))
    keys = w.b.add(Op.TRANSPOSE, w.b.add(Op.RESHAPE, context, shape=(3, HEADS, 2)), perm=(1, 0, 2))
    return w.together(w.b.add(Op.ATTENTION, w.heads(h), keys, keys, causal=False))


def _channels(w: Writer, h: Value) -> Value:
    return w.b.add(Op.TRANSPOSE, h, perm=(1, 0))


def conv(w: Writer, h: Value) -> Value:
    x = w.b.add(Op.PAD, _channels(w, h), pads=((0, 0), (4, 0)), value=0.0)
    return _channels(w, w.b.add(Op.CONV, x, w.param(WIDTH, WIDTH, 3), **PLAIN | {"dilation": 2}))


def cut_conv(w: Writer, h: Value) -> Value:
    """Padded at both ends, and cut at the end; each channel by itself."""
    own = PLAIN | {"padding": 2, "groups": WIDTH}
    x = w.b.add(Op.CONV, _channels(w, h), w.param(WIDTH, 1, 3), w.param(WIDTH), **own)
    return _channels(w, w.b.add(Op.SLICE, x, axis=1, start=0, stop=PLACES, step=1))


def padded_before(w: Writer, h: Value) -> Value:
    """A convolution over what was made of padding: places before the first that are not zero."""
    x = w.b.add(Op.PAD, h, pads=((2, 0), (0, 0)), value=0.5)
    x = w.b.add(Op.TANH, w.b.add(Op.ADD, w.dense(x), w.param(WIDTH)))
    return _channels(w, w.b.add(Op.CONV, _channels(w, x), w.param(WIDTH, WIDTH, 3), w.param(WIDTH), **PLAIN))


def running(w: Writer, h: Value) -> Value:
    i = w.b.add(Op.ADD, w.where_from((PLACES, 1)), const(w.b, 1))
    return w.b.add(Op.DIV, w.b.add(Op.CUMSUM, h, axis=0), w.b.add(Op.CAST, i, dtype="float"))


def shift(w: Writer, h: Value) -> Value:
    head = w.b.add(Op.SLICE, h, axis=0, start=0, stop=PLACES - 2, step=1)
    return w.b.add(Op.ADD, h, w.b.add(Op.CONCAT, w.param(2, WIDTH), head, axis=0))


def padded_shift(w: Writer, h: Value) -> Value:
    back = w.b.add(Op.PAD, w.b.add(Op.SLICE, h, axis=0, start=0, stop=PLACES - 1, step=1), pads=((1, 0), (0, 0)), value=0.5)
    return w.b.add(Op.MUL, h, w.b.add(Op.SIGMOID, back))


def there_and_back(w: Writer, h: Value) -> Value:
    """A place in front that goes again, and one behind the end."""
    longer = w.b.add(Op.CONCAT, w.param(1, WIDTH), w.b.add(Op.MUL, h, h), w.param(1, WIDTH), axis=0)
    return w.b.add(Op.ADD, h, w.b.add(Op.SLICE, longer, axis=0, start=1, stop=PLACES + 1, step=1))


def rotary(w: Writer, h: Value) -> Value:
    rate = w.b.add(Op.EXP, w.b.add(Op.CAST, w.b.add(Op.NEG, w.b.add(Op.IOTA, n=2)), dtype="float"))
    at = w.b.add(Op.EXPAND, w.where_from((PLACES, 1)), shape=(PLACES, 2))
    angle = w.b.add(Op.MUL, w.b.add(Op.CAST, at, dtype="float"), w.b.add(Op.RESHAPE, rate, shape=(1, 2)))
    c, s = w.b.add(Op.COS, angle), w.b.add(Op.SIN, angle)
    x, y = (w.b.add(Op.SLICE, h, axis=1, start=2 * k, stop=2 * k + 2, step=1) for k in (0, 1))
    left = w.b.add(Op.SUB, w.b.add(Op.MUL, x, c), w.b.add(Op.MUL, y, s))
    return w.b.add(Op.CONCAT, left, w.b.add(Op.ADD, w.b.add(Op.MUL, x, s), w.b.add(Op.MUL, y, c)), axis=1)


def learnt(w: Writer, h: Value) -> Value:
    return w.b.add(Op.ADD, h, w.param(PLACES, WIDTH))


def condition(w: Writer, h: Value) -> Value:
    return w.b.add(Op.MUL, h, w.b.add(Op.RESHAPE, w.dense(w.c), shape=(1, WIDTH)))


def tokens(w: Writer, h: Value) -> Value:
    """The largest feature of each place, looked up in a table."""
    return w.b.add(Op.TAKE, w.param(WIDTH, WIDTH), w.b.add(Op.ARGMAX, h, axis=1), axis=0, batch=0)


def picked(w: Writer, h: Value) -> Value:
    """The largest entry of each place, by its index; and features in another order, along them."""
    best = w.b.add(Op.TAKE, h, w.b.add(Op.ARGMAX, h, axis=1), axis=1, batch=1)
    return w.b.add(Op.ADD, w.b.add(Op.SORT, h, axis=1), w.b.add(Op.RESHAPE, best, shape=(PLACES, 1)))


def gate(w: Writer, h: Value) -> Value:
    level = w.b.add(Op.RESHAPE, w.b.add(Op.LOGSUMEXP, h, axes=(1,)), shape=(PLACES, 1))
    return w.b.add(Op.MUL, w.b.add(Op.SOFTMAX, h, axis=1), w.b.add(Op.EXPAND, level, shape=(PLACES, WIDTH)))


def mixing_matrices(w: Writer, h: Value) -> Value:
    """A matrix for each place, by its vector."""
    table = w.b.add(Op.RESHAPE, w.dense(h, 16), shape=(PLACES, 4, 4))
    column = w.b.add(Op.RESHAPE, h, shape=(PLACES, 4, 1))
    return w.b.add(Op.RESHAPE, w.b.add(Op.MATMUL, table, column), shape=(PLACES, WIDTH))


def recurrence(w: Writer, h: Value) -> Value:
    """s = tanh(W [s, h[i]]), all states."""
    weight, inner = w.param(WIDTH, 2 * WIDTH), w.b.child()
    start = w.b.add(Op.MUL, w.c, const(w.b, 0.5))
    zeros = w.b.add(Op.MUL, h, const(w.b, 0.0))
    states = w.b.add(Op.CONST, value=0.0, shape=(PLACES, WIDTH), dtype="float")
    states = w.b.add(Op.SPREAD, states, zeros)
    i, s, kept = inner.param(Type(DType.INT), "i"), inner.param(start.type, "s"), inner.param(states.type, "states")
    here = inner.add(Op.TAKE, h, i, axis=0)
    new = inner.add(Op.TANH, inner.add(Op.LINEAR, inner.add(Op.CONCAT, s, here, axis=0), weight))
    hit = inner.add(Op.RESHAPE, inner.add(Op.EQ, inner.add(Op.IOTA, n=PLACES), i), shape=(PLACES, 1))
    row = inner.add(Op.EXPAND, inner.add(Op.RESHAPE, new, shape=(1, WIDTH)), shape=(PLACES, WIDTH))
    region = inner.block(new, inner.add(Op.WHERE, hit, row, kept))
    count = const(w.b, PLACES)
    return w.b.add_many(Op.FOR, count, start, states, regions=(region,))[1]


def called(w: Writer, h: Value) -> Value:
    name = w.sub[w.count % len(w.sub)]
    w.count += 1
    return w.b.add(Op.CALL, h, w.c, function=name, bundle=f"n{w.count}", lanes=1, types=(h.type,))


def repeated(w: Writer, h: Value) -> Value:
    name = w.sub[w.count % len(w.sub)]
    w.count += 1
    return w.b.add(Op.REPEAT, h, w.c, function=name, bundle=f"n{w.count}", count=2, carried=1)


PIECES: list[Callable[[Writer, Value], Value]] = [
    *(linear, norm, residual, attention, masked, added_mask, linear_attention, triangle, cross, conv, cut_conv, running),
    padded_before,
    *(shift, padded_shift, there_and_back, rotary, learnt, condition, tokens, picked, gate, mixing_matrices, recurrence),
]
X, C = per(FLOAT.shaped((PLACES, WIDTH))), per(FLOAT.shaped((WIDTH,)))


def network(ids: Ids, name: str, pieces: list[Callable[[Writer, Value], Value]], sub: list[str], seed: int = 0) -> Function:
    """Pieces one after another; sometimes one stands beside what came before."""
    rng = np.random.default_rng(seed)

    def body(b: Builder, h: Value, c: Value) -> Value:
        w = Writer(b, ids, c, sub)
        for piece in pieces:
            made = piece(w, h)
            h = b.add(Op.ADD, h, made) if rng.random() < 0.4 else made
        return h

    return function(ids, name, "network", {"h": X, "c": C}, body)


def random_network(seed: int) -> Program:
    """main(x, c) = net(x, c), of three to six pieces, some of which are networks of their own."""
    rng = np.random.default_rng(seed)
    ids = Ids()
    inner = [network(ids, f"part{k}", list(rng.choice(PIECES, 2)), [], seed) for k in range(2)]
    names = [f.name for f in inner]
    chosen = list(rng.choice([*PIECES, called, repeated, called, repeated], int(rng.integers(3, 7))))
    return whole(ids, network(ids, "net", chosen, names, seed), *inner)


def whole(ids: Ids, net: Function, *inner: Function) -> Program:
    def main(b: Builder, x: Value, c: Value) -> Value:
        return b.add(Op.CALL, x, c, function=net.name, bundle="net", lanes=1, types=(net.block.results[0].type,))

    made = function(ids, "main", "entry", {"x": X, "c": C}, main)
    return program(made, net, *inner, networks={"net": net.name})


def stepwise(p: Program, stacked: bool = False) -> Program:
    """The same, by one step after another: the network sees a place at a time, and its answers are put together."""
    ids = ids_after(p)
    d = Derivation(p, Frame(0, PLACES, stacked), ids)
    b = Builder(ids)
    x, c = b.param(X, "x"), b.param(C, "c")
    inner = b.child()
    place = Known(Along(axis=0), Value(0, X.shaped((1, WIDTH))))
    step = d.answers(p.networks["net"], (place, Known(FIXED, Value(0, C))))
    kept = [v.type for v in step.caches]
    zeros = [b.add(Op.SPREAD, b.add(Op.CONST, value=0, shape=t.shape, dtype=t.dtype.value), c) for t in kept]
    out = b.add(Op.MUL, x, const(b, 0.0))
    i, ys = inner.param(Type(DType.INT), "i"), inner.param(out.type, "ys")
    caches = [inner.param(t) for t in kept]
    index = inner.add(Op.SPREAD, i, c)
    args = [taken(Calc(inner), x, 0, i), c, *([index] if step.counts else []), *caches]
    types = (X.shaped((1, WIDTH)), *kept)
    y, *after = inner.add_many(Op.CALL, *args, function=step.function, bundle="net", lanes=1, types=types)
    hit = inner.add(Op.RESHAPE, inner.add(Op.EQ, inner.add(Op.IOTA, n=PLACES), i), shape=(PLACES, 1))
    region = inner.block(inner.add(Op.WHERE, hit, y, ys), *after)
    made = b.add_many(Op.FOR, const(b, PLACES), out, *zeros, regions=(region,))
    main = replace(p.functions["main"], block=b.block(made[0]))
    return verify(replace(p, functions={**p.functions, **d.functions, "main": main}))


def filled(p: Program, strict: bool = True, by_round: bool = False) -> Program:
    """main(x, c): a sequence z that is filled from nothing, z[i] = tanh(net(shifted z, c)[i] + 0.1 i), beside one of another
    condition (by_round: the condition grows with i); x is not read but for its batch."""
    ids = ids_after(p)
    b, net = Builder(ids), p.networks["net"]
    x, c = b.param(X, "x"), b.param(C, "c")
    other = b.add(Op.MUL, c, const(b, -1.0))
    start = b.add(Op.MUL, x, const(b, 0.0))
    inner = b.child()
    i, z = inner.param(Type(DType.INT), "i"), inner.param(X, "z")
    seen = inner.add(Op.CALL, z, function="late", bundle="late", lanes=1, types=(X,)) if strict else z
    level = inner.add(Op.MUL, inner.add(Op.CAST, i, dtype="float"), const(inner, 0.1))
    given = [inner.add(Op.ADD, k, level) if by_round else k for k in (c, other)]
    one, two = (inner.add(Op.CALL, seen, k, function=net, bundle="net", lanes=1, types=(X,)) for k in given)
    first = inner.add(Op.TAKE, inner.add(Op.SUB, inner.add(Op.MUL, one, const(inner, 1.5)), two), i, axis=0)
    new = inner.add(Op.TANH, inner.add(Op.ADD, first, level))
    hit = inner.add(Op.RESHAPE, inner.add(Op.EQ, inner.add(Op.IOTA, n=PLACES), i), shape=(PLACES, 1))
    row = inner.add(Op.EXPAND, inner.add(Op.RESHAPE, new, shape=(1, WIDTH)), shape=(PLACES, WIDTH))
    region = inner.block(inner.add(Op.WHERE, hit, row, z))
    made = b.add(Op.FOR, const(b, PLACES), start, regions=(region,))
    main = replace(p.functions["main"], block=b.block(made))
    late = function(ids, "late", "network", {"h": X}, _late)
    networks = {"net": net, "late": "late"} if strict else p.networks
    functions = {**p.functions, "main": main} | ({"late": late} if strict else {})
    return verify(replace(p, functions=functions, networks=networks))


def _late(b: Builder, h: Value) -> Value:
    """One place late, behind a learnt one, with an offset of its own."""
    weight = b.add(Op.PARAM, path="linear.weight", shape=(WIDTH, WIDTH), init=("zeros",))
    start = b.add(Op.PARAM, path="start", shape=(1, WIDTH), init=("zeros",))
    head = b.add(Op.SLICE, b.add(Op.LINEAR, h, weight), axis=0, start=0, stop=PLACES - 1, step=1)
    return b.add(Op.CONCAT, start, head, axis=0)
