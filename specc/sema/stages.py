"""The models of a file and how they follow from each other: what a stage takes over from its parents, and its repetitions.

A model is elaborated once, when a stage or the caller first asks for it; a stage then sees its parents' functions and
networks, and its program says which weights come from where.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from specc.ir.paths import parameters
from specc.ir.program import Builder, Parent, Program, Share
from specc.ir.types import Shape
from specc.sema import builtins
from specc.sema.arithmetic import shown
from specc.sema.elaborator import Elaborator
from specc.sema.frame import Frame
from specc.sema.model import ONCE, Model
from specc.sema.report import did_you_mean, fail
from specc.sema.values import Ancestor, Bundles, Env, Namespace, View
from specc.sema.views import OF_PARENTS
from specc.source import Span
from specc.syntax import tree

OUTSIDE = ("sampler", "query", "guidance")  # a stage with samplers of its own has none of its parent's
MOST_STAGES = 100  # of one repeated stage


@dataclass(slots=True)
class Unit:
    """A model or a stage before it is elaborated: its section with all that it takes over, and then what it became."""

    name: str
    section: tree.Section
    parents: tuple[tuple[str, Unit], ...] = ()  # by the names that the stage has for them
    numbers: dict[str, int] = field(default_factory=dict)  # of a repeated stage
    said: tuple[tree.Statement, ...] = ()  # what a stage says itself
    model: Model | None = None
    program: Program | None = None

    def anew(self, root: str) -> bool:
        """Whether the stage itself says what a network is, so that it starts afresh."""
        kinds = [("backbone", "")] if root == "backbone" else [(kind, root) for kind in ("network", "param", "state")]
        return any(_identity(i) in kinds for i in self.said)


Units = dict[str, Unit]  # by name, `alias.name` for those of another file


def unit(item: tree.Section, known: Units) -> Unit:
    """`model b from a { ... }`: a's sections, with those that b says anew replaced."""
    assert isinstance(item.head, tree.Name)
    base = next((_find(node, known) for c in item.clauses if c.word == "from" for node in c.values[:1]), None)
    if base is None:
        return Unit(item.head.id, item)
    section = replace(item, body=_merged(base.section, item), clauses=())
    said = (*base.said, *(item.body.items if item.body else ()))
    return Unit(item.head.id, section, base.parents, base.numbers, said)


def stages(item: tree.Section, known: Units) -> list[Unit]:
    """`stage b from a { ... }`, or one for each value of `stage b for n in [4, 2, 1] from a { ... }`, each from the last."""
    if not isinstance(item.head, tree.Name):
        fail("E0203", item.span, "a stage needs a name", help="write `stage NAME from PARENT { ... }`")
    clauses = {c.word: c for c in item.clauses}
    if "from" not in clauses or item.body is None:
        fail(
            "E0209",
            item.span,
            f"the stage `{item.head.id}` needs parents and a body",
            help="write `stage NAME from PARENT { ... }`",
        )
    parents = [(node.span.text, _find(node, known)) for node in clauses["from"].values]
    if ("for" in clauses) != ("in" in clauses):
        fail("E0204", item.span, "a repeated stage is written `stage NAME for n in [4, 2, 1] from PARENT { ... }`")
    if "for" not in clauses:
        return [_stage(item.head.id, item, parents, {})]
    name, made = clauses["for"].values[0], []
    if not isinstance(name, tree.Name):
        fail("E0203", name.span, "the name of a number is needed here")
    for value in _integers(clauses["in"].values[0]):
        made.append(_stage(f"{item.head.id}_{value}", item, parents, {name.id: value}))
        parents = [("", made[-1]), *parents[1:]]
    return made


def _stage(name: str, item: tree.Section, parents: list[tuple[str, Unit]], numbers: dict[str, int]) -> Unit:
    said = item.body.items if item.body else ()
    sampled = any(isinstance(i, tree.Section) and i.kind == "sampler" for i in said)
    body = _merged(parents[0][1].section, item, ("view", *(OUTSIDE if sampled else ())))
    section = replace(item, body=body, clauses=())
    return Unit(name, section, tuple(parents), numbers, said)


def _find(node: tree.Expr, known: Units) -> Unit:
    name = node.id if isinstance(node, tree.Name) else node.span.text
    if name not in known:
        help = did_you_mean(name, known) or "a stage stands after its parents"
        fail("E0203", node.span, f"there is no model `{name}` before this one", help=help)
    return known[name]


def _integers(node: tree.Expr) -> list[int]:
    ev = Elaborator(builtins=builtins.environment(), world=Env())
    found = ev.expr(node, ev.builtins, Frame(builder=Builder(ev.ids), kind="model", span=node.span))
    items = list(found) if isinstance(found, (list, range)) else []
    if not 1 <= len(items) <= MOST_STAGES or any(isinstance(i, bool) or not isinstance(i, int) or i < 0 for i in items):
        fail("E0305", node.span, f"a stage is repeated for 1 to {MOST_STAGES} whole numbers", help="as in `for n in [4, 2, 1]`")
    if len(set(items)) < len(items):
        fail("E0208", node.span, "two stages would have one name", help="leave out the number that stands here twice")
    return items


