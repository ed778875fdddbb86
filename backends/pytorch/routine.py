"""A step of training with several objectives, players or states, as the lines of train.py that do it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from specc.backends.pytorch.library import Library
from specc.backends.pytorch.lines import INDENT, fit
from specc.backends.pytorch.modules import reached, submodule
from specc.backends.pytorch.names import legal, snake

from specc.ir.program import Entry, Program, Setting, Step, all_steps
from specc.record import record

CLOCK = {"step": "self.step", "progress": "self.step / self.args.steps"}


class Printed(Protocol):
    """A printed entry."""

    entry: Entry
    name: str


@record
class Player:
    """What objectives over the same parameters share: an optimizer, with options for each group of them."""

    name: str
    over: tuple[str, ...]
    groups: tuple[Group, ...]

    def prefix(self, group: Group) -> str:
        """What the names of its options begin with."""
        if group.setting is None:
            return ""
        return f"{(self.name if len(self.groups) == 1 else player_name(group.over)).upper()}_"


@record
class Group:
    """Those of a player's parameters that have the same options: its own ones, or else those of all."""

    over: tuple[str, ...]
    setting: Setting | None


@dataclass(slots=True)
class Turn:
    """The lines of a step, and what they use. names: of printed objectives, updates and maps, by entry or function."""

    program: Program
    library: Library
    names: dict[str, str]
    lines: list[str] = field(default_factory=list)
    imports: set[str] = field(default_factory=set)
    fetched: bool = False  # whether this step has a batch already

    def written(self) -> Turn:
        self.sequence(steps_of(self.program), 0)
        for name in reversed([n for n in CLOCK if any(_mentions(line, n) for line in self.lines)]):
            self.lines.insert(0, f"{name} = {CLOCK[name]}")
        return self

    def imported(self, file: str) -> list[str]:
        """The functions that the lines use from a file."""
        plain = {p.name for p in self.library.plain.values()}
        return sorted(self.imports & plain if file == "process" else self.imports - plain)

    def line(self, depth: int, text: str) -> None:
        self.lines += [INDENT * depth + part for part in fit(text, 120 - len(INDENT) * depth)]

    def sequence(self, steps: Iterable[Step], depth: int) -> None:
        for step in steps:
            inner = depth
            if condition := self.condition(step):
                if not self.fetched:
                    self.fetch(depth)
                self.line(depth, f"if {condition}:")
                inner += 1
            if step.steps:
                self.rounds(step, inner)
            elif step.maps is not None:
                self.map(step, inner)
            else:
                self.entries(step, inner)

    def fetch(self, depth: int) -> None:
        self.line(depth, "batch = next(batches)")
        self.fetched = True

    def condition(self, step: Step) -> str:
        parts = [f"step % {step.every} == 0"] if step.every > 1 else []
        if step.when is not None:
            printed = self.library.body(step.when, (True, True))
            body = printed.lines[0].removeprefix("return ")
            if len(printed.lines) == 1 and printed.params == ["step", "progress"]:
                parts.append(body if not parts or " or " not in body else f"({body})")
            else:
                name = self.library.name_of(step.when)
                self.imports.add(name)
                parts.append(f"{name}(step, progress)")
        return " and ".join(parts)

    def rounds(self, step: Step, depth: int) -> None:
        self.line(depth, f"for _ in range({step.times}):")
        self.fetched = False
        self.sequence(step.steps, depth + 1)
        self.fetched = True

    def entries(self, step: Step, depth: int) -> None:
        if not self.fetched:
            self.fetch(depth)
        found = [self.program.entries[name] for name in step.entries]
        for entry in found:
            name = self.names[entry.name]
            self.imports.add(name)
            clock = [f"{i.name}={i.name}" for i in entry.inputs if i.role in CLOCK]
            writes = [f"writes={strings(entry.writes)}"] if entry.writes else []
            if entry.role == "update":
                self.line(depth, f"self.update({', '.join([name, 'batch', *writes, *clock])})")
                continue
            verb = "minimize" if len(found) == 1 else "gradient"
            player = json.dumps(player_name(entry.over))
            self.line(depth, f"self.{verb}({', '.join([player, name, 'batch', *writes, *clock])})")
        if len(found) > 1:
            for player in dict.fromkeys(player_name(e.over) for e in found):
                self.line(depth, f"self.descend({json.dumps(player)})")

    def map(self, step: Step, depth: int) -> None:
        """Each parameter of a set through a function."""
        assert step.maps is not None
        name = self.names[step.maps]
        self.imports.add(name)
        sets = [parameters_of(self.program, over, "self.model") for over in (step.over, *((b,) for b in step.beside))]
        self.line(depth, "with torch.no_grad():")
        if len(sets) == 1:
            self.line(depth + 1, f"for parameter in {sets[0]}:")
            self.line(depth + 2, f"parameter.copy_({name}(parameter))")
        else:
            others = ["parameter", *(legal(snake(b)) for b in step.beside)]
            self.line(depth + 1, f"for {', '.join(others)} in zip({', '.join(sets)}, strict=True):")
            self.line(depth + 2, f"parameter.copy_({name}({', '.join(others)}))")


