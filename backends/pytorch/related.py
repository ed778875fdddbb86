"""parents.py and averages.py: weights that come from the runs of parents, and networks that follow others."""

from __future__ import annotations

from specc.backends.pytorch.choose import choose, part
from specc.backends.pytorch.kinds import Kind
from specc.backends.pytorch.library import Library, ours
from specc.backends.pytorch.lines import exploded
from specc.backends.pytorch.names import docstring, legal, snake
from specc.backends.pytorch.numbers import literal
from specc.backends.pytorch.printer import print_block
from specc.backends.pytorch.source import module

from specc.ir.program import Parent, Program


def lenders(program: Program) -> list[Parent]:
    """The parents whose weights are needed."""
    return [p for p in program.parents if p.shares]


def parents_file(program: Program) -> str:
    """parents.py: what each parent gives."""
    rows = []
    for p in lenders(program):
        first, *more = exploded("[", [f'("{s.path}", "{s.of}")' for s in p.shares], "]", 119)
        taken = "\n".join([first, *(f"        {line}" for line in more)])
        fields = [f'"{p.name}"', f'"{p.digest}"', f'"{"ema" if p.averaged else "model"}"', taken]
        rows += exploded("(", fields, "),", 124)
    doc = "# Each parent: its name, the sha256 of its spec, the file of its weights, and (path here, path there)"
    table = "\n".join([doc, "PARENTS = [", *(f"    {row}" for row in rows), "]"])
    return choose(part("parents"), (), {"table": table})


def averages_file(program: Program, library: Library, local: dict[str, str]) -> str:
    """averages.py: which network follows which, and how closely."""
    definitions, rows = [], []
    for a in program.averages:
        decay = literal(a.decay) if not isinstance(a.decay, str) else ""
        if isinstance(a.decay, str):
            decay = legal(snake(a.decay.replace(".", "_")), ours())
            definitions.append(_decay(program, library, a.decay, decay))
        rows.append(f'    ("{a.path}", "{a.of}", {decay}),')
    functions = {"functions"} if definitions else set()
    doc, _, rest = choose(part("averages"), functions, {"table": "AVERAGES = []"}).partition("AVERAGES = []\n")
    table = ["# Each average: its path, that of the network, and the share of it that stays", "AVERAGES = [", *rows, "]"]
    return module(doc.split('"""')[1], [*definitions, [*table, rest]], local)


def _decay(program: Program, library: Library, function: str, name: str) -> list[str]:
    block = program.functions[function].block
    printed = print_block(block, library.manner(block), [Kind(True)] * len(block.params))
    gives = "float" if printed.results[0].host else "Tensor"
    types = zip(printed.params, ("int", "float"), strict=True)
    head = f"def {name}({', '.join(f'{p}: {t}' for p, t in types)}) -> {gives}:"
    return [head, *docstring(program.functions[function].doc, 4), *(f"    {line}" for line in printed.lines)]
