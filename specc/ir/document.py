"""The file format of a Program: JSON with a version, checked by pydantic on the way in.

Values are numbers that are unique within a function; a value is written whole, `{"id", "type", "name"}`, where it is defined,
and as its number where it is used. Types are text, `float[1, 8, 8] per example`. A span keeps its place, `file:line:column`,
and not the text of the spec. Attributes and options are plain JSON, where lists are tuples, and three kinds of object stand for
the rest: `{"type": ...}`, `{"setting": name, "options": [[key, value], ...]}` and `{"number": "inf"}`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from specc.ir.leaves import Number, Plain, SettingDoc, SpanText, TypeText
from specc.ir.ops import Op
from specc.ir.program import (
    Average,
    Bare,
    Block,
    Bound,
    Code,
    Dataset,
    Entry,
    Function,
    Input,
    Node,
    Parent,
    Program,
    Quantization,
    QuantizeRule,
    Share,
    Space,
    Start,
    Step,
    Value,
)
from specc.ir.verify import IRError, verify

FORMAT = "specc.program"
VERSION = 1
SHOWN = 3  # mistakes of a file that a message lists


class DocumentError(ValueError):
    """A file that is not a Program of a version that this one reads."""


def to_json(program: Program) -> str:
    """The program as JSON on one line."""
    return Document(format="specc.program", version=1, program=_described(program)).model_dump_json()


def from_json(text: str | bytes) -> Program:
    """The program that `to_json` wrote, verified. Raises DocumentError with the places of the mistakes."""
    try:
        document = Document.model_validate_json(text)
    except ValidationError as error:
        raise DocumentError(_mistakes(error)) from None
    try:
        return verify(document.program.build())
    except IRError as error:
        raise DocumentError(f"the program is broken: {error}") from None
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError) as error:
        raise DocumentError(f"the program is broken: {type(error).__name__}: {error}") from None


def write(program: Program, folder: Path) -> tuple[Path, ...]:
    """Write `<name>.ir.json` into a folder, which is made if need be. The file is whole or not there."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{program.name}.ir.json"
    part = path.with_name(f".{path.name}.part")
    part.write_text(to_json(program) + "\n", encoding="utf-8")
    os.replace(part, path)
    return (path,)


