"""Calls while a model is elaborated: arguments to parameters, functions of the language, definitions with their members."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from specc.diagnostics import SpecError
from specc.ir.ops import Op
from specc.ir.program import Value
from specc.ir.types import EXAMPLE
from specc.sema import library, views
from specc.sema.arithmetic import describe, settled, shown
from specc.sema.frame import Frame
from specc.sema.given import argument
from specc.sema.members import EQUATIONS
from specc.sema.members import members as members_of
from specc.sema.report import choices, did_you_mean, fail, foreign, moved
from specc.sema.scope import Names
from specc.sema.values import (
    Applied,
    Bound,
    Builtin,
    Captures,
    Closure,
    Definition,
    Derivative,
    Env,
    Instance,
    Marker,
    Network,
    Partial,
    Symbol,
    View,
    freeze,
)
from specc.source import Span
from specc.syntax import tree


@dataclass(slots=True, kw_only=True)
class Calls(Names):
    """Applies whatever can be called."""

    def call_node(self, node: tree.Call, env: Env, frame: Frame, *, symbols: bool = False) -> Any:
        func = self.expr(node.func, env, frame, symbols=symbols)
        if isinstance(func, Builtin) and func.name == "unconditional":
            return self.unconditional(node, env, frame)
        if isinstance(func, Builtin) and func.name in views.OF_PARENTS:
            env = env.child(**self.parents)
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for a in node.args:
            value = self.expr(argument(a), env, frame, symbols=True)
            if a.name is None:
                args.append(value)
            elif a.name in kwargs:
                fail("E0206", a.span, f"`{a.name}` is given twice")
            else:
                kwargs[a.name] = value
        self.node = node
        return self.call(func, args, kwargs, frame, node.span, node)

    def slope(self, f: Derivative, value: Value, frame: Frame, span: Span) -> Any:
        at = self.spread(value, frame, span)  # what f makes of it may vary by example, whatever it is given
        out = self.call(f.of, [at], {}, frame, span)
        return self.call(self.builtins.names["grad"], [out, at], {}, frame, span) if isinstance(out, Value) else 0

    def unconditional(self, node: tree.Call, env: Env, frame: Frame) -> Any:
        """`unconditional(e)`: e with every condition at its null value."""
        entry = frame.entry
        if entry is None:
            raise Captures
        if not entry.conditions:
            fail(
                "E0308",
                node.span,
                "there is no condition to leave out",
                help="declare one: `condition y: class(10) with { drop = 0.1 }`",
            )
        if len(node.args) != 1:
            fail("E0206", node.span, f"`unconditional` takes 1 argument, not {len(node.args)}")
        before, entry.null = entry.null, True
        try:
            return self.expr(argument(node.args[0]), env, frame)
        finally:
            entry.null = before

    def call(self, func: Any, args: list[Any], kwargs: dict[str, Any], frame: Frame, span: Span, node: object = None) -> Any:
        """Apply a function of any sort."""
        match func:
            case Builtin():
                if _of_bijections(args) and (own := self.definition("bijection", func.name)) is not None:
                    return self.call(Partial(own[0], span=span, env=own[1]), args, kwargs, frame, span, node)
                return func.fn(self, frame, span, args, kwargs)
            case Closure():
                return self.call_closure(func, args, kwargs, frame, span)
            case Derivative():
                return self.call_derivative(func, args, frame, span)
            case Network():
                return self.call_network(func, args, kwargs, frame, span, node)
            case View(network=Network()):
                return views.call(self, Bound(func, func.network), args, kwargs, frame, span, node)
            case Bound():
                return views.call(self, func, args, kwargs, frame, span, node)
            case Partial(definition=Definition(kind="network" | "backbone" | "bijection")):
                return self.call_part(func, args, kwargs, frame, span, node)
            case Partial(definition=Definition(kind="law")):
                return self.law(func, args, kwargs, frame, span)
            case Partial():
                merged = replace(func, args=(*func.args, *args), kwargs=(*func.kwargs, *kwargs.items()), span=span)
                if _incomplete(merged):
                    return merged
                if merged.definition.kind == "function":
                    return self.call_function(merged, frame)
                return self.run(self.instantiate(merged, frame), frame, span)
            case Instance():
                return self.run(func, frame, span)
            case Symbol():
                return Applied(func, tuple(args), tuple(kwargs.items()), span)
            case _:
                return fail("E0207", span, f"{describe(func)} is not a function", help=self.hidden(node))

    def hidden(self, node: object) -> str:
        """What to do where a name of the author's own hides a function of the language."""
        name = node.func.id if isinstance(node, tree.Call) and isinstance(node.func, tree.Name) else ""
        hides = name in self.builtins.names
        return f"something of yours is called `{name}` and hides the language's own: rename it" if hides else ""

    def bind(
        self,
        name: str,
        params: tuple[tree.Arg, ...],
        args: Sequence[Any],
        kwargs: dict[str, Any],
        env: Env,
        frame: Frame,
        span: Span,
    ) -> Env:
        """An environment with a definition's or a function's parameters bound."""
        inner = env.child()
        args = _collected(params, args)
        if len(args) > len(params):
            fail("E0206", span, f"`{name}` takes {len(params)} arguments, not {len(args)}")
        given = dict(zip((p.name for p in params), args, strict=False))
        for key, value in kwargs.items():
            if key in given:
                fail("E0206", span, f"`{name}` is given `{key}` twice")
            if key not in {p.name for p in params}:
                known = {p.name or "" for p in params}
                help = did_you_mean(key, known) or (
                    f"its knobs are {', '.join(f'`{k}`' for k in sorted(known))}" if known else ""
                )
                fail("E0205", span, f"`{name}` has no knob `{key}`", caption=f"`{key}` is not used by anything", help=help)
            given[key] = value
        for p in params:
            assert p.name is not None
            if p.name in given:
                inner.names[p.name] = self.argument(p, given[p.name], frame)
            elif p.value is not None:
                default = self.expr(p.value, inner, frame, symbols=True)
                if frame.kind == "model":
                    settled(default, p.span)
                inner.names[p.name] = self.argument(p, default, frame)
            else:
                fail("E0206", span, f"`{name}` needs `{p.name}`")
        return inner

    def argument(self, param: tree.Arg, value: Any, frame: Frame) -> Any:
        """An argument as its parameter understands it: a word may name a definition of the kind that annotates it."""
        if isinstance(value, Marker):
            return Marker(value.default, param.name or value.name) if not value.name else value
        kind = param.type.id if isinstance(param.type, tree.Name) else None
        if isinstance(value, Applied) and not (kind is not None and library.names(kind)):
            library.unknown(value)
        if kind is not None and isinstance(value, Applied):
            found = self.definition(kind, value.word.id)
            if found is None:
                known = library.names(kind)
                fail("E0203", value.word.span, f"there is no {kind} `{value.word.id}`", help=did_you_mean(value.word.id, known))
            return Partial(found[0], value.args, value.kwargs, value.span, found[1])
        if kind is not None and isinstance(value, (Symbol, Partial, Builtin, Closure)):
            name = (
                value.id
                if isinstance(value, Symbol)
                else value.name
                if isinstance(value, (Builtin, Closure))
                else value.definition.name
            )
            if isinstance(value, Partial) and value.definition.kind == kind:
                return value
            found = self.definition(kind, name)
            if found is not None:
                extra = (value.args, value.kwargs) if isinstance(value, Partial) else ((), ())
                return Partial(found[0], *extra, span=param.span, env=found[1])
            if library.names(kind):
                span = value.span if isinstance(value, Symbol) else param.span
                fail("E0203", span, f"there is no {kind} `{name}`", help=did_you_mean(name, library.names(kind)))
        return value

    def call_closure(self, f: Closure, args: list[Any], kwargs: dict[str, Any], frame: Frame, span: Span) -> Any:
        self.touched.add(f.name)
        entry = frame.entry
        if (rewrite := self.rewritten(f, frame)) is not None:
            assert entry is not None
            many = len(rewrite.params)  # further times of a map, of which guidance knows nothing, pass by it
            entry.inside_guidance, entry.passing = True, tuple(args[many:])
            try:
                return self.call_closure(rewrite, args[:many], kwargs, frame, span)
            finally:
                entry.inside_guidance, entry.passing = False, ()
        if entry is not None and self.guidance is not None and self.guidance.members.get(f.name) is f:
            return self.guided(f, args, kwargs, frame, span)
        if entry is not None and entry.passing and self.guides(f):
            args = [*args, *entry.passing]
        return self.evaluated(f, args, kwargs, frame, span)

    def guided(self, f: Closure, args: list[Any], kwargs: dict[str, Any], frame: Frame, span: Span) -> Any:
        """What guidance says at a place: once, if it draws, whatever is made of it there."""
        entry = frame.entry
        assert entry is not None
        if kwargs or not all(isinstance(a, (Value, int, float)) for a in args):
            return self.evaluated(f, args, kwargs, frame, span)
        key = (id(f), id(frame.builder), entry.null, *(("value", a.id) if isinstance(a, Value) else a for a in args))
        if key in entry.said:
            return entry.said[key][1]
        before = entry.place
        value = self.evaluated(f, args, kwargs, frame, span)
        if entry.place > before:
            entry.said[key] = (frame.builder, value)  # the builder stays, so that its id is nobody else's
        return value

    def evaluated(self, f: Closure, args: list[Any], kwargs: dict[str, Any], frame: Frame, span: Span) -> Any:
        """The body of a function with its arguments bound."""
        entry = frame.entry
        env = self.bind(f.name or "this function", f.params, args, kwargs, f.env, frame, span)
        bound = [env.names[p.name] for p in f.params if p.name]
        if f.outline:
            _in_order(f, bound, span)
        if f.outline and any(isinstance(v, Value) for v in bound) and all(isinstance(v, (Value, int, float)) for v in bound):
            try:
                return self.outlined(f, bound, frame, span)
            except Captures:
                pass
        value = self.body(f.body, env, frame if frame.lined == f.outline else replace(frame, lined=f.outline))
        if f.name == "prior" and entry is not None and entry.noise is None and isinstance(value, Value):
            entry.noise = value
        return value

    def rewritten(self, f: Closure, frame: Frame) -> Closure | None:
        """The guidance's own version of a function of the world, where guidance applies."""
        entry = frame.entry
        if self.guidance is None or entry is None or not entry.guided or entry.inside_guidance:
            return None
        found = self.guidance.members.get(f.name)
        if not isinstance(found, Closure) or not self.guides(f):
            return None
        self.redirected.add(f.name)
        return found

    def guides(self, f: Closure) -> bool:
        """Whether a function is the one of the world that the guidance gives anew."""
        return self.guidance is not None and f.name in self.guidance.members and self.world.names.get(f.name) is f

    def body(self, body: tree.Expr | tuple[tree.Expr, ...] | tree.Block, env: Env, frame: Frame) -> Any:
        try:
            if isinstance(body, tree.Block):
                return self.run_body(body, env, frame)
            if isinstance(body, tuple):
                return tuple(self.expr(e, env, frame) for e in body)
            return self.expr(body, env, frame)
        except SpecError as error:
            raise moved(error, env.asked()) from None

    # Definitions -------------------------------------------------------------------------------------------------

    def instantiate(self, partial: Partial, frame: Frame) -> Instance:
        """A definition with its arguments bound and its members known."""
        definition = partial.definition
        span = partial.span or definition.section.span
        parent = partial.env or self.world
        try:
            env = self.bind(definition.name, definition.params, partial.args, dict(partial.kwargs), parent, frame, span)
        except SpecError as error:
            raise moved(error, parent.asked()) from None
        env.origin = span if not foreign(span) else None
        key = (id(definition), id(self.world), freeze([env.names[p.name] for p in definition.params if p.name]))
        cached = self.memo.get(("instance", key))
        if cached is not None and not _mentions_inputs(env):
            return cached  # type: ignore[no-any-return]
        members, rest = members_of(definition, env, key)
        declared = library.find("interface", definition.kind)
        if declared is not None:
            defaults, _ = members_of(declared, env, (key, "default"))
            if defaults and definition.kind in EQUATIONS and not defaults.keys() & members.keys():
                fail(
                    "E0209",
                    definition.section.span,
                    f"`{definition.kind} {definition.name}` gives none of {choices(defaults)}",
                    help="one of them is enough",
                )
            members = defaults | members
        instance = Instance(definition, env, members, rest, key, span)
        if definition.kind == "guidance":  # inside guidance a name means the unguided one
            members.update(self.follows(members, env, key))
        else:
            env.names.update({k: v for k, v in members.items() if k not in env.names})
        self.memo["instance", key] = instance
        return instance

    def follows(self, members: dict[str, Any], env: Env, key: Any) -> dict[str, Any]:
        """The first function of an interface for guidance, which follows from the others, where guidance gives one of those."""
        found: dict[str, Any] = {}
        for declared in self.interfaces_for("guidance"):
            defaults, _ = members_of(declared, inner := env.child(), (key, declared.name))
            if declared.base in self.interfaces and defaults.keys() & members.keys():
                inner.names.update(defaults | members)
                first = next(iter(defaults))
                found |= {first: defaults[first]} if first not in members else {}
        return found

    def call_function(self, partial: Partial, frame: Frame) -> Any:
        """A `function` definition with all its arguments, written out where it is called."""
        definition, section = partial.definition, partial.definition.section
        span = partial.span or section.span
        env = self.bind(
            definition.name, definition.params, partial.args, dict(partial.kwargs), partial.env or self.world, frame, span
        )
        body = definition.body if definition.body is not None else section.values
        if not body:
            fail("E0209", section.span, f"`{definition.name}` has no body", help="write `function NAME(x) { ... return y }`")
        return self.body(body if isinstance(body, tree.Block) or len(body) > 1 else body[0], env, frame)

    def run(self, instance: Instance, frame: Frame, span: Span) -> Any:
        """The statements of an instance: the draw of a source, the times of a grid, the steps of a sampler."""
        if not instance.statements:
            fail(
                "E0207",
                span,
                f"`{instance.definition.name}` is not something to run",
                help="say which of its functions is meant",
            )
        if frame.kind == "function":
            raise Captures
        before = frame.entry.each if frame.entry is not None else ()
        try:
            if frame.entry is not None:
                frame.entry.each = instance.each
            return self.run_body(tree.Block(span=span, items=instance.statements), instance.env.child(), frame)
        except SpecError as error:
            raise moved(error, instance.env.asked()) from None
        finally:
            if frame.entry is not None:
                frame.entry.each = before

    def spread(self, value: Value, frame: Frame, span: Span) -> Value:
        """A value that varies by example."""
        if EXAMPLE in value.type.axes:
            return value
        like = frame.entry.like if frame.entry is not None else frame.like
        if like is None:
            raise Captures
        out = frame.builder.add(Op.SPREAD, value, like, span=span)
        if value.id in self.classes:
            self.classes[out.id] = self.classes[value.id]
        return out


