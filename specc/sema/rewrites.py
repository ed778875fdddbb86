"""Networks seen and changed from within: `tap(net, "mid")` and `patch better from net { at "mid"(h) = 0.8 * h }`.

Places in a network have paths: tags, sub-networks and layers by their names, turns of a repetition by their number, and so on
inside of them (`up.1.skip`, `block.2`, `block.2.attention`). A rewritten network is another function over the same parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from specc.ir.liveness import live
from specc.ir.ops import Op
from specc.ir.paths import parameters
from specc.ir.program import Builder, Function, Node, Value
from specc.ir.rewrite import Subst, copy_block, substitute_node
from specc.record import record
from specc.sema.arithmetic import describe, lift
from specc.sema.frame import Frame
from specc.sema.report import choices, did_you_mean, fail
from specc.sema.values import Bound, Captures, Closure, Network, Symbol, View
from specc.source import Span

OUTPUT = "output"  # what the network itself gives, among the places of a tap
SHOWN = 6  # places that a message lists


@record(eq=False)
class Tap:
    """The network's values at these places, in their order."""

    paths: tuple[str, ...]
    span: Span

    def apply(self, ev: Any, function: Function) -> Function:
        known = dict.fromkeys(places(ev, function))
        for path in self.paths:
            if path not in (OUTPUT, *known):
                fail("E0201", self.span, f"`{function.name}` has no place `{path}`", help=_near(path, known))
        inside = tuple(dict.fromkeys(p for p in self.paths if p != OUTPUT))
        name = f"{'with' if OUTPUT in self.paths else 'at'}_{'_'.join(inside)}".replace(".", "_")
        full = Rewriting(ev, name, lambda path: ()).of(function, inside)
        del ev.functions[full.name]
        block = full.block
        own = block.results[: len(function.block.results)]
        seen = dict(zip(inside, block.results[len(own) :], strict=True))
        results = tuple(v for p in self.paths for v in (own if p == OUTPUT else (seen[p],)))
        return _registered(ev, replace(full, block=live(replace(block, results=results))), function)


@record(eq=False)
class Patch:
    """The network with functions applied at the places that patterns match."""

    name: str
    rules: tuple[tuple[str, Closure], ...]

    def apply(self, ev: Any, function: Function) -> Function:
        known = dict.fromkeys(places(ev, function))
        for pattern, closure in self.rules:
            if not any(fnmatchcase(path, pattern) for path in known):
                fail("E0201", closure.span, f"`{function.name}` has no place like `{pattern}`", help=_near(pattern, known))

        def changes(path: str) -> tuple[Closure, ...]:
            return tuple(closure for pattern, closure in self.rules if fnmatchcase(path, pattern))

        return Rewriting(ev, self.name, changes).of(function, ())


def _near(path: str, known: dict[str, None]) -> str:
    return did_you_mean(path, known) or f"there are {choices(list(known)[:SHOWN])}"


def _through(ev: Any, closures: tuple[Closure, ...], value: Value, builder: Builder) -> Value:
    """A value after the functions of a patch, which have no parameters of their own."""
    for closure in closures:
        before = len(builder.nodes)
        frame = Frame(builder=builder, kind="network", like=value if value.type.batched else None, span=closure.span)
        try:
            made = ev.spread(lift(ev.call(closure, [value], {}, frame, closure.span), frame, closure.span), frame, closure.span)
        except Captures:
            message = "a patch depends on the value that it replaces and on numbers that are known while compiling"
            fail("E0309", closure.span, message)
        if any(_weighted(ev, n) for n in builder.nodes[before:]):
            fail("E0309", closure.span, "a patch has no parameters of its own", help="make the layer a part of the network")
        if made.type != value.type:
            fail("E0301", closure.span, f"this place holds {value.type}, and the patch gives {made.type}")
        value = made
    return value


def _weighted(ev: Any, node: Node) -> bool:
    """Whether a node has or calls for parameters."""
    inside = _stem(node) is not None and parameters(ev.functions, {"": node["function"]})
    return node.op is Op.PARAM or bool(inside)


