"""The library: definitions in `specs/std/`, found by kind and name and parsed only when they are asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import NoReturn

from specc.sema.report import Library, did_you_mean, fail
from specc.sema.values import Applied, Definition, Symbol
from specc.source import Span
from specc.syntax import tree
from specc.syntax.parser import parse

_HEAD = re.compile(r"^([a-z_]+) ([A-Za-z_]\w*)(.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a library definition stands: its text, parsed on demand."""

    kind: str
    name: str
    file: str
    line: int
    text: str
    summary: str
    signature: str


@cache
def index() -> dict[tuple[str, str], Entry]:
    """Every library definition by kind and name, or `name for interface` where a name has several. The files are read once;
    nothing is parsed."""
    every: dict[tuple[str, str], list[Entry]] = {}
    folder = resources.files("specc.specs") / "std"
    for file in sorted(folder.iterdir(), key=lambda f: f.name):
        if not file.name.endswith(".spec"):
            continue
        text = file.read_text(encoding="utf-8")
        heads = [m for m in _HEAD.finditer(text) if m[1] != "specc"]
        for m, following in zip(heads, [*(h.start() for h in heads[1:]), len(text)], strict=True):
            line = text.count("\n", 0, m.start()) + 1
            signature = re.split(r"\s(?:for|over)\s|\{|=\s*extern", f"{m[2]}{_rest(text, m.start(3))}")[0].strip()
            made = Entry(m[1], m[2], file.name, line, text[m.start() : following], comment_over(text, m.start()), signature)
            every.setdefault((m[1], m[2]), []).append(made)
    found: dict[tuple[str, str], Entry] = {}
    for (kind, name), several in every.items():
        for entry in several:
            found[kind, name if len(several) == 1 else f"{name} for {_interface(entry)}"] = entry
    return found


def _rest(text: str, start: int) -> str:
    """A head from `start` on as one line: its arguments may go over several."""
    depth, at = 0, start
    while at < len(text) and (depth or text[at] != "\n"):
        depth += (text[at] in "([") - (text[at] in ")]")
        at += 1
    return re.sub(r"\n\s*", " ", text[start:at])


def _interface(entry: Entry) -> str:
    head = re.search(r"\sfor (\w+)", entry.text.split("{")[0])
    assert head is not None, f"two definitions `{entry.kind} {entry.name}`, and one does not say what it is for"
    return head[1]


def comment_over(text: str, offset: int) -> str:
    """The comment lines that end just before an offset."""
    lines: list[str] = []
    for line in reversed(text[:offset].split("\n")[:-1]):
        if not line.lstrip().startswith("#"):
            break
        lines.insert(0, line.strip()[1:].strip())
    return " ".join(lines)


@cache
def find(kind: str, name: str, interfaces: tuple[str, ...] = ()) -> Definition | None:
    """A library definition; None when there is none of that kind and name. Of several, the one for one of these interfaces."""
    ways = [name, *(f"{name} for {i}" for i in interfaces)]
    ways += [n for k, n in index() if k == kind and n.split(" for ")[0] == name]
    entry = next((e for way in ways if (e := index().get((kind, way))) is not None), None)
    if entry is None:
        return None
    file, diagnostics = parse(Library(f"std/{entry.file}", entry.text, entry.line))
    if diagnostics or not file.items or not isinstance(file.items[0], tree.Section):
        raise AssertionError(f"the library does not parse: {entry.file}:{entry.line}: {[d.message for d in diagnostics]}")
    return define(file.items[0], library=True, summary=entry.summary)


def names(kind: str) -> set[str]:
    return {e.name for (k, _), e in index().items() if k == kind}


def catalogue() -> list[Entry]:
    """The whole library, for `specc list`."""
    return sorted(index().values(), key=lambda e: (e.kind, e.name))


def define(section: tree.Section, *, library: bool = False, summary: str = "") -> Definition:
    """Read a section's head as a definition's name, parameters and inputs."""
    head = section.head
    groups: list[tuple[tree.Arg, ...]] = []
    while isinstance(head, tree.Call):
        groups.insert(0, head.args)
        head = head.func
    if not isinstance(head, tree.Name):
        fail("E0203", section.span, f"a definition of kind `{section.kind}` needs a name")
    params, inputs = [*groups, (), ()][:2]
    if section.kind in ("network", "backbone", "bijection") and len(groups) == 1 and any(a.type is not None for a in params):
        params, inputs = (), params
    return Definition(
        kind=section.kind,
        name=head.id,
        params=tuple(parameter(a) for a in params),
        inputs=tuple(parameter(a) for a in inputs),
        result=section.result,
        section=section,
        library=library,
        summary=summary or comment_over(section.span.source.text, section.span.start),
    )


CALLABLE = ("grid", "network", "bijection", "law", "function")  # kinds that an expression may call by their bare name
EXAMPLES = {"predict": "velocity", "process": "vp"}  # kinds of sections that bring names with them


def unknown(word: Symbol | Applied) -> NoReturn:
    """A word that should have been the name of something."""
    symbol = word.word if isinstance(word, Applied) else word
    name, span = symbol.id, symbol.span
    near = symbol.env.known() if symbol.env is not None else set()
    if name == "backbone":
        fail("E0209", span, "the model has no `backbone`", help="add one, such as `backbone mlp(width = 64)`")
    if name == "x":
        fail("E0209", span, "the model has no data", help="add them, such as `data x: vector(2) from moons`")
    for declared in (d for n in sorted(names("interface")) if (d := find("interface", n)) is not None):
        part = declared.interface or ""
        if part in EXAMPLES and declared.body is not None and name in {declares(item) for item in declared.body.items}:
            _comes_with(name, declared, "t_max" in near, span)
    known = near | set().union(*(names(k) for k in CALLABLE))
    fail("E0201", span, f"there is no `{name}` here", caption="unknown name", help=did_you_mean(name, known))


def _comes_with(name: str, interface: Definition, process: bool, span: Span) -> NoReturn:
    """A name that a section would bring, were it there or of another interface."""
    part = interface.interface or ""
    if process and part == "process":
        fail("E0209", span, f"`{name}` comes with a process for {interface.name}, and this model's is for another interface")
    help = f"add one, such as `{part} {EXAMPLES[part]}`"
    fail("E0209", span, f"`{name}` comes with a `{part}`, and this model has none", help=help)


def declares(item: tree.Statement) -> str | None:
    """The name that a statement of a body gives, or that one of an interface asks for."""
    match item:
        case (
            tree.Bind(targets=(tree.Call(func=tree.Name(id=name)),), draw=False)
            | tree.Bind(targets=(tree.Name(id=name),), draw=False)
            | tree.ExprStatement(value=tree.Call(func=tree.Name(id=name)) | tree.Name(id=name))
            | tree.Method(name=name)
        ):
            return name
        case tree.Section(kind="state", head=tree.Name(id=name)):
            return name
        case _:
            return None


def parameter(arg: tree.Arg) -> tree.Arg:
    """A header's bare `steps` is a parameter without a default."""
    if arg.name is None and isinstance(arg.value, tree.Name):
        return tree.Arg(span=arg.span, name=arg.value.id, type=None, value=None)
    if arg.name is None:
        fail("E0206", arg.span, "a parameter needs a name")
    return arg
