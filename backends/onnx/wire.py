"""Writes an ONNX file piece by piece, so that no copy of the weights is ever made.

protobuf nests messages by length, and `onnx.helper` builds them by copying: a file with its weights in memory costs several
times their size. Here a message is a rope of chunks with a known length. Nodes and small tensors are chunks of bytes that
`onnx` made; a weight is a promise that is kept, one array at a time, while the file is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import onnx
from onnx import TensorProto

LARGEST = 2**31 - 1  # bytes of one protobuf message
ALIGNMENT = 4096  # of each weight in a file of external data, so that it can be mapped

# Field numbers of onnx.proto.
NODE, GRAPH_NAME, INITIALIZER, GRAPH_INPUT, GRAPH_OUTPUT = 1, 2, 5, 11, 12
ATTRIBUTE, ATTRIBUTE_NAME, ATTRIBUTE_GRAPH, ATTRIBUTE_TYPE = 5, 1, 6, 20
RAW_DATA, MODEL_GRAPH = 9, 7
TYPE_GRAPH = 5


@dataclass(slots=True)
class Tensor:
    """An initializer. `load` gives the array when it is time to write it; `size` is its length in bytes."""

    name: str
    element: int  # a TensorProto.DataType
    shape: tuple[int, ...]
    size: int
    load: Callable[[], np.ndarray]


@dataclass(slots=True)
class Nested:
    """A node with graphs inside (Loop, If). `head` is the node without them."""

    head: onnx.NodeProto
    graphs: dict[str, Graph]


@dataclass(slots=True)
class Graph:
    """A graph under construction."""

    name: str
    inputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    outputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    nodes: list[onnx.NodeProto | Nested] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)


class Rope:
    """Chunks of bytes, and promises of chunks, with the length of the whole."""

    def __init__(self) -> None:
        self.chunks: list[bytes | Tensor] = []
        self.size = 0

    def bytes(self, data: bytes) -> None:
        self.chunks.append(data)
        self.size += len(data)

    def field(self, number: int, data: bytes | Rope | Tensor) -> None:
        """A length-delimited field."""
        length = data.size if isinstance(data, Rope | Tensor) else len(data)
        self.bytes(_varint(number << 3 | 2) + _varint(length))
        if isinstance(data, Rope):
            self.chunks.extend(data.chunks)
            self.size += data.size
        elif isinstance(data, Tensor):
            self.chunks.append(data)
            self.size += data.size
        else:
            self.bytes(data)

    def write(self, file: BinaryIO) -> None:
        """Write everything; a weight exists as an array only while its own bytes go out."""
        for chunk in self.chunks:
            if isinstance(chunk, Tensor):
                file.write(raw(chunk))
            else:
                file.write(chunk)


def raw(tensor: Tensor) -> memoryview:
    """The bytes of a weight, little-endian and row-major, copied only when they do not lie so already."""
    array = np.ascontiguousarray(tensor.load())
    data = memoryview(array.reshape(-1).view(np.uint8))
    if data.nbytes != tensor.size:
        raise ValueError(f"the weight {tensor.name} has {data.nbytes} bytes where {tensor.size} were announced")
    return data


def write(path: Path, model: onnx.ModelProto, graph: Graph, *, largest: int = LARGEST) -> tuple[Path, ...]:
    """Write `model` (everything but its graph) with `graph`; the files written.

    Above `largest` bytes the weights go to `<name>.data` beside the file, as ONNX requires of files over 2 GB.
    """
    head = model.SerializeToString()
    rope = _graph(graph, None)
    if len(head) + rope.size + 16 <= largest:
        _save(path, head, rope)
        return (path,)
    beside = path.with_name(path.name + ".data")
    places = _write_data(beside, list(_tensors(graph)))
    _save(path, head, _graph(graph, (beside.name, places)))
    return path, beside


def _save(path: Path, head: bytes, rope: Rope) -> None:
    whole = Rope()
    whole.bytes(head)
    whole.field(MODEL_GRAPH, rope)
    with path.open("wb") as file:
        whole.write(file)


External = tuple[str, dict[str, tuple[int, int]]]  # file, and where in it each weight lies


def _write_data(path: Path, tensors: list[Tensor]) -> dict[str, tuple[int, int]]:
    places = {}
    with path.open("wb") as file:
        for tensor in tensors:
            if tensor.size >= ALIGNMENT:
                file.write(bytes(-file.tell() % ALIGNMENT))
                places[tensor.name] = (file.tell(), tensor.size)
                file.write(raw(tensor))
    return places


def _tensors(graph: Graph) -> Iterable[Tensor]:
    yield from graph.tensors
    for node in graph.nodes:
        if isinstance(node, Nested):
            for inner in node.graphs.values():
                yield from _tensors(inner)


def _graph(graph: Graph, external: External | None) -> Rope:
    rope = Rope()
    for node in graph.nodes:
        rope.field(NODE, _nested(node, external) if isinstance(node, Nested) else node.SerializeToString())
    rope.field(GRAPH_NAME, graph.name.encode())
    for tensor in graph.tensors:
        rope.field(INITIALIZER, _tensor(tensor, external))
    for value in graph.inputs:
        rope.field(GRAPH_INPUT, value.SerializeToString())
    for value in graph.outputs:
        rope.field(GRAPH_OUTPUT, value.SerializeToString())
    return rope


def _nested(node: Nested, external: External | None) -> Rope:
    rope = Rope()
    rope.bytes(node.head.SerializeToString())
    for name, graph in node.graphs.items():
        attribute = Rope()
        attribute.field(ATTRIBUTE_NAME, name.encode())
        attribute.field(ATTRIBUTE_GRAPH, _graph(graph, external))
        attribute.bytes(_varint(ATTRIBUTE_TYPE << 3) + _varint(TYPE_GRAPH))
        rope.field(ATTRIBUTE, attribute)
    return rope


def _tensor(tensor: Tensor, external: External | None) -> Rope:
    head = TensorProto(name=tensor.name, data_type=tensor.element, dims=tensor.shape)
    rope = Rope()
    if external is not None and tensor.name in external[1]:
        offset, length = external[1][tensor.name]
        head.data_location = TensorProto.EXTERNAL
        for key, value in (("location", external[0]), ("offset", str(offset)), ("length", str(length))):
            head.external_data.add(key=key, value=value)
        rope.bytes(head.SerializeToString())
    else:
        rope.bytes(head.SerializeToString())
        rope.field(RAW_DATA, tensor)
    return rope


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