def _merged(base: tree.Section, item: tree.Section, outside: tuple[str, ...] = ()) -> tree.Block:
    """The sections of base, with those that item says anew in their place, which a condition may read from there."""
    own: dict[tuple[str, str], list[tree.Statement]] = {}
    for statement in item.body.items if item.body else ():
        own.setdefault(_identity(statement), []).append(statement)
    items: list[tree.Statement] = []
    for statement in base.body.items if base.body else ():
        identity = _identity(statement)
        if identity in own:
            items += own[identity]
        elif identity[0] not in outside:
            items.append(statement)
    items += [statement for again in own.values() for statement in again]
    return tree.Block(span=item.span, items=tuple({id(i): i for i in items}.values()))


def _identity(item: tree.Statement) -> tuple[str, str]:
    """What a statement replaces: the section of its kind, or of its kind and name where there may be several."""
    if isinstance(item, tree.Bind) and isinstance(item.targets[0], tree.Name):
        call = item.values[0] if item.values else None
        view = isinstance(call, tree.Call) and isinstance(call.func, tree.Name) and call.func.id in OF_PARENTS
        return ("view" if view else "name", item.targets[0].id)  # a parent's own parents are not those of its stages
    if not isinstance(item, tree.Section):
        return ("", item.span.text)
    if item.kind in ONCE or item.kind == "loss":
        return (item.kind, "")
    head = item.head
    while isinstance(head, tree.Call):
        head = head.func
    return (item.kind, head.id if isinstance(head, tree.Name) else "")


# What a stage sees of its parents, and what its program says of them --------------------------------------------------


def introduce(m: Model, made: Unit) -> None:
    """The names of a stage's parents and of its number; `parent` is the first of them."""
    m.env.names.update(made.numbers)
    if made.parents:
        m.anew = made.anew
    for i, (name, unit) in enumerate(made.parents):
        ancestor = Ancestor(name or unit.name, unit.model)
        alias, _, last = name.rpartition(".")
        if alias:
            m.ev.parents.setdefault(alias, Namespace(alias, {})).members[last] = ancestor
        elif name:
            m.ev.parents[name] = ancestor
        if i == 0:
            m.ev.parents["parent"] = ancestor
            m.env.names.update(_lent(unit.model))


def _lent(parent: Model | None) -> dict[str, View]:
    """What the parent itself sees of its parents, for the losses that are taken over with it. Patches come as sections."""
    found = parent.env.names.items() if parent is not None else ()
    views = {name: view for name, view in found if isinstance(view, View) and view.bundles}
    return {
        name: replace(view, bundles=(*view.bundles, Bundles(view.bundles[-1].kind, "", of=parent, span=view.bundles[-1].span)))
        for name, view in views.items()
    }


def inherited(made: Unit, m: Model, program: Program) -> Program:
    """The program with what it takes from its parents: networks frozen or copied, and those that it goes on training."""
    out = []
    for i, (_, unit) in enumerate(made.parents):
        assert unit.program is not None
        lent = [(path, b) for path, b in m.ev.borrowed.items() if b.bundles.of is unit.model]
        shares = [Share(path=path, of=b.of, frozen=b.bundles.kind == "frozen") for path, b in lent]
        if i == 0:
            kept = [root for root in roots(program) if root in roots(unit.program) and root not in m.ev.borrowed]
            shares += [Share(path=root, of=root) for root in kept if not made.anew(root)]
        paths = list(weights(program))
        shares = [s for s in shares if any(f"{path}.".startswith(f"{s.path}.") for path in paths)]
        for share in shares:
            at = next((b.bundles.span for path, b in lent if path == share.path), None)
            _fits(share, program, unit, at or made.section.kind_span)
        averaged = bool(unit.program.setting("ema"))
        out.append(Parent(name=unit.name, digest=unit.program.digest, averaged=averaged, shares=tuple(shares)))
    return replace(program, parents=tuple(out))


def roots(program: Program) -> list[str]:
    """Networks, and the tensors that belong to none."""
    return [*program.networks, *(b.path for b in program.bare)]


def weights(program: Program) -> dict[str, Shape]:
    return parameters(program.functions, program.networks) | {b.path: b.shape for b in program.bare}


def _fits(share: Share, program: Program, unit: Unit, span: Span) -> None:
    """The parent has every weight that is taken from it, in the same shape."""
    assert unit.program is not None
    theirs = weights(unit.program)
    for path, shape in weights(program).items():
        if not f"{path}.".startswith(f"{share.path}."):
            continue
        there = share.of + path[len(share.path) :]
        if theirs.get(there) != shape:
            have = f"there it has shape {shown(theirs[there])}" if there in theirs else "it has no such weight"
            message = f"`{path}` of shape {shown(shape)} cannot come from `{unit.name}`: {have}"
            help = "let the network have the same inputs as in the parent, or say it anew to train it from the start"
            fail("E0311", span, message, help=help)
