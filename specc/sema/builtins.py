"""Functions that the compiler knows: one table, each row a few lines over the ops."""

from __future__ import annotations

import itertools
import math
from typing import Any

from specc.ir.ops import Op
from specc.ir.program import Value
from specc.sema import densities, mixtures, spaces
from specc.sema.arguments import Args, Knobs, exactly
from specc.sema.arithmetic import add, binary, describe, lift
from specc.sema.batches import BATCH
from specc.sema.calculus import DERIVATIVES
from specc.sema.evaluate import Evaluator
from specc.sema.frame import Frame
from specc.sema.laws import LAWS
from specc.sema.layers import LAYERS
from specc.sema.matrices import MATRICES
from specc.sema.numeric import NUMERIC
from specc.sema.report import fail
from specc.sema.rewrites import tap
from specc.sema.shaping import SHAPING
from specc.sema.values import (
    Builtin,
    Captures,
    Clock,
    Closure,
    Env,
    Marker,
    Namespace,
    Pairs,
    Partial,
    Symbol,
    TypeRef,
    word_of,
)
from specc.sema.views import OF_PARENTS, ema, of_parent
from specc.source import Span


def _pairs(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Pairs | TypeRef:
    if len(args) == 1 and isinstance(args[0], list) and len(args[0]) > 1:
        return _rows(lift(args[0], frame, span), len(args[0]))
    if len(args) == 1:  # the space of that name
        return spaces.space("pairs", args, span)
    f, n = exactly("pairs", args, kwargs, 2, span)
    if isinstance(n, float) and n.is_integer():
        n = int(n)
    if not isinstance(n, (int, Value)) or isinstance(n, bool) or (isinstance(n, Value) and n.type.shape):
        fail("E0305", span, f"the number of steps is an integer, not {describe(n)}")
    if isinstance(n, int) and n < 1:
        fail("E0601", span, f"{n} steps make no sampler", help="take 1 step or more")
    return Pairs(f, n)


def _rows(rows: Value, count: int) -> Pairs:
    """pairs([a, b, c]): a and b, then b and c: times, or rows of times for each element."""

    def place(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Value:
        return add(frame, span, Op.TAKE, rows, lift(args[0], frame, span), axis=0)

    return Pairs(Builtin("rows", place), count - 1)


def _reversed(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Any:
    """reversed(grid(steps)): the same times from data to noise; of a list, its items from last to first."""
    (times,) = exactly("reversed", args, kwargs, 1, span)
    if not isinstance(times, Pairs):
        return list(reversed(ev.static_list(times, span)))

    def place(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Any:
        return ev.call(times.f, [binary("-", times.count, args[0], frame, span)], {}, frame, span)

    return Pairs(Builtin("reversed", place), times.count)


def _input(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Marker:
    (default,) = exactly("input", args, kwargs, 1, span)
    if isinstance(default, bool) or not isinstance(default, (int, float)):
        fail("E0305", span, "`input(...)` takes its default, a number")
    return Marker(default, "")


def _member(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> bool:
    """member(i, list): whether a list known while compiling holds i; words are compared by name."""
    i, items = exactly("member", args, kwargs, 2, span)
    return (word_of(i) or i) in [word_of(item) or item for item in ev.static_list(items, span)]


def _range(ev: Evaluator, span: Span) -> tuple[float, float]:
    """The process's range of times."""
    names = ev.world.names
    if "t_min" not in names:
        fail("E0209", span, "there is no range of times here", help="a process says one: `over t in [0, 1]`")
    low, high = names["t_min"], names["t_max"]
    if not isinstance(low, (int, float)) or not isinstance(high, (int, float)):
        fail("E0304", span, "the ends of the range of times, `t_min` and `t_max`, are not numbers here")
    return low, high


def _for_all(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> bool:
    """for_all(t => condition): on 257 times of the process's range, ends included."""
    (f,) = exactly("for_all", args, kwargs, 1, span)
    low, high = _range(ev, span)
    return all(bool(ev.call(f, [low + (high - low) * i / 256], {}, frame, span)) for i in range(257))


def _falls(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> bool:
    """falls(f): whether a function of time falls strictly, on 257 times of the process's range, ends included."""
    (f,) = exactly("falls", args, kwargs, 1, span)
    low, high = _range(ev, span)
    values = [ev.numeric(f, low + (high - low) * i / 256) for i in range(257)]
    return all(b < a for a, b in itertools.pairwise(values))


def _diverges(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> bool:
    """diverges(f, t): whether a function of time is infinite, or no number, at t; not told of one with parameters."""
    f, t = exactly("diverges", args, kwargs, 2, span)
    if not isinstance(t, (int, float)):
        fail("E0305", span, f"`diverges` looks at a time known while compiling, not at {describe(t)}")
    try:
        return not math.isfinite(ev.numeric(f, t))
    except Captures:
        return False


def _space(name: str) -> Any:
    def apply(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> TypeRef:
        exactly(name, [], kwargs, 0, span)
        shapes = [spaces.shaped_like(a, span)[0] if isinstance(a, (TypeRef, Value)) else (a,) for a in args]
        return spaces.space(name, [size for shape in shapes for size in shape], span)

    return apply


def _unconditional(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Any:
    raise AssertionError("`unconditional` is evaluated by its call")


def _apply_partial(ev: Evaluator, frame: Frame, span: Span, args: Args, kwargs: Knobs) -> Any:
    """grid(steps, spacing): the times of a spacing given by name."""
    steps, spacing = exactly("grid", args, kwargs, 1, span, spacing=None)
    found = (
        spacing
        if isinstance(spacing, (Partial, Closure))
        else ev.definition("grid", spacing.id if isinstance(spacing, Symbol) else "uniform")
    )
    if found is None:
        fail("E0203", span, f"there is no grid `{spacing.id}`")
    target = found if isinstance(found, (Partial, Closure)) else Partial(found[0], span=span, env=found[1])
    return ev.call(target, [steps], {}, frame, span)


FUNCTIONS: dict[str, Any] = {
    **NUMERIC,
    **SHAPING,
    **LAYERS,
    **DERIVATIVES,
    **LAWS,
    **densities.FUNCTIONS,
    **mixtures.FUNCTIONS,
    **{name: _space(name) for name in spaces.NAMES if name != "scalar"},
    **MATRICES,
    "pairs": _pairs,
    "reversed": _reversed,
    "grid": _apply_partial,
    "input": _input,
    "for_all": _for_all,
    "falls": _falls,
    "diverges": _diverges,
    "member": _member,
    "unconditional": _unconditional,
}


def environment() -> Env:
    """The outermost names."""
    names: dict[str, Any] = {name: Builtin(name, fn) for name, fn in FUNCTIONS.items()}
    names["pi"] = math.pi
    names |= {kind: of_parent(kind) for kind in OF_PARENTS}
    names |= {"ema": Builtin("ema", ema), "tap": Builtin("tap", tap)}
    names |= {name: Clock(name) for name in ("step", "progress")}
    names["scalar"] = TypeRef(spaces.space("scalar", [], Span.__new__(Span)).type, "scalar")
    names["batch"] = Namespace("batch", BATCH)
    return Env(names)
