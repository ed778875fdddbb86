"""`evaluate { nfe(heun) == 35; frechet <= 10 }`: metrics by name, their knobs, and bounds on them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from specc.ir.metrics import CLASSES, METRICS, Metric
from specc.ir.program import Setting, Space
from specc.record import record
from specc.sema.arithmetic import describe
from specc.sema.evaluate import Evaluator
from specc.sema.frame import Frame
from specc.sema.given import argument
from specc.sema.report import choices, did_you_mean, fail
from specc.sema.sections import plain
from specc.sema.values import Env
from specc.source import Span
from specc.syntax import tree

COMPARISONS = ("<", "<=", ">", ">=", "==")


@record
class Judged:
    """What there is to measure in a model."""

    samplers: Collection[str]
    queries: Collection[str]  # one number of each example, whose mean is measured
    labelled: bool  # whether a condition has classes, which probes are trained on
    space: Space | None  # of the data


def evaluation(ev: Evaluator, section: tree.Section, env: Env, frame: Frame, model: Judged) -> list[Setting]:
    """The metrics of a section. Options of a setting: `args`, knobs, and the last two, `compare` and `bound`."""
    out: list[Setting] = []
    for item in section.body.items if section.body else ():
        if not isinstance(item, tree.ExprStatement):
            fail("E0211", item.span, "`evaluate` takes metrics, with bounds or without: `frechet <= 10`")
        node, compare, bound = item.value, "", None
        if isinstance(node, tree.Binary) and node.op in COMPARISONS:
            compare, bound = node.op, _bound(ev, node.right, env, frame)
            node = node.left
        made = _metric(ev, node, env, frame, model)
        out.append(Setting(made.name, (*made.options, ("compare", compare), ("bound", bound))))
    return out


def _bound(ev: Evaluator, node: tree.Expr, env: Env, frame: Frame) -> float:
    value = plain(ev.expr(node, env, frame), node.span)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        fail("E0304", node.span, f"a bound is a number, not {describe(value)}", help="write the metric first: `frechet <= 10`")
    return value


def _metric(ev: Evaluator, node: tree.Expr, env: Env, frame: Frame, model: Judged) -> Setting:
    call = node.value if isinstance(node, tree.Paren) else node
    name = call.func if isinstance(call, tree.Call) else call
    if not isinstance(name, tree.Name):
        fail("E0304", node.span, "a metric is needed here", help=f"known are {choices(METRICS)}")
    if name.id in model.queries and not isinstance(call, tree.Call):
        return Setting(name.id)
    if name.id not in METRICS:
        known = (*METRICS, *model.queries)
        help = did_you_mean(name.id, known) or f"known are {choices(known)}"
        fail("E0203", name.span, f"there is no metric `{name.id}`", caption="unknown name", help=help)
    row = METRICS[name.id]
    fits(row, name, model, "pca_frechet")
    args: list[str] = []
    knobs: dict[str, Any] = {}
    for a in call.args if isinstance(call, tree.Call) else ():
        value = argument(a)
        if a.name is None:
            args.append(_sampler(name.id, row, value, model, again=bool(args)))
        else:
            knobs[a.name] = _knob(name.id, row, a.name, plain(ev.expr(value, env, frame), a.span), a.span)
    if row.takes == "query" and not args:
        fail("E0206", node.span, f"`{name.id}` needs a query", help=f"as in `{name.id}(nll)`")
    return Setting(name.id, ((("args", tuple(args)),) if args else ()) + tuple(knobs.items()))


def fits(row: Metric, name: tree.Name, model: Judged, instead: str) -> None:
    """An error where the data have not what a metric is about, classes or symbols; `instead` is of any data."""
    if row.takes in CLASSES and not model.labelled:
        help = f"add `condition y: class(k)`, or take `{instead}`, which needs none"
        fail("E0209", name.span, f"`{name.id}` needs classes, which its probe learns to tell apart", help=help)
    space = model.space
    if not row.symbols or space is None:
        return
    if space.dtype != "int" or (row.symbols > 1 and (len(space.shape) != 1 or space.shape[0] < row.symbols)):
        what = "symbols" if row.symbols == 1 else "neighbours in a sequence of symbols"
        message = f"`{name.id}` counts {what}, and `{space.name}` is of the kind `{space.kind}`"
        fail("E0304", name.span, message, help=f"take `{instead}`, which is of any data")


def _sampler(metric: str, row: Metric, node: tree.Expr, model: Judged, again: bool) -> str:
    """The sampler in `nfe(heun)`, or the query in `bits_per_dim(nll)`."""
    if row.takes not in ("sampler", "trajectory", "query") or again:
        knobs = f"its knobs are {choices(row.knobs)}, by name" if row.knobs else ""
        fail("E0206", node.span, f"`{metric}` takes no such argument", help=knobs)
    found = node.id if isinstance(node, tree.Name) else ""
    known, what = (model.queries, "query") if row.takes == "query" else (model.samplers, "sampler")
    if found not in known:
        help = did_you_mean(found, known) or f"there are {choices(known)}"
        fail("E0203", node.span, f"there is no {what} `{node.span.text}`", caption="unknown name", help=help)
    return found


def _knob(metric: str, row: Metric, key: str, value: Any, span: Span) -> Any:
    if key not in row.knobs:
        help = did_you_mean(key, row.knobs) or (f"its knobs are {choices(row.knobs)}" if row.knobs else "it has none")
        fail("E0205", span, f"`{metric}` has no knob `{key}`", help=help)
    default = row.knobs[key]
    if isinstance(default, bool) != isinstance(value, bool) or not isinstance(value, (bool, int, float)):
        wanted = "`true` or `false`" if isinstance(default, bool) else "a number"
        fail("E0304", span, f"`{key}` is {wanted}, not {describe(value)}")
    least = 0 if key == "seed" else 1
    if isinstance(default, int) and not isinstance(default, bool) and (value != int(value) or value < least):
        fail("E0601", span, f"`{key} = {value}` makes no sense", help=f"it is a whole number from {least}")
    return value
