"""The library: definitions in `specs/std/`, found by kind and name and parsed only when they are asked for."""

from __future__ import annotations

import re
from functools import cache
from typing import NoReturn

from specc.installed import folder
from specc.record import record
from specc.sema.report import Library, did_you_mean, fail
from specc.sema.values import Applied, Definition, Symbol
from specc.source import Span
from specc.syntax import tree
from specc.syntax.parser import parse

_HEAD = re.compile(r"^([a-z_]+) ([A-Za-z_]\w*)", re.MULTILINE)


@record
class Entry:
    """Where a library definition stands. Its text is parsed, and the rest is read off it, when that is asked for."""

    kind: str
    name: str
    file: str
    before: str  # the text of the file up to here
    text: str

    @property
    def line(self) -> int:
        return self.before.count("\n") + 1

    @property
    def head(self) -> str:
        """All before the body as one line: arguments may go over several."""
        depth, at = 0, 0
        while at < len(self.text) and (depth or self.text[at] not in "{\n"):
            depth += (self.text[at] in "([") - (self.text[at] in ")]")
            at += 1
        return re.sub(r"\n\s*", " ", self.text[:at])

    @property
    def signature(self) -> str:
        """The name with its parameters."""
        return re.split(r"\s(?:for|over)\s|=\s*extern", self.head.removeprefix(self.kind))[0].strip()

    @property
    def interface(self) -> str | None:
        """What it is `for`."""
        found = re.search(r"\sfor (\w+)", self.head)
        return found[1] if found else None

    @property
    def summary(self) -> str:
        return comment(self.before, len(self.before))


def comment(text: str, offset: int) -> str:
    """The comment lines that end just before an offset."""
    lines: list[str] = []
    for line in reversed(text[:offset].split("\n")[:-1]):
        if not line.lstrip().startswith("#"):
            break
        lines.insert(0, line.strip()[1:].strip())
    return " ".join(lines)


@cache
def index() -> dict[tuple[str, str], Entry]:
    """Every library definition by kind and name, or `name for interface` where a name has several. The files are read once;
    nothing is parsed."""
    every: dict[tuple[str, str], list[Entry]] = {}
    for file in sorted((folder("specc.specs") / "std").glob("*.spec")):
        text = file.read_text(encoding="utf-8")
        heads = [m for m in _HEAD.finditer(text) if m[1] != "specc"]
        for m, following in zip(heads, [*(h.start() for h in heads[1:]), len(text)], strict=True):
            every.setdefault((m[1], m[2]), []).append(
                Entry(m[1], m[2], file.name, text[: m.start()], text[m.start() : following])
            )
    found: dict[tuple[str, str], Entry] = {}
    for (kind, name), several in every.items():
        for entry in several:
            found[kind, name if len(several) == 1 else f"{name} for {entry.interface}"] = entry
    return found


def find(kind: str, name: str, interfaces: tuple[str, ...] = ()) -> Definition | None:
    """A library definition; None when there is none of that kind and name. Of several, the one for one of these interfaces."""
    key = _key(kind, name, interfaces)
    return None if key is None else _parsed(kind, key)


@cache
def _key(kind: str, name: str, interfaces: tuple[str, ...]) -> str | None:
    ways = [name, *(f"{name} for {i}" for i in interfaces)]
    ways += [n for k, n in index() if k == kind and n.split(" for ")[0] == name]
    return next((way for way in ways if (kind, way) in index()), None)


@cache
def _parsed(kind: str, key: str) -> Definition:
    entry = index()[kind, key]
    file, diagnostics = parse(Library(f"std/{entry.file}", entry.text, entry.line))
    if diagnostics or not file.items or not isinstance(file.items[0], tree.Section):
        raise AssertionError(f"the library does not parse: {entry.file}:{entry.line}: {[d.message for d in diagnostics]}")
    return define(file.items[0], library=True, summary=entry.summary)


def interfaces(*parts: str, naming: str = "") -> list[Definition]:
    """The library's interfaces for these kinds of sections; with a name, those that have a statement that begins with it."""
    found = [(name, entry) for (kind, name), entry in index().items() if kind == "interface" and entry.interface in parts]
    begins = re.compile(rf"[\n{{;] *(?:state )?{naming}")
    return [_parsed("interface", name) for name, entry in sorted(found, key=lambda f: f[0]) if begins.search(entry.text)]


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
        summary=summary or comment(section.span.source.text, section.span.start),
    )


CALLABLE = ("law", "grid", "network", "bijection", "function")  # kinds that an expression may call by their bare name, in order
LATER = ("checkpoint", "slice")  # functions of networks that are not there yet
EXAMPLES = {"predict": "velocity", "process": "vp"}  # kinds of sections that bring names with them


ELSEWHERE = {  # words of Python and its libraries, and what is said here
    "True": "write `true`",
    "False": "write `false`",
    "None": "write `none`",
    "range": "write `0..n - 1`",
    "len": "write `size(v)` or `dim(v, 0)`",
    **dict.fromkeys(("torch", "np", "numpy", "math", "nn", "F", "jnp"), "functions stand alone here: `sum(x)`, `sqrt(x)`"),
    "self": "names of the model stand alone here: `backbone(z, t)`",
}


def unknown(word: Symbol | Applied) -> NoReturn:
    """A word that should have been the name of something."""
    symbol = word.word if isinstance(word, Applied) else word
    name, span = symbol.id, symbol.span
    near = symbol.env.known() if symbol.env is not None else set()
    if name == "backbone":
        fail("E0209", span, "the model has no `backbone`", help="add one, such as `backbone mlp(width = 64)`")
    if name in LATER:
        help = "a stage has its parent's networks: `stage b from a { ... }`"
        fail("E0211", span, f"`{name}` is not supported yet", help=help)
    if name == "x":
        fail("E0209", span, "the model has no data", help="add them, such as `data x: vector(2) from moons`")
    for declared in interfaces(*EXAMPLES, naming=name):
        if declared.body is not None and name in {declares(item) for item in declared.body.items}:
            _comes_with(name, declared, "t_max" in near, span)
    if name in ELSEWHERE:
        fail("E0201", span, f"there is no `{name}` here", caption="a word of Python", help=ELSEWHERE[name])
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
