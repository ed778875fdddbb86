"""`solve h: TYPE = e from START by SOLVER`: h with h = e, where e mentions h.

The solver runs without gradients. What follows it are a few more rounds that gradients do pass: at a fixed point each round
adds one term of the Neumann series of the implicit gradient, whatever way the solver took to get there. Samplers and queries
do without these rounds, and a gradient through the fixed point is refused there.
"""

from __future__ import annotations

from typing import Any

from specc.ir.ops import Op
from specc.ir.types import DType
from specc.sema import library
from specc.sema.arithmetic import add, describe, lift, shown
from specc.sema.evaluate import Evaluator
from specc.sema.frame import Frame
from specc.sema.report import fail
from specc.sema.values import Builtin, Closure, Env, Partial, TypeRef
from specc.syntax import tree

BACKWARD = "backward"  # the knob of a solver that says how many rounds gradients pass


def solve(ev: Evaluator, item: tree.Section, env: Env, frame: Frame) -> None:
    """Bind the name to a fixed point."""
    if not isinstance(item.head, tree.Name) or len(item.values) != 1:
        fail("E0304", item.span, "a fixed point is written `solve h = f(h, x) from x by picard(max = 50)`")
    name, said = item.head.id, {c.word: c.values[0] for c in item.clauses}
    if "from" not in said:
        fail(
            "E0206",
            item.span,
            "`solve` needs a start",
            help="say `from x`, or `from zeros` and the type: `solve h: vector(8) = ...`",
        )
    h = lift(_start(ev, item, said["from"], env, frame), frame, item.span, DType.FLOAT)
    h = ev.spread(h, frame, item.span)
    method = _method(ev, said.get("by"), item, env, frame)
    once = Closure(
        name, (tree.Arg(span=item.head.span, name=name, type=None, value=None),), item.values[0], env, id(item), item.span
    )
    found = lift(ev.call(method, [once, h], {}, frame, item.span), frame, item.span)
    if found.type.shape != h.type.shape:
        fail("E0306", item.span, f"`{name}` starts with shape {shown(h.type.shape)} and ends with {shown(found.type.shape)}")
    found = add(frame, item.span, Op.STOP, found)
    asked = frame.entry is not None and frame.entry.role in ("sampler", "query")
    if asked:
        ev.fixed.add(found.id)
    for _ in range(0 if asked else _rounds(ev, method, frame)):
        found = lift(ev.call_closure(once, [found], {}, frame, item.span), frame, item.span)
    env.names[name] = frame.builder.name(found, name)


def _start(ev: Evaluator, item: tree.Section, node: tree.Expr, env: Env, frame: Frame) -> Any:
    value = ev.expr(node, env, frame, symbols=True)
    if not (isinstance(value, Builtin) and value.name in ("zeros", "ones")):
        return value
    kind = ev.expr(item.type, env, frame) if item.type is not None else None
    if not isinstance(kind, TypeRef):
        fail("E0304", node.span, f"`{value.name}` of which shape?", help="say the type: `solve h: vector(8) = ... from zeros`")
    return ev.call(value, [], {"like": kind}, frame, node.span)


def _method(ev: Evaluator, node: tree.Expr | None, item: tree.Section, env: Env, frame: Frame) -> Partial:
    if node is None:
        usual = library.find("function", "picard")
        assert usual is not None
        return Partial(usual, span=item.span, env=ev.world)
    found = ev.expr(node, env, frame)
    if not isinstance(found, Partial) or found.definition.kind != "function":
        fail(
            "E0304", node.span, f"{describe(found)} is not a solver", help="such as `picard(max = 50)` or `anderson(max = 30)`"
        )
    return found


def _rounds(ev: Evaluator, method: Partial, frame: Frame) -> int:
    given = dict(method.kwargs).get(BACKWARD)
    usual = next((p.value for p in method.definition.params if p.name == BACKWARD and p.value is not None), None)
    if given is None and usual is not None:
        given = ev.expr(usual, ev.builtins, frame)
    if isinstance(given, bool) or not isinstance(given, int) or given < 0:
        where = method.span or method.definition.section.span
        fail("E0601", where, f"`{BACKWARD}` is how many rounds gradients pass, 0 or more", help="as in `picard(backward = 10)`")
    return given
