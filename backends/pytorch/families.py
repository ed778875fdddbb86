"""Classes that differ only in sizes, as one class with these sizes as arguments."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from specc.backends.pytorch.names import legal

from specc.ir.types import Shape
from specc.record import record

NUMBER = re.compile(r"(\"[^\"]*\"|'[^']*')|(?<![\w.])(\d+)(?![\w.]|e-)|[\w.]+")
SHAPE_COMMENT = re.compile(r"  # \(.*\)$")
DOC_LINE = re.compile(r'^\s*"""')


@dataclass(slots=True)
class Draft:
    """A class before its name is settled."""

    name: str
    doc: str
    about: str
    functions: tuple[str, ...]
    registrations: list[str]
    methods: list[str]
    sizes: dict[str, int] = field(default_factory=dict)  # of what it is given, by their usual names


@dataclass(slots=True)
class Family:
    """One class. `constructors` say how each member is made."""

    name: str
    doc: str
    about: str
    members: list[Draft]
    params: list[str] = field(default_factory=list)
    attributes: list[str] = field(default_factory=list)  # sizes that the methods read
    registrations: list[str] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)
    constructors: list[str] = field(default_factory=list)


@record
class Slot:
    """A whole number in the text of a class: where it stands, and its value in each member."""

    line: int
    start: int
    stop: int
    values: tuple[int, ...]
    method: bool


def merge(drafts: Iterable[Draft], taken: set[str]) -> list[Family]:
    """Families in the order of their first members; `taken` collects the names of classes."""
    groups: dict[tuple[str, tuple[str, ...]], list[Draft]] = defaultdict(list)
    for draft in drafts:
        groups[draft.name, _skeleton(draft)].append(draft)
    out = []
    for (name, _), members in groups.items():
        shown, count = name, 2
        while shown in taken:
            shown, count = f"{name}{count}", count + 1
        taken.add(shown)
        out.append(_family(shown, members))
    return out


def _code(draft: Draft) -> list[str]:
    """All lines of code, without what may differ between members: comments with shapes, and docstrings."""
    return [*draft.registrations, *("" if DOC_LINE.match(m) else SHAPE_COMMENT.sub("", m) for m in draft.methods)]


def _numbers(line: str) -> list[re.Match[str]]:
    return [m for m in NUMBER.finditer(line) if m[2]]


def _skeleton(draft: Draft) -> tuple[str, ...]:
    return tuple(NUMBER.sub(lambda m: "#" if m[2] else m[0], line) for line in _code(draft))


def _family(name: str, members: list[Draft]) -> Family:
    texts = [_code(m) for m in members]
    first = members[0]
    slots = [
        Slot(i, found[0].start(), found[0].end(), tuple(int(m[2]) for m in found), i >= len(first.registrations))
        for i in range(len(texts[0]))
        for found in zip(*(_numbers(t[i]) for t in texts), strict=True)
    ]
    moving = [s for s in slots if len(set(s.values)) > 1]
    params = _name_sizes(moving, texts[0], members)
    lines = list(texts[0])
    for slot in sorted(moving, key=lambda s: -s.start):
        text = lines[slot.line]
        name_here = params[slot.values]
        new = f"self.{name_here}" if slot.method else name_here
        lines[slot.line] = text[: slot.start] + new + text[slot.stop :]
    methods = lines[len(first.registrations) :]
    for i, line in enumerate(first.methods):
        same = all(m.methods[i] == line for m in members)
        if (DOC_LINE.match(line) and same) or (
            same and SHAPE_COMMENT.search(line) and methods[i] == SHAPE_COMMENT.sub("", line)
        ):
            methods[i] = line
    methods = [m for m, old in zip(methods, first.methods, strict=True) if m or not old]
    used = list(dict.fromkeys(params[s.values] for s in moving if s.method))
    own = {v: p for v, p in params.items() if p.isidentifier()}
    constructors = [f"{name}({', '.join(f'{p}={v[k]}' for v, p in own.items())})" for k in range(len(members))]
    return Family(
        name=name,
        doc=_doc([m.doc for m in members]),
        about=first.about,
        members=members,
        params=list(own.values()),
        attributes=used,
        registrations=lines[: len(first.registrations)],
        methods=methods,
        constructors=constructors,
    )