def _mistakes(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    lines = [f"{'.'.join(map(str, e['loc'])) or 'the file'}: {e['msg']}" for e in found[:SHOWN]]
    more = f" (and {len(found) - SHOWN} more)" if len(found) > SHOWN else ""
    return f"not a {FORMAT} of version {VERSION}: {'; '.join(lines)}{more}"


# The parts of a program, field by field


class Part(BaseModel):
    """Reads one class of the IR from an object or from the file, and builds it again."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, from_attributes=True)
    makes: ClassVar[type]

    def build(self) -> Any:
        return self.makes(**{name: _built(getattr(self, name)) for name in type(self).model_fields})


def _built(x: Any) -> Any:
    match x:
        case Part():
            return x.build()
        case tuple():
            return tuple(_built(v) for v in x)
        case _:
            return x


class InputDoc(Part):
    makes = Input
    name: str
    role: str
    type: TypeText
    default: Number | None = None
    classes: int | None = None


class EntryDoc(Part):
    makes = Entry
    name: str
    role: str
    function: str
    inputs: tuple[InputDoc, ...]
    over: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    calls: int | None = None
    hidden: tuple[int, int] = (0, 0)
    groups: int = 1
    doc: str = ""
    span: SpanText | None = None


class SpaceDoc(Part):
    makes = Space
    name: str
    kind: str
    shape: tuple[int, ...]
    dtype: str = "float"
    low: Number | None = None
    high: Number | None = None
    levels: int | None = None
    classes: int | None = None
    drop: Number = 0.0
    derived: bool = False
    span: SpanText | None = None


class CodeDoc(Part):
    makes = Code
    file: str
    function: str
    text: str
    endless: bool = False
    fields: tuple[str, ...] = ()
    shape: tuple[int, ...] | None = None


class DatasetDoc(Part):
    makes = Dataset
    space: SpaceDoc
    reader: SettingDoc
    steps: tuple[SettingDoc, ...] = ()
    fields: tuple[SpaceDoc, ...] = ()
    code: CodeDoc | None = None
    doc: str = ""


class QuantizeRuleDoc(Part):
    makes = QuantizeRule
    match: str
    weights: SettingDoc | None = None
    activations: SettingDoc | None = None
    cache: SettingDoc | None = None
    gradients: SettingDoc | None = None


class BoundDoc(Part):
    makes = Bound
    name: str
    compare: str
    value: Number
    span: SpanText | None = None


class QuantizationDoc(Part):
    makes = Quantization
    name: str
    rules: tuple[QuantizeRuleDoc, ...]
    bounds: tuple[BoundDoc, ...] = ()
    trained: bool = False
    calibrate: str | None = None
    span: SpanText | None = None


class StartDoc(Part):
    makes = Start
    network: str
    function: str
    paths: tuple[str, ...]


class ShareDoc(Part):
    makes = Share
    path: str
    of: str
    frozen: bool = False


class ParentDoc(Part):
    makes = Parent
    name: str
    digest: str
    averaged: bool = False
    shares: tuple[ShareDoc, ...] = ()


class AverageDoc(Part):
    makes = Average
    path: str
    of: str
    decay: Number | str


class BareDoc(Part):
    makes = Bare
    path: str
    shape: tuple[int, ...]
    dtype: Literal["float", "int"] = "float"
    init: Plain = ("zeros",)
    trainable: bool = True


class StepDoc(Part):
    makes = Step
    entries: tuple[str, ...] = ()
    steps: tuple[StepDoc, ...] = ()
    times: int = 1
    maps: str | None = None
    over: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    every: int = 1
    when: str | None = None
    doc: str = ""


Scope = dict[int, Value]


class ValueDoc(Part):
    makes = Value
    id: int
    type: TypeText
    name: str | None = None

    def define(self, scope: Scope) -> Value:
        if self.id in scope:
            raise ValueError(f"the value {self.id} is defined twice")
        scope[self.id] = Value(self.id, self.type, self.name)
        return scope[self.id]


class NodeDoc(Part):
    makes = Node
    op: str
    inputs: tuple[int, ...]
    outputs: tuple[ValueDoc, ...]
    attrs: dict[str, Plain] = {}
    regions: tuple[BlockDoc, ...] = ()
    span: SpanText | None = None

    def node(self, scope: Scope) -> Node:
        """scope: the values that it may use; its results are added."""
        inputs = _used(self.inputs, scope)
        regions = tuple(region.block(scope) for region in self.regions)
        outputs = tuple(v.define(scope) for v in self.outputs)
        attrs = tuple(self.attrs.items())
        lanes = self.attrs.get("lanes", 1)
        if not isinstance(lanes, int) or not 1 <= lanes <= max(len(outputs), 1):  # a rule would repeat types as often
            raise ValueError(f"{self.op} has {lanes!r:.80} lanes for {len(outputs)} results")
        return Node(op=Op(self.op), inputs=inputs, outputs=outputs, attrs=attrs, regions=regions, span=self.span)


class BlockDoc(Part):
    makes = Block
    params: tuple[ValueDoc, ...]
    nodes: tuple[NodeDoc, ...]
    results: tuple[int, ...]

    def block(self, around: Scope) -> Block:
        scope = dict(around)
        params = tuple(v.define(scope) for v in self.params)
        nodes = tuple(n.node(scope) for n in self.nodes)
        return Block(params=params, nodes=nodes, results=_used(self.results, scope))


class FunctionDoc(Part):
    makes = Function
    name: str
    kind: Literal["network", "function", "entry"]
    block: BlockDoc
    doc: str = ""
    about: str = ""
    span: SpanText | None = None

    def build(self) -> Function:
        block = self.block.block({})
        return Function(name=self.name, kind=self.kind, block=block, doc=self.doc, about=self.about, span=self.span)


class ProgramDoc(Part):
    """As Program, with lists of functions and entries, whose names are inside."""

    makes = Program
    name: str
    level: Literal["example", "array"]
    spec: str
    digest: str
    functions: tuple[FunctionDoc, ...]
    networks: dict[str, str]
    entries: tuple[EntryDoc, ...]
    starts: tuple[StartDoc, ...] = ()
    bare: tuple[BareDoc, ...] = ()
    routine: tuple[StepDoc, ...] = ()
    data: tuple[DatasetDoc, ...] = ()
    conditions: tuple[SpaceDoc, ...] = ()
    train: tuple[tuple[str, Plain], ...] = ()
    quantize: tuple[QuantizationDoc, ...] = ()
    evaluate: tuple[Plain, ...] = ()
    parents: tuple[ParentDoc, ...] = ()
    averages: tuple[AverageDoc, ...] = ()
    cache: bool = True
    groups: int = 1
    doc: str = ""

    def build(self) -> Program:
        fields = {name: _built(getattr(self, name)) for name in ProgramDoc.model_fields}
        for key in ("functions", "entries"):
            named = {x.name: x for x in fields[key]}
            if len(named) < len(fields[key]):
                raise ValueError(f"two {key} have one name")
            fields[key] = named
        return Program(**fields)


class Document(BaseModel):
    """The file: what it is comes first, so that a reader of another version can say so."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    format: Literal["specc.program"]
    version: Literal[1]
    program: ProgramDoc


def _used(ids: Sequence[int], scope: Scope) -> tuple[Value, ...]:
    missing = [i for i in ids if i not in scope]
    if missing:
        raise ValueError(f"the value {missing[0]} is used before it is defined")
    return tuple(scope[i] for i in ids)


# Into parts: what refers to values cannot be read from the objects as they are


def _described(p: Program) -> ProgramDoc:
    plain = {name: getattr(p, name) for name in ProgramDoc.model_fields}
    functions = tuple(
        FunctionDoc.model_validate(
            {"name": f.name, "kind": f.kind, "block": _block(f.block), "doc": f.doc, "about": f.about, "span": f.span}
        )
        for f in p.functions.values()
    )
    return ProgramDoc.model_validate(plain | {"functions": functions, "entries": tuple(p.entries.values())})


def _block(b: Block) -> BlockDoc:
    nodes = tuple(
        NodeDoc(
            op=n.op.value,
            inputs=tuple(v.id for v in n.inputs),
            outputs=tuple(map(_value, n.outputs)),
            attrs=dict(n.attrs),
            regions=tuple(map(_block, n.regions)),
            span=n.span,
        )
        for n in b.nodes
    )
    return BlockDoc(params=tuple(map(_value, b.params)), nodes=nodes, results=tuple(v.id for v in b.results))


def _value(v: Value) -> ValueDoc:
    return ValueDoc(id=v.id, type=v.type, name=v.name)
