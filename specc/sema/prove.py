"""Bijections tried out: at random weights the inverse undoes forward, and `logdet` is that of forward's Jacobian.

An inverse that was derived holds by construction, and the library's bijections are held by its tests; so what is tried out is
what an author wrote, one definition at a time, so that an error points at it. It runs in the reference interpreter, in double
precision.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from specc.ir.ops import Op
from specc.ir.program import Builder, Entry, Function, Input, Program, walk
from specc.ir.rewrite import ids_after, reachable
from specc.ir.splice import join, turns
from specc.ir.types import DType
from specc.reference.interpret import run
from specc.sema import bijections
from specc.sema.bijections import Origin
from specc.sema.model import Model, mention, name_of
from specc.sema.report import foreign
from specc.source import Span

LARGEST = 48  # numbers of one example whose Jacobian is worked out
STEP = 1e-5  # of differences
CLOSE = 1e-4  # relative to 1 and to the size of what is compared
SPREADS = (0.3, 0.1, 0.03, 0.01)  # of random weights: the first one at which z is not LONG, for what grows loses digits
LONG = 50.0
ROOT = "f"  # the bundle of what is tried out


def check_bijections(m: Model, program: Program) -> None:
    """Every bijection of the model has an inverse; those that the author wrote are tried out."""
    for section in m.found.get("bijection", []):
        name = name_of(section)
        if name in program.networks:
            m.attempt(mention(section), bijections.inverse_of, m.ev, program.networks[name], mention(section))
    if any(d.code == "E0423" for d in m.ev.diagnostics):
        return
    reached = reachable(program.functions, list(program.networks.values()))
    for name in sorted(reached):
        origin = m.ev.memo.get(("forward", name))
        if isinstance(origin, Origin) and not foreign(origin.partial.definition.section.span):
            m.attempt(origin.partial.definition.section.span, _try_out, m, program, origin)


def _try_out(m: Model, program: Program, origin: Origin) -> None:
    definition, forward = origin.partial.definition, origin.function
    known = bijections.directions(definition)
    back = bijections.inverse_of(m.ev, forward.name, definition.section.span)
    x = forward.block.params[0].type
    if back is None or any(v.type.dtype is not DType.FLOAT for v in forward.block.params) or _draws(m.ev.functions, forward):
        return
    size = math.prod(map(int, x.shape))
    rng = np.random.default_rng(0)
    whole = replace(program, functions=dict(m.ev.functions), entries={}, networks={ROOT: forward.name}, starts=())
    inputs = [0.5 * rng.standard_normal((3, *map(int, v.type.shape))) for v in forward.block.params]
    for spread in SPREADS:
        weights = dict(random_weights(whole.functions, forward.name, ROOT, spread, np.random.default_rng(0)))
        z, logdet = _run(whole, forward, inputs, weights)
        if np.abs(z).max() < LONG:
            break
    else:
        return  # whatever the weights, there is nothing to compare
    (again,) = _run(whole, back.function, [z, *(inputs[k] for k in back.others)], weights)
    gap = float(np.abs(again - inputs[0]).max())
    if not gap <= CLOSE * (1 + np.abs(inputs[0]).max()):
        at = known.get("inverse", known["forward"]).span
        _report(m, "E0421", at, definition.name, f"by {gap:.2g}", "inverse(forward(x)) is not x")
    if size <= LARGEST:
        found = float(np.linalg.slogdet(_jacobian(whole, forward, inputs, weights, size))[1])
        gap = abs(float(logdet[0]) - found)
        if not gap <= CLOSE * (1 + abs(found)):
            what = f"{float(logdet[0]):.5g} in place of {found:.5g}"
            _report(m, "E0422", known["forward"].span, definition.name, what, "logdet is not that of the Jacobian")


def _report(m: Model, code: str, at: Span, name: str, how: str, what: str) -> None:
    m.report(code, at, f"`{name}`: {what}, {how} at random weights")


def _draws(functions: Mapping[str, Function], forward: Function) -> bool:
    names = reachable(functions, [forward.name])
    return any(n.op in (Op.NORMAL, Op.UNIFORM) for name in names for n in walk(functions[name].block))


def _run(
    program: Program, function: Function, inputs: list[np.ndarray], weights: dict[str, np.ndarray]
) -> tuple[np.ndarray, ...]:
    """A network over the bundle ROOT on stacked inputs."""
    b = Builder(ids_after(program))
    given = tuple(b.param(v.type, f"x{i}") for i, v in enumerate(function.block.params))
    types = tuple(v.type for v in function.block.results)
    out = b.add_many(Op.CALL, *given, function=function.name, bundle=ROOT, lanes=1, types=types)
    entry = Function(name="tried out", kind="entry", block=b.block(*out))
    named = tuple(Input(name=f"x{i}", role="data", type=v.type) for i, v in enumerate(given))
    whole = replace(
        program,
        functions={n: program.functions[n] for n in reachable(program.functions, [function.name])} | {entry.name: entry},
        entries={entry.name: Entry(name=entry.name, role="query", function=entry.name, inputs=named)},
    )
    results = run(whole, entry.name, {f"x{i}": a for i, a in enumerate(inputs)}, weights)
    return tuple(np.broadcast_to(r, (len(inputs[0]), *map(int, t.shape))) for r, t in zip(results, types, strict=True))


def _jacobian(
    program: Program, forward: Function, inputs: list[np.ndarray], weights: dict[str, np.ndarray], size: int
) -> np.ndarray:
    """That of forward at the first example, by central differences."""
    first = [a[:1] for a in inputs]
    steps = STEP * np.concatenate([np.eye(size), -np.eye(size)]).reshape(2 * size, *first[0].shape[1:])
    others = [np.repeat(a, 2 * size, axis=0) for a in first[1:]]
    z = _run(program, forward, [first[0] + steps, *others], weights)[0].reshape(2 * size, -1)
    return np.asarray((z[:size] - z[size:]).T / (2 * STEP))


def random_weights(
    functions: Mapping[str, Function], name: str, bundle: str, spread: float, rng: np.random.Generator
) -> Iterator[tuple[str, Any]]:
    """Random values for every parameter, so far around the number that it starts at or around."""
    for node in walk(functions[name].block):
        match node.op:
            case Op.PARAM:
                kind, *numbers = node["init"]
                around = numbers[0] if kind == "constant" else float(kind == "ones")
                yield join(bundle, node["path"]), around + spread * rng.standard_normal(node["shape"])
            case Op.CALL:
                yield from random_weights(functions, node["function"], join(bundle, node.get("bundle") or ""), spread, rng)
            case Op.REPEAT:
                for i in turns(node):
                    yield from random_weights(functions, node["function"], join(bundle, f"{node['bundle']}.{i}"), spread, rng)
            case _:
                pass
