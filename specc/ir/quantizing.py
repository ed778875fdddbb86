"""What the rules of a `quantize` section say of a layer: which of them decides, and which numbers share a scale."""

from __future__ import annotations

from fnmatch import fnmatchcase

from specc.ir.coding import BLOCK
from specc.ir.dataflow import Layer
from specc.ir.formats import FORMATS, KINDS, PLACES
from specc.ir.program import Quantization, QuantizeRule, Setting


def first_match(quantization: Quantization, layer: Layer) -> QuantizeRule | None:
    """The rule that decides about a layer."""
    return next((r for r in quantization.rules if matches(r, layer)), None)


def matches(rule: QuantizeRule, layer: Layer) -> bool:
    """Whether a rule is about a layer: by its place in the network, its kind, or the path of its weight."""
    if rule.match in PLACES:
        return layer.is_a(rule.match)
    return rule.match == KINDS[layer.op] or (bool(layer.shape) and fnmatchcase(layer.path, rule.match))


def granularity(setting: Setting) -> str:
    """`block = 32` and `axis = channel` say how many numbers share a scale; a format's first choice otherwise."""
    if setting.get("block") is not None:
        return "block"
    return str(setting.get("axis", FORMATS[setting.name].weights[0]))


def block_of(setting: Setting) -> int:
    """How many numbers of a weight share a scale where there are blocks."""
    return int(setting.get("block") or FORMATS[setting.name].block or BLOCK)


def block_of_operand(setting: Setting) -> int | None:
    """How many numbers of a row of activations share a scale; None for all of them."""
    block = setting.get("block") or FORMATS[setting.name].operands
    return None if block is None else int(block)


def is_dynamic(setting: Setting) -> bool:
    """Whether activations are rounded under scales of their own, rather than in ranges from calibration."""
    return bool(setting.get("dynamic", "static" not in FORMATS[setting.name].activations))


def is_microscaled(setting: Setting) -> bool:
    """Whether a format has blocks of its own under powers of two, and no options."""
    return FORMATS[setting.name].scale == "e8m0" and not setting.options


def rounds_cache(rule: QuantizeRule, bundle: str) -> bool:
    """Whether a rule says how attention in a bundle keeps keys and values."""
    return rule.cache is not None and (rule.match == "attention" or fnmatchcase(bundle, rule.match))
