"""Graphs under construction: what stands in each, where weights go, and what nothing reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from specc.backends.onnx.wire import Graph, Nested, Tensor

from specc.ir.types import GROWING, DType, Shape, Type
from specc.record import record

ELEMENT = {DType.FLOAT: TensorProto.FLOAT, DType.INT: TensorProto.INT64, DType.BOOL: TensorProto.BOOL}
NUMPY = {DType.FLOAT: np.float32, DType.INT: np.int64, DType.BOOL: np.bool_}


@dataclass(slots=True)
class Scope:
    """A graph under construction, with what is already there."""

    graph: Graph
    parent: Scope | None
    made: set[str] = field(default_factory=set)
    constants: dict[Any, str] = field(default_factory=dict)
    singles: dict[str, str] = field(default_factory=dict)  # numbers in double precision -> the same as float32
    taps: list[Tap] = field(default_factory=list)


@record
class Tap:
    """A value inside that the caller wants to see: one more output, with a leading dimension for each loop around it."""

    key: str
    name: str
    type: Type


@dataclass(slots=True)
class Placed:
    """Where a weight is used. `local` asks for the graph of the use instead of the outermost one."""

    tensor: Tensor
    scopes: list[Scope] = field(default_factory=list)
    local: bool = False
    kept: bool = True  # something reads it after all


def common(scopes: list[Scope]) -> Scope:
    """The innermost scope around all of these."""
    paths = []
    for scope in scopes:
        path = [scope]
        while path[-1].parent is not None:
            path.append(path[-1].parent)
        paths.append(path[::-1])
    last = paths[0][0]
    for level in zip(*paths, strict=False):
        if any(s is not level[0] for s in level):
            break
        last = level[0]
    return last


def prune(graph: Graph) -> set[str]:
    """Leave out nodes that nothing reads, in this graph and those inside; the names read from outside of it."""
    read = {v.name for v in graph.outputs}
    nodes = []
    for node in reversed(graph.nodes):
        head = node.head if isinstance(node, Nested) else node
        if not read.isdisjoint(head.output):
            nodes.append(node)
            read.update(head.input)
            if isinstance(node, Nested):
                for inner in node.graphs.values():
                    read |= prune(inner)
    graph.nodes[:] = nodes[::-1]
    graph.tensors[:] = [t for t in graph.tensors if t.name in read or t.name in {i.name for i in graph.inputs}]
    made = {v.name for v in graph.inputs} | {t.name for t in graph.tensors}
    return read - made - {name for node in nodes for name in (node.head if isinstance(node, Nested) else node).output}


def tensor(name: str, array: np.ndarray) -> Tensor:
    """A constant as an initializer."""
    return Tensor(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape, array.nbytes, lambda: array)


def info(name: str, type: Type) -> onnx.ValueInfoProto:
    return described(name, type.shape, ELEMENT[type.dtype])


def described(name: str, shape: Shape, element: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, element, [None if d == GROWING else d for d in shape])


def in_layout(array: np.ndarray, layout: str) -> np.ndarray:
    return transposed(array) if layout == "T" else np.ascontiguousarray(array, dtype=np.float32)


def transposed(matrix: np.ndarray, block: int = 64) -> np.ndarray:
    """The transpose of a matrix, row-major, copied in blocks that stay in the cache: 8 times faster than in one go."""
    n, d = matrix.shape
    out = np.empty((d, n), np.float32)
    for i in range(0, n, block):
        for j in range(0, d, block):
            out[j : j + block, i : i + block] = matrix[i : i + block, j : j + block].T
    return out
