"""The program of a model that is trained with rounded numbers: `quantize NAME { ...; train = qat }`.

Each layer of a network that is trained multiplies its weight and its operand as the rules say they are rounded; the weights
themselves stay floats, which gradients change (`round_to`). Attention sees its keys and values as a cache would keep them,
and both operands of its products rounded where a rule names it. Networks of parents stay as they are, also where they share a
function with one that is trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from specc.ir.dataflow import OPERANDS, layers_of, sites, weight_of
from specc.ir.liveness import live
from specc.ir.ops import Op
from specc.ir.program import Block, Function, Ids, Node, Program, Quantization, QuantizeRule, Setting, Value, walk
from specc.ir.quantizing import block_of, block_of_operand, first_match, granularity, rounds_cache
from specc.ir.rewrite import ids_after, map_functions
from specc.ir.splice import join, turns
from specc.ir.types import GROWING

Rounds = dict[str, Any]  # attributes of `round_to`
Choice = frozenset[tuple[str, int]]  # the rules that decide below a bundle: (relative path, identity of the rule)


def rounded(program: Program, quantization: Quantization) -> Program:
    """Every entry with the numbers of trained networks rounded."""
    roots = [root for root in program.networks if not program.untrained(root)]
    rules = {}
    for layer in (layer for root in roots for layer in layers_of(program, root)):
        rule = first_match(quantization, layer)
        if rule is not None and (rule.weights or rule.activations):
            rules[layer.path] = rule
    caches = [r for r in quantization.rules if r.cache is not None]
    writer = _Writer(program.functions, ids_after(program), rules, caches, tuple(roots))
    entries = {e.name: replace(e, function=writer.function(e.function, "")) for e in program.entries.values()}
    networks = {r: writer.function(f, r) for r, f in program.networks.items()}
    return replace(program, functions=writer.functions | _left(program, writer.functions), entries=entries, networks=networks)


def unrounded(program: Program) -> Program:
    """The program whose layers multiply floats, at any level: what a quantiser with the same rules starts from."""
    return map_functions(program, lambda f: replace(f, block=live(_unrounded(f.block, {}))))


def _unrounded(block: Block, known: dict[int, Value]) -> Block:
    """known: what was rounded to give a value, in this block or around it."""
    nodes = []
    for node in block.nodes:
        if node.op is Op.ROUND_TO:
            known[node.out.id] = node.inputs[0]
        regions = tuple(_unrounded(r, known) for r in node.regions)
        inputs = tuple(known.get(v.id, v) for v in node.inputs) if node.op in OPERANDS else node.inputs
        attrs = tuple((k, v) for k, v in node.attrs if k != "rounds")
        nodes.append(replace(node, inputs=inputs, regions=regions, attrs=attrs))
    return replace(block, nodes=tuple(nodes))


def _left(program: Program, written: Mapping[str, Function]) -> dict[str, Function]:
    """Functions that no entry reaches, such as starts from a first batch, which stay as they are."""
    return {name: f for name, f in program.functions.items() if name not in written}


@dataclass(slots=True)
class _Writer:
    """Rewrites functions. One that is used in different ways becomes several, the first of which keeps its name."""

    source: Mapping[str, Function]
    ids: Ids
    rules: Mapping[str, QuantizeRule]  # by the path of a layer's weight
    caches: list[QuantizeRule]
    roots: tuple[str, ...]
    functions: dict[str, Function] = field(default_factory=dict)
    made: dict[tuple[str, Any], str] = field(default_factory=dict)
    touched: dict[str, bool] = field(default_factory=dict)

    def function(self, name: str, bundle: str) -> str:
        """The name of a function as it is written for a bundle."""
        key = (name, self.choice(bundle) if self.touches(name) else None)
        if key not in self.made:
            taken, count = name, 1
            while taken in self.functions or (count > 1 and taken in self.source):
                count += 1
                taken = f"{name}.{count}"
            self.made[key] = taken
            self.functions[taken] = f = self.source[name]
            paths = {id: join(bundle, site) for id, site in sites(f.block).items()}
            block = _Rewriting(self, bundle, paths).block(f.block) if self.touches(name) else f.block
            self.functions[taken] = replace(f, name=taken, block=block)
        return self.made[key]

    def touches(self, name: str) -> bool:
        """Whether a function has layers, or calls networks."""
        if name not in self.touched:
            self.touched[name] = False
            nodes = list(walk(self.source[name].block))
            calls = [n for n in nodes if n.op in (Op.CALL, Op.REPEAT)]
            ops = {Op.PARAM, Op.ATTENTION} | {Op.MATMUL for rule in self.rules.values() if rule.match == "matmul"}
            own = any(n.op in ops for n in nodes) or any(n["bundle"] is not None for n in calls)
            self.touched[name] = own or any(self.touches(n["function"]) for n in calls)
        return self.touched[name]

    def choice(self, bundle: str) -> tuple[Choice, int]:
        """What is decided below a bundle."""
        lead = f"{bundle}." if bundle else ""
        below = frozenset((p.removeprefix(lead), id(rule)) for p, rule in self.rules.items() if p.startswith(lead))
        cache = self.cache(bundle)
        return below, 0 if cache is None else id(cache)

    def cache(self, bundle: str) -> Setting | None:
        """How keys and values are kept by attention in a bundle."""
        if not any(f"{bundle}.".startswith(f"{root}.") for root in self.roots):
            return None
        return next((r.cache for r in self.caches if rounds_cache(r, bundle)), None)


@dataclass(slots=True)
class _Rewriting:
    """One function over one bundle."""

    writer: _Writer
    bundle: str
    paths: dict[int, str] = field(default_factory=dict)
    grown: set[int] = field(default_factory=set)

    def block(self, block: Block) -> Block:
        known: dict[Any, Value] = {}
        out: list[Node] = []
        self.grown |= grown(block)
        for node in block.nodes:
            node = replace(node, regions=tuple(self.block(r) for r in node.regions))
            if node.op is Op.PARAM:
                self.paths[node.out.id] = join(self.bundle, node["path"])
            if node.op in (Op.CALL, Op.REPEAT):
                out += self.call(node)
                continue
            node = self.weighed(self.backwards(node))
            changes = {} if node.get("rounds") else self.changes(node)
            inputs = tuple(self.round(v, changes.get(i, ()), known, out) for i, v in enumerate(node.inputs))
            out.append(replace(node, inputs=inputs))
        return replace(block, nodes=tuple(out))

    def rule(self, node: Node) -> QuantizeRule | None:
        known = node.out if node.op in (Op.ATTENTION, Op.MATMUL) else weight_of(node)
        return self.writer.rules.get(self.paths.get(known.id, "")) if known is not None else None

    def backwards(self, node: Node) -> Node:
        """A linear map whose gradients are rounded too does all of it itself."""
        rule = self.rule(node) if node.op is Op.LINEAR else None
        if rule is None or rule.gradients is None or rule.weights is None or rule.activations is None:
            return node
        names = (rule.weights.name, rule.activations.name, rule.gradients.name)
        return replace(node, attrs=tuple(sorted((*node.attrs, ("rounds", names)))))

    def weighed(self, node: Node) -> Node:
        """Attention whose products are rounded rounds what softmax gives, too."""
        rule = self.rule(node) if node.op is Op.ATTENTION else None
        if rule is None or rule.activations is None:
            return node
        made = {k: v for k, v in along(rule.activations, -1).items() if k != "axes"}
        return replace(node, attrs=tuple(sorted((*node.attrs, *made.items()))))

    def changes(self, node: Node) -> dict[int, tuple[Rounds, ...]]:
        """Which operands of a node are rounded, and how: keys and values as they are kept, then what is multiplied."""
        if node.op is Op.CONCAT and node.out.id in self.grown:
            return {1: self.cached()}
        kept = {i: self.cached() for i in (1, 2) if node.inputs[i].id not in self.grown} if node.op is Op.ATTENTION else {}
        rule = self.rule(node)
        if rule is None:
            return kept
        return {i: (*kept.get(i, ()), how) for i, how in _operands(rule, node).items()}

    def cached(self) -> tuple[Rounds, ...]:
        """How rows are kept."""
        cache = self.writer.cache(self.bundle)
        return () if cache is None else (along(cache, -1),)

    def round(self, value: Value, how: tuple[Rounds, ...], known: dict[Any, Value], out: list[Node]) -> Value:
        """The value rounded, once for each use in the same way."""
        for attrs in (tuple(sorted(h.items())) for h in how):
            if (value.id, attrs) not in known:
                made = Value(self.writer.ids.fresh(), value.type)
                out.append(Node(op=Op.ROUND_TO, inputs=(value,), outputs=(made,), attrs=attrs))
                known[value.id, attrs] = made
            value = known[value.id, attrs]
        return value

    def call(self, node: Node) -> list[Node]:
        """The call of what is written for the bundle; a REPEAT whose turns differ is written out."""
        if node.op is Op.CALL:
            below = self.bundle if node["bundle"] is None else join(self.bundle, node["bundle"])
            return [_calling(node, self.writer.function(node["function"], below))]
        places = [f"{node['bundle']}.{i}" for i in turns(node)]
        names = [self.writer.function(node["function"], join(self.bundle, p)) for p in places]
        if len(set(names)) == 1:
            return [_calling(node, names[0])]
        carried, inputs = node["carried"], node.inputs
        out = []
        for place, name in zip(places, names, strict=True):
            results = tuple(Value(self.writer.ids.fresh(), v.type, v.name) for v in node.outputs)
            if place == places[-1]:
                results = node.outputs
            attrs = {"function": name, "bundle": place, "lanes": 1}
            out.append(Node(op=Op.CALL, inputs=inputs, outputs=results, attrs=tuple(sorted(attrs.items())), span=node.span))
            inputs = (*results, *inputs[carried:])
        return out


def grown(block: Block) -> set[int]:
    """Keys and values that a sampler keeps, by their numbers: those of earlier places, rounded by then, and one more."""
    made = {n.out.id: n for n in block.nodes if n.op is Op.CONCAT}
    read = {v.id for n in block.nodes if n.op is Op.ATTENTION for v in n.inputs[1:]}
    return {id for id in read & made.keys() if GROWING in made[id].inputs[0].type.shape and len(made[id].inputs) == 2}


def _operands(rule: QuantizeRule, node: Node) -> dict[int, Rounds]:
    """How a rule rounds what a layer multiplies, along what is summed over; the values of causal attention by places, since
    scales of several would tell a place of later ones."""
    activations = rule.activations
    if node.op in (Op.MATMUL, Op.ATTENTION):
        axes = (-1, -2) if node.op is Op.MATMUL else (-1, -1, -1 if node.get("causal", False) else -2)
        return {i: along(activations, axis) for i, axis in enumerate(axes)} if activations is not None else {}
    operand, place = OPERANDS[node.op]
    made = {} if rule.weights is None else {place: of_weight(rule.weights, node.op, node.inputs[place].type.rank)}
    if activations is not None and node.op is not Op.TAKE:
        made[operand] = along(activations, -1 if node.op is Op.LINEAR else 1 - node.inputs[place].type.rank)
    return made


def _calling(node: Node, name: str) -> Node:
    return replace(node, attrs=tuple((k, name if k == "function" else v) for k, v in node.attrs))


def of_weight(setting: Setting, op: Op, rank: int) -> Rounds:
    """Attributes of `round_to` for a weight: scales of the whole, of each of its rows, or of blocks of a row."""
    row = 1 if op is Op.CONV_TRANSPOSE else 0
    every = granularity(setting) == "tensor"
    axes = tuple(i for i in range(rank) if every or i != row)
    return _attributes(setting, axes, block_of(setting) if granularity(setting) == "block" else 0)


def along(setting: Setting, axis: int) -> Rounds:
    """Attributes of `round_to` for an operand: scales of its numbers along an axis, or of blocks of them."""
    return _attributes(setting, (axis,), block_of_operand(setting) or 0)


def _attributes(setting: Setting, axes: tuple[int, ...], block: int) -> Rounds:
    made: Rounds = {"format": setting.name, "axes": axes}
    if block:
        made["block"] = block
    if setting.get("affine", False):
        made["affine"] = True
    return made