# Places -------------------------------------------------------------------------------------------------------------


def places(ev: Any, function: Function) -> Iterator[str]:
    """The paths of all places in a network, in the order of its text."""
    tags: dict[int, list[str]] = {}
    for tag, value in ev.marks.get(function.name, {}).items():
        tags.setdefault(value, []).append(tag)
    weights = _weights(function)
    for node in function.block.nodes:
        for stem in _turns(node):
            yield stem
            yield from (f"{stem}.{inner}" for inner in places(ev, ev.functions[node["function"]]))
        yield from _layer(node, weights)
        yield from (tag for v in node.outputs for tag in tags.get(v.id, ()))


def _stem(node: Node) -> str | None:
    """The path of the sub-network that a node calls."""
    return node.get("bundle") if node.op in (Op.CALL, Op.REPEAT) else None


def _turns(node: Node) -> list[str]:
    """The sub-networks that a node calls, one after another."""
    stem = _stem(node)
    if stem is None:
        return []
    return [f"{stem}.{i}" for i in range(node["count"])] if node.op is Op.REPEAT else [stem]


def _weights(function: Function) -> dict[int, str]:
    """Values that are parameters of a layer, and the layer's path."""
    found = {n.out.id: n["path"].rpartition(".")[0] for n in function.block.nodes if n.op is Op.PARAM}
    return {value: stem for value, stem in found.items() if stem}


def _layer(node: Node, weights: dict[int, str]) -> list[str]:
    return list(dict.fromkeys(weights[v.id] for v in node.inputs if v.id in weights))


# Rewriting ------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Rewriting:
    """Writes networks again with values changed at places, and with values at places beside their results.

    name: of the functions made. changes: what a value at a path goes through.
    """

    ev: Any
    name: str
    changes: Callable[[str], tuple[Closure, ...]]
    made: dict[Any, Function] = field(default_factory=dict)

    def inner(self, function: Function, wanted: tuple[str, ...], prefix: str) -> Function:
        """A network inside, itself if nothing in it is wanted or changed; written once for what is done in the same way."""
        done = tuple((path, self.changes(f"{prefix}{path}")) for path in places(self.ev, function))
        if not wanted and not any(closures for _, closures in done):
            return function
        key = (function.name, wanted, tuple((path, tuple(map(id, closures))) for path, closures in done))
        if key not in self.made:
            self.made[key] = self.of(function, wanted, prefix)
        return self.made[key]

    def of(self, function: Function, wanted: tuple[str, ...], prefix: str = "") -> Function:
        """prefix: the path of this network in the outermost one."""
        copied: Subst = {}
        block = copy_block(function.block, copied, self.ev.ids)
        copy = replace(function, block=block)
        marks = self.ev.marks.get(function.name, {})
        tags = {copied[value].id: tag for tag, value in marks.items() if value in copied}
        work = _Work(self, Builder(self.ev.ids, params=list(block.params)), prefix, wanted, tags, _weights(copy))
        for node in block.nodes:
            work.node(substitute_node(node, work.now))
        results = [work.now.get(v.id, v) for v in block.results] + [work.seen[path] for path in wanted]
        made = replace(function, name=self.ev.unique(self.name), block=work.builder.block(*results))
        self.ev.marks[made.name] = {tag: work.now.get(value, block.params[0]).id for value, tag in tags.items()}
        return _registered(self.ev, made, function)