def steps_of(program: Program) -> tuple[Step, ...]:
    """The routine of a program; each objective in turn where it says nothing."""
    return program.routine or tuple(Step(entries=(e.name,)) for e in program.by_role("objective"))


def batches_of(steps: Iterable[Step]) -> int:
    """Batches that a step of training takes: one, and a new one for each round."""
    return max(1, _batches(steps, False)[0])


def _batches(steps: Iterable[Step], fetched: bool) -> tuple[int, bool]:
    count = 0
    for step in steps:
        if not fetched and (step.entries or step.every > 1 or step.when is not None):
            count, fetched = count + 1, True
        if step.steps:
            count, fetched = count + step.times * _batches(step.steps, False)[0], True
    return count, fetched


def players(program: Program) -> list[Player]:
    """Those who train, in the order of their first objective."""
    own = dict(program.setting("optimizers", ()) or ())
    found: dict[tuple[str, ...], Player] = {}
    for entry in program.by_role("objective"):
        groups: dict[str | None, list[str]] = {}
        for path in entry.over:
            root = path.removeprefix("!").split(".")[0]
            groups.setdefault(root if root in own else None, []).append(path)
        of = sorted(groups, key=lambda name: name is not None)  # those with the usual options first
        made = tuple(Group(tuple(groups[name]), own[name] if name is not None else None) for name in of)
        found.setdefault(entry.over, Player(player_name(entry.over), entry.over, made))
    return list(found.values())


def player_name(over: tuple[str, ...]) -> str:
    return "_".join(re.sub(r"\W+", "_", p, flags=re.ASCII).strip("_") for p in over if not p.startswith("!"))


def parameters_of(program: Program, over: tuple[str, ...], model: str = "model") -> str:
    """The parameters of a set, as an expression."""
    bare = {b.path: b for b in program.bare}
    if any(patterned(program, p) for p in over):

        def matches(p: str) -> str:
            return f'fnmatch(name, "{p if patterned(program, p) or p in bare else p + ".*"}")'

        taken = [matches(p) for p in over if not p.startswith("!")]
        out = "".join(f" and not {matches(p[1:])}" for p in over if p.startswith("!"))
        test = f"({' or '.join(taken)})" if len(taken) > 1 and out else " or ".join(taken)
        return f"[p for name, p in {model}.named_parameters() if {test}{out}]"
    if len(over) == 1 and over[0] not in bare:
        return f"{submodule(over[0], model)}.parameters()"
    parts = [reached(bare[p], model) if p in bare else f"*{submodule(p, model)}.parameters()" for p in over]
    return f"[{', '.join(parts)}]"


def patterned(program: Program, name: str) -> bool:
    """Whether a set is told by a pattern of paths, and is no network or parameter of its own."""
    return name not in program.networks and all(b.path != name for b in program.bare)


def in_routine(program: Program) -> bool:
    """Whether training is more than the steps of one optimizer on one objective."""
    found = program.by_role("objective")
    plain = len(found) == 1 and not program.routine and not found[0].writes and not program.setting("optimizers")
    plain = plain and not program.by_role("start")
    return not plain or (bool(program.starts) and clocked(found[0]))


def clocked(entry: Entry) -> bool:
    """Whether an objective asks for the step or the progress of training."""
    return any(i.role in CLOCK for i in entry.inputs)


def names_of(program: Program, library: Library, printed: Iterable[Printed]) -> dict[str, str]:
    """The printed functions that a step uses, by entry or function of the program."""
    return {p.entry.name: p.name for p in printed} | {name: library.name_of(name) for name in maps(program)}


def maps(program: Program) -> Iterator[str]:
    """Functions that parameters go through."""
    return iter(dict.fromkeys(s.maps for s in all_steps(program.routine) if s.maps is not None))


def strings(values: Sequence[str]) -> str:
    inner = ", ".join(json.dumps(v) for v in values)
    return f"({inner},)" if len(values) == 1 else f"({inner})"


def _mentions(text: str, name: str) -> bool:
    words = "".join(c if c.isalnum() or c in "_." else " " for c in text.replace(f"{name}=", "")).split()
    return name in words
