"""Layers: ops with parameters of their own under one stem, or over weights that are given (`weight = w`)."""

from __future__ import annotations

import math
from typing import Any

from specc.ir.ops import Op
from specc.ir.program import Value
from specc.ir.types import DType, per_dimension
from specc.sema.arithmetic import add, describe, known, lift, shown
from specc.sema.bodies import index_count
from specc.sema.evaluate import Evaluator
from specc.sema.frame import Frame
from specc.sema.padding import padded
from specc.sema.parameters import initial
from specc.sema.report import did_you_mean, fail
from specc.source import Span

Shapes = dict[str, tuple[tuple[int, ...], tuple[Any, ...]]]  # of a layer's parameters, and how they start


def weights(ev: Evaluator, frame: Frame, span: Span, kind: str, shapes: Shapes) -> list[Value]:
    """The parameters of a layer, under one stem."""
    if frame.kind != "network":
        fail(
            "E0309",
            span,
            f"`{kind}` has parameters: it belongs in a network",
            help="write `network NAME(z) -> ... { ... }` and call that",
        )
    stem = frame.stem(kind, ev.node)
    return [add(frame, span, Op.PARAM, path=f"{stem}.{name}", shape=shape, init=init) for name, (shape, init) in shapes.items()]


def _options(name: str, kwargs: dict[str, Any], span: Span, **defaults: Any) -> dict[str, Any]:
    for key in kwargs:
        if key not in defaults:
            fail("E0205", span, f"`{name}` has no knob `{key}`", help=did_you_mean(key, defaults))
    made = defaults | kwargs
    for key, default in defaults.items():
        given = key == "bias" and made.get("weight") is not None  # as a tensor, beside a weight
        if isinstance(default, bool) and not isinstance(made[key], bool) and not (given and isinstance(made[key], Value)):
            fail("E0304", span, f"`{key}` of `{name}` is true or false, not {describe(made[key])}")
    return made


def _count(value: Any, what: str, span: Span) -> int:
    if isinstance(known(value), bool) or not isinstance(value, int):
        fail("E0305", span, f"{what} is an integer known while compiling, not {describe(value)}")
    if value < 1:
        fail("E0601", span, f"{what} is {value}; it must be 1 or more")
    return value


def _starts(init: Any, fan_in: int, span: Span) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """How weight and bias start: PyTorch's default for linear and convolutional layers unless the spec says otherwise."""
    if init is None:
        bound = ("uniform", 1 / math.sqrt(fan_in))
        return bound, bound
    return initial(init, span), ("zeros",)


def _operands(ev: Evaluator, frame: Frame, span: Span, kind: str, shapes: Shapes, o: dict[str, Any]) -> list[Value]:
    """Weight and bias: the layer's own, or those that are given."""
    if o["weight"] is None:
        return weights(ev, frame, span, kind, shapes)
    given = [o["weight"], o["bias"]] if isinstance(o["bias"], Value) else [o["weight"]]
    return [lift(v, frame, span) for v in given]


def _width(name: str, args: list[Any], o: dict[str, Any], axis: int, what: str, span: Span) -> int:
    """How many features a layer gives: its second argument, or what the given weight says."""
    if o["weight"] is None:
        return _count(args[1], what, span)
    if not isinstance(o["weight"], Value):
        fail("E0304", span, f"a weight is a tensor, not {describe(o['weight'])}")
    return _count(o["weight"].type.shape[axis], what, span)


def linear(ev: Evaluator, frame: Frame, span: Span, args: list[Any], kwargs: dict[str, Any]) -> Value:
    """linear(x, n, bias = true, init = none): x (..., d) to (..., n); linear(x, weight = w, bias = b) with w (n, d)."""
    o = _options("linear", kwargs, span, bias=True, init=None, weight=None)
    x = _tensor("linear", args, 2 if o["weight"] is None else 1, span, frame)
    n = _width("linear", args, o, 0, "the width of `linear`", span)
    if not x.type.shape:
        x = add(frame, span, Op.RESHAPE, x, shape=(1,))
    d = x.type.shape[-1]
    assert isinstance(d, int)
    weight, bias = _starts(o["init"], d, span)
    shapes: Shapes = {"weight": ((n, d), weight)}
    if o["bias"] is True:
        shapes["bias"] = ((n,), bias)
    return add(frame, span, Op.LINEAR, x, *_operands(ev, frame, span, "linear", shapes, o))


