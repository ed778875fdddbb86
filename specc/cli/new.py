"""`specc new NAME`: a starter spec that trains in a minute, with a comment on each line, and what to do next."""

from __future__ import annotations

import re
from pathlib import Path

import click

from specc.cli.common import say

STARTER = """\
specc 1
# {title}: the name of a paper's method, its authors and year belong here.
model {name} {{
  data x: vector(2) from moons             # the space of one example, and where examples come from: `specc list reader`
  process linear                           # how data becomes noise, t from 0 to 1: z = (1 - t) x + t e
  coupling minibatch_ot(solver = exact)    # which noise goes with which example; leave the line out for independent pairs
  backbone mlp(width = 64, depth = 3)      # the network: `specc list backbone`, or write your own below
  predict velocity                         # what the network is asked for: eps, x0, v, velocity, edm
  loss mse                                 # how its answer is scored
  sampler fast = euler(steps = 10)         # programs that make samples, each exported as one file
  sampler exact = dopri5(rtol = 1e-5, atol = 1e-5)
  train {{ optimizer = adam(lr = 1e-3); steps = 3000; batch = 256; ema = 0.999 }}
}}
"""


@click.command("new")
@click.argument("name")
def command(name: str) -> None:
    """Write NAME.spec, a model of flow matching in the plane to start from."""
    path = Path(name if name.endswith(".spec") else f"{name}.spec")
    model = re.sub(r"\W", "_", path.stem, flags=re.ASCII)
    if not model or not model[0].isalpha():
        raise click.UsageError(f"a model's name begins with a letter; `{path.stem}` does not")
    if not path.parent.is_dir():
        raise click.UsageError(f"there is no folder {path.parent}")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(STARTER.format(name=model, title=path.stem))
    except FileExistsError:
        raise click.UsageError(f"{path} exists already") from None
    say(f"wrote {path}\n\nnext:")
    say(f"  specc check --explain {path}")
    say(f"  specc train {path} -o runs/{model}")
    say(f"  specc sample runs/{model} --sampler fast -n 1024 --seed 0 -o samples.png")
    say(f"  specc export runs/{model} --sampler fast -o {model}.onnx")
