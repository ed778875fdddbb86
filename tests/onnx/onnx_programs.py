"""Small programs built by hand, at example level, with their weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from specc.ir.ops import Op
from specc.ir.program import Block, Builder, Dataset, Entry, Function, Ids, Input, Program, Setting, Space, Value, walk
from specc.ir.types import EXAMPLE, FLOAT, INT, DType, Shape, Type

SEED = Input(name="seed", role="seed", type=INT.over(EXAMPLE))


def each(*shape: int, dtype: DType = DType.FLOAT) -> Type:
    return Type(dtype, shape, frozenset({EXAMPLE}))


def number(b: Builder, value: float, dtype: str = "float") -> Value:
    return b.add(Op.CONST, value=value, shape=(), dtype=dtype)


def linear(b: Builder, x: Value, n: int, path: str, *, bias: bool = True) -> Value:
    d = x.type.shape[-1]
    names = [b.add(Op.PARAM, path=f"{path}.weight", shape=(n, d), init=("normal", d**-0.5))]
    if bias:
        names.append(b.add(Op.PARAM, path=f"{path}.bias", shape=(n,), init=("zeros",)))
    return b.add(Op.LINEAR, x, *names)


def conv(b: Builder, x: Value, n: int, path: str, kernel: int = 3) -> Value:
    c, spatial = x.type.shape[0], x.type.rank - 1
    w = b.add(Op.PARAM, path=f"{path}.weight", shape=(n, c, *[kernel] * spatial), init=("normal", (c * kernel**2) ** -0.5))
    return b.add(Op.CONV, x, w, b.add(Op.PARAM, path=f"{path}.bias", shape=(n,), init=("zeros",)), padding=kernel // 2)


def network(name: str, ids: Ids, types: tuple[Type, ...], body: Callable[..., Value]) -> Function:
    b = Builder(ids)
    args = [b.param(t, f"a{i}") for i, t in enumerate(types)]
    return Function(name=name, kind="network", block=b.block(body(b, *args)))


def mlp(ids: Ids, d: int = 2, width: int = 32) -> Function:
    def body(b: Builder, z: Value, t: Value) -> Value:
        h = b.add(Op.CONCAT, z, b.add(Op.RESHAPE, t, shape=(1,)), axis=0)
        h = b.add(Op.SILU, linear(b, h, width, "in"))
        h = b.add(Op.GELU, linear(b, h, width, "mid"))
        return linear(b, h, d, "out")

    return network("mlp", ids, (each(d), each()), body)


def euler(net: Function, ids: Ids, shape: Shape, steps: int = 10, *, noise: float = 0.0, keep: bool = True) -> Function:
    """z ~ normal; z = z - f(z, t) / steps [+ noise w]; returns z times the input `scale`."""
    b = Builder(ids)
    seed, scale = b.param(SEED.type, "seed"), b.param(FLOAT, "scale")
    z = b.add(Op.NORMAL, seed, shape=shape, place=0, keyed=True, axes=(EXAMPLE,), name="z")
    body = b.child()
    k, state = body.param(INT, "k"), body.param(z.type, "z")
    t = body.add(Op.SUB, number(body, 1.0), body.add(Op.DIV, k, number(body, float(steps))), name="t")
    ts = body.add(Op.SPREAD, t, state)
    v = body.add(Op.CALL, state, ts, function=net.name, bundle="backbone", types=(z.type,), name="v")
    new = body.add(Op.SUB, state, body.add(Op.MUL, v, number(body, 1 / steps)), name="z")
    if noise:
        w = body.add(Op.NORMAL, seed, k, shape=shape, place=1, keyed=True, axes=(EXAMPLE,), name="w")
        new = body.add(Op.ADD, new, body.add(Op.MUL, w, number(body, noise)))
    loop = b.add(Op.FOR, number(b, steps, "int"), z, regions=(body.block(new),))
    return Function(name="euler", kind="entry", block=b.block(b.add(Op.MUL, loop, scale)))


def program(functions: tuple[Function, ...], root: Function, entries: tuple[Entry, ...], shape: Shape, **more) -> Program:
    space = Space(name="x", kind="vector", shape=shape, low=-1.0, high=1.0)
    return Program(
        name="toy",
        level="example",
        spec="toy.spec",
        digest="0" * 64,
        functions={f.name: f for f in functions},
        networks={"backbone": root.name},
        entries={e.name: e for e in entries},
        data=(Dataset(space=space, reader=Setting(name="none")),),
        **more,
    )


def sampler(steps: int = 10, *, noise: float = 0.0) -> Program:
    """An Euler sampler of a small MLP."""
    ids = Ids()
    net = mlp(ids)
    f = euler(net, ids, (2,), steps, noise=noise)
    inputs = (SEED, Input(name="scale", role="argument", type=FLOAT, default=1.0))
    return program((net, f), net, (Entry(name="euler", role="sampler", function="euler", inputs=inputs, calls=steps),), (2,))


def parameters(p: Program) -> dict[str, Shape]:
    """Paths and shapes of the weights of the networks."""
    found: dict[str, Shape] = {}

    def visit(block: Block, bundle: str) -> None:
        for node in walk(block):
            if node.op is Op.PARAM:
                found[f"{bundle}.{node['path']}"] = node["shape"]
            elif node.op is Op.CALL and node["bundle"] is not None:
                visit(p.functions[node["function"]].block, f"{bundle}.{node['bundle']}")
            elif node.op is Op.REPEAT:
                for i in range(node["count"]):
                    visit(p.functions[node["function"]].block, f"{bundle}.{node['bundle']}.{i}")

    for root, name in p.networks.items():
        visit(p.functions[name].block, root)
    return found


def weights(p: Program, seed: int = 0) -> dict[str, np.ndarray]:
    """Random weights at the usual scale."""
    rng = np.random.default_rng(seed)
    out = {}
    for path, shape in sorted(parameters(p).items()):
        fan = int(np.prod(shape[1:])) if len(shape) > 1 else 25
        out[path] = (rng.standard_normal(shape) / np.sqrt(fan)).astype(np.float32)
    return out


def dit_block(ids: Ids, n: int, d: int, heads: int) -> Function:
    """Adaptive layer norm, attention and an MLP: Peebles and Xie, "Scalable diffusion models with transformers", 2022."""

    def modulated(b: Builder, h: Value, shift: Value, scale: Value) -> Value:
        a = b.add(Op.LAYERNORM, h, eps=1e-6)
        wide = b.add(Op.EXPAND, b.add(Op.RESHAPE, b.add(Op.ADD, scale, number(b, 1.0)), shape=(1, d)), shape=(n, d))
        moved = b.add(Op.EXPAND, b.add(Op.RESHAPE, shift, shape=(1, d)), shape=(n, d))
        return b.add(Op.ADD, b.add(Op.MUL, a, wide), moved)

    def gated(b: Builder, h: Value, gate: Value, a: Value) -> Value:
        wide = b.add(Op.EXPAND, b.add(Op.RESHAPE, gate, shape=(1, d)), shape=(n, d))
        return b.add(Op.ADD, h, b.add(Op.MUL, wide, a))

    def body(b: Builder, h: Value, c: Value) -> Value:
        parts = linear(b, b.add(Op.SILU, c), 6 * d, "adaln")
        p = [b.add(Op.SLICE, parts, axis=0, start=i * d, stop=i * d + d) for i in range(6)]
        qkv = linear(b, modulated(b, h, p[0], p[1]), 3 * d, "qkv")
        q, k, v = (
            b.add(
                Op.TRANSPOSE,
                b.add(Op.RESHAPE, b.add(Op.SLICE, qkv, axis=1, start=i * d, stop=i * d + d), shape=(n, heads, d // heads)),
                perm=(1, 0, 2),
            )
            for i in range(3)
        )
        mixed = b.add(Op.TRANSPOSE, b.add(Op.ATTENTION, q, k, v, causal=False), perm=(1, 0, 2))
        h = gated(b, h, p[2], linear(b, b.add(Op.RESHAPE, mixed, shape=(n, d)), d, "proj"))
        a = b.add(Op.GELU, linear(b, modulated(b, h, p[3], p[4]), 4 * d, "up"))
        return gated(b, h, p[5], linear(b, a, d, "down"))

    return network("dit_block", ids, (each(n, d), each(d)), body)


def dit(ids: Ids, *, size: int, patch: int, d: int, depth: int, heads: int) -> tuple[Function, Function]:
    """A DiT for images (3, size, size) without classes."""
    g = size // patch
    n, width = g * g, 3 * patch * patch
    block = dit_block(ids, n, d, heads)

    def body(b: Builder, z: Value, t: Value) -> Value:
        cut = b.add(Op.RESHAPE, z, shape=(3, g, patch, g, patch))
        tokens = b.add(Op.RESHAPE, b.add(Op.TRANSPOSE, cut, perm=(1, 3, 0, 2, 4)), shape=(n, width))
        h = b.add(Op.ADD, linear(b, tokens, d, "embed"), b.add(Op.PARAM, path="places", shape=(n, d), init=("normal", 0.02)))
        rates = tuple(float(1000 * 10000 ** (-i / 64)) for i in range(64))
        angle = b.add(Op.MUL, b.add(Op.RESHAPE, t, shape=(1,)), b.add(Op.CONST, value=rates, shape=(64,), dtype="float"))
        c = b.add(Op.CONCAT, b.add(Op.SIN, angle), b.add(Op.COS, angle), axis=0)
        c = linear(b, b.add(Op.SILU, linear(b, c, d, "clock.0")), d, "clock.1")
        (h,) = b.add_many(Op.REPEAT, h, c, function="dit_block", bundle="block", count=depth, carried=1, types=(h.type,))
        out = linear(b, b.add(Op.LAYERNORM, h, eps=1e-6), width, "out")
        back = b.add(Op.TRANSPOSE, b.add(Op.RESHAPE, out, shape=(g, g, 3, patch, patch)), perm=(2, 0, 3, 1, 4))
        return b.add(Op.RESHAPE, back, shape=(3, size, size))

    return network("dit", ids, (each(3, size, size), each()), body), block


def dit_sampler(steps: int = 20, *, size: int = 32, patch: int = 2, d: int = 192, depth: int = 6, heads: int = 6) -> Program:
    ids = Ids()
    net, block = dit(ids, size=size, patch=patch, d=d, depth=depth, heads=heads)
    f = euler(net, ids, (3, size, size), steps)
    inputs = (SEED, Input(name="scale", role="argument", type=FLOAT, default=1.0))
    entry = Entry(name="euler", role="sampler", function="euler", inputs=inputs, calls=steps)
    return program((net, block, f), net, (entry,), (3, size, size))


def unet(ids: Ids, *, size: int, width: int, groups: int = 8) -> Function:
    """Two levels of residual convolutions with group norms; time enters as a bias of each block."""

    def block(b: Builder, x: Value, k: Value, n: int, path: str) -> Value:
        def norm(v: Value, name: str) -> Value:
            affine = [
                b.add(Op.PARAM, path=f"{path}.{name}.{p}", shape=(v.type.shape[0],), init=(p,)) for p in ("scale", "bias")
            ]
            return b.add(Op.SILU, b.add(Op.GROUPNORM, v, *affine, groups=groups, eps=1e-5, spatial=2))

        h = conv(b, norm(x, "norm1"), n, f"{path}.conv1")
        time = b.add(Op.RESHAPE, linear(b, k, n, f"{path}.time"), shape=(n, 1, 1))
        h = b.add(Op.ADD, h, b.add(Op.EXPAND, time, shape=h.type.shape))
        h = conv(b, norm(h, "norm2"), n, f"{path}.conv2")
        return b.add(Op.ADD, h, x if x.type.shape[0] == n else conv(b, x, n, f"{path}.skip", 1))

    def body(b: Builder, z: Value, t: Value) -> Value:
        k = b.add(Op.SILU, linear(b, b.add(Op.RESHAPE, t, shape=(1,)), 4 * width, "clock.0"))
        k = b.add(Op.SILU, linear(b, k, 4 * width, "clock.1"))
        a = block(b, conv(b, z, width, "first"), k, width, "down1")
        c = block(b, b.add(Op.AVG_POOL, a, window=2, spatial=2), k, 2 * width, "down2")
        c = block(b, c, k, 2 * width, "mid")
        up = b.add(Op.CONCAT, b.add(Op.RESIZE, c, factor=2, spatial=2), a, axis=0)
        return conv(b, block(b, up, k, width, "up1"), 3, "last")

    return network("unet", ids, (each(3, size, size), each()), body)


def unet_sampler(steps: int = 20, *, size: int = 32, width: int = 64) -> Program:
    ids = Ids()
    net = unet(ids, size=size, width=width)
    f = euler(net, ids, (3, size, size), steps)
    inputs = (SEED, Input(name="scale", role="argument", type=FLOAT, default=1.0))
    entry = Entry(name="euler", role="sampler", function="euler", inputs=inputs, calls=steps)
    return program((net, f), net, (entry,), (3, size, size))
