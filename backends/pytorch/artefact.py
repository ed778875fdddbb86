"""generate.py: data that a parent's sampler draws before training."""

from __future__ import annotations

import json

from specc.backends.pytorch.choose import choose, part
from specc.backends.pytorch.data import drawn
from specc.backends.pytorch.lines import fit
from specc.backends.pytorch.names import docstring
from specc.backends.pytorch.routine import strings
from specc.backends.pytorch.samplers import Way
from specc.backends.pytorch.scripts import with_functions

from specc.ir.paths import parameters
from specc.ir.program import Program


def generate_file(program: Program, way: Way, local: dict[str, str]) -> str:
    """The printed sampler, and the part that makes and knows its draws."""
    entry, reader = way.entry, program.data[0].reader
    fields = ["x", *(f.name for f in program.data[0].fields)]
    classes = {i.name: i.classes for i in entry.inputs if i.role == "condition"}
    paths = parameters(program.functions, {"": entry.function})
    lent = [
        (f"{s.path}.", p) for p in program.parents for s in p.shares if any(f"{q}.".startswith(f"{s.path}.") for q in paths)
    ]
    whose = ", ".join(dict.fromkeys(f"{p.name} {p.digest}" for _, p in lent))
    what = f"{reader.get('of')} of {whose}: {reader.get('n')} draws of {', '.join(fields)}"
    table = [
        f'FILE = "{drawn(program.data[0])}"  # in the folder of the run',
        f"COUNT = {reader.get('n')}",
        f"FIELDS = {strings(fields)}  # what is kept of a draw",
        *([f"CLASSES = {json.dumps(classes)}  # a draw is conditioned on"] if classes else []),
        f"WEIGHTS = {strings([path for path, _ in lent])}  # that the draws are made with",
        *fit(f"RECIPE = {json.dumps(what)}", 124),
    ]
    text = choose(part("generate"), {"classes"} if classes else (), {"table": "\n".join(table)})
    head = docstring(f"{reader.get('n'):,} draws of a parent's sampler, from which {program.name} learns.", 0)
    return with_functions(text.replace("draw(model,", f"{way.name}(model,"), [way], local, head)
