"""A program as a JSON document, and back.

The envelope is a pydantic model with a schema version. Inside, a dataclass of the IR is an object with its class under "$";
values are written out where they are defined and are `{"$": "use", "id": n}` elsewhere; a span is [source, start, stop] with the
sources, text and all, in a table of their own, so that a program read back still points at its lines.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from specc.ir import program as ir
from specc.ir.ops import Op
from specc.ir.types import DType, Type
from specc.source import Source, Span

SCHEMA = 1
CLASSES: dict[str, Callable[..., Any]] = {
    c.__name__: c
    for c in (
        ir.Node, ir.Block, ir.Function, ir.Input, ir.Entry, ir.Space, ir.Setting, ir.Dataset, ir.QuantizeRule, ir.Quantization, ir.Program,
    )
}  # fmt: skip


class SourceText(BaseModel):
    """A text that spans point into."""

    model_config = ConfigDict(extra="forbid")
    name: str
    text: str
    first_line: int = Field(default=1, alias="firstLine")


class Document(BaseModel):
    """The file: `format` and `version` first, so that a reader of another version can say so."""

    model_config = ConfigDict(extra="forbid")
    format: Literal["specc program"] = "specc program"
    version: Literal[1] = SCHEMA
    sources: list[SourceText]
    program: dict[str, Any]


def dumps(program: ir.Program) -> str:
    """The document of a program at either level."""
    writer = _Writer()
    body = writer.encode(program)
    sources = [SourceText(name=s.name, text=s.text, firstLine=s.first_line) for s in writer.sources]
    document = Document(sources=sources, program=body)
    return json.dumps(document.model_dump(by_alias=True), ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def loads(text: str) -> ir.Program:
    """The program of a document. Raises ValueError for what is not one, or one of another version."""
    try:
        document = Document.model_validate_json(text)
        sources = [Source(s.name, s.text, s.first_line) for s in document.sources]
        program = _Reader(sources).decode(document.program)
    except (ValidationError, KeyError, TypeError, IndexError, ValueError, RecursionError) as error:
        raise ValueError(f"not a program of schema {SCHEMA}: {error}") from None
    if not isinstance(program, ir.Program):
        raise ValueError(f"not a program of schema {SCHEMA}: it holds a {type(program).__name__}")
    return program


def write(program: ir.Program, folder: Path) -> tuple[Path, ...]:
    """`<model>.<level>.json` in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{program.name}.{program.level}.json"
    part = path.with_name(f".{path.name}.part")
    part.write_text(dumps(program), encoding="utf-8")
    os.replace(part, path)
    return (path,)


@dataclass(slots=True)
class _Writer:
    sources: list[Source] = field(default_factory=list)
    numbers: dict[int, int] = field(default_factory=dict)  # id of a source -> its place in the table

    def encode(self, x: Any) -> Any:
        match x:
            case None | bool() | int() | str():
                return x
            case float():
                return x if math.isfinite(x) else {"$": "float", "text": repr(x)}
            case Op() | DType():
                return self.enum(x)
            case np.generic():
                return self.encode(x.item())
            case np.ndarray():
                return {"$": "array", "dtype": str(x.dtype), "shape": list(x.shape), "items": self.encode(x.ravel().tolist())}
            case tuple():
                return {"$": "tuple", "items": [self.encode(v) for v in x]}
            case list():
                return [self.encode(v) for v in x]
            case dict():
                return {"$": "map", "items": [[k, self.encode(v)] for k, v in x.items()]}
            case Type():
                return {"$": "type", "dtype": x.dtype.value, "shape": list(x.shape), "axes": sorted(x.axes)}
            case Span():
                return {"$": "span", "at": [self.source(x.source), x.start, x.stop]}
            case ir.Value():
                return {"$": "use", "id": x.id}
            case ir.Block():
                return {**self.record(x), "params": [self.value(v) for v in x.params]}
            case ir.Node():
                return {**self.record(x), "outputs": [self.value(v) for v in x.outputs]}
            case _ if type(x).__name__ in CLASSES:
                return self.record(x)
            case _:
                raise TypeError(f"a {type(x).__name__} has no place in a program's document")

    def enum(self, x: Enum) -> dict[str, Any]:
        return {"$": type(x).__name__, "value": x.value}

    def record(self, x: Any) -> dict[str, Any]:
        return {"$": type(x).__name__, **{f.name: self.encode(getattr(x, f.name)) for f in fields(x)}}

    def value(self, v: ir.Value) -> dict[str, Any]:
        return {"$": "value", "id": v.id, "type": self.encode(v.type), "name": v.name}

    def source(self, source: Source) -> int:
        if id(source) not in self.numbers:
            self.numbers[id(source)] = len(self.sources)
            self.sources.append(source)
        return self.numbers[id(source)]


@dataclass(slots=True)
class _Reader:
    sources: list[Source]
    values: dict[int, ir.Value] = field(default_factory=dict)

    def decode(self, x: Any) -> Any:
        if isinstance(x, list):
            return [self.decode(v) for v in x]
        if not isinstance(x, dict):
            return x
        match x["$"]:
            case "float":
                return float(x["text"])
            case "Op":
                return Op(x["value"])
            case "DType":
                return DType(x["value"])
            case "array":
                return np.array(self.decode(x["items"]), dtype=np.dtype(x["dtype"])).reshape(x["shape"])
            case "tuple":
                return tuple(self.decode(v) for v in x["items"])
            case "map":
                return {k: self.decode(v) for k, v in x["items"]}
            case "type":
                return Type(DType(x["dtype"]), tuple(x["shape"]), frozenset(x["axes"]))
            case "span":
                source, start, stop = x["at"]
                return Span(self.sources[source], start, stop)
            case "use":
                return self.values[x["id"]]
            case "value":
                value = self.values[x["id"]] = ir.Value(x["id"], self.decode(x["type"]), x["name"])
                return value
            case "Block":
                params = tuple(self.decode(x["params"]))
                nodes = self.decode(x["nodes"])
                return ir.Block(params=params, nodes=nodes, results=self.decode(x["results"]))
            case "Node":
                rest = {k: self.decode(v) for k, v in x.items() if k not in ("$", "outputs")}
                return ir.Node(outputs=tuple(self.decode(x["outputs"])), **rest)
            case name:
                return CLASSES[name](**{k: self.decode(v) for k, v in x.items() if k != "$"})
