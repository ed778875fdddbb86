"""objective.py: what is minimised and updated, and the part of it that runs ahead of training."""

from __future__ import annotations

from dataclasses import dataclass

from specc.backends.pytorch.expressions import Piece
from specc.backends.pytorch.kinds import Kind
from specc.backends.pytorch.library import Library, ours
from specc.backends.pytorch.lines import exploded
from specc.backends.pytorch.names import described, docstring, legal, snake
from specc.backends.pytorch.networks import Networks, show
from specc.backends.pytorch.printer import print_block
from specc.backends.pytorch.routine import clocked, in_routine

from specc.ir.ops import Op
from specc.ir.program import Block, Entry, Function, Node, Program, Value, walk
from specc.ir.types import BATCH

CLOCK = {"step": "int", "progress": "float"}  # inputs that are numbers, by role


@dataclass(slots=True)
class Objective:
    """A printed objective or update: its name, its definitions, and whether a part of it runs ahead."""

    entry: Entry
    name: str
    definitions: list[list[str]]
    prepared: bool


def objectives(program: Program, library: Library, networks: Networks) -> list[Objective]:
    found = program.by_role("objective")
    others = [*program.by_role("update"), *program.by_role("start")]
    taken = {p.name for p in library.plain.values()} | (ours() - {"loss"})
    out = []
    for entry in (*found, *others):
        name = "loss" if entry.role == "objective" and len(found) == 1 else legal(snake(entry.name), taken)
        function = program.functions[entry.function]
        block, head = function.block, None
        if len(found) == 1 and not in_routine(program) and not clocked(entry):
            split = split_ahead(program, function)
            if split is not None:
                head, block = split
        definitions = [_prepare(head, library)] if head is not None else []
        definitions.append(_loss(program, name, entry, block, library, networks))
        out.append(Objective(entry, name, definitions, head is not None))
    return out


def _loss(program: Program, name: str, entry: Entry, block: Block, library: Library, networks: Networks) -> list[str]:
    trained = entry.role == "objective"
    block, mean = _whole_mean(block) if trained else (block, False)
    manner = library.manner(block, gradients="on" if trained else "off", network=networks.reach, param=networks.param)
    manner.copied = networks.is_state if trained else lambda node: True

    def finish(pieces: list[Piece]) -> str:
        return ", ".join([f"{pieces[0].atom}.mean()" if mean else pieces[0].text, *(p.text for p in pieces[1:])])

    clock = {i.name: i.role for i in entry.inputs if i.role in CLOCK}
    printed = print_block(block, manner, [Kind(v.name in clock) for v in block.params], finish=finish)
    types = [CLOCK[clock[v.name]] if v.name in clock else "Tensor" for v in block.params]
    params = ["model: Model", *(f"{p}: {t}" for p, t in zip(printed.params, types, strict=True))]
    shapes = ", ".join(f"{p}: {show(v.type.shape)}" for p, v in zip(printed.params, block.params, strict=True) if v.type.rank)
    gives = ["the mean over the batch"] if trained else []
    gives += [f"the new {path}" for path in entry.writes]
    doc = described(program.functions[entry.function].about, entry.doc or f"The {entry.role} {entry.name}.")
    text = docstring(doc, 4, f"{shapes}. Returns {' and '.join(gives)}." if shapes else "")
    result = "Tensor" if len(block.results) == 1 else "tuple[Tensor, ...]"
    head = [*([] if trained else ["@torch.no_grad()"]), *exploded(f"def {name}(", params, f") -> {result}:", 128)]
    return [*head, *text, *(f"    {line}" for line in printed.lines)]


def _whole_mean(block: Block) -> tuple[Block, bool]:
    """The mean over the batch of a mean over everything else is one mean."""
    value, *others = block.results
    batched = value.type.shape[:1] == (BATCH,)
    node = next((n for n in block.nodes if value in n.outputs), None)
    if batched and node is not None and node.op is Op.MEAN and value.type.rank == 1:
        source = node.inputs[0]
        rank = source.type.rank
        users = [n for n in walk(block) if any(v is value for v in n.inputs)]
        if not users and sorted(a % rank for a in node["axes"]) == list(range(1, rank)):
            return Block(params=block.params, nodes=block.nodes, results=(source, *others)), True
    return block, batched


def _prepare(block: Block, library: Library) -> list[str]:
    manner = library.manner(block, gradients="on", generator="generator")
    manner.taken |= {"generator"}
    printed = print_block(block, manner, [Kind(False)] * len(block.params))
    params = [*(f"{p}: Tensor" for p in printed.params), "generator: torch.Generator"]
    if len(block.results) == 1:
        printed.lines[-1] += ","
    head = exploded("def prepare(", params, ") -> tuple[Tensor, ...]:", 128)
    names = ", ".join(v.name or "a value" for v in block.results)
    doc = docstring(f"What no parameter touches, some batches ahead of training: {names}.", 4)
    return [*head, *doc, *(f"    {line}" for line in printed.lines)]


def split_ahead(program: Program, function: Function) -> tuple[Block, Block] | None:
    """An objective as the part before the host's functions are done, and the rest; None where there are none, or where
    what they are given depends on a parameter."""
    block = function.block
    hosts = [n for n in block.nodes if _calls_host(program, n)]
    if not hosts:
        return None
    wanted = {v.id for n in hosts for v in n.inputs}
    early: list[Node] = []
    for node in reversed(block.nodes):
        if node in hosts or any(v.id in wanted for v in node.outputs):
            early.insert(0, node)
            wanted.update(v.id for v in _reads(node))
    made = {v.id for n in early for v in n.outputs} | {v.id for v in block.params}
    follow = {v.id for n in hosts for v in n.outputs}
    for node in block.nodes:  # what is picked by the result goes along
        picks = node.op is Op.TAKE and any(v.id in follow for v in node.inputs)
        if picks and node not in early and all(v.id in made for v in node.inputs):
            early.append(node)
            made.update(v.id for v in node.outputs)
    if any(_has_parameters(program, n) for n in early):
        return None
    rest = [n for n in block.nodes if n not in early]
    needed = {v.id for n in rest for v in _reads(n)} | {v.id for v in block.results}
    passed: list[Value] = [v for v in block.params if v.id in needed]
    passed += [v for n in early for v in n.outputs if v.id in needed and n.op is not Op.CONST]
    constants = [n for n in early if n.op is Op.CONST and n.out.id in needed]
    head = Block(params=block.params, nodes=tuple(early), results=tuple(passed))
    return head, Block(params=tuple(passed), nodes=(*constants, *rest), results=block.results)


def _reads(node: Node) -> list[Value]:
    inner = [v for r in node.regions for n in walk(r) for v in n.inputs]
    return [*node.inputs, *inner, *(v for r in node.regions for v in r.results)]


def _calls_host(program: Program, node: Node) -> bool:
    inside = [node, *(n for r in node.regions for n in walk(r))]
    if any(n.op is Op.EXTERN for n in inside):
        return True
    called = [program.functions[n["function"]] for n in inside if n.op is Op.CALL and n.get("bundle") is None]
    return any(_calls_host(program, n) for f in called for n in f.block.nodes)


def _has_parameters(program: Program, node: Node) -> bool:
    inside = [node, *(n for r in node.regions for n in walk(r))]
    return any(n.op is Op.PARAM or (n.op in (Op.CALL, Op.REPEAT) and n.get("bundle") is not None) for n in inside)
