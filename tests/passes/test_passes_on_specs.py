"""The specs of the repository through both pipelines: after every pass the program is whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from specc.ir.ops import Op
from specc.ir.program import walk
from specc.ir.verify import verify
from specc.passes import GRAPH, PYTORCH
from specc.passes.count import network_calls, parameters
from specc.sema import elaborate
from specc.syntax import parser

SPECS = sorted(p for p in (Path(__file__).parents[2] / "specs").glob("*/*.spec") if p.parent.name != "std")


@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
def test_every_pass_leaves_a_whole_program(path):
    source, _ = parser.read(path)
    file, _ = parser.parse(source)
    for program in elaborate(file, source, None).programs.values():
        verify(program)
        want = parameters(program)
        evaluations = {e: (n := network_calls(program, e)) and n.evaluations for e in program.entries}
        for pipeline in (PYTORCH, GRAPH):
            made = program
            for step in pipeline:
                made = verify(step(made))
            assert made.level == "array" and parameters(made) == want
            assert not [n for f in made.functions.values() for n in walk(f.block) if n.op is Op.GRAD and pipeline is GRAPH]
            for entry, before in evaluations.items():
                after = network_calls(made, entry)
                assert before is None or (after is not None and after.evaluations <= before)
