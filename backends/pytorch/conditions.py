"""What samplers are conditioned on, in sample.py: the options that give it, and what it is when they do not."""

from __future__ import annotations

import json

from specc.backends.pytorch.data import finite
from specc.backends.pytorch.lines import exploded, fit
from specc.backends.pytorch.names import WIDTH, legal
from specc.backends.pytorch.samplers import Way, option

from specc.ir.program import Input, Program
from specc.ir.types import DType
from specc.record import record


@record
class Conditions:
    """The inputs of samplers that are conditions, by name, and those that each sampler takes."""

    program: Program
    inputs: dict[str, Input]
    of: dict[str, tuple[str, ...]]
    derived: Way | None  # the function that computes them from an example

    @property
    def spaces(self) -> dict[str, bool]:
        """The conditions of the model, and whether they are computed from examples."""
        return {c.name: c.derived for c in self.program.conditions if c.name in self.inputs}

    def features(self) -> set[str]:
        """Which lines of the part apply."""
        found = {"conditions"} if self.inputs else set()
        if self.needed():
            found.add("needed")
        if self.derived is not None:
            found |= {"derived", "finite" if finite(self.program.data[0]) else "endless"}
        if len(self.asked()) > 1:
            found.add("together")
        if any(i.classes for i in self.inputs.values()):
            found.add("classes")
        return found

    def computed(self) -> list[str]:
        """Those that are computed from examples, in the order of the function that does it."""
        return [c.name for c in self.program.conditions if c.derived]

    def asked(self) -> list[str]:
        """Those of them that some sampler takes."""
        return [name for name in self.computed() if name in self.inputs]

    def needed(self) -> set[str]:
        """Those without a usual value: inputs in the head of a sampler."""
        return {name for name, i in self.inputs.items() if not i.classes and name not in self.spaces}

    def options(self) -> list[str]:
        lines = []
        for name, i in self.inputs.items():
            what = "no default" if name in self.needed() else "those of held-out examples" if self.derived else "zeros"
            if i.classes:
                what = what if self.derived and name in self.spaces else "every class in turn"
                numbers = f"class, 0 to {i.classes - 1}, "
            else:
                numbers = ("a number, ", "numbers, ", *[""] * 9)[len(i.type.shape) - 1]
            help = f"{numbers}.npy, or .npz under this name; {what} if not given"
            line = f'parser.add_argument("--{option(name)}", nargs="+", help="{help}")'
            lines += [f"    {part}" for part in fit(line, WIDTH - 4)]
        return lines

    def given(self) -> list[str]:
        """Statements that take the options."""
        lines = []
        for name, i in self.inputs.items():
            lines.append(f"        if args.{option(name)} is not None:")
            kind = "int64" if i.type.dtype is DType.INT else "float32"
            more = f", {i.classes}" if i.classes else ""
            value = f"array(args.{option(name)}, {json.dumps(name)}, {tuple(i.type.shape[1:])}, torch.{kind}, args.n{more})"
            lines.append(f"            given[{json.dumps(name)}] = {value}")
        return lines

    def usual(self) -> list[str]:
        """The body of the function for what is not given."""
        if self.derived is not None:
            return self._held_out(self.derived)
        entries = {}
        for name, i in self.inputs.items():
            if i.classes:
                entries[name] = f"torch.arange(n) % {i.classes}"
            elif name in self.spaces:
                shape = ", ".join(map(str, i.type.shape[1:]))
                entries[name] = f"torch.zeros(n, {shape})" if shape else "torch.zeros(n)"
        return _returned(entries)

    def _held_out(self, way: Way) -> list[str]:
        computed = self.computed()
        read = [i.name for i in way.entry.inputs if i.role != "seed"]
        plain = [name for name, derived in self.spaces.items() if not derived]
        source = "held_out()" if finite(self.program.data[0]) else "examples(n, np.random.default_rng(int(seeds[0]) % 2**63))"
        first = json.dumps(self.program.data[0].space.name)
        lines = [f"    data = {source}", f"    rows = np.arange(n) % len(data[{first}])"]
        local = {name: legal(name) for name in dict.fromkeys([*read, *plain, *computed])}
        for name in dict.fromkeys([*read, *plain]):
            lines.append(f"    {local[name]} = torch.from_numpy(data[{json.dumps(name)}][rows]).to(device)")
        args = [local[i.name] if i.role != "seed" else "seeds.to(device)" for i in way.entry.inputs]
        targets = [local[n] if n in self.inputs else "_" for n in computed]
        lines.append(f"    {', '.join(targets)} = {way.name}(model, {', '.join(args)})")
        entries = {name: f"{local[name]}.cpu()" for name in [*plain, *self.asked()]}
        loose = {n: f"torch.arange(n) % {i.classes}" for n, i in self.inputs.items() if i.classes and n not in self.spaces}
        return [*lines, *_returned(entries | loose)]


def conditions(program: Program, samplers: list[Way], derived: list[Way]) -> Conditions:
    """The conditions of a program's samplers."""
    inputs: dict[str, Input] = {}
    of: dict[str, tuple[str, ...]] = {}
    for way in samplers:
        mine = [i for i in way.entry.inputs if i.role == "condition"]
        inputs |= {i.name: i for i in mine}
        of[way.entry.name] = tuple(i.name for i in mine)
    asked = [w for w in derived if any(c.derived and c.name in inputs for c in program.conditions)]
    return Conditions(program, inputs, of, asked[0] if asked else None)


def _returned(entries: dict[str, str]) -> list[str]:
    return [f"    {line}" for line in exploded("return {", [f"{json.dumps(k)}: {v}" for k, v in entries.items()], "}", 124)]
