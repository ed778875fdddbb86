"""The incremental form: one place after another gives what the whole sequence gives, for random causal programs; what looks
ahead is refused, with its op, its reason and a way out."""

from __future__ import annotations

from collections.abc import Callable

import causal_programs as causal
import pytest
from causal_programs import PIECES, PLACES, WIDTH, Writer
from programs import const, same

from specc.ir.ops import OPS, Op
from specc.ir.program import Ids, Program, Value, walk
from specc.passes import GRAPH, PYTORCH, run
from specc.passes.count import macs
from specc.passes.incremental.decode import Decoder, decode
from specc.passes.incremental.places import Stop
from specc.passes.incremental.rules import RULES, SOURCES


def test_every_op_has_a_rule():
    assert set(RULES) | SOURCES == set(OPS)
    assert not set(RULES) & SOURCES


def one(piece: Callable[[Writer, Value], Value]) -> Program:
    ids = Ids()
    part = causal.network(ids, "part0", [causal.attention, causal.shift], [])
    return causal.whole(ids, causal.network(ids, "net", [piece], ["part0"]), part)


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("piece", [*PIECES, causal.called, causal.repeated], ids=lambda p: p.__name__)
def test_each_piece_place_by_place(piece, stacked: bool):
    p = one(piece)
    same(p, causal.stepwise(p, stacked), tolerance=1e-9)


@pytest.mark.parametrize("seed", range(40))
def test_random_networks_place_by_place(seed: int):
    p = causal.random_network(seed)
    same(p, causal.stepwise(p, stacked=seed % 2 == 0), tolerance=1e-9)


@pytest.mark.parametrize("seed", range(100, 125))
def test_random_networks_that_fill_a_sequence(seed: int):
    """As samplers do, with two conditions: the whole network is asked no more, and every pipeline keeps the numbers."""
    p = causal.filled(causal.random_network(seed))
    made = decode(p, stacked=seed % 2 == 0)
    called = {n["function"] for n in walk(made.functions["main"].block) if n.op is Op.CALL}
    assert called == {"late.step", *(c for c in called if c.startswith("net.step"))}
    same(p, made, tolerance=1e-9)
    same(p, run(made, GRAPH if seed % 2 else PYTORCH), tolerance=1e-9)


def test_a_step_costs_less_than_the_network():
    """One place of attention and of layers, not all: multiplications of weights fall by the number of places."""
    p = one(causal.residual)
    made = causal.stepwise(p)
    assert macs(p, "net") == PLACES * macs(made, "net.step")


# What is refused -------------------------------------------------------------------------------------------------------


def ahead(w: Writer, h: Value) -> Value:
    return w.b.add(Op.PAD, w.b.add(Op.SLICE, h, axis=0, start=1, stop=PLACES, step=1), pads=((0, 1), (0, 0)), value=0.0)


def everywhere(w: Writer, h: Value) -> Value:
    return w.together(w.b.add(Op.ATTENTION, w.heads(h), w.heads(h), w.heads(h), causal=False))


def centred(w: Writer, h: Value) -> Value:
    x = w.b.add(Op.TRANSPOSE, h, perm=(1, 0))
    x = w.b.add(Op.CONV, x, w.param(WIDTH, WIDTH, 3), **causal.PLAIN | {"padding": 1})
    return w.b.add(Op.TRANSPOSE, x, perm=(1, 0))


def unmasked(w: Writer, h: Value) -> Value:
    weights = w.b.add(Op.SOFTMAX, causal._scores(w, h), axis=2)
    return w.together(w.b.add(Op.MATMUL, weights, w.heads(h)))


def nothing_seen(w: Writer, h: Value) -> Value:
    """A mask that hides a place from itself: the first one sees nothing, and softmax makes that an even look at all."""
    strict = w.b.add(Op.LT, w.where_from((1, PLACES)), w.where_from((PLACES, 1)))
    scores = w.b.add(Op.WHERE, strict, causal._scores(w, h), const(w.b, -1e9))
    return w.together(w.b.add(Op.MATMUL, w.b.add(Op.SOFTMAX, scores, axis=2), w.heads(h)))


def averaged(w: Writer, h: Value) -> Value:
    return w.b.add(Op.SUB, h, w.b.add(Op.RESHAPE, w.b.add(Op.MEAN, h, axes=(0,)), shape=(1, WIDTH)))


def instance(w: Writer, h: Value) -> Value:
    x = w.b.add(Op.GROUPNORM, w.b.add(Op.TRANSPOSE, h, perm=(1, 0)), groups=2, eps=1e-5, spatial=1)
    return w.b.add(Op.TRANSPOSE, x, perm=(1, 0))


def backwards(w: Writer, h: Value) -> Value:
    return w.b.add(Op.FLIP, h, axis=0)


def flattened(w: Writer, h: Value) -> Value:
    flat = w.b.add(Op.RESHAPE, h, shape=(PLACES * WIDTH,))
    return w.b.add(Op.RESHAPE, w.b.add(Op.TANH, flat), shape=(PLACES, WIDTH))


