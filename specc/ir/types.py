"""Types of values in the IR.

At *example level* a value has the shape of one example, and a set of implicit axes over which it varies: none (shared, or
static) or `example`. At *array level* the axes are gone and the shape leads with the batch, written `BATCH`.
"""

from __future__ import annotations

from enum import Enum

from specc.record import record

Dim = int | str
Shape = tuple[Dim, ...]

BATCH = "B"  # the size of the batch, wherever it stands in a shape
GROWING = "T"  # the places so far of a value that grows from round to round of a loop; none of a constant
EXAMPLE = "example"  # the implicit axis of one example after another


class DType(Enum):
    """Kinds of numbers. A backend decides how wide a float is; ints are 64-bit."""

    FLOAT = "float"
    INT = "int"
    BOOL = "bool"


@record
class Type:
    """Kind of number, shape, and (at example level) the implicit axes over which the value varies."""

    dtype: DType
    shape: Shape = ()
    axes: frozenset[str] = frozenset()

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def batched(self) -> bool:
        """Varies by example, at either level."""
        return EXAMPLE in self.axes or (not self.axes and self.shape[:1] == (BATCH,))

    def over(self, *axes: str) -> Type:
        """The same value, varying over these axes as well."""
        return Type(self.dtype, self.shape, self.axes | frozenset(axes))

    def shaped(self, shape: Shape) -> Type:
        return Type(self.dtype, tuple(shape), self.axes)

    def __str__(self) -> str:
        text = self.dtype.value if not self.shape else f"{self.dtype.value}[{', '.join(map(str, self.shape))}]"
        return text if not self.axes else f"{text} per {' '.join(sorted(self.axes))}"


FLOAT = Type(DType.FLOAT)
INT = Type(DType.INT)
BOOL = Type(DType.BOOL)


def broadcast(*shapes: Shape) -> Shape:
    """The common shape under NumPy's rules. Raises ValueError when there is none."""
    rank = max((len(s) for s in shapes), default=0)
    out: list[Dim] = []
    for i in range(rank):
        dims = {s[i - rank + len(s)] for s in shapes if i - rank + len(s) >= 0} - {1}
        if len(dims) > 1:
            raise ValueError("shapes " + " and ".join(f"({', '.join(map(str, s))})" for s in shapes) + " do not agree")
        out.append(dims.pop() if dims else 1)
    return tuple(out)


def size(shape: Shape) -> int:
    """Number of elements of a static shape."""
    total = 1
    for d in shape:
        if not isinstance(d, int):
            raise ValueError(f"the size of ({', '.join(map(str, shape))}) is not known before run time")
        total *= d
    return total


def per_dimension(option: int | tuple[int, ...], count: int) -> tuple[int, ...]:
    """An option of a convolution, which is one number for all its dimensions or one for each."""
    return (option,) * count if isinstance(option, int) else option
