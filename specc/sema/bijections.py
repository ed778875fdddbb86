"""Bijections: networks with two directions over one bundle of parameters.

`forward(x) -> (z, logdet)` is written. `inverse(z)` is derived from its nodes (specc.ir.inverse), or written too where they do
not show it. Both are functions over the same parameters, so that a printed module has a method for each.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from specc.ir.inverse import Inverse, NoInverse, inverse
from specc.ir.program import Builder, Function, Value
from specc.record import record
from specc.sema.arithmetic import describe, lift, shown
from specc.sema.evaluate import Evaluator
from specc.sema.frame import Frame
from specc.sema.report import fail
from specc.sema.values import Closure, Definition, Env, Partial
from specc.source import Span
from specc.syntax import tree

DIRECTIONS = ("forward", "inverse")


@record(eq=False)
class Origin:
    """What a forward function was written from."""

    partial: Partial
    statics: Env
    scope: Env  # sizes and knobs
    function: Function


def directions(definition: Definition) -> dict[str, tree.Statement]:
    """The two functions of a bijection's body, by name."""
    found: dict[str, tree.Statement] = {}
    for item in definition.body.items if definition.body else ():
        match item:
            case tree.Method(name=name) if name in DIRECTIONS:
                found[name] = item
            case tree.Bind(targets=(tree.Call(func=tree.Name(id=name)),), draw=False) if name in DIRECTIONS:
                found[name] = item
            case _:
                pass
    return found


def direction(ev: Evaluator, definition: Definition, name: str, inputs: list[Any], scope: Env, frame: Frame) -> Any:
    """Run one direction: what stands around the two first, for both see it."""
    known = directions(definition)
    if name not in known:
        help = "write `forward(x) -> (z, logdet) { ... }`: z, and the logarithm of the determinant of its Jacobian"
        fail("E0209", definition.section.span, f"`{definition.name}` has no `{name}`", help=help)
    items = definition.body.items if definition.body else ()
    around = tuple(i for i in items if not any(i is k for k in known.values()))
    ev.run_body(tree.Block(span=definition.section.span, items=(*around, known[name])), scope, frame)
    closure = scope.names[name]
    assert isinstance(closure, Closure)
    given = inputs[: len(closure.params)]
    return ev.call_closure(closure, given, {}, frame, known[name].span)


def name_of(ev: Evaluator, definition: Definition, key: tuple[Any, ...], given: tuple[bool, ...]) -> str:
    """The name of a forward function. Two that differ in what they are given beside x are methods over the same parameters."""
    first = ev.memo.get(("family", key))
    if first is None:
        name = ev.memo["family", key] = ev.unique(definition.name)
        return str(name)
    present = [a.name or "" for a, there in zip(definition.inputs[1:], given[1:], strict=True) if there]
    name = ev.unique(f"{first.split('.')[0]}.{'with_' + '_and_'.join(present) if present else 'plain'}")
    ev.family[name] = first
    return name


def check_forward(definition: Definition, results: tuple[Value, ...], span: Span) -> None:
    """z, and one number."""
    if len(results) != 2 or results[1].type.shape:
        shapes = " and ".join(shown(r.type.shape) for r in results)
        message = f"`forward` of `{definition.name}` gives shapes {shapes}"
        fail("E0301", span, message, help="it gives z, and the logarithm of the determinant of its Jacobian: one number")


def inverse_of(ev: Evaluator, name: str, span: Span) -> Inverse | None:
    """The inverse of a forward function, by its name; None when the function belongs to no bijection."""
    origin = ev.memo.get(("forward", name))
    if not isinstance(origin, Origin):
        return None
    key = ("inverse", name)
    if key not in ev.memo:
        own = "inverse" in directions(origin.partial.definition)
        ev.memo[key] = made = _written(ev, origin) if own else _derived(ev, origin, span)
        ev.family[made.function.name] = ev.family.get(name, name)
    found: Inverse = ev.memo[key]
    return found


def _derived(ev: Evaluator, origin: Origin, span: Span) -> Inverse:
    try:
        return _registered(ev, inverse(origin.function, ev.functions, ev.ids, lambda n: _opposite(ev, n, span)))
    except NoInverse as stuck:
        definition = origin.partial.definition
        at = stuck.node.span if stuck.node is not None else None
        labels = ((at, "the way back ends here"),) if at is not None else ()
        help = "keep one part unchanged and let it decide on the others, or write `inverse(z) { ... return x }`"
        fail("E0423", span, f"no inverse of `{definition.name}` can be derived", labels=labels, help=help)


def _registered(ev: Evaluator, made: Inverse) -> Inverse:
    """An inverse among the functions of the program, under a name that says whose it is."""
    name = ev.unique(f"{made.function.name.split('.')[0]}.inverse")
    ev.functions[name] = replace(made.function, name=name)
    return replace(made, function=ev.functions[name])


def _opposite(ev: Evaluator, name: str, span: Span) -> Inverse | None:
    """The inverse of a network inside: that of a bijection, or one that follows from its nodes, as for a turn of `repeat`."""
    if (known := inverse_of(ev, name, span)) is not None:
        return known
    key = ("inverse", name)
    if key not in ev.memo:
        try:
            made = inverse(ev.functions[name], ev.functions, ev.ids, lambda n: _opposite(ev, n, span))
            ev.memo[key] = _registered(ev, made)
        except NoInverse:
            ev.memo[key] = None
    found: Inverse | None = ev.memo[key]
    return found


def _written(ev: Evaluator, origin: Origin) -> Inverse:
    """The author's own inverse, over the parameters of the forward function."""
    definition, forward = origin.partial.definition, origin.function
    frame = Frame(builder=Builder(ev.ids), kind="network", floor=max(ev.ids.last, 1), span=definition.section.span)
    z, *others = [frame.builder.param(v.type, v.name) for v in (forward.block.results[0], *forward.block.params[1:])]
    frame.like = z
    frame.stems[""] = 0
    scope = origin.scope.child()
    scope.names.update({v.name: v for v in others if v.name})
    result = direction(ev, definition, "inverse", [z, *others], scope, frame)
    wanted = forward.block.params[0].type
    span = directions(definition)["inverse"].span
    x = lift(result, frame, span) if not isinstance(result, tuple) and result is not None else None
    if x is None or x.type.shape != wanted.shape:
        have = describe(result) if x is None else f"shape {shown(x.type.shape)}"
        fail("E0301", span, f"`inverse` gives {have}, and x has shape {shown(wanted.shape)}")
    block = frame.builder.block(ev.spread(x, frame, span))
    function = replace(forward, block=block, doc=f"the inverse of {definition.name}", about="", span=span)
    return _registered(ev, Inverse(function, tuple(range(1, 1 + len(others)))))
