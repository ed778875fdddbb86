"""The members of a definition's body: its equations and functions by name, apart from the statements that run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from specc.sema.library import parameter
from specc.sema.report import fail
from specc.sema.values import Closure, Definition, Env, Lazy
from specc.source import Span
from specc.syntax import tree

RUNNING = ("sampler", "query", "loss", "source", "function")  # kinds whose functions are local: they may use what stands above
OUTLINED = ("process", "predict", "interface", "weight", "times")  # kinds whose equations become functions
EQUATIONS = ("process", "predict", "interface", "weight", "coupling", "guidance", "law")  # kinds without statements to run


def members(definition: Definition, env: Env, key: Any) -> tuple[dict[str, Any], tuple[tree.Statement, ...]]:
    """A body's members by name, and the statements that are not members."""
    found: dict[str, Any] = {}
    rest: list[tree.Statement] = []
    declarative = definition.kind in ("process", "predict", "interface", "weight", "law")
    for item in definition.body.items if definition.body else ():
        label = f"{definition.kind} {definition.name}"
        match item:
            case tree.Bind() | tree.Method() if definition.kind in RUNNING:
                rest.append(item)
            case tree.Bind(targets=(tree.Call(func=tree.Name(id=name)) as head,), draw=False):
                found[name] = _closure(name, head.args, single(item), env, (key, name), item.span, definition.kind, label)
            case tree.Method(name=name) if item.body is not None:
                params = item.params
                found[name] = Closure(
                    name, params_of(params), item.body, env, (key, name), item.span, _outlines(definition.kind)
                )
            case tree.Bind(targets=(tree.Name(id=name),), draw=False, values=(value,)) if declarative:
                found[name] = Lazy(value, env)
            case tree.ExprStatement(value=tree.Call() | tree.Name()) if definition.kind == "interface":
                pass  # declared: a definition must give it
            case tree.Section(kind="state", head=tree.Name(id=name), type=type_) if declarative and type_ is not None:
                found[name] = Lazy(type_, env)
            case tree.Require():
                rest.append(item)
            case _ if definition.kind in EQUATIONS:
                fail(
                    "E0202",
                    item.span,
                    f"a {definition.kind} is made of equations, and this is none",
                    help="write `name = value`, `name(t) = value` or `name(t) { ... return value }`",
                )
            case _:
                rest.append(item)
    return found, tuple(rest)


def _outlines(kind: str) -> bool:
    return kind in OUTLINED


def single(item: tree.Bind) -> tree.Expr | tuple[tree.Expr, ...]:
    return item.values[0] if len(item.values) == 1 else item.values


def params_of(args: Iterable[tree.Arg]) -> tuple[tree.Arg, ...]:
    return tuple(parameter(a) for a in args)


def _closure(
    name: str, args: tuple[tree.Arg, ...], body: Any, env: Env, key: Any, span: Span, kind: str, label: str
) -> Closure:
    text = f"{' '.join(span.text.split())}  [{label}]"
    return Closure(name, params_of(args), body, env, key, span, _outlines(kind), text)
