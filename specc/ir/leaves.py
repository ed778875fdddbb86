"""Types, places and plain values as they stand in the file of a Program: text, and JSON where lists are tuples."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator

from specc.ir.program import Setting
from specc.ir.types import BATCH, GROWING, Dim, DType, Type
from specc.source import Source, Span

_TYPE = re.compile(r"(float|int|bool)(?:\[([\w, ]+)\])?(?: per ([\w ]+))?")


def _type(x: Any) -> Type:
    if isinstance(x, Type):
        return x
    found = _TYPE.fullmatch(x) if isinstance(x, str) else None
    if found is None:
        raise ValueError(f"{x!r} is not a type, such as float[1, 8, 8] per example")
    kind, shape, axes = found.groups()
    return Type(DType(kind), tuple(_dim(d) for d in shape.split(", ")) if shape else (), frozenset((axes or "").split()))


def _dim(text: str) -> Dim:
    if text not in (BATCH, GROWING) and not re.fullmatch(r"[0-9]{1,12}", text):
        raise ValueError(f"{text!r} is not a dimension")
    return text if text in (BATCH, GROWING) else int(text)


def _span(x: Any) -> Span:
    """A span of no characters at a place of a source without text."""
    if isinstance(x, Span):
        return x
    found = re.fullmatch(r"(.*):([0-9]{1,9}):([0-9]{1,9})", x, re.DOTALL) if isinstance(x, str) else None
    if found is None:
        raise ValueError(f"{x!r} is not a place, such as model.spec:12:5")
    offset = max(int(found[3]) - 1, 0)
    return Span(Source(found[1], "", first_line=int(found[2])), offset, offset)


def read(x: Any) -> Any:
    """A plain value from what stands in the file; a value itself passes."""
    match x:
        case None | bool() | int() | float() | str() | Type() | Setting():
            return x
        case list() | tuple():
            return tuple(read(v) for v in x)
        case {"type": text, **rest} if not rest:
            return _type(text)
        case {"number": "inf" | "-inf" | "nan" as text, **rest} if not rest:
            return float(text)
        case {"setting": str() as name, "options": list() as options, **rest} if not rest:
            return Setting(name, tuple(_option(o) for o in options))
        case DType():
            return x.value
        case _ if hasattr(x, "item") and not getattr(x, "shape", None):
            return x.item()  # a scalar of NumPy's
        case _:
            raise ValueError(f"{x!r:.80} is not a plain value")


def _option(x: Any) -> tuple[str, Any]:
    match x:
        case [str() as key, value]:
            return key, read(value)
        case _:
            raise ValueError(f"{x!r:.80} is not an option, [key, value]")


def written(x: Any) -> Any:
    """A plain value as it stands in the file."""
    match x:
        case tuple():
            return [written(v) for v in x]
        case Type():
            return {"type": str(x)}
        case Setting():
            return {"setting": x.name, "options": [[k, written(v)] for k, v in x.options]}
        case float() if not math.isfinite(x):
            return {"number": str(x)}
        case _:
            return x


def _setting(x: Any) -> Setting:
    value = read(x)
    if not isinstance(value, Setting):
        raise ValueError(f"{x!r:.80} is not a setting")
    return value


def _number(x: Any) -> float | int:
    value = read(x)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{x!r:.80} is not a number")
    return value


TypeText = Annotated[Type, PlainValidator(_type), PlainSerializer(str)]
SpanText = Annotated[Span, PlainValidator(_span), PlainSerializer(str)]
Plain = Annotated[Any, PlainValidator(read), PlainSerializer(written)]
Number = Annotated[float, PlainValidator(_number), PlainSerializer(written)]
SettingDoc = Annotated[Setting, PlainValidator(_setting), PlainSerializer(written)]
