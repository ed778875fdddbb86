"""Guidance of one of a Gaussian model's functions is guidance of all of them, and is drawn once at a place."""

from __future__ import annotations

import numpy as np
import pytest
from sema_helpers import elaborated, text

from specc import driver
from specc.ir.ops import Op
from specc.ir.program import walk
from specc.reference.interpret import run
from specc.runtime.ort import example_seeds

SAMPLERS = "sampler fast = ddim(steps = 6)\nsampler ode = euler(steps = 6)\nsampler chain = ddpm(steps = 6)"
MEAN = "backbone posterior_mean(centres = circle(3), std = 0.2)"
SAME = {  # e + 0.3 sigma z in place of e, said of each
    "score": "score(z, t) = score(z, t) - 0.3 * z",
    "noise_of": "noise_of(z, t) = noise_of(z, t) + 0.3 * sigma(t) * z",
    "denoise": "denoise(z, t) = denoise(z, t) - 0.3 * sigma(t)^2 / alpha(t) * z",
    "velocity": "velocity(z, t) = velocity(z, t) + 0.3 * (sigma'(t) - alpha'(t) * sigma(t) / alpha(t)) * sigma(t) * z",
    "out": "out(z, t) = out(z, t) - 0.3 * sigma(t)^2 / alpha(t) * z",
}


def samples(guidance: str) -> dict[str, np.ndarray]:
    spec = text(
        f"guidance g {{ {guidance} }}" if guidance else "",
        process="process vp",
        backbone=MEAN,
        predict="predict x0",
        sampler=SAMPLERS,
    )
    made = elaborated(spec)
    assert not made.diagnostics, [d.message for d in made.diagnostics]
    program = driver.prepare(made.programs["m"])
    return {e: run(program, e, {"seed": example_seeds(0, 5)}, {}, dtype="float64")[0] for e in ("fast", "ode", "chain")}


@pytest.mark.parametrize("name", SAME)
def test_whichever_function_it_is_said_of(name: str) -> None:
    """A guided score that left `ddim` alone would be guidance that is quietly off."""
    plain, wanted, found = samples(""), samples(SAME["out"]), samples(SAME[name])
    for entry, value in wanted.items():
        assert np.abs(value - plain[entry]).max() > 0.01
        np.testing.assert_allclose(found[entry], value, atol=1e-9)


@pytest.mark.parametrize("name", ["out", "denoise"])
def test_what_it_draws_is_drawn_once_at_a_place(name: str) -> None:
    """DDIM asks for x0 and for the noise that goes with it: of one guided answer."""
    guidance = f"guidance g {{ {name}(z, t) {{ w ~ normal(like = z); return {name}(z, t) + w }} }}"
    made = elaborated(text(guidance, process="process vp", predict="predict eps", sampler="sampler fast = ddim(steps = 3)"))
    body = made.programs["m"].functions[made.programs["m"].entries["fast"].function].block
    assert sum(n.op is Op.NORMAL for n in walk(body)) == 2  # the start, and one a step


def test_what_it_draws_without_a_condition_is_another_draw() -> None:
    guidance = "guidance g { denoise(z, t) { w ~ normal(like = z); return denoise(z, t) + w } }"
    body = "sampler fast { z ~ prior(); return denoise(z, t_max) + unconditional(denoise(z, t_max)) }"
    made = elaborated(
        text("condition y: class(3) with { drop = 0.1 }", guidance, process="process vp", predict="predict x0", sampler=body)
    )
    assert not made.diagnostics, [d.message for d in made.diagnostics]
    entry = made.programs["m"].functions[made.programs["m"].entries["fast"].function]
    assert sum(n.op is Op.NORMAL for n in walk(entry.block)) == 3
