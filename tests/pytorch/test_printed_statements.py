"""Loops, branches, calls and gradients as printed, against the reference; names and layouts that a spec could ask for."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from projects import agree, definitions, printed
from specc.backends.pytorch.modules import HIDDEN
from specc.backends.pytorch.objective import split_ahead
from specc.backends.pytorch.values import Expressions

from specc.ir.ops import Op
from specc.ir.program import Builder, Ids, Value
from specc.ir.types import FLOAT, INT, Type
from specc.passes import PYTORCH, run

sys.path.insert(0, str(Path(__file__).parents[1] / "passes"))
from programs import const, feeds, function, mlp, per, program, single, weights

Body = Callable[..., Any]


def check(made: Any, **changed: np.ndarray) -> str:
    return agree(made, feeds(made) | changed, weights(made))


def loop(b: Builder, count: Value, start: tuple[Value, ...], body: Body, names: tuple[str, ...]) -> tuple[Value, ...]:
    inner = b.child()
    index = inner.param(INT, "i")
    held = [inner.param(v.type, n) for v, n in zip(start, names, strict=True)]
    results = body(inner, index, *held)
    return b.add_many(Op.FOR, count, *start, regions=(inner.block(*results),), names=names)


def test_a_loop_carries_its_variable_in_place() -> None:
    def body(b: Builder, z: Value) -> Value:
        def turn(c: Builder, i: Value, held: Value) -> tuple[Value, ...]:
            step = c.add(Op.DIV, c.add(Op.CAST, i, dtype="float"), const(c, 10.0))
            return (c.add(Op.ADD, held, c.add(Op.MUL, step, held), name="z"),)

        return loop(b, const(b, 5), (z,), turn, ("z",))[0]

    text = check(single({"z": per(FLOAT.shaped((3,)))}, body))
    assert "        z = z + i / 10 * z\n" in text


def test_variables_that_change_places_change_together() -> None:
    def body(b: Builder, x: Value, y: Value) -> tuple[Value, ...]:
        return loop(b, const(b, 7), (x, y), lambda c, i, p, q: (q, c.add(Op.ADD, p, q, name="q")), ("p", "q"))

    check(single({"x": per(FLOAT), "y": per(FLOAT)}, body))


def test_loops_in_loops_name_their_draws() -> None:
    def body(b: Builder, seed: Value) -> Value:
        start = b.add(Op.NORMAL, seed, shape=(2,), place=0, keyed=True, axes=("example",))

        def outer(c: Builder, i: Value, z: Value) -> tuple[Value, ...]:
            def inner(d: Builder, j: Value, y: Value) -> tuple[Value, ...]:
                w = d.add(Op.NORMAL, seed, i, j, shape=(2,), place=1, keyed=True, axes=("example",), name="w")
                return (d.add(Op.ADD, y, d.add(Op.MUL, w, start)),)

            return loop(c, const(c, 2), (z,), inner, ("y",))

        return loop(b, const(b, 3), (start,), outer, ("z",))[0]

    text = check(single({"seed": per(INT)}, body))
    assert "indices=(i, i_2)" in text or "indices=(i, j)" in text


def test_a_while_loop_holds_what_is_done() -> None:
    def body(b: Builder, x: Value) -> tuple[Value, ...]:
        test, turn = b.child(), b.child()
        a = test.param(per(FLOAT), "x")
        n = test.param(per(FLOAT), "n")
        going = test.block(test.add(Op.LT, const(test, 0.2), a))
        a, n = turn.param(per(FLOAT), "x"), turn.param(per(FLOAT), "n")
        halved = turn.block(turn.add(Op.MUL, a, const(turn, 0.5)), turn.add(Op.ADD, n, const(turn, 1.0)))
        zero = b.add(Op.MUL, x, const(b, 0.0))
        return b.add_many(Op.WHILE, x, zero, regions=(going, halved), limit=50, names=("x", "n"))

    text = check(single({"x": per(FLOAT)}, body), x=np.array([5.0, 0.1, 0.9]))
    assert ".any():" in text and "break" in text


def test_a_body_reads_what_the_test_of_its_loop_has_found() -> None:
    def body(b: Builder, x: Value) -> Value:
        test, turn = b.child(), b.child()
        a = test.param(per(FLOAT), "x")
        going = test.block(test.add(Op.LT, const(test, 0.2), a))
        a = turn.param(per(FLOAT), "x")
        again = turn.add(Op.LT, const(turn, 0.2), a)
        half = turn.add(Op.MUL, a, const(turn, 0.5))
        turned = turn.block(turn.add(Op.WHERE, again, half, a))
        return b.add_many(Op.WHILE, x, regions=(going, turned), limit=50, names=("x",))[0]

    text = check(single({"x": per(FLOAT)}, body), x=np.array([5.0, 0.1, 0.9]))
    assert text.count("> 0.2") == 1 and "if not going.any():" in text and "torch.where(going, " in text


def test_a_branch_on_an_argument() -> None:
    def body(b: Builder, x: Value, scale: Value) -> Value:
        yes, no = b.child(), b.child()
        left = yes.block(yes.add(Op.MUL, x, scale))
        right = no.block(x)
        test = b.add(Op.LT, const(b, 1.0), scale)
        return b.add(Op.IF, test, regions=(left, right), types=(x.type,), name="y")

    made = single({"x": per(FLOAT.shaped((2,))), "scale": FLOAT}, body)
    for scale in (0.5, 2.0):
        assert "if scale > 1:" in check(made, scale=np.array(scale))


def guided(lanes: int) -> Any:
    ids = Ids()
    net = mlp(ids)

    def body(b: Builder, z: Value, t: Value) -> Value:
        args = tuple(v for k in range(lanes) for v in (b.add(Op.MUL, z, const(b, 1.0 + k)), t))
        types = (net.block.results[0].type,) * lanes
        out = b.add_many(Op.CALL, *args, function="mlp", bundle="net", lanes=lanes, types=types)
        return out[0] if lanes == 1 else b.add(Op.SUB, b.add(Op.MUL, out[0], const(b, 2.0)), out[-1])

    return program(
        function(ids, "main", "entry", {"z": per(FLOAT.shaped((4,))), "t": per(FLOAT)}, body), net, networks={"net": "mlp"}
    )


@pytest.mark.parametrize("lanes", [1, 2, 3])
def test_lanes_are_one_call(lanes: int) -> None:
    text = check(guided(lanes))
    assert text.count("model.net(") == 1
    assert (f".chunk({lanes})" in text) == (lanes > 1)


def slopes(twice: bool) -> Any:
    ids = Ids()
    net = mlp(ids)

    def body(b: Builder, z: Value, t: Value) -> Any:
        def turn(c: Builder, i: Value, held: Value) -> tuple[Value, ...]:
            out = c.add(Op.CALL, held, t, function="mlp", bundle="net", lanes=1, types=(net.block.results[0].type,))
            energy = c.add(Op.SUM, c.add(Op.POW, out, const(c, 2.0)), axes=(0,), name="energy")
            slope = c.add_many(Op.GRAD, energy, held)[0]
            if twice:
                other = c.add_many(Op.GRAD, c.add(Op.SUM, c.add(Op.SIN, out), axes=(0,)), held)[0]
                slope = c.add(Op.ADD, slope, other)
            return (c.add(Op.SUB, held, c.add(Op.MUL, const(c, 0.1), slope), name="z"),)

        return loop(b, const(b, 3), (z,), turn, ("z",))[0]

    return program(
        function(ids, "main", "entry", {"z": per(FLOAT.shaped((4,))), "t": per(FLOAT)}, body), net, networks={"net": "mlp"}
    )


@pytest.mark.parametrize("twice", [False, True])
def test_gradients_of_a_network_in_a_loop(twice: bool) -> None:
    text = check(slopes(twice))
    assert "with torch.enable_grad():" in text
    assert ("retain_graph=True" in text) == twice


def test_a_name_that_python_keeps_for_itself() -> None:
    names = ["lambda", "torch", "sum", "x y", "größe", "__init__", "F", "noise", "1st"]

    def body(b: Builder, x: Value) -> Value:
        for k, name in enumerate(names):
            x = b.add(Op.ADD, b.add(Op.SIN, x), b.add(Op.MUL, x, const(b, 0.5 + k)), name=name)
        return x

    check(single({"x": per(FLOAT)}, body))


def net_with(paths: dict[str, tuple[int, ...]]) -> Any:
    """A network that sums these parameters; those of stems with two dimensions are linear layers."""
    ids = Ids()

    def inside(b: Builder, z: Value) -> Value:
        for path, shape in paths.items():
            weight = b.add(Op.PARAM, path=path, shape=shape, init=("normal", 0.1))
            z = b.add(Op.LINEAR, z, weight) if len(shape) == 2 else b.add(Op.MUL, z, weight)
        return z

    net = function(ids, "net", "network", {"z": per(FLOAT.shaped((3,)))}, inside)

    def body(b: Builder, z: Value) -> Value:
        return b.add(Op.CALL, z, function="net", bundle="net", lanes=1, types=(z.type,))

    return program(function(ids, "main", "entry", {"z": per(FLOAT.shaped((3,)))}, body), net, networks={"net": "net"})


@pytest.mark.parametrize(
    "paths",
    [
        {"down.1.conv.weight": (3, 3), "down.2.conv.weight": (3, 3), "gain": (3,)},
        {"block.0.weight": (3, 3), "block.1.weight": (3, 3), "block.1.gain": (3,)},
        {"a.b.c.gain": (3,), "a.b.c.bias": (3,), "a.weight": (3, 3)},
        {"train.weight": (3, 3), "lambda.weight": (3, 3), "eval": (3,), "class": (3,)},
        {"box.keys.weight": (3, 3), "box.2.items": (3,), "not a name.weight": (3, 3)},
        {"in.weight": (3, 3), "in.scale": (3,), "in.0.gain": (3,)},
    ],
    ids=lambda paths: " ".join(paths),
)
def test_keys_of_a_state_are_the_paths(paths: dict[str, tuple[int, ...]]) -> None:
    check(net_with(paths))


def test_what_modules_hide_is_known() -> None:
    kinds = (torch.nn.Module, torch.nn.ModuleList, torch.nn.ModuleDict, torch.nn.ParameterDict)
    public = {name for kind in kinds for name in dir(kind()) if not name.startswith("_")}
    assert public <= HIDDEN


def test_starts_of_parameters() -> None:
    wanted = {"a": ("zeros",), "b": ("ones",), "c": ("constant", 2.5), "d": ("uniform", 0.5), "e": ("normal", 0.02)}
    ids = Ids()

    def inside(b: Builder, z: Value) -> Value:
        for name, init in wanted.items():
            weight = b.add(Op.PARAM, path=f"{name}.weight", shape=(50, 50), init=init)
            bare = b.add(Op.PARAM, path=f"{name}_bare", shape=(50,), init=init)
            z = b.add(Op.MUL, b.add(Op.LINEAR, z, weight), bare)
        return z

    net = function(ids, "net", "network", {"z": per(FLOAT.shaped((50,)))}, inside)

    def body(b: Builder, z: Value) -> Value:
        return b.add(Op.CALL, z, function="net", bundle="net", lanes=1, types=(z.type,))

    made = program(function(ids, "main", "entry", {"z": per(FLOAT.shaped((50,)))}, body), net, networks={"net": "net"})
    state = printed(run(made, PYTORCH))["Model"]().state_dict()
    for key, value in state.items():
        match wanted[key.split(".")[1][0]]:
            case ("uniform", bound):
                assert value.abs().max() <= bound and value.std() == pytest.approx(bound / 3**0.5, rel=0.2)
            case ("normal", std):
                assert value.std() == pytest.approx(std, rel=0.3)
            case ("constant", number):
                assert (value == number).all()
            case (word,):
                assert (value == {"zeros": 0, "ones": 1}[word]).all()


def test_networks_of_other_sizes_are_one_class() -> None:
    ids = Ids()

    def layer(name: str, n: int) -> Any:
        def inside(b: Builder, z: Value) -> Value:
            for path, shape in (("first", (4 * n, n)), ("second", (n, 4 * n))):
                z = b.add(Op.LINEAR, z, b.add(Op.PARAM, path=f"{path}.weight", shape=shape, init=("zeros",)))
            return z

        return function(ids, name, "network", {"z": per(FLOAT.shaped((n,)))}, inside)

    small, large = layer("block", 3), layer("block2", 5)

    def body(b: Builder, x: Value, y: Value) -> tuple[Value, ...]:
        return tuple(
            b.add(Op.CALL, v, function=f, bundle=f, lanes=1, types=(v.type,)) for v, f in ((x, "block"), (y, "block2"))
        )

    types: dict[str, Type] = {"x": per(FLOAT.shaped((3,))), "y": per(FLOAT.shaped((5,)))}
    made = program(function(ids, "main", "entry", types, body), small, large, networks={"block": "block", "block2": "block2"})
    text = check(made)
    assert text.count("(nn.Module)") == 2  # the block, and the model
    assert "4 * width" in text or "4 * inputs" in text


def test_texts_that_could_end_a_docstring() -> None:
    texts = [
        '"""',
        'ends in "',
        "back\\slash",
        "\\",
        'a """ b \\""" c',
        "tab\tbell\a",
        "line\u2028separator",
        "{brace} %s",
        "\ud7ff é 数",
    ]
    for doc in texts:
        made = single({"x": per(FLOAT)}, lambda b, x: b.add(Op.NEG, x))
        entry = made.entries["main"]
        made = replace(made, entries={"main": replace(entry, doc=doc)})
        text, name = definitions(run(made, PYTORCH))
        tree = next(n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef) and n.name == name)
        found = ast.get_docstring(tree, clean=False) or ""
        assert found.split()[: len(doc.split())] == doc.split()


