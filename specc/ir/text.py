"""Programs as text for people: what `specc dump` prints. `specc.ir.document` is the form that reads back.

One line a node, regions indented, `%` before values. A value goes by its author's name; a later one of that name in the same
function gets a number (`%z`, `%z.2`), and values without a name are numbered in order. Scalar constants stand where they are
used.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

from specc.ir.ops import Op
from specc.ir.program import Block, Dataset, Entry, Function, Node, Program, Setting, Space, Step, Value
from specc.ir.types import DType

LONGEST = 8  # numbers of an array constant that are printed
INDENT = "  "
REGIONS = {Op.FOR: ("body",), Op.WHILE: ("test", "body"), Op.IF: ("then", "else"), Op.PARTS: ("first", "rest")}
QUIET = {"types", "function", "bundle"}  # attributes that are printed another way


def to_text(what: Program | Function) -> str:
    """A program, or one of its functions."""
    lines = _program(what) if isinstance(what, Program) else _function(what)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def show(program: Program) -> str:
    """The whole program, as the command line prints it."""
    return to_text(program)


def plain(value: Any) -> str:
    """An attribute or an option as text."""
    match value:
        case Setting():
            return _call(value.name, value.options)
        case tuple():
            return "(" + ", ".join(map(plain, value)) + ("," if len(value) == 1 else "") + ")"
        case float() if math.isfinite(value):
            return repr(float(value))
        case _:
            return str(value)


def _call(name: str, options: Iterable[tuple[str, Any]]) -> str:
    inside = ", ".join(f"{k} = {plain(v)}" for k, v in options)
    return f"{name}({inside})" if inside else name


# Programs


def _program(p: Program) -> Iterator[str]:
    for line in textwrap.dedent(p.doc).splitlines():
        yield f"# {line}"
    yield f"program {p.name}: {p.level} level, from {p.spec}" + (f", digest {p.digest[:12]}" if p.digest else "")
    for data in p.data:
        yield f"data {_dataset(data)}"
        for space in data.fields:
            yield f"field {_space(space)}"
    for space in p.conditions:
        yield f"condition {_space(space)}"
    for key, value in p.train:
        yield f"train {key} = {plain(value)}"
    for q in p.quantize:
        for rule in q.rules:
            said = ((k, getattr(rule, k)) for k in ("weights", "activations", "cache", "gradients"))
            parts = [f"{k} {plain(v)}" for k, v in said if v]
            yield f"quantize {q.name}{' while training' if q.trained else ''}: {rule.match} {', '.join(parts) or 'keep'}"
        for b in q.bounds:
            yield f"quantize {q.name}: require {b.name} {b.compare} {b.value:g}"
    for metric in p.evaluate:
        yield f"evaluate {plain(metric)}"
    for root, name in p.networks.items():
        yield f"network {root} = {name}"
    for start in p.starts:
        yield f"start {', '.join(start.paths)} of {start.network} = {start.function}"
    for parent in p.parents:
        yield f"parent {parent.name}: digest {parent.digest[:12]}{', averaged' if parent.averaged else ''}"
        for share in parent.shares:
            yield f"  {share.path} {'is' if share.frozen else 'starts from'} {share.of}"
    for average in p.averages:
        yield f"average {average.path} of {average.of}, decay {average.decay}"
    for bare in p.bare:
        kind = "param" if bare.trainable else "state"
        yield f"{kind} {bare.path}: {bare.dtype}{plain(bare.shape) if bare.shape else ''} = {plain(bare.init)}"
    for entry in p.entries.values():
        yield _entry(entry)
    yield from _routine(p.routine, 0)
    for function in p.functions.values():
        yield ""
        yield from _function(function)


def _routine(steps: tuple[Step, ...], depth: int) -> Iterator[str]:
    for s in steps:
        words = [f"do {' together with '.join(s.entries)}"] if s.entries else []
        words += [f"map {', '.join(s.over)} by {s.maps}({', '.join(('it', *s.beside))})"] if s.maps else []
        words += [f"{s.times} times"] if s.steps else []
        words += [f"every {s.every}"] if s.every != 1 else []
        words += [f"when {s.when}(step, progress)"] if s.when else []
        yield INDENT * depth + " ".join(words) + (f"  # {s.doc}" if s.doc else "")
        yield from _routine(s.steps, depth + 1)


def _space(s: Space) -> str:
    text = f"{s.name}: {s.kind}{plain(s.shape) if s.shape else ''} {s.dtype}"
    if s.low is not None or s.high is not None:
        text += f" in [{plain(s.low)}, {plain(s.high)}]"
    for word, value in (("levels", s.levels), ("classes", s.classes), ("drop", s.drop or None)):
        text += "" if value is None else f" {word} {plain(value)}"
    return text + (" derived" if s.derived else "")


def _dataset(d: Dataset) -> str:
    steps = "".join(f" |> {plain(step)}" for step in d.steps)
    return f"{_space(d.space)} from {plain(d.reader)}{steps}" + (f"  # {d.doc}" if d.doc else "")


def _entry(e: Entry) -> str:
    inputs = []
    for i in e.inputs:
        default = "" if i.default is None else f" = {plain(i.default)}"
        classes = "" if i.classes is None else f" of {i.classes} classes"
        inputs.append(f"{i.name}: {i.role}{classes} {i.type}{default}")
    over = f" over {', '.join(e.over)}" if e.over else ""
    over += f" writes {', '.join(e.writes)}" if e.writes else ""
    calls = "" if e.calls is None else f", {e.calls} network calls"
    doc = f"  # {e.doc}" if e.doc else ""
    return f"{e.role} {e.name} = {e.function}({', '.join(inputs)}){over}{calls}{doc}"


# Functions


def _function(f: Function) -> Iterator[str]:
    names = _Names()
    params = ", ".join(f"{names.define(v)}: {v.type}" for v in f.block.params)
    if f.doc:
        yield f"# {f.doc}"
    yield f"{f.kind} {f.name}({params}):"
    yield from names.block(f.block, 1)


class _Names:
    """What the values of one function are called."""

    def __init__(self) -> None:
        self.labels: dict[int, str] = {}
        self.used: set[str] = set()
        self.last = 0

    def define(self, value: Value) -> str:
        if value.name is None:
            self.last += 1
            label = str(self.last)
        else:
            label, n = value.name, 1
            while label in self.used:
                n += 1
                label = f"{value.name}.{n}"
        self.used.add(label)
        self.labels[value.id] = f"%{label}"
        return self.labels[value.id]

    def use(self, values: Iterable[Value]) -> str:
        return ", ".join(self.labels.get(v.id, f"%undefined.{v.id}") for v in values)

    def block(self, block: Block, depth: int) -> Iterator[str]:
        for node in block.nodes:
            yield from self.node(node, depth)
        yield f"{INDENT * depth}return {self.use(block.results)}"

    def node(self, node: Node, depth: int) -> Iterator[str]:
        if node.op is Op.CONST and node.get("shape", ()) == () and not isinstance(node["value"], tuple):
            self.labels[node.out.id] = _literal(node)
            return
        operation = self.operation(node)
        outputs = ", ".join(self.define(v) for v in node.outputs)
        types = ", ".join(str(v.type) for v in node.outputs)
        yield f"{INDENT * depth}{outputs} = {operation} : {types}"
        for name, region in zip(REGIONS.get(node.op, ()), node.regions, strict=False):
            params = ", ".join(f"{self.define(v)}: {v.type}" for v in region.params)
            yield f"{INDENT * (depth + 1)}{name}({params}):"
            yield from self.block(region, depth + 2)

    def operation(self, node: Node) -> str:
        """The right side: the op, what it calls, its operands and attributes."""
        words = [node.op.value]
        if node.get("function") is not None:
            words.append(f"{node['function']}({self.use(node.inputs)})")
            if node.get("bundle") is not None:
                words.append(f"over {node['bundle']}")
        elif node.inputs:
            words.append(self.use(node.inputs))
        attrs = [f"{k} = {_array(v)}" for k, v in node.attrs if k not in QUIET and (k, v) != ("lanes", 1)]
        separator = ", " if len(words) > 1 else " "
        return separator.join([" ".join(words), ", ".join(attrs)]) if attrs else " ".join(words)


def _literal(node: Node) -> str:
    """A scalar constant, so that its kind shows: 2.0, 2, true."""
    match DType(node.get("dtype", "float")):
        case DType.FLOAT:
            return plain(float(node["value"]))
        case DType.INT:
            return str(int(node["value"]))
        case DType.BOOL:
            return str(bool(node["value"])).lower()


def _array(value: Any) -> str:
    if not isinstance(value, tuple) or len(value) <= LONGEST:
        return plain(value)
    return f"({', '.join(map(plain, value[:LONGEST]))}, ... {len(value)} in all)"
