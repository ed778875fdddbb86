"""Arguments of the functions that the compiler knows."""

from __future__ import annotations

from typing import Any

from specc.sema.report import did_you_mean, fail
from specc.source import Span

Args = list[Any]
Knobs = dict[str, Any]


def exactly(name: str, args: Args, kwargs: Knobs, count: int, span: Span, **defaults: Any) -> Args:
    """Positional arguments, then knobs by name with their defaults."""
    for key in kwargs:
        if key not in defaults:
            fail("E0205", span, f"`{name}` has no knob `{key}`", help=did_you_mean(key, defaults))
    if len(args) != count:
        fail("E0206", span, f"`{name}` takes {count} argument{'s' if count != 1 else ''}, not {len(args)}")
    return [*args, *(kwargs.get(k, d) for k, d in defaults.items())]