def _of_bijections(args: list[Any]) -> bool:
    """Whether a function is applied to bijections: `stack(4, [actnorm, reverse])` is then the bijection of that name."""
    parts = [p for a in args for p in (a if isinstance(a, list) else [a])]
    return any(isinstance(p, Partial) and p.definition.kind == "bijection" for p in parts)


def _in_order(f: Closure, bound: list[Any], span: Span) -> None:
    """An equation of z or x at t has a time for all of it, or for each of its leading parts."""
    given = {p.name: v.type.shape for p, v in zip(f.params, bound, strict=False) if isinstance(v, Value)}
    of = next((name for name in ("z", "x") if name in given), None)
    if of is not None and "t" in given and given["t"] != given[of][: len(given["t"])]:
        message = f"`t` of `{f.name}` has shape {shown(given['t'])}, and `{of}` has {shown(given[of])}"
        help = f"its arguments are, in this order, {', '.join(f'`{p.name}`' for p in f.params)}"
        fail("E0301", span, message, help=help)


def _collected(params: tuple[tree.Arg, ...], args: Sequence[Any]) -> Sequence[Any]:
    """Arguments for parameters of which the last is a `list`: it takes all that are left, or one that is a list."""
    last = len(params) - 1
    takes = bool(params) and isinstance(params[-1].type, tree.Name) and params[-1].type.id == "list"
    if not takes or len(args) <= last or (len(args) == last + 1 and isinstance(args[last], list)):
        return args
    return [*args[:last], list(args[last:])]


def _incomplete(partial: Partial) -> bool:
    """Whether some parameter without a default is still to be given."""
    given = {*dict(partial.kwargs), *(p.name for p in partial.definition.params[: len(partial.args)])}
    return any(p.value is None and p.name not in given for p in partial.definition.params)


def _mentions_inputs(env: Env) -> bool:
    return any(isinstance(v, (Marker, Value)) for v in env.names.values())