@dataclass(slots=True)
class _Work:
    """One network as it is written again. now: what stands for values of the old one."""

    rewriting: Rewriting
    builder: Builder
    prefix: str
    wanted: tuple[str, ...]
    tags: dict[int, str]
    weights: dict[int, str]
    now: Subst = field(default_factory=dict)
    seen: dict[str, Value] = field(default_factory=dict)

    def node(self, node: Node) -> None:
        layers = _layer(node, self.weights)
        if node.op is Op.REPEAT and self.enters(node):
            new, rest = node.inputs[: node["carried"]], node.inputs[node["carried"] :]
            for stem in _turns(node):
                new = self.call(node, stem, (*new, *rest))
        elif node.op is Op.CALL and _stem(node) is not None:
            new = self.call(node, node["bundle"], node.inputs)
        else:
            new = self.builder.push(node)
            for stem in layers:
                new = (self.at(stem, new[0]), *new[1:])
        done = (*_turns(node), *layers)
        for old, value in zip(node.outputs, new, strict=True):
            tag = self.tags.get(old.id)
            self.now[old.id] = value if tag is None or tag in done else self.at(tag, value)

    def enters(self, node: Node) -> bool:
        """Whether the turns of a repetition differ."""
        callee = self.rewriting.ev.functions[node["function"]]
        wanted = any(p.startswith(f"{node['bundle']}.") for p in self.wanted)
        stems = [f"{self.prefix}{stem}" for stem in _turns(node)]
        return wanted or any(
            self.rewriting.changes(s) or self.rewriting.inner(callee, (), f"{s}.") is not callee for s in stems
        )

    def call(self, node: Node, stem: str, inputs: tuple[Value, ...]) -> tuple[Value, ...]:
        """A call of a sub-network, written again itself where something in it is wanted or changed."""
        ev = self.rewriting.ev
        callee = ev.functions[node["function"]]
        known = set(places(ev, callee))  # a tag of this network may begin like a path into that one
        wanted = tuple(w for p in self.wanted if p.startswith(f"{stem}.") and (w := p.removeprefix(f"{stem}.")) in known)
        callee = self.rewriting.inner(callee, wanted, f"{self.prefix}{stem}.")
        types = tuple(v.type for v in callee.block.results)
        names = tuple(v.name for v in node.outputs)
        out = self.builder.add_many(
            Op.CALL, *inputs, function=callee.name, bundle=stem, lanes=1, types=types, names=names, span=node.span
        )
        own = out[: len(out) - len(wanted)]
        self.seen |= {f"{stem}.{path}": value for path, value in zip(wanted, out[len(own) :], strict=True)}
        return (self.at(stem, own[0]), *own[1:])

    def at(self, path: str, value: Value) -> Value:
        value = _through(self.rewriting.ev, self.rewriting.changes(f"{self.prefix}{path}"), value, self.builder)
        self.seen[path] = value
        return value


def _registered(ev: Any, made: Function, of: Function) -> Function:
    ev.functions[made.name] = made
    ev.family[made.name] = ev.family.get(of.name, of.name)
    return made


# In the language ------------------------------------------------------------------------------------------------------


def tap(ev: Any, frame: Frame, span: Span, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """tap(net, "mid", output): the network's values at places, as a function of its inputs; `output` is its own result."""
    net, *given = args or [None]
    paths = tuple(p.id if isinstance(p, Symbol) and p.id == OUTPUT else p for p in given)
    if kwargs or not paths or not all(isinstance(p, str) for p in paths):
        fail(
            "E0304",
            span,
            "`tap` takes a network and the paths of places in it",
            help='as in `tap(backbone, "mid", output)(z, t)`',
        )
    seen = Tap(paths, span)
    match net:
        case Network():
            return replace(net, rewrites=(*net.rewrites, seen))
        case View(network=Network() as inner):
            return replace(net, network=replace(inner, rewrites=(*inner.rewrites, seen)))
        case Bound(value=Network() as inner):
            return replace(net, value=replace(inner, rewrites=(*inner.rewrites, seen)))
        case _:
            return fail("E0304", span, f"`tap` takes a network, not {describe(net)}")


def rewritten(ev: Any, net: Network, function: Function) -> Function:
    """The function of a network after its taps and patches, each written once."""
    for rewrite in net.rewrites:
        key = ("rewrite", id(rewrite), function.name)
        if key not in ev.memo:
            ev.memo[key] = (rewrite.apply(ev, function), rewrite)  # kept alive, so that no other one has its id
        function = ev.memo[key][0]
    return function
