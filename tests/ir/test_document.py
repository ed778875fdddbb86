"""The file format: what is written reads back, and what is not a program says so."""

from __future__ import annotations

import contextlib
import json
import math
from dataclasses import fields, is_dataclass

import pytest
from cases import CASES
from hypothesis import given, settings
from hypothesis import strategies as st
from rich_program import rich

from specc.ir import leaves
from specc.ir.document import DocumentError, Part, from_json, to_json, write
from specc.ir.ops import Op
from specc.ir.program import Block, Node, Value
from specc.ir.text import to_text
from specc.ir.types import Type
from specc.passes.batch import batch
from specc.reference.interpret import run
from specc.source import Span

PROGRAMS = {"example": rich(), "array": batch(rich())}
GOOD = to_json(PROGRAMS["example"])


def outline(x: object) -> object:
    """All that a program holds, in tuples; spans by their place, classes by their names, kinds of numbers apart."""
    if isinstance(x, Span):
        return str(x)
    if isinstance(x, Type | Op):
        return x
    if isinstance(x, dict):
        return tuple((k, outline(v)) for k, v in x.items())
    if is_dataclass(x):
        return type(x).__name__, tuple((f.name, outline(getattr(x, f.name))) for f in fields(x))
    return tuple(map(outline, x)) if isinstance(x, tuple) else (type(x).__name__, x)


@pytest.mark.parametrize("level", PROGRAMS)
def test_reads_back_equal(level: str):
    program = PROGRAMS[level]
    again = from_json(to_json(program))
    assert outline(again) == outline(program)
    assert to_text(again) == to_text(program)
    assert to_json(again) == to_json(program)


def test_uses_are_the_values_that_were_defined():
    block = from_json(GOOD).functions["mlp"].block
    assert block.nodes[-1].inputs[1] is block.params[1]
    assert block.results[0] is block.nodes[-1].out


@pytest.mark.parametrize("op", CASES, ids=lambda op: op.value)
def test_every_op_reads_back(op: Op):
    for case in CASES[op]:
        program = case.program()
        assert outline(from_json(to_json(program))) == outline(program)


def test_means_the_same():
    params = {"backbone.mix.weight": [[1.0, 0.5], [0.0, -1.0]], "backbone.mix.bias": [0.1, 0.2]}
    a, b = (run(p, "walk", {"seed": [1, 2, 3]}, params)[0] for p in (PROGRAMS["example"], from_json(GOOD)))
    assert (a == b).all()


def test_parts_have_the_fields_of_what_they_make():
    for part in Part.__subclasses__():
        assert set(part.model_fields) == {f.name for f in fields(part.makes)}, part.__name__
    assert {p.makes for p in Part.__subclasses__()} >= {Value, Node, Block}


def test_written_whole(tmp_path):
    (path,) = write(PROGRAMS["array"], tmp_path / "out")
    assert path.name == "rings.ir.json"
    assert [p.name for p in path.parent.iterdir()] == ["rings.ir.json"]
    assert from_json(path.read_bytes()).level == "array"


def test_plain_values():
    values = (1, 1.0, True, None, "a", (), ((1,), "b"), math.inf, -math.inf, Type(leaves.DType.INT, ("B", 2)))
    assert outline(leaves.read(json.loads(json.dumps(leaves.written(values))))) == outline(values)
    assert math.isnan(leaves.read(leaves.written(math.nan)))


def changed(*path: object, to: object) -> str:
    """The good document with another value at one place."""
    whole = json.loads(GOOD)
    here = whole
    for key in path[:-1]:
        here = here[key]
    here[path[-1]] = to
    return json.dumps(whole)


FIRST = ("program", "functions", 0, "block")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Invalid JSON"),
        ("[1]", "the file: "),
        ("{}", "format: Field required"),
        ("[" * 10_000, "recursion"),
        (changed("version", to=2), "version: Input should be 1"),
        (changed("format", to="onnx"), "format: Input should be"),
        (changed("extra", to=1), "extra: Extra inputs are not permitted"),
        (changed("program", "level", to="pixel"), "program.level: Input should be 'example' or 'array'"),
        (changed("program", "entries", 0, "calls", to="4"), "program.entries.0.calls: Input should be a valid integer"),
        (changed(*FIRST, "params", 0, "type", to="float[2"), "is not a type"),
        (changed(*FIRST, "params", 0, "type", to="float[-2]"), "is not a type"),
        (changed(*FIRST, "params", 0, "type", to="float[x]"), "'x' is not a dimension"),
        (changed(*FIRST, "params", 0, "type", to="float[3] per example"), "the program is broken"),
        (changed(*FIRST, "nodes", 0, "op", to="launch"), "'launch' is not a valid Op"),
        (changed(*FIRST, "nodes", 0, "attrs", to={}), "the program is broken: mlp: param"),
        (changed(*FIRST, "nodes", 0, "attrs", "init", to={"call": "x"}), "is not a plain value"),
        (changed(*FIRST, "nodes", 0, "attrs", "shape", to=3), "the program is broken: "),
        (changed(*FIRST, "nodes", 0, "span", to="here"), "is not a place"),
        (changed(*FIRST, "nodes", 1, "outputs", 0, "id", to=1), "the value 1 is defined twice"),
        (changed(*FIRST, "results", to=[999]), "the value 999 is used before it is defined"),
        (changed("program", "networks", "backbone", to="absent"), "there is no function absent"),
        (GOOD.replace('"lanes":2', '"lanes":1000000000'), "call has 1000000000 lanes for 2 results"),
        (changed("program", "train", to=[["steps"]]), "program.train.0.1: Field required"),
    ],
    ids=range(23),
)
def test_refused(text: str, message: str):
    with pytest.raises(DocumentError, match=r"not a specc\.program of version 1|the program is broken") as caught:
        from_json(text)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 1000


def _paths(x: object, path: tuple = ()) -> list[tuple]:
    items = x.items() if isinstance(x, dict) else enumerate(x) if isinstance(x, list) else ()
    return [p for k, v in items for p in ((*path, k), *_paths(v, (*path, k)))]


PATHS = _paths(json.loads(GOOD))
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.just([]),
    st.just({}),
    st.just([[0]]),
    st.just(-1),
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.sampled_from(PATHS), JUNK)
def test_any_change_is_read_or_refused(path: tuple, junk: object):
    with contextlib.suppress(DocumentError):
        from_json(changed(*path, to=junk))
