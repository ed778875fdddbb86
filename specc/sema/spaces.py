"""Types as they are written: spaces of data, and the patterns in the headers of networks."""

from __future__ import annotations

import math
from typing import Any

from specc.ir.program import Value
from specc.ir.types import FLOAT, INT, DType
from specc.sema.arithmetic import LARGEST, describe, known, shown
from specc.sema.report import choices, did_you_mean, fail
from specc.sema.values import TypeRef
from specc.source import Span
from specc.syntax import tree

# kind -> how many dimensions its arguments give (None: any number)
SPACES: dict[str, int | None] = {
    "scalar": 0,
    "vector": 1,
    "matrix": 2,
    "tensor": None,
    "image": 3,
    "volume": 4,
    "video": 4,
    "signal": 2,
    "sequence": 2,
    "set": 2,
    "table": 1,
}
CLASSES = ("class",)
# kind of integers -> the names of its dimensions (None: any number of sizes), which definitions may use; `vocab`, how many
# values an element has, comes last where it is given and not implied
WHOLE: dict[str, tuple[str, ...] | None] = {
    "tokens": ("n", "vocab"),
    "labels": ("vocab",),
    "bits": None,
    "counts": None,
}
# kind -> what it is made of, of a number of nodes or events n; a mask is a field beside it where examples differ in size
MADE: dict[str, tuple[str, ...]] = {
    "graph": ("n",),  # which pairs of nodes are joined: (n, n), 0 or 1
    "pairs": ("n",),  # a number for each pair of nodes, the same both ways: (n, n)
    "events": ("n", "vocab"),  # when they happen, in order: (n); `vocab` kinds
}
LATER = ("function",)
NAMES = (*SPACES, *CLASSES, *WHOLE, *MADE, *LATER)


def space(name: str, args: list[Any], span: Span) -> TypeRef:
    """`image(1, 8, 8)` or `class(10)` as a type."""
    if name in LATER:
        fail(
            "E0211",
            span,
            f"the space `{name}` is not supported yet",
            help=f"the spaces that work are {choices([*SPACES, *CLASSES, *WHOLE, *MADE])}",
        )
    for a in args:
        if isinstance(a, bool) or not isinstance(a, int):
            fail("E0305", span, f"the sizes of `{name}` are integers known while compiling, not {describe(a)}")
        if a < 1:
            fail("E0601", span, f"a size of {a} makes no sense", help="sizes are 1 or more")
    if (elements := math.prod(args)) > LARGEST:
        fail("E0603", span, f"one example has {elements:.1e} elements", caption="too large", help=f"at most {LARGEST:.1e}")
    if name in CLASSES:
        if len(args) != 1:
            fail("E0206", span, "`class` takes the number of classes")
        return TypeRef(INT, "class", args[0])
    if name in WHOLE:
        return _whole(name, args, span)
    if name in MADE:
        return _made(name, args, span)
    if name not in SPACES:
        fail("E0201", span, f"there is no space `{name}`", help=did_you_mean(name, SPACES) or f"spaces are {choices(SPACES)}")
    rank = SPACES[name]
    if rank is not None and len(args) != rank:
        fail("E0206", span, f"`{name}` takes {rank} sizes, not {len(args)}")
    return TypeRef(FLOAT.shaped(tuple(args)), name)


def _whole(name: str, args: list[Any], span: Span) -> TypeRef:
    """A space of integers: `tokens(64, 27)`, `labels(3)`, `bits(4)`, `counts(1, 8, 8)`; counts learn their range from `in`."""
    dims = WHOLE[name]
    if dims is not None and len(args) != len(dims):
        fail("E0206", span, f"`{name}` takes {' and '.join(f'`{d}`' for d in dims)}, not {len(args)} sizes")
    if dims is None:
        return TypeRef(INT.shaped(tuple(args)), name, 2 if name == "bits" else None)
    return TypeRef(INT.shaped(tuple(args[:-1])), name, args[-1])


