"""How operations on shapes are written in PyTorch: `t[:, None]`, `x.flatten(1)`, `x[..., :3]`."""

from __future__ import annotations

from collections.abc import Sequence

from specc.backends.pytorch.expressions import Piece, call, tuple_of

from specc.ir.types import BATCH, GROWING, Dim, Shape

Text = str


def dims(shape: Sequence[Dim], batch: str) -> str:
    """A shape as arguments: `-1` cannot stand for the batch everywhere, so its size is spelled out."""
    return ", ".join(batch if d == BATCH else str(d) for d in shape)


def reshape(x: Piece, shape: Shape) -> Text:
    """The shortest idiom that gives the shape; one dimension of the batch is written -1."""
    old = x.type.shape
    if old == shape:
        return x.text
    places = _unsqueezed(old, shape)
    if places is not None:
        return f"{x.atom}[{', '.join(places)}]"
    if not shape:
        return call(f"{x.atom}.reshape", "()")
    gone = _squeezed(old, shape)
    if gone is not None:
        return call(f"{x.atom}.squeeze", str(gone))
    if _flattened(old, shape):
        return call(f"{x.atom}.flatten", str(len(shape) - 1))
    extra = len(shape) - len(old)
    for axis, d in enumerate(old):
        parts = shape[axis : axis + extra + 1]
        if extra > 0 and d != BATCH and shape == (*old[:axis], *parts, *old[axis + 1 :]):
            return call(f"{x.atom}.unflatten", str(axis if axis < len(old) - 1 else -1), tuple_of([str(p) for p in parts]))
    places = f"{x.atom}.shape[{old.index(GROWING)}]" if GROWING in shape else ""
    text = ", ".join("-1" if d == BATCH else places if d == GROWING else str(d) for d in shape)
    return call(f"{x.atom}.reshape", text)


def general(old: Shape, new: Shape) -> bool:
    """Whether a change of shape is more than putting dimensions of size 1 in, taking one out, or joining the last ones."""
    return old != new and _unsqueezed(old, new) is None and _squeezed(old, new) is None and not _flattened(old, new)


def _flattened(old: Shape, new: Shape) -> bool:
    return 0 < len(new) < len(old) and new[:-1] == old[: len(new) - 1] and BATCH not in old[len(new) - 1 :]


def _unsqueezed(old: Shape, new: Shape) -> list[str] | None:
    """The index that puts dimensions of size 1 into a shape, or None."""
    if len(new) <= len(old) or [d for d in new if d != 1] != [d for d in old if d != 1]:
        return None
    places: list[str] = []
    left = list(old)
    for i, d in enumerate(new):
        if left and d == left[0] and not (d == 1 and len(new) - i > len(left)):
            places.append(":")
            left.pop(0)
        elif d == 1:
            places.append("None")
        else:
            return None
    if left:
        return None
    while places and places[-1] == ":":
        places.pop()
    return places


def _squeezed(old: Shape, new: Shape) -> int | None:
    """The one dimension of size 1 that disappears, or None."""
    if len(old) != len(new) + 1:
        return None
    return next((i for i in reversed(range(len(old))) if old[i] == 1 and (*old[:i], *old[i + 1 :]) == new), None)


def expand(x: Piece, shape: Shape, batch: str) -> Text:
    sizes = ["-1" if d == e else batch if e == BATCH else str(e) for d, e in zip(x.type.shape, shape, strict=True)]
    return x.text if set(sizes) <= {"-1"} else call(f"{x.atom}.expand", *sizes)


def transpose(x: Piece, perm: Sequence[int]) -> Text:
    moved = [i for i, p in enumerate(perm) if i != p]
    if not moved:
        return x.text
    if len(moved) == 2:
        if moved == [len(perm) - 2, len(perm) - 1]:
            return f"{x.atom}.mT"
        return call(f"{x.atom}.transpose", *map(str, moved))
    return call(f"{x.atom}.permute", *map(str, perm))


