"""How constants, arrays of one number, spread numbers and draws are written: what makes a tensor, with its size and device."""

from __future__ import annotations

from specc.backends.pytorch.expressions import Piece, call, tuple_of
from specc.backends.pytorch.numbers import literal
from specc.backends.pytorch.site import Site, Spelling, Text

from specc.ir.program import Node
from specc.ir.types import BATCH, GROWING, DType


def const(site: Site) -> Text:
    value, shape = site["value"], tuple(site.node.get("shape", ()))
    kind = DType(site.node.get("dtype", "float"))
    if not isinstance(value, tuple):
        number = literal(bool(value) if kind is DType.BOOL else value)
        return whole(Piece(number, type=site.node.out.type, host=True, literal=value), shape, site) if shape else number
    return table(site.node, site.device)


def table(node: Node, device: str | None = None) -> str:
    """A constant of several numbers."""
    kind = DType(node.get("dtype", "float"))
    texts = [literal(bool(v) if kind is DType.BOOL else int(v) if kind is DType.INT else float(v)) for v in node["value"]]
    if kind is DType.FLOAT and texts and all(t.lstrip("-").isdigit() for t in texts):
        texts[0] += ".0"
    return call("torch.tensor", _nested(texts, tuple(node.get("shape", ()))), device=device)


def _nested(texts: list[str], shape: tuple[int, ...]) -> str:
    """Lists of lists, as deep as the shape."""
    if not shape:
        return texts[0]
    each = len(texts) // shape[0]
    return f"[{', '.join(_nested(texts[i * each : (i + 1) * each], shape[1:]) for i in range(shape[0]))}]"


def iota(site: Site) -> Text:
    return call("torch.arange", str(site["n"]), device=site.device)


def number_like(x: Piece, like: Piece) -> str:
    """A number at each place of a tensor."""
    if x.literal in (0, 1):
        return call("torch.zeros_like" if x.literal == 0 else "torch.ones_like", like.text)
    return call("torch.full_like", like.text, x.text)


def draw(name: str) -> Spelling:
    """noise.normal(seed, ...) where numbers are keyed by example, else ordinary ones."""

    def spell(site: Site, *operands: Piece) -> Text:
        node, shape = site.node, site.node.out.type.shape
        if node.get("keyed", True):
            inner = tuple_of([str(d) for d in shape[1:]]) if shape[1:] else "()"
            indices = tuple_of([p.text for p in operands[1:]]) if operands[1:] else None
            return call(f"noise.{name}", operands[0].text, place=str(node["place"]), shape=inner, indices=indices)
        plain = {"normal": "randn", "uniform": "rand"}[name]
        if site.generator is not None:
            return call(f"torch.{plain}", *_sizes(shape, site.batch), generator=site.generator)
        if operands and len(shape) > 1 and operands[0].type.shape == shape and operands[0].type.dtype is DType.FLOAT:
            return call(f"torch.{plain}_like", operands[0].text)
        return call(f"torch.{plain}", *_sizes(shape, site.batch), device=site.device)

    return spell


def _sizes(shape: tuple[int | str, ...], batch: str) -> list[str]:
    return [batch if d == BATCH else str(d) for d in shape] or ["()"]


def spread(site: Site, x: Piece, like: Piece) -> Text:
    if not x.type.rank and x.host:
        if x.literal is not None and like.type == site.node.out.type:
            if x.literal in (0, 1):
                return call("torch.zeros_like" if x.literal == 0 else "torch.ones_like", like.text)
            return call("torch.full_like", like.text, x.text)
        return filled(x, site)
    moved = x.atom
    if x.type.dtype is DType.FLOAT and not x.type.rank and not site.single:
        moved += f".to({like.text})" if _float(like) else f".to({like.atom}.device, torch.float32)"
    return call(f"{moved}.expand", site.batch, *["-1"] * x.type.rank)


def _float(x: Piece) -> bool:
    return x.type.dtype is DType.FLOAT


def filling(x: Piece) -> str:
    """A number to fill a tensor with: written so that the tensor has the number's type."""
    if x.type.dtype is DType.FLOAT and x.text.lstrip("-").isdigit():
        return f"{x.text}.0"
    return f"float({x.text})" if x.type.dtype is DType.FLOAT and x.literal is None and x.whole else x.text


def filled(x: Piece, site: Site) -> str:
    """A number for each example, of the shape of the node."""
    return whole(x, (site.batch, *site.node.out.type.shape[1:]), site)


def whole(x: Piece, shape: tuple[int | str, ...], site: Site) -> str:
    """An array of one number. What grows has no place yet."""
    shape = tuple(0 if d == GROWING else d for d in shape)
    if x.literal in (0, 1) and x.type.dtype is DType.FLOAT and shape:
        return call("torch.zeros" if x.literal == 0 else "torch.ones", *map(str, shape), device=site.device)
    return call("torch.full", tuple_of([str(d) for d in shape]) if shape else "()", filling(x), device=site.device)
