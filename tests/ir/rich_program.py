"""A program with something of everything, for the tests of its two written forms."""

from __future__ import annotations

from specc.ir.ops import Op
from specc.ir.program import (
    Builder,
    Dataset,
    Entry,
    Function,
    Ids,
    Input,
    Program,
    Quantization,
    QuantizeRule,
    Setting,
    Space,
)
from specc.ir.types import FLOAT, INT, Type
from specc.ir.verify import verify
from specc.source import Source, Span

SPEC = Source("rings.spec", "model rings {\n  sampler walk(steps = 4)\n}\n")
PAIR = FLOAT.shaped((2,)).over("example")


def place(text: str) -> Span:
    start = SPEC.text.index(text)
    return Span(SPEC, start, start + len(text))


def _network(ids: Ids) -> Function:
    b = Builder(ids)
    x, t = b.param(PAIR, "x"), b.param(FLOAT.over("example"), "t")
    weight = b.add(Op.PARAM, path="mix.weight", shape=(2, 2), init=("normal", 0.5))
    bias = b.add(Op.PARAM, path="mix.bias", shape=(2,), init=("zeros",))
    h = b.add(Op.LINEAR, x, weight, bias, name="h")
    h = b.add(Op.MUL, b.add(Op.SILU, h), t, name="h")
    return Function(name="mlp", kind="network", block=b.block(h), doc="backbone mlp(width = 2)")


def _sampler(ids: Ids) -> Function:
    b = Builder(ids)
    seed, scale = b.param(INT.over("example"), "seed"), b.param(FLOAT, "scale")
    table = b.add(Op.CONST, value=tuple(i / 10 for i in range(10)), shape=(10,), dtype="float")
    floor = b.add(Op.CONST, value=float("-inf"), shape=(2,), dtype="float")
    z = b.add(Op.NORMAL, seed, shape=(2,), place=0, keyed=True, axes=("example",), name="z", span=place("sampler walk"))
    loop = b.child()
    k, z_k = loop.param(INT, "k"), loop.param(PAIR, "z")
    t = loop.add(Op.SPREAD, loop.add(Op.TAKE, table, k, axis=0, batch=0), z_k, name="t")
    out = loop.add_many(Op.CALL, z_k, t, z_k, t, function="mlp", bundle="backbone", lanes=2, types=(PAIR, PAIR))
    step = loop.add(Op.MAX, loop.add(Op.SUB, out[0], out[1]), floor, name="z")
    four = b.add(Op.CONST, value=4, shape=(), dtype="int")
    z = b.add(Op.FOR, four, z, regions=(loop.block(step),), name="z")
    test, body = b.child(), b.child()
    u = test.param(PAIR, "u")
    small = test.add(Op.LT, test.add(Op.SUM, u, axes=(0,)), test.add(Op.CONST, value=9.0, shape=(), dtype="float"))
    going = test.block(small)
    v = body.param(PAIR, "v")
    z = b.add(Op.WHILE, z, limit=3, regions=(going, body.block(body.add(Op.ADD, v, body.add(Op.EXP, v)))))
    yes, no = b.child(), b.child()
    z = b.add(
        Op.IF,
        b.add(Op.LT, scale, b.add(Op.CONST, value=1.0, shape=(), dtype="float")),
        regions=(yes.block(yes.add(Op.NEG, z)), no.block(z)),
        types=(PAIR,),
    )
    return Function(name="walk", kind="entry", block=b.block(z), doc="sampler walk(steps = 4)  [rings.spec:2]")


def rich() -> Program:
    ids = Ids()
    mlp, walk = _network(ids), _sampler(ids)
    inputs = (
        Input(name="seed", role="seed", type=Type(INT.dtype, (), frozenset({"example"}))),
        Input(name="scale", role="argument", type=FLOAT, default=0.5),
    )
    space = Space(name="x", kind="vector", shape=(2,), low=-1.0, high=float("inf"), span=place("model rings"))
    entry = Entry(name="walk", role="sampler", function="walk", inputs=inputs, calls=4, doc="walk", over=("backbone",))
    rules = (QuantizeRule(match="first"), QuantizeRule(match="*", weights=Setting("int8")))
    made = Program(
        name="rings",
        level="example",
        spec="rings.spec",
        digest="0123456789abcdef",
        functions={"mlp": mlp, "walk": walk},
        networks={"backbone": "mlp"},
        entries={"walk": entry},
        data=(Dataset(space=space, reader=Setting("ring", (("n", 100), ("noise", 0.1))), steps=(Setting("shuffle"),)),),
        conditions=(Space(name="y", kind="class", shape=(), dtype="int", classes=10, drop=0.1),),
        train=(("steps", 100), ("optimizer", Setting("adam", (("lr", 1e-3), ("betas", (0.9, 0.99))))), ("ema", None)),
        quantize=(Quantization(name="small", rules=rules),),
        evaluate=(Setting("nfe", (("compare", "<="), ("bound", 4))),),
        doc="Rings.\nTwo of them.",
    )
    return verify(made)
