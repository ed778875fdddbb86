"""Layers as functions, for weights that are computed or shared; those with parameters of their own are modules (modules.py)."""

from __future__ import annotations

from typing import Any

from specc.backends.pytorch.expressions import Piece, call, tuple_of
from specc.backends.pytorch.numbers import literal

from specc.ir.formats import FORMATS
from specc.ir.program import Node


def _numbers(site: Any, **defaults: int) -> dict[str, str]:
    """Options that differ from PyTorch's defaults."""
    return {k: str(site.node.get(k, d)) for k, d in defaults.items() if site.node.get(k, d) != d}


def linear(site: Any, x: Piece, weight: Piece, bias: Piece | None = None) -> str:
    if rounds := site.node.get("rounds"):
        formats = dict(zip(("weights", "activations", "gradients"), (f"rounding.{name}" for name in rounds), strict=True))
        return call("rounding.linear", x.text, weight.text, bias.text if bias else "None", **formats)
    return call("F.linear", x.text, weight.text, *([bias.text] if bias else []))


def conv(site: Any, x: Piece, weight: Piece, bias: Piece | None = None) -> str:
    options = _numbers(site, stride=1, padding=0, dilation=1, groups=1)
    return call(f"F.conv{weight.type.rank - 2}d", x.text, weight.text, *([bias.text] if bias else []), **options)


def conv_transpose(site: Any, x: Piece, weight: Piece, bias: Piece | None = None) -> str:
    options = _numbers(site, stride=1, padding=0, output_padding=0, groups=1, dilation=1)
    return call(f"F.conv_transpose{weight.type.rank - 2}d", x.text, weight.text, *([bias.text] if bias else []), **options)


def avg_pool(site: Any, x: Piece) -> str:
    spatial, window, lead = site["spatial"], site["window"], x.type.rank - site["spatial"]
    if lead in (1, 2):
        return call(f"F.avg_pool{spatial}d", x.text, str(window))
    flat = call(f"F.avg_pool{spatial}d", f"{x.atom}.flatten(0, {lead - 2})", str(window))
    return f"{flat}.unflatten(0, {x.atom}.shape[:{lead - 1}])"


def resize(site: Any, x: Piece) -> str:
    """Nearest neighbours, which is what torch's default does for whole factors."""
    spatial, factor, rank = site["spatial"], str(site["factor"]), x.type.rank
    if rank == spatial + 2:
        return call("F.interpolate", x.text, scale_factor=factor)
    return x.atom + "".join(f".repeat_interleave({factor}, dim={i})" for i in range(rank - spatial, rank))


def _norm(function: str, x: Piece, shape: str, operands: tuple[Piece, ...], eps: float, default: float | None) -> str:
    shown = None if eps == default else literal(eps)
    if len(operands) == 2:
        return call(function, x.text, shape, operands[0].text, operands[1].text, eps=shown)
    weight = operands[0].text if operands else None
    return call(function, x.text, shape, weight=weight, eps=shown)


def layernorm(site: Any, x: Piece, *operands: Piece) -> str:
    return _norm("F.layer_norm", x, f"({x.type.shape[-1]},)", operands, site["eps"], 1e-5)


def rmsnorm(site: Any, x: Piece, *operands: Piece) -> str:
    return _norm("F.rms_norm", x, f"({x.type.shape[-1]},)", operands, site["eps"], None)


def groupnorm(site: Any, x: Piece, *operands: Piece) -> str:
    lead = x.type.rank - site["spatial"] - 1
    if lead == 1:
        return _norm("F.group_norm", x, str(site["groups"]), operands, site["eps"], 1e-5)
    one = Piece(f"{x.atom}[None]" if lead == 0 else f"{x.atom}.flatten(0, {lead - 1})", type=x.type)
    text = _norm("F.group_norm", one, str(site["groups"]), operands, site["eps"], 1e-5)
    return f"{text}[0]" if lead == 0 else f"{text}.unflatten(0, {x.atom}.shape[:{lead}])"


def attention(site: Any, q: Piece, k: Piece, v: Piece) -> str:
    causal = "True" if site.node.get("causal", False) else None
    if site.node.get("format"):
        weights = call("rounding.weights", q.text, k.text, is_causal=causal)
        return call("torch.matmul", _rounded(site.node, weights, None), v.text)
    return call("F.scaled_dot_product_attention", q.text, k.text, v.text, is_causal=causal)


def round_to(site: Any, x: Piece) -> str:
    rank = x.type.rank
    places = sorted(i % rank for i in site["axes"])
    dim = None if places == [rank - 1] else str(places[0]) if len(places) == 1 else tuple_of([str(i) for i in places])
    return _rounded(site.node, x.text, dim)


def _rounded(node: Node, x: str, dim: str | None) -> str:
    """A function of the part `rounding`, by the row of the table of formats."""
    row, block = FORMATS[node["format"]], node.get("block", 0)
    element = row.element
    if row.scale == "e8m0" and block in (0, row.block):
        return call(f"rounding.{node['format']}", x, dim=dim)
    shared = {"dim": dim, "block": str(block) if block else None}
    if element.exponent:
        sizes = {"exponent": str(element.exponent), "mantissa": str(element.mantissa), "largest": literal(element.largest)}
        return call("rounding.floats", x, **sizes, **shared, powers="True" if row.scale == "e8m0" else None)
    if row.fit == "mean":
        return call("rounding.ternary", x, **shared)
    kind = "affine" if node.get("affine", False) else "fixed" if row.scale == "e8m0" else "integers"
    return call(f"rounding.{kind}", x, bits=str(element.bits), **shared)
