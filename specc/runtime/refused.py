"""Why a file of a sampler cannot be opened or run, in words that name the op and the way out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from specc.ir.types import BATCH, GROWING

NEWER = "a newer runtime may have it: pip install --upgrade onnxruntime; or export the sampler again with this version of specc"
AGAIN = "export the sampler again: specc export RUN --sampler NAME -o FILE.onnx"
OTHERS = "give other values with --set, or " + AGAIN
REASONS: tuple[tuple[str, str, str], ...] = (  # what ONNX Runtime says, what that means, the way out
    (
        r"Could not find an implementation for (\S+?)\((\d+)\) node with name '([^']*)'",
        "ONNX Runtime has no kernel on the cpu for the op {0}, of opset {1}, in the node {2}",
        NEWER,
    ),
    (r"Fatal error: (\S*?):?([\w.]+)\(-?\d+\) is not a registered", "ONNX Runtime does not know the op {1} of {0}", NEWER),
    (r'In Node, \("([^"]*)", (\w+),.*No Op registered for', "ONNX Runtime does not know the op {1} of the node {0}", NEWER),
    (r'In Node, \("([^"]*)", (\w+),', "the node {0}, of the op {1}, is not valid", AGAIN),
    (r"(Unsupported model IR version: \d+, max supported IR version: \d+)", "{0}", NEWER),
    (r"support for models stamped with official released.*?(Opset \d+)", "ONNX Runtime does not know {0}", NEWER),
    (r"External data path does not exist: \"([^\"]*)\"", "its weights are not beside it: {0}", "keep both files in one folder"),
    (r"(External data path escapes[^\n]*|Absolute path not allowed[^\n]*)", "it reads outside of its folder: {0}", AGAIN),
    (r"External initializer: (\S+) offset", "the weight {0} is not in the file beside it, which is cut short", AGAIN),
    (r"external_data\.length", "it says that a weight beside it has another size than its numbers", AGAIN),
    (r"Initializer '([^']*)' references an ORT in-memory", "the weight {0} is an address in memory, which no file has", AGAIN),
    (r"the graph is not acyclic", "its graph has a cycle, so that no node can be the first", AGAIN),
    (r"Node input '([^']*)' is not a graph input", "a node reads {0}, which nothing gives", AGAIN),
    (r"Graph output \(([^)]*)\) does not exist", "nothing gives its output {0}", AGAIN),
    (r"Duplicate definition of name \(([^)]*)\)", "two nodes give {0}", AGAIN),
    (r"Initializer '([^']*)': raw_data size \((\d+) bytes\)", "the weight {0} is cut short, to {1} bytes", AGAIN),
    (r"SafeInt|Integer overflow|Out of bounds dimensions", "a weight of it has a size that no machine can hold", AGAIN),
    (r"Protobuf parsing failed|No graph was found", "it is no ONNX file, or a part of one", AGAIN),
    (
        r"running (\w+) node. Name:'([^']*)'.*?Failed to allocate memory for requested buffer of size (\d+)",
        "the op {0}, in the node {1}, asks for {2} bytes of memory",
        "draw fewer at once: --batch 1",
    ),
    (r"running (\w+) node. Name:'([^']*)'[^\n]*?Status Message: ([^\n]*)", "the op {0}, in the node {1}, failed: {2}", OTHERS),
)


PLACE = re.compile(  # what ONNX Runtime says of itself before what is wrong
    r"\[ONNXRuntimeError\] : \d+ : \w+ : |Load model from .*? failed: *|This is an invalid model\. "
)


class FileError(ValueError):
    """A file that cannot be opened, or that fails while it runs. `help` is the way out."""

    def __init__(self, message: str, help: str = AGAIN) -> None:
        super().__init__(message)
        self.help = help


class InputError(ValueError):
    """A value that an input of the file does not take."""


def explained(error: Exception) -> FileError:
    """What an error of ONNX Runtime means."""
    said = str(error)
    for pattern, meaning, help in REASONS:
        if found := re.search(pattern, said, re.DOTALL):
            return FileError(meaning.format(*found.groups()), help)
    if isinstance(error, UnicodeDecodeError):
        return FileError("it is damaged: a name in it is no text")
    return FileError(PLACE.sub("", said).splitlines()[0] if said else type(error).__name__)


def described(metadata: dict[str, Any], inputs: Iterable[Any], outputs: Iterable[Any], path: str | Path) -> None:
    """Check what a file says of itself against its graph. Raises FileError."""
    if "inputs" not in metadata:
        raise FileError(f"{path} was not exported by specc")
    well_formed(metadata, path)
    graph = {i.name: i for i in inputs}
    said = metadata["inputs"]
    if strange := [i["name"] for i in said if i["name"] not in graph or KINDS[i["dtype"]] != graph[i["name"]].type]:
        raise FileError(f"{path} describes the input {strange[0]}, which its graph has not, or not of that type")
    if strange := [i["name"] for i in said if not _fits(i["shape"], graph[i["name"]].shape)]:
        raise FileError(f"{path} describes the input {strange[0]} in another shape than its graph has")
    known = {i["name"] for i in said}
    if strange := [name for name in graph if name not in known and not name.startswith("noise_")]:
        raise FileError(f"{path} has an input {strange[0]}, which it does not describe")
    given = [o.type for o in outputs if o.name in ("x", "x_out")]  # the second where an input is called x
    if not given or given[0] not in KINDS.values():
        raise FileError(f"{path} has no output x of numbers")


def well_formed(metadata: dict[str, Any], path: str | Path, help: str = AGAIN) -> None:
    """Check that a file describes itself as specc would. Raises FileError."""
    said = metadata["inputs"]
    if not isinstance(said, list) or not all(_input(i) for i in said):
        raise FileError(f"{path} describes its inputs in a way that specc does not write", help)
    for key, fits in EXPECTED.items():
        if key in metadata and not fits(metadata[key]):
            raise FileError(f"{path} has a `{key}` that specc does not write", help)


KINDS = {"float": "tensor(float)", "int": "tensor(int64)", "bool": "tensor(bool)"}  # ONNX Runtime's names
DIMENSIONS = (BATCH, GROWING)  # that have no number before a file runs
MOST = 2**31  # classes of a condition
ROLES = ("seed", "index", "condition", "argument", "data", "state")


def _input(i: Any) -> bool:
    """One row of the list of inputs."""
    return (
        isinstance(i, dict)
        and isinstance(i.get("name"), str)
        and i.get("role") in ROLES
        and i.get("dtype") in KINDS
        and isinstance(i.get("shape"), list)
        and all(d in DIMENSIONS or _count(d) for d in i["shape"])
        and (i.get("default", 0) is None or isinstance(i.get("default", 0), int | float))
        and (i.get("classes", 0) is None or (_count(i.get("classes", 0)) and i.get("classes", 0) <= MOST))
        and _count(i.get("least", 0))
        and {"default", "classes"} <= set(i)
    )


def _fits(said: list[Any], shape: list[Any]) -> bool:
    """Whether a shape is that of the graph, whose names of dimensions are free."""
    return len(said) == len(shape) and all(d == n or not isinstance(n, int) for d, n in zip(said, shape, strict=True))


def _space(s: Any) -> bool:
    return isinstance(s, dict) and all(isinstance(s.get(k, 0), int | float) for k in ("low", "high"))


def _draw(d: Any) -> bool:
    """A draw of a compiled sampler: its rounds are numbers, or inputs that give them."""
    return (
        isinstance(d, dict)
        and isinstance(d.get("name"), str)
        and d.get("kind") in ("normal", "uniform")
        and _count(d.get("place"))
        and all(isinstance(d.get(k), list) for k in ("shape", "rounds"))
        and all(map(_count, d["shape"]))
        and all(isinstance(r, str) or _count(r) for r in d["rounds"])
    )


def _count(n: Any) -> bool:
    return type(n) is int and n >= 0


def _words(v: Any) -> bool:
    return isinstance(v, list) and all(isinstance(s, str) for s in v)


EXPECTED: dict[str, Callable[[Any], bool]] = {
    "spaces": lambda v: isinstance(v, list) and all(map(_space, v)),
    "symbols": _words,
    "arguments": _words,
    "results": lambda v: _words(v) and "x" in v,
    "draws": lambda v: isinstance(v, list) and all(map(_draw, v)),
    "entry": lambda v: isinstance(v, str),
    "groups": lambda v: isinstance(v, str) and v.isdecimal() and int(v) >= 1,
}