def test_what_no_parameter_touches_runs_ahead() -> None:
    ids = Ids()
    net = mlp(ids, width=2)

    def body(b: Builder, x: Value) -> Value:
        e = b.add(Op.NORMAL, shape=(2,), place=0, keyed=False, axes=("example",), name="e")
        cost = b.add(Op.BATCH_COST, x, e, cost="sqdist")
        index = b.add_many(Op.EXTERN, cost, types=(per(INT),), names=("assign",))[0]
        paired = b.add(Op.BATCH_TAKE, e, index, name="e")
        t = b.add(Op.UNIFORM, shape=(), place=1, keyed=False, axes=("example",), name="t")
        out = b.add(Op.CALL, paired, t, function="mlp", bundle="net", lanes=1, types=(x.type,))
        return b.add(Op.MEAN, b.add(Op.SUB, out, x), axes=(0,))

    made = run(
        program(function(ids, "main", "entry", {"x": per(FLOAT.shaped((2,)))}, body), net, networks={"net": "mlp"}), PYTORCH
    )
    split = split_ahead(made, made.functions["main"])
    assert split is not None
    early, late = ([n.op for n in part.nodes] for part in split)
    assert early == [Op.NORMAL, Op.BATCH_COST, Op.EXTERN, Op.TAKE]
    assert Op.CALL in late and Op.UNIFORM in late and Op.NORMAL not in late


def test_each_value_is_spelled_a_few_times_however_deep_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """The size of the batch is asked of what most ops never ask it of: twice at each level would be 2^16 times at the last."""
    spelled = []
    plain = Expressions.spelled
    monkeypatch.setattr(Expressions, "spelled", lambda self, node: spelled.append(node) or plain(self, node))

    def body(b: Builder, z: Value) -> Value:
        for _ in range(16):
            z = b.add(Op.ABS, z)
        return z

    check(single({"z": per(FLOAT)}, body))
    assert 16 <= len(spelled) <= 16 * 8
