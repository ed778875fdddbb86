"""Readers of one's own: `reader mine(folder, size = 8) -> image(1, size, size) = extern("my_data.py:load")`.

The Python file lies beside the file of the declaration. It is parsed here, so that what would fail in a training is an error of
the check, and it is never run.
"""

from __future__ import annotations

import ast
import keyword
import warnings
from collections.abc import Iterable
from pathlib import Path

from specc.ir.program import Code
from specc.sema.reading import fields
from specc.sema.report import choices, did_you_mean, fail
from specc.sema.values import Definition, TypeRef
from specc.source import Source, Span
from specc.syntax import tree

FORM = '`reader mine(folder) -> vector(2) = extern("my_data.py:load")`'
GIVEN = (("split",), ("n", "rng"))  # what a function begins with: of a data set, or of a law that is drawn from
BEGIN = "`def load(split, ...)` reads the split train or test, `def load(n, rng, ...)` draws n examples of a law"
MOST_BYTES = 2**20


def code_of(definition: Definition, promised: TypeRef | None) -> Code:
    """The function behind a declaration, once it takes what training and the knobs give it."""
    at, file, name = _named(definition)
    source, parsed = _parsed(at, file)
    functions = {item.name: item for item in parsed.body if isinstance(item, ast.FunctionDef)}
    if name not in functions:
        help = did_you_mean(name, functions) or (f"it has {choices(functions)}" if functions else f"write it: {BEGIN}")
        fail("E0313", at, f"`{file}` has no function `{name}`", help=help)
    given = _begins(functions[name], source, at, file)
    _takes(functions[name], given, source, definition, at, file)
    shape = None if promised is None else tuple(int(d) for d in promised.type.shape)
    names = tuple(fields(definition.body))
    return Code(file=file, function=name, text=source.text, endless=given != GIVEN[0], fields=names, shape=shape)


def _named(definition: Definition) -> tuple[Span, str, str]:
    """The place of `"my_data.py:load"`, the file and the function."""
    match definition.section.values:
        case [tree.Call(func=tree.Name(id="extern"), args=[tree.Arg(name=None, value=tree.String(value=text) as at)])]:
            file, _, name = text.partition(":")
            module = file.removesuffix(".py")
            if file != module and all(part.isidentifier() and not keyword.iskeyword(part) for part in (module, name)):
                return at.span, file, name
            at_span, message = at.span, f"`{text}` names no Python file beside this one and a function in it"
        case [value]:
            at_span, message = value.span, "a reader is a function in a Python file beside this one"
        case _:
            head = definition.section.head
            at_span, message = (head or definition.section).span, f"where is the function that reads for `{definition.name}`?"
    return fail("E0313", at_span, message, help=f"as in {FORM}")


def _parsed(at: Span, file: str) -> tuple[Source, ast.Module]:
    """The text of a file beside the declaration, and its syntax tree."""
    path = Path(at.source.name).parent / file
    try:
        if not path.is_file():
            fail("E0313", at, f"there is no file `{path}`", help="a reader's Python file lies beside the file that declares it")
        if path.stat().st_size > MOST_BYTES:
            fail("E0313", at, f"`{path}` has more than a megabyte", help="keep data out of the code that reads them")
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        why = problem.strerror if isinstance(problem, OSError) else "it is not text in UTF-8"
        fail("E0313", at, f"`{path}` cannot be read: {why}")
    source = Source(path.as_posix(), text)
    try:
        with warnings.catch_warnings(action="ignore"):
            return source, ast.parse(text)
    except SyntaxError as problem:
        labels = ((_line(source, problem.lineno), problem.msg),) if problem.lineno else ()
        return fail("E0313", at, f"`{file}` is not Python", labels=labels)
    except (ValueError, RecursionError, MemoryError) as problem:
        return fail("E0313", at, f"`{file}` is not Python: {problem}")


def _begins(function: ast.FunctionDef, source: Source, at: Span, file: str) -> tuple[str, ...]:
    """What training gives the function by place."""
    places = tuple(a.arg for a in (*function.args.posonlyargs, *function.args.args))
    found = next((given for given in GIVEN if places[: len(given)] == given), None)
    if found is None:
        label = (_line(source, function.lineno), "its parameters")
        fail(
            "E0313", at, f"`{function.name}` of `{file}` begins with neither `split` nor `n, rng`", help=BEGIN, labels=(label,)
        )
    return found


def _takes(
    function: ast.FunctionDef, given: tuple[str, ...], source: Source, definition: Definition, at: Span, file: str
) -> None:
    """The knobs are parameters of the function, and the others have defaults."""
    a = function.args
    places = [p.arg for p in (*a.posonlyargs, *a.args)]
    named = {p.arg for p in (*a.args, *a.kwonlyargs)} - set(given)
    needed = [*places[len(given) : len(places) - len(a.defaults)]]
    needed += [p.arg for p, default in zip(a.kwonlyargs, a.kw_defaults, strict=True) if default is None]
    label = (_line(source, function.lineno), "its parameters")
    for knob in definition.params:
        name = knob.name or ""
        if name not in named and (a.kwarg is None or name in given or keyword.iskeyword(name)):
            help = did_you_mean(name, named) or _known(named)
            fail("E0313", knob.span, f"`{function.name}` of `{file}` takes no `{name}`", help=help, labels=(label,))
    missing = [name for name in needed if name not in {knob.name for knob in definition.params}]
    if missing:
        help = f"give the reader a knob `{missing[0]}`, or the parameter a default"
        message = f"`{function.name}` of `{file}` needs `{missing[0]}`, which `{definition.name}` does not give it"
        fail("E0313", at, message, help=help, labels=(label,))


def _known(named: Iterable[str]) -> str:
    return f"it takes {choices(named)}" if named else "it takes none"


def _line(source: Source, number: int) -> Span:
    """A line of the Python file, without its indent."""
    lines = source.text.split("\n")
    number = min(max(number, 1), len(lines))
    start, line = sum(len(above) + 1 for above in lines[: number - 1]), lines[number - 1]
    return Span(source, start + len(line) - len(line.lstrip()), start + max(len(line.rstrip()), 1))
