"""Small programs for the tests of passes, and what compares their meaning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from specc.ir.ops import Op
from specc.ir.program import Builder, Entry, Function, Ids, Input, Program, Value, walk
from specc.ir.types import FLOAT, Type
from specc.ir.verify import verify
from specc.reference.interpret import run

EXAMPLES = 3


def per(type: Type) -> Type:
    return type.over("example")


def function(ids: Ids, name: str, kind: str, types: dict[str, Type], body: Callable[..., Any]) -> Function:
    """body(builder, *params) -> a value or several."""
    b = Builder(ids)
    results = body(b, *(b.param(t, n) for n, t in types.items()))
    return Function(name=name, kind=kind, block=b.block(*(results if isinstance(results, tuple) else (results,))))


def program(entry: Function, *functions: Function, networks: dict[str, str] | None = None) -> Program:
    inputs = tuple(Input(name=v.name or "", role="data", type=v.type) for v in entry.block.params)
    made = Program(
        name="test",
        level="example",
        spec="test.spec",
        digest="",
        functions={f.name: f for f in (entry, *functions)},
        networks=networks or {},
        entries={"main": Entry(name="main", role="query", function=entry.name, inputs=inputs)},
    )
    return verify(made)


def single(types: dict[str, Type], body: Callable[..., Any]) -> Program:
    return program(function(Ids(), "main", "entry", types, body))


def const(b: Builder, value: float | int) -> Value:
    return b.add(Op.CONST, value=value, shape=(), dtype="int" if isinstance(value, int) else "float")


def feeds(p: Program, seed: int = 0) -> dict[str, np.ndarray]:
    """Random inputs for EXAMPLES examples: floats away from 0, ints from 0 to 2, seeds."""
    rng = np.random.default_rng(seed)
    out = {}
    for i in p.entries["main"].inputs:
        shape = tuple(EXAMPLES if d == "B" else d for d in i.type.shape)
        shape = (EXAMPLES, *shape) if i.type.axes else shape
        out[i.name] = rng.uniform(0.3, 1.2, shape) if i.type.dtype is FLOAT.dtype else rng.integers(0, 3, shape)
    return out


def weights(p: Program, seed: int = 1) -> dict[str, np.ndarray]:
    """Random parameters for every network of the program."""
    rng = np.random.default_rng(seed)
    found: dict[str, np.ndarray] = {}

    def visit(name: str, bundle: str) -> None:
        for node in walk(p.functions[name].block):
            if node.op is Op.PARAM:
                found[f"{bundle}.{node['path']}" if bundle else node["path"]] = rng.normal(0, 0.4, node["shape"])
            elif node.op is Op.CALL:
                visit(node["function"], ".".join(x for x in (bundle, node.get("bundle")) if x))
            elif node.op is Op.REPEAT:
                for i in range(node["count"]):
                    visit(node["function"], ".".join(x for x in (bundle, node["bundle"], str(i)) if x))

    for root, name in p.networks.items():
        visit(name, root)
    return found


def same(before: Program, after: Program, seed: int = 0, tolerance: float = 1e-12) -> None:
    """Both give the same numbers on the same random inputs and parameters."""
    verify(after)
    inputs, params = feeds(before, seed), weights(before)
    want = run(before, "main", inputs, params, rng=np.random.default_rng(5))
    have = run(after, "main", inputs, params, rng=np.random.default_rng(5))
    assert len(want) == len(have)
    for w, h in zip(want, have, strict=True):
        assert w.shape == h.shape
        np.testing.assert_allclose(h, w, rtol=tolerance, atol=tolerance)


def ops(p: Program, name: str = "main") -> list[Op]:
    return [n.op for n in walk(p.functions[name].block)]


def mlp(ids: Ids, name: str = "mlp", width: int = 4, hidden: int = 5) -> Function:
    """network (z: float[width], t: float) -> float[width], with one hidden layer."""

    def body(b: Builder, z: Value, t: Value) -> Value:
        clock = b.add(Op.EXPAND, b.add(Op.RESHAPE, t, shape=(1,)), shape=(width,))
        h = b.add(Op.CONCAT, z, clock, axis=0)
        for path, n, d in (("first", hidden, 2 * width), ("second", width, hidden)):
            weight = b.add(Op.PARAM, path=f"{path}.weight", shape=(n, d), init=("zeros",))
            bias = b.add(Op.PARAM, path=f"{path}.bias", shape=(n,), init=("zeros",))
            h = b.add(Op.LINEAR, h, weight, bias)
            if path == "first":
                h = b.add(Op.TANH, h)
        return h

    return function(ids, name, "network", {"z": per(FLOAT.shaped((width,))), "t": per(FLOAT)}, body)
