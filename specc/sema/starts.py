"""Parameters that start from the first batch: `param s: vector(c) = first_batch(e)`.

e is what the parameter would be if this batch were all the data, so that e averages over the batch. It becomes a function of
its own over the same bundle; training calls it once, for each network just before that runs for the first time.
"""

from __future__ import annotations

from specc.ir.liveness import live
from specc.ir.program import Block, Function, Start, Value
from specc.ir.rewrite import Subst, copy_block, substitute
from specc.ir.types import EXAMPLE, Type
from specc.sema.arithmetic import lift, shown
from specc.sema.evaluate import Evaluator
from specc.sema.frame import Frame
from specc.sema.report import fail
from specc.sema.values import Env
from specc.syntax import tree


def of_first_batch(node: tree.Expr) -> tree.Expr | None:
    """e of `first_batch(e)`."""
    match node:
        case tree.Call(func=tree.Name(id="first_batch"), args=(tree.Arg(name=None, value=e),)):
            return e
        case _:
            return None


def value(ev: Evaluator, node: tree.Expr, type: Type, env: Env, frame: Frame) -> Value:
    """The start of a parameter of this type."""
    found = lift(ev.expr(node, env, frame), frame, node.span)
    if EXAMPLE in found.type.axes:
        fail(
            "E0305",
            node.span,
            "a parameter is one for all examples, and this is another for each",
            help="say `batch.mean(...)`",
        )
    if found.type.shape != type.shape:
        fail("E0301", node.span, f"this start has shape {shown(found.type.shape)}, and the parameter {shown(type.shape)}")
    return found


def note(ev: Evaluator, network: Function, whole: Block, frame: Frame) -> None:
    """Write the function that gives a network's starts, when it has any. whole: the network's block with all that was said."""
    if not frame.starts:
        return
    paths, read, found = zip(*frame.starts, strict=True)
    subst: Subst = {}
    copied = copy_block(Block(params=whole.params, nodes=whole.nodes, results=found), subst, ev.ids)
    block = substitute(copied, {subst[p.id].id: v for p, v in zip(read, copied.results, strict=True)})
    name = ev.unique(f"{network.name.split('.')[0]}.start")
    doc = f"what {', '.join(paths)} start from, on the first batch"
    ev.functions[name] = Function(name=name, kind="network", block=live(block), doc=doc, span=network.span)
    ev.starts.append(Start(network=network.name, function=name, paths=paths))