def index(x: Piece, axis: int, inside: str) -> Text:
    """x[:, :, inside], from the shorter end."""
    rank = x.type.rank
    if axis == 0:
        return f"{x.atom}[{inside}]"
    if axis == rank - 1 and rank > 2:
        return f"{x.atom}[..., {inside}]"
    return f"{x.atom}[{', '.join([*[':'] * axis, inside])}]"


def sliced(x: Piece, axis: int, start: int, stop: int, step: int = 1) -> Text:
    axis %= x.type.rank
    n = x.type.shape[axis]
    if (start, stop, step) == (0, n, 1):
        return x.text
    first, last = (f"{d - n if d == n - 1 > 1 else d}" if isinstance(n, int) else str(d) for d in (start, stop))
    text = f"{first if start else ''}:{'' if stop == n else last}" + (f":{step}" if step != 1 else "")
    return index(x, axis, text)


def pad(x: Piece, pads: Sequence[tuple[int, int]], value: str) -> Text:
    flat = [n for pair in reversed(pads) for n in pair]
    while len(flat) > 2 and flat[-2:] == [0, 0]:
        flat = flat[:-2]
    return call("F.pad", x.text, tuple_of([str(n) for n in flat]), value=None if value == "0" else value)


def take(x: Piece, at: Piece, axis: int, batch: int) -> Text:
    axis %= x.type.rank
    if not batch:
        return index(x, axis, at.text)
    places = at.type.rank - batch
    if batch == axis == 1:
        rows = f"torch.arange(len({at.text}), device={at.atom}.device)"
        return f"{x.atom}[{rows}{'[:' + ', None' * places + ']' if places else ''}, {at.text}]"
    if batch == axis == x.type.rank - 1 and not places:
        return f"{x.atom}.gather(-1, {at.atom}[..., None]).squeeze(-1)"
    wanted = (1,) * (axis - batch), (1,) * (x.type.rank - axis - 1)
    if GROWING in at.type.shape:  # one dimension, whose size is not known
        ones = [["None"] * len(w) for w in wanted]
        spread = f"{at.atom}[{', '.join([*[':'] * batch, *ones[0], ':', *ones[1]])}]"
    else:
        sizes = [*_common(at, batch), *map(str, wanted[0]), *(_flat(at, batch)), *map(str, wanted[1])]
        spread = f"{at.atom}.reshape({', '.join(sizes)})"
    found = call("torch.take_along_dim", x.text, spread, dim=str(axis))
    if not places:
        return f"{found}.squeeze({axis})"
    return found if places == 1 else call(f"{found}.unflatten", str(axis), tuple_of([str(d) for d in at.type.shape[batch:]]))


def _common(at: Piece, batch: int) -> list[str]:
    """The leading dimensions of an index that it shares with what it indexes."""
    return ["-1" if d == BATCH else str(d) for d in at.type.shape[:batch]]


def _flat(at: Piece, batch: int) -> list[str]:
    """The number of indices behind the common dimensions, as one dimension."""
    total = 1
    for d in at.type.shape[batch:]:
        total *= int(d)
    return [str(total)]


def scatter_add(x: Piece, at: Piece, axis: int, n: Dim, batch: int, size: str) -> Text:
    """Zeros of n rows to which x is added at the indices."""
    rank = at.type.rank - batch
    source = x.text if rank == 1 else f"{x.atom}.flatten({axis}, {axis + rank - 1})" if rank else f"{x.atom}.unsqueeze({axis})"
    tail = x.type.shape[axis + rank :]
    zeros = call(f"{x.atom}.new_zeros", dims((*x.type.shape[:axis], n, *tail), size))
    if not batch:
        return call(f"{zeros}.index_add", str(axis), at.text if rank == 1 else f"{at.atom}.reshape(-1)", source)
    ones = ", ".join([*_common(at, batch), *["1"] * (axis - batch), *_flat(at, batch), *["1"] * len(tail)])
    wide = dims((*x.type.shape[:axis], int(_flat(at, batch)[0]), *tail), size)
    return call(f"{zeros}.scatter_add", str(axis), f"{at.atom}.reshape({ones}).expand({wide})", source)