def paired(w: Writer, h: Value) -> Value:
    rows = w.b.add(Op.RESHAPE, h, shape=(PLACES, 1, WIDTH))
    gaps = w.b.add(Op.SUB, rows, w.b.add(Op.RESHAPE, h, shape=(1, PLACES, WIDTH)))
    return w.b.add(Op.SUM, gaps, axes=(1,))


def one_for_all(w: Writer, h: Value) -> Value:
    return w.b.add(Op.MUL, h, w.b.add(Op.TAKE, h, w.b.add(Op.CONST, value=(0,), shape=(1,), dtype="int"), axis=0))


def every_second(w: Writer, h: Value) -> Value:
    half = w.b.add(Op.SLICE, h, axis=0, start=0, stop=PLACES, step=2)
    return w.b.add(Op.SLICE, w.b.add(Op.CONCAT, half, half, axis=0), axis=0, start=0, stop=PLACES, step=1)


def prefixed(w: Writer, h: Value) -> Value:
    """A place in front that attention looks at: the first round is the second place."""
    longer = w.b.add(Op.CONCAT, w.param(1, WIDTH), h, axis=0)
    q = w.b.add(Op.RESHAPE, w.dense(longer), shape=(1, PLACES + 1, WIDTH))
    seen = w.b.add(Op.RESHAPE, w.b.add(Op.ATTENTION, q, q, q, causal=True), shape=(PLACES + 1, WIDTH))
    return w.b.add(Op.SLICE, seen, axis=0, start=1, stop=PLACES + 1, step=1)


REFUSED = [
    (ahead, Op.SLICE, "behind"),
    (everywhere, Op.ATTENTION, "behind"),
    (centred, Op.CONV, "behind"),
    (unmasked, Op.SOFTMAX, "behind"),
    (nothing_seen, Op.SOFTMAX, "behind"),
    (averaged, Op.MEAN, "together"),
    (instance, Op.GROUPNORM, "normalises"),
    (backwards, Op.FLIP, "together"),
    (flattened, Op.RESHAPE, "dimension of their own"),
    (paired, Op.SUB, "pairs"),
    (one_for_all, Op.TAKE, "out of order"),
    (every_second, Op.SLICE, "leaves places out"),
    (prefixed, Op.ATTENTION, "before the rounds come to it"),
]


@pytest.mark.parametrize(("piece", "op", "words"), REFUSED, ids=lambda v: getattr(v, "__name__", None))
def test_what_looks_ahead_is_refused(piece, op: Op, words: str):
    with pytest.raises(Stop) as stop:
        causal.stepwise(one(piece))
    assert stop.value.node.op is op
    assert words in stop.value.reason
    assert stop.value.help


@pytest.mark.parametrize(("piece", "words"), [(causal.attention, "from round to round"), (causal.norm, None)])
def test_a_condition_that_changes_by_round(piece, words: str | None):
    """What was kept of earlier places would be of another condition; where nothing is kept there is no harm in it."""
    p = causal.filled(one(lambda w, h: piece(w, causal.condition(w, h))), by_round=True)
    decoder = Decoder(p, stacked=False)
    made = decoder.run()
    same(p, made, tolerance=1e-9)
    assert [s.reason for s in decoder.stops["main"] if words is None or words not in s.reason] == []
    whole = any(n.op is Op.CALL and n["function"] == "net" for n in walk(made.functions["main"].block))
    assert whole == (words is not None)


def noisy(w: Writer, h: Value) -> Value:
    fresh = w.b.add(Op.NORMAL, shape=(PLACES, WIDTH), place=0, keyed=False, axes=("example",))
    return w.b.add(Op.ADD, h, w.b.add(Op.MUL, fresh, const(w.b, 0.1)))


@pytest.mark.parametrize("inside", [False, True])
def test_noise_that_is_fresh_in_each_round(inside: bool):
    """What a network draws for all places is drawn anew in each round: nothing of it may be kept."""
    ids = Ids()
    part = causal.network(ids, "part0", [noisy], [])
    pieces = [causal.called if inside else noisy, causal.attention]
    p = causal.filled(causal.whole(ids, causal.network(ids, "net", pieces, ["part0"]), part))
    decoder = Decoder(p, stacked=False)
    assert decoder.run() is p
    assert {s.reason for s in decoder.stops["main"]} == {
        "it keeps values of earlier places, and they change from round to round"
    }


def test_a_loop_whose_answer_knows_of_its_own_place_stays_whole():
    p = causal.filled(one(causal.residual), strict=False)
    decoder = Decoder(p, stacked=False)
    made = decoder.run()
    assert [n["function"] for n in walk(made.functions["main"].block) if n.op is Op.CALL] == ["net", "net"]
    (stop,) = decoder.stops["main"]
    assert "knows of that place itself" in stop.reason
    same(p, made)