Sizes = int | tuple[int, ...]  # one for all dimensions, or one for each


def _sizes(value: Any, spatial: int, what: str, span: Span, least: int = 1) -> Sizes:
    """A knob of a convolution: an integer, or a list of one for each dimension."""
    items = value if isinstance(value, list) else [value] * spatial
    if len(items) != spatial:
        fail("E0301", span, f"{what} has {len(items)} numbers for {spatial} dimensions")
    for item in items:
        if isinstance(known(item), bool) or not isinstance(item, int):
            fail("E0305", span, f"{what} is an integer known while compiling, not {describe(item)}")
        if item < least:
            fail("E0601", span, f"{what} is {item}; it must be {least} or more")
    return items[0] if len(set(items)) == 1 else tuple(items)


def _channels(name: str, x: Value, span: Span) -> tuple[int, int]:
    """The number of channels of x (c, *s), and how many dimensions s has."""
    spatial = x.type.rank - 1
    if spatial < 1:
        fail("E0301", span, f"`{name}` needs channels and at least one dimension, not shape {shown(x.type.shape)}")
    channels = x.type.shape[0]
    assert isinstance(channels, int)
    return channels, spatial


def conv(ev: Evaluator, frame: Frame, span: Span, args: list[Any], kwargs: dict[str, Any]) -> Value:
    """conv(x, n, kernel = 3, stride = 1, padding = dilation (kernel - 1) / 2, mode = zeros, dilation = 1, groups = 1,
    bias = true, init = none); sizes are integers, or lists of one for each dimension."""
    usual = {"kernel": 3, "stride": 1, "padding": None, "mode": None, "dilation": 1, "groups": 1}
    o = _options("conv", kwargs, span, **usual, bias=True, init=None, weight=None)
    x = _tensor("conv", args, 2 if o["weight"] is None else 1, span, frame)
    n = _width("conv", args, o, 0, "the number of channels of `conv`", span)
    channels, spatial = _channels("conv", x, span)
    wanted = o["kernel"] if o["weight"] is None else list(o["weight"].type.shape[2:])
    kernel = per_dimension(_sizes(wanted, spatial, "the kernel", span), spatial)
    groups = _count(o["groups"], "`groups`", span)
    stride, dilation = (_sizes(o[k], spatial, f"`{k}`", span) for k in ("stride", "dilation"))
    reach = [d * (k - 1) // 2 for d, k in zip(per_dimension(dilation, spatial), kernel, strict=True)]
    padding = _sizes(reach if o["padding"] is None else o["padding"], spatial, "`padding`", span, least=0)
    if channels % groups or n % groups:
        fail("E0301", span, f"{groups} groups do not divide {channels} and {n} channels")
    weight, bias = _starts(o["init"], channels // groups * math.prod(kernel), span)
    shapes = {"weight": ((n, channels // groups, *kernel), weight)} | ({"bias": ((n,), bias)} if o["bias"] is True else {})
    made = _operands(ev, frame, span, "conv", shapes, o)
    if o["mode"] is not None:
        for axis, width in enumerate(per_dimension(padding, spatial), 1):
            x = padded(x, axis, width, width, o["mode"], frame, span)
        padding = 0
    return add(frame, span, Op.CONV, x, *made, stride=stride, padding=padding, dilation=dilation, groups=groups)


def conv_transpose(ev: Evaluator, frame: Frame, span: Span, args: list[Any], kwargs: dict[str, Any]) -> Value:
    """conv_transpose(x, n, kernel = 4, stride = 2, padding = (kernel - stride) / 2, output_padding = 0, dilation = 1,
    groups = 1, bias = true, init = none): the transpose of `conv`; as it stands, twice the size."""
    usual = {"kernel": 4, "stride": 2, "padding": None, "output_padding": 0, "dilation": 1, "groups": 1}
    o = _options("conv_transpose", kwargs, span, **usual, bias=True, init=None, weight=None)
    x = _tensor("conv_transpose", args, 2 if o["weight"] is None else 1, span, frame)
    groups = _count(o["groups"], "`groups`", span)
    own = o["weight"] is None
    n = _width("conv_transpose", args, o, 1, "the number of channels of `conv_transpose`", span) * (1 if own else groups)
    channels, spatial = _channels("conv_transpose", x, span)
    wanted = o["kernel"] if own else list(o["weight"].type.shape[2:])
    kernel = per_dimension(_sizes(wanted, spatial, "the kernel", span), spatial)
    stride, dilation = (_sizes(o[k], spatial, f"`{k}`", span) for k in ("stride", "dilation"))
    reach = [max(k - s, 0) // 2 for k, s in zip(kernel, per_dimension(stride, spatial), strict=True)]
    padding = _sizes(reach if o["padding"] is None else o["padding"], spatial, "`padding`", span, least=0)
    rest = _sizes(o["output_padding"], spatial, "`output_padding`", span, least=0)
    if channels % groups or n % groups:
        fail("E0301", span, f"{groups} groups do not divide {channels} and {n} channels")
    weight, bias = _starts(o["init"], n // groups * math.prod(kernel), span)
    shapes = {"weight": ((channels, n // groups, *kernel), weight)} | ({"bias": ((n,), bias)} if o["bias"] is True else {})
    made = _operands(ev, frame, span, "conv_transpose", shapes, o)
    window = {"stride": stride, "padding": padding, "dilation": dilation, "output_padding": rest}
    return add(frame, span, Op.CONV_TRANSPOSE, x, *made, **window, groups=groups)


def embedding(ev: Evaluator, frame: Frame, span: Span, args: list[Any], kwargs: dict[str, Any]) -> Value:
    """embedding(y, n): a learnt vector for each class, the null one included; a vector condition goes through `linear`."""
    o = _options("embedding", kwargs, span, count=None, init=None)
    y = _tensor("embedding", args, 2, span, frame)
    n = _count(args[1], "the width of `embedding`", span)
    if y.type.dtype is not DType.INT:
        return linear(ev, frame, span, args, {})
    count = index_count(ev, y) if o["count"] is None else _count(o["count"], "the count of `embedding`", span)
    if count is None:
        fail("E0304", span, "how many classes there are is not known here", help="say `count = ...`")
    init = ("normal", 1.0) if o["init"] is None else initial(o["init"], span)
    (table,) = weights(ev, frame, span, "embedding", {"weight": ((count, n), init)})
    return add(frame, span, Op.TAKE, table, y, axis=0)


def _norm(kind: str, op: Op) -> Any:
    def layer(ev: Evaluator, frame: Frame, span: Span, args: list[Any], kwargs: dict[str, Any]) -> Value:
        o = _options(
            kind,
            kwargs,
            span,
            affine=True,
            eps=1e-5 if op is not Op.RMSNORM else 1e-6,
            **({"groups": 8} if op is Op.GROUPNORM else {}),
        )
        x = _tensor(kind, args, 1, span, frame)
        if not x.type.shape:
            fail("E0301", span, f"`{kind}` needs features to normalise, not one number")
        n = x.type.shape[0] if op is Op.GROUPNORM else x.type.shape[-1]
        assert isinstance(n, int)
        shapes: Shapes = {"weight": ((n,), ("ones",))}
        if op is not Op.RMSNORM:
            shapes["bias"] = ((n,), ("zeros",))
        made = weights(ev, frame, span, kind, shapes) if o["affine"] else []
        eps = o["eps"]
        if isinstance(eps, bool) or not isinstance(eps, (int, float)) or not 0 < eps < math.inf:
            fail("E0601", span, f"`eps` of `{kind}` is {describe(eps)}; it must be a number above 0")
        groups = {"groups": _count(o["groups"], "`groups`", span), "spatial": x.type.rank - 1} if op is Op.GROUPNORM else {}
        return add(frame, span, op, x, *made, eps=eps, **groups)

    return layer


def _tensor(name: str, args: list[Any], count: int, span: Span, frame: Frame) -> Value:
    """The operand of a layer: integers become floats, except where they name rows of a table."""
    if len(args) != count:
        fail("E0206", span, f"`{name}` takes {count} arguments, not {len(args)}")
    return lift(args[0], frame, span, None if name == "embedding" else DType.FLOAT)


LAYERS = {
    "linear": linear,
    "conv": conv,
    "conv_transpose": conv_transpose,
    "embedding": embedding,
    "layernorm": _norm("layernorm", Op.LAYERNORM),
    "groupnorm": _norm("groupnorm", Op.GROUPNORM),
    "rmsnorm": _norm("rmsnorm", Op.RMSNORM),
}
