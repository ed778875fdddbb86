"""specc, a compiler for generative models.

program = specc.load("ddpm.spec")          # the model, type-checked; SpecErrors says what is wrong
found = specc.check("ddpm.spec")           # what is wrong, as data
specc.compile("ddpm.spec", "pytorch", "out")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from specc.api import SpecErrors, check, compile, load

__all__ = ["SpecErrors", "check", "compile", "load"]


def __getattr__(name: str) -> Any:
    """The public names, imported when they are first asked for: `import specc` costs nothing."""
    if name not in __all__:
        raise AttributeError(f"module 'specc' has no attribute '{name}'")
    from specc import api

    return getattr(api, name)