ROLES: list[tuple[str, tuple[str, ...]]] = [
    (r"nn\.Linear\($", ("inputs", "width")),
    (r"nn\.Conv(?:Transpose)?\dd\($", ("channels", "width")),
    (r"nn\.GroupNorm\($", ("groups", "channels")),
    (r"nn\.(?:LayerNorm|RMSNorm)\($", ("width",)),
    (r"nn\.Embedding\($", ("classes", "width")),
]


def dimensions(shape: Shape) -> dict[str, int]:
    """The sizes of an array of examples by the names that they usually have."""
    sizes = [int(d) for d in shape[1:]]
    match sizes:
        case [width]:
            return {"width": width}
        case [length, width]:
            return {"length": length, "width": width}
        case [channels, rows, columns]:
            return {"channels": channels, "rows": rows, "columns": columns, "places": rows * columns}
    return {}


def _shared(found: list[dict[str, int]]) -> dict[tuple[int, ...], str]:
    """Names by their values in each member, of those that all members have."""
    out: dict[tuple[int, ...], str] = {}
    for key in found[0]:
        if all(key in f for f in found):
            out.setdefault(tuple(f[key] for f in found), key)
    return out


def _name_sizes(slots: list[Slot], text: list[str], members: list[Draft]) -> dict[tuple[int, ...], str]:
    """A name for each size that differs between members: the spec's own where it is a knob, else by its role, else that of
    a dimension; or a multiple of another size, where the constructor can work it out."""
    knobs = _shared([{k: int(v) for k, v in re.findall(r"(\w+) = (\d+)(?![\w.])", m.doc)} for m in members])
    given = _shared([m.sizes for m in members])
    first: dict[tuple[int, ...], Slot] = {}
    for slot in slots:
        first.setdefault(slot.values, slot)
    read = {s.values for s in slots if s.method}
    bases = [v for v in first if v in read or _multiple(v, [u for u in first if u != v]) is None]
    out: dict[tuple[int, ...], str] = {}
    for values in bases:
        role = _role(text[first[values].line], first[values].start)
        wanted = legal(knobs.get(values) or role or given.get(values) or "size")
        name, count = wanted, 2
        while name in out.values():
            name, count = f"{wanted}_{count}", count + 1
        out[values] = name
    for values in first:
        if values not in out:
            factor, base = _multiple(values, bases) or (1, values)
            out[values] = f"{factor} * {out[base]}"
    return out


def _multiple(values: tuple[int, ...], others: list[tuple[int, ...]]) -> tuple[int, tuple[int, ...]] | None:
    """factor * other, for a small factor; others that are multiples themselves come last."""
    for factor in (2, 3, 4, 6, 8):
        for other in others:
            if tuple(factor * v for v in other) == values:
                return factor, other
    return None


def _role(line: str, at: int) -> str:
    """What a number is for, by the call around it."""
    keyword = re.search(r"(\w+)=$", line[:at])
    if keyword:
        return keyword[1]
    depth, commas = 0, 0
    for i in range(at - 1, -1, -1):
        if line[i] == ")":
            depth += 1
        elif line[i] == "(" and depth:
            depth -= 1
        elif line[i] == "," and not depth:
            commas += 1
        elif line[i] == "(":
            for pattern, names in ROLES:
                if re.search(pattern, line[: i + 1]) and commas < len(names):
                    return names[commas]
            break
    return ""


def _doc(docs: list[str]) -> str:
    """The line of the spec, with knobs that differ left open."""
    if len(set(docs)) == 1:
        return docs[0]
    values: dict[str, set[str]] = defaultdict(set)
    for doc in docs:
        for key, value in re.findall(r"(\w+) = ([^,()]+)", doc):
            values[key].add(value)
    return re.sub(r"(\w+) = ([^,()]+)", lambda m: m[0] if len(values[m[1]]) == 1 else m[1], docs[0])
