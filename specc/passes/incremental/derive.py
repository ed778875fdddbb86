"""`Derivation`: from functions of whole sequences, functions of one place and of what was kept of those before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, count

from specc.ir.liveness import live
from specc.ir.ops import Op
from specc.ir.program import Builder, Function, Ids, Node, Program, Value, walk
from specc.ir.rewrite import Subst, copy_node, reachable, reads
from specc.ir.types import EXAMPLE, INT
from specc.passes.incremental.places import FIXED, ROUND, Known, Stop, timely
from specc.passes.incremental.rules import RULES
from specc.passes.incremental.steps import Frame, Step, Steps


@dataclass(slots=True)
class Derivation:
    """Steps of the functions of a program, each made once for what is known of its arguments."""

    program: Program
    frame: Frame
    ids: Ids
    functions: dict[str, Function] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    _steps: dict[object, Step] = field(default_factory=dict)

    def answers(self, name: str, arguments: tuple[Known, ...]) -> Step:
        """The step of a function whose results are all those of the round's own place."""
        step = self.step(name, arguments)
        for known in step.along:
            timely(self.program.functions[name].block.nodes[-1], known.along, self.frame.ahead)
        return step

    def step(self, name: str, arguments: tuple[Known, ...]) -> Step:
        """Raises Stop, with the op that keeps it from answering one place after another."""
        key = (name, tuple((k.along, k.value.type if k.value else None) for k in arguments))
        if key not in self._steps:
            self._steps[key] = self._derived(self.program.functions[name], arguments)
        return self._steps[key]

    def _derived(self, function: Function, arguments: tuple[Known, ...]) -> Step:
        block = live(function.block)
        builder = Builder(self.ids)
        index = Value(self.ids.fresh(), INT.over(EXAMPLE), "i")
        s = Steps(builder, self.frame, index, self.step, makers(function))
        subst: Subst = {}
        for param, known in zip(block.params, arguments, strict=True):
            assert known.value is not None
            own = builder.param(known.value.type, param.name)
            s.made[param.id] = Known(known.along, own)

        def copied(node: Node, known: dict[int, Known]) -> tuple[Value, ...]:
            subst.update({i: k.value for i, k in known.items() if k.value is not None})
            return builder.push(copy_node(node, subst, self.ids))

        for node in block.nodes:
            follow(s, node, self.program.functions, copied)
        results = tuple(s.known(v) for v in block.results)
        return self._named(function, s, results)

    def _named(self, function: Function, s: Steps, results: tuple[Known, ...]) -> Step:
        builder = s.builder
        given = [k.value for k in results if k.value is not None]
        made = builder.block(*given, *(c.after for c in s.caches))
        counts = any(s.index.id in {v.id for v in n.inputs} for n in walk(made))
        params = (*made.params, *([s.index] if counts else []), *(c.before for c in s.caches))
        names = (f"{function.name}.step{end}" for end in chain([""], (f".{k}" for k in count(2))))
        name = next(n for n in names if n not in self.taken and n not in self.program.functions)
        self.taken.add(name)
        block = live(replace(made, params=params))
        self.functions[name] = replace(function, name=name, block=block)
        return Step(name, results, tuple(c.before for c in s.caches), counts)


def makers(function: Function) -> dict[int, Node]:
    """The nodes that give the values of a function, its loops included."""
    return {v.id: n for n in walk(function.block) for v in n.outputs}


Whole = Callable[[Node, dict[int, Known]], tuple[Value, ...]]


def follow(s: Steps, node: Node, functions: Mapping[str, Function], whole: Whole) -> None:
    """What is known of the results of a node; a value that cannot be followed says so when it is asked for. whole: gives the
    results of a node that has no places."""
    try:
        known = {v.id: s.known(v) for v in reads(node)}
        if any(k.along.timed for k in known.values()):
            RULES[node.op](s, node)
            return
    except Stop as stop:
        s.made.update({v.id: Known(FIXED, stop=stop) for v in node.outputs})
        return
    along = ROUND if _fresh(node, functions) or any(k.along.drifts for k in known.values()) else FIXED
    s.made.update({v.id: Known(along, m) for v, m in zip(node.outputs, whole(node, known), strict=True)})


def _fresh(node: Node, functions: Mapping[str, Function]) -> bool:
    """Whether a node gives another value each time that it runs."""
    inside = [n for region in node.regions for n in walk(region)]
    if node.op in (Op.CALL, Op.REPEAT):
        inside += [n for f in reachable(functions, [node["function"]]) for n in walk(functions[f].block)]
    return any(n.op in (Op.NORMAL, Op.UNIFORM, Op.EXTERN) for n in (node, *inside))