def _made(name: str, args: list[Any], span: Span) -> TypeRef:
    """`graph(20)`, `pairs(20)`, `events(64, 2)`."""
    if len(args) != len(MADE[name]):
        fail("E0206", span, f"`{name}` takes {' and '.join(f'`{d}`' for d in MADE[name])}, not {len(args)} sizes")
    n = args[0]
    match name:
        case "graph":
            return TypeRef(INT.shaped((n, n)), name, 2)
        case "pairs":
            return TypeRef(FLOAT.shaped((n, n)), name)
        case _:
            return TypeRef(FLOAT.shaped((n,)), name, args[1])


def dimensions(kind: str, shape: tuple[int, ...], classes: int | None) -> dict[str, int]:
    """The names that a space of integers gives to definitions: its sizes, and `vocab`, how many values an element has."""
    if kind in MADE:
        return dict(zip(MADE[kind], (shape[0], classes), strict=False))  # type: ignore[arg-type]
    if kind not in WHOLE:
        return {}
    names = WHOLE[kind] or (("n",) if len(shape) == 1 else ())
    return dict(zip((n for n in names if n != "vocab"), shape, strict=False)) | ({"vocab": classes} if classes else {})


def match(
    pattern: tree.Expr | None,
    value: Value,
    dims: dict[str, Any],
    what: str,
    span: Span,
    known: dict[str, Any],
    classes: int | None = None,
) -> None:
    """Bind the dimension variables of a header's pattern to a value's shape (and, of integers, to how many values they have);
    a value that does not fit is an error."""
    if pattern is None:
        return
    name = pattern.id if isinstance(pattern, tree.Name) else ""
    sizes: tuple[tree.Arg, ...] = ()
    if isinstance(pattern, tree.Call) and isinstance(pattern.func, tree.Name):
        name, sizes = pattern.func.id, pattern.args
    if name in ("any", "tensor", "like") or name in CLASSES:
        return
    shape = value.type.shape
    if name in WHOLE:
        shape = _counted(name, value, classes, what, span)
    elif name not in SPACES:
        fail("E0201", pattern.span, f"there is no space `{name}`", help=did_you_mean(name, (*SPACES, *WHOLE)))
    elif SPACES[name] != len(shape):
        fail("E0301", span, f"{what} should be of type `{name}`, and has shape {shown(shape)}")
    for size, arg in zip(shape, sizes, strict=False):
        node = arg.value
        if isinstance(node, tree.Name) and not isinstance(known.get(node.id), int):
            if dims.setdefault(node.id, size) != size:
                fail("E0301", span, f"{what} has {size} where `{node.id}` is already {dims[node.id]}")
        else:
            wanted = (
                known.get(node.id) if isinstance(node, tree.Name) else node.value if isinstance(node, tree.Number) else None
            )
            if wanted is not None and wanted != size:
                fail("E0301", span, f"{what} has {size} where {wanted} is needed")


def _counted(name: str, value: Value, classes: int | None, what: str, span: Span) -> tuple[Any, ...]:
    """The shape of integers, with the number of their values behind it where the space names that."""
    dims, shape = WHOLE[name], value.type.shape
    sizes = None if dims is None else len(dims) - 1
    if value.type.dtype is not DType.INT or (sizes is not None and sizes != len(shape)):
        fail("E0301", span, f"{what} should be of type `{name}`, and is {value.type}")
    if dims is not None and classes is None:
        fail(
            "E0304", span, f"how many values {what} has is not known here", help=f"give its type, as in `state z: {name}(...)`"
        )
    return shape if dims is None else (*shape, classes)


def shaped_like(value: Any, span: Span) -> tuple[tuple[Any, ...], DType]:
    """The shape that `like = ...` asks for."""
    if isinstance(value, TypeRef):
        return value.type.shape, value.type.dtype
    if isinstance(value, Value):
        return value.type.shape, value.type.dtype
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return (), DType.INT if isinstance(value, int) else DType.FLOAT
    known(value)
    return fail("E0304", span, f"`like` takes a value or a type, not {describe(value)}")
