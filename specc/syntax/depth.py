"""How deep a text may nest: later stages walk the tree by recursion, and Python's stack is what it is."""

from __future__ import annotations

from typing import Any

from specc.syntax import tree

MAX_DEPTH = 100


def too_deep(statement: tree.Statement) -> bool:
    """Whether a statement's own expressions nest too deep; blocks inside it have been looked at already."""
    waiting: list[tuple[Any, int]] = [(statement, 0)]
    while waiting:
        node, depth = waiting.pop()
        if depth > MAX_DEPTH:
            return True
        for slot in type(node).__slots__:
            child = getattr(node, slot)
            children = child if isinstance(child, tuple) else (child,)
            for x in children:
                if isinstance(x, tree.Node) and (not isinstance(x, tree.Block) or is_else_if(x)):
                    waiting.append((x, depth + 1))
    return False


def is_else_if(block: tree.Block) -> bool:
    """Whether a block is the one that stands for the `if` after an `else`."""
    return len(block.items) == 1 and block.items[0].span == block.span
