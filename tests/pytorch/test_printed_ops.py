"""The PyTorch column of the table of ops: every op has a spelling, and what is printed computes what the reference does."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from projects import given, printed
from specc.backends.pytorch.spelling import ELSEWHERE, TORCH

from specc.ir.ops import Op
from specc.passes import PYTORCH, run
from specc.reference import interpret

sys.path.insert(0, str(Path(__file__).parents[1] / "ir"))
from cases import CASES
from op_case import EXAMPLES, Case


def test_every_op_is_spelled_or_stands_elsewhere() -> None:
    assert TORCH.keys() | ELSEWHERE.keys() == set(Op)
    assert not TORCH.keys() & ELSEWHERE.keys()


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
    args = [given(feeds[i.name], i.type.shape) for i in program.entries["main"].inputs]
    have = scope["query"](model, *args)
    for w, h in zip(want, have if isinstance(have, tuple) else (have,), strict=True):
        got = np.asarray(h, dtype=np.float64)
        assert got.shape == w.shape
        scale = float(np.abs(w[np.isfinite(w)]).max(initial=1.0))
        np.testing.assert_allclose(got, w.astype(np.float64), rtol=2e-5, atol=2e-5 * scale)
