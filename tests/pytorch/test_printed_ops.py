"""The PyTorch column of the table of ops: every op has a spelling, and what is printed computes what the reference does."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from specc.backends.pytorch.library import Library
from specc.backends.pytorch.networks import Networks
from specc.backends.pytorch.parts import noise
from specc.backends.pytorch.samplers import ways
from specc.backends.pytorch.spelling import ELSEWHERE, TORCH
from torch.nn import functional as F

from specc.ir.ops import Op
from specc.ir.program import Program
from specc.passes import PYTORCH, run
from specc.reference import interpret

sys.path.insert(0, str(Path(__file__).parents[1] / "ir"))
from cases import CASES
from op_case import EXAMPLES, Case


def test_every_op_is_spelled_or_stands_elsewhere() -> None:
    assert TORCH.keys() | ELSEWHERE.keys() == set(Op)
    assert not TORCH.keys() & ELSEWHERE.keys()


def printed(program: Program) -> dict[str, Any]:
    """What the printed definitions of a program with one query define; the query is `query`."""
    library = Library(program)
    networks = Networks(program, library).build()
    (query,) = ways(program, "query", library, networks)
    definitions = [
        *library.definitions(),
        *library.definitions(networks=True),
        *networks.classes(),
        networks.model(),
        query.lines,
    ]
    text = "\n\n".join("\n".join(lines) for lines in definitions)
    scope: dict[str, Any] = {"torch": torch, "math": math, "nn": torch.nn, "F": F, "Tensor": torch.Tensor, "noise": noise}
    exec(text, scope)
    return scope | {"query": scope[query.name]}


@pytest.mark.parametrize("case", [c for cases in CASES.values() for c in cases], ids=str)
def test_printed_code_computes_what_the_reference_does(case: Case) -> None:
    made = case.program()
    program = run(made, PYTORCH) if made.level == "example" else made
    scope = printed(program)
    feeds, weights = case.feeds(), case.weights()
    want = interpret.run(made, "main", feeds, weights, batch=EXAMPLES)
    model = scope["Model"]()
    assert model.state_dict().keys() == weights.keys()
    model.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()})
    args = [_given(feeds[i.name], i.type.shape) for i in program.entries["main"].inputs]
    have = scope["query"](model, *args)
    for w, h in zip(want, have if isinstance(have, tuple) else (have,), strict=True):
        got = np.asarray(h, dtype=np.float64)
        assert got.shape == w.shape
        scale = float(np.abs(w[np.isfinite(w)]).max(initial=1.0))
        np.testing.assert_allclose(got, w.astype(np.float64), rtol=2e-5, atol=2e-5 * scale)


def _given(array: np.ndarray, shape: tuple[int | str, ...]) -> Any:
    """An operand as a caller gives it: shared numbers as numbers."""
    if not shape:
        return array.item()
    return torch.from_numpy(np.ascontiguousarray(array.astype(np.float32) if array.dtype.kind == "f" else array))
