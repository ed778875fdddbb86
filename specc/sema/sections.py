"""Sections that hold settings rather than equations: data, conditions, train."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from specc.ir.program import Dataset, Setting, Space
from specc.record import record
from specc.sema import library, spaces
from specc.sema.arithmetic import describe
from specc.sema.evaluate import Evaluator
from specc.sema.frame import Frame
from specc.sema.given import once, value_of
from specc.sema.own_readers import code_of
from specc.sema.reading import INTO, check_examples
from specc.sema.report import choices, did_you_mean, fail
from specc.sema.values import Env, Marker, TypeRef, word_of
from specc.source import Span
from specc.syntax import tree


@record
class Knob:
    """One setting of `train`: its default, what it must be, and a word about it."""

    default: Any
    check: str
    doc: str


TRAIN: dict[str, Knob] = {
    "optimizer": Knob(
        Setting("adamw", (("lr", 1e-3), ("betas", (0.9, 0.999)), ("eps", 1e-8), ("weight_decay", 0.01))),
        "setting",
        "of all networks",
    ),
    "steps": Knob(2000, "count", "optimizer steps"),
    "batch": Knob(128, "count", "examples a step, over all processes"),
    "ema": Knob(0.0, "fraction", "decay of the average of the weights, a step; 0 for none"),
    "clip": Knob(0.0, "positive", "largest norm of the gradient; 0 for no clipping"),
    "warmup": Knob(0, "whole", "steps in which the learning rate rises from 0"),
    "decay": Knob(Setting("constant"), "setting", "of the learning rate after the warm-up"),
    "precision": Knob("fp32", "word", "fp32 or bf16"),
    "picture_every": Knob(500, "whole", "steps between pictures of samples; 0 for none"),
    "save_every": Knob(1000, "whole", "steps between checkpoints"),
}
STEPS = ("dequantize", "flip", "standardize", *INTO)  # after `|>`, for data
MOST = 1_000_000_000  # of anything that is counted
KINDS_OF_SETTINGS = {"optimizer": "optimizer", "decay": "decay"}


def plain(value: Any, span: Span) -> Any:
    """A compile-time value as a setting's plain one."""
    match value:
        case list() | tuple():
            return tuple(plain(v, span) for v in value)
        case bool() | int() | float() | str() | None:
            if isinstance(value, float) and not math.isfinite(value):
                fail("E0601", span, f"{value} is not a number that can be used")
            return value
        case Marker():
            return value.default
        case _ if (word := word_of(value)) is not None:
            return word
        case _:
            return fail("E0304", span, f"{describe(value)} is not a setting")


def setting(ev: Evaluator, node: tree.Expr, env: Env, frame: Frame, kind: str | None = None) -> Setting:
    """`adam(lr = 1e-3)` as a name with options; with a kind, checked against its declaration in the library."""
    call = node.value if isinstance(node, tree.Paren) else node
    args = call.args if isinstance(call, tree.Call) else ()
    name = call.func if isinstance(call, tree.Call) else call
    if not isinstance(name, tree.Name):
        fail("E0304", node.span, "a name with options is needed here, as in `adam(lr = 1e-3)`")
    values = [(a, plain(ev.expr(a.value, env, frame, symbols=True), a.span)) for a in args if a.value is not None]
    if kind is None:
        positional = [v for a, v in values if a.name is None]
        named = tuple((a.name, v) for a, v in values if a.name is not None)
        return Setting(name.id, ((("args", tuple(positional)),) if positional else ()) + named)
    found = ev.definition(kind, name.id)
    if found is None:
        known = library.names(kind)
        fail(
            "E0203",
            name.span,
            f"there is no {kind} `{name.id}`",
            caption="unknown name",
            help=did_you_mean(name.id, known) or f"known are {choices(known)}",
        )
    knobs = [p.name or "" for p in found[0].params]
    options: dict[str, Any] = {
        p.name or "": plain(ev.expr(p.value, env, frame, symbols=True), p.span) for p in found[0].params if p.value is not None
    }
    for i, (a, value) in enumerate(values):
        key = a.name or (knobs[i] if i < len(knobs) else "")
        if key not in knobs:
            fail(
                "E0205",
                a.span,
                f"`{name.id}` has no knob `{key or describe(value)}`",
                help=did_you_mean(key, knobs) or f"its knobs are {choices(knobs)}",
            )
        _sensible(key, value, options.get(key), a.span)
        options[key] = value
    missing = [k for k in knobs if k not in options]
    if missing:
        fail("E0206", node.span, f"`{name.id}` needs `{missing[0]}`")
    return Setting(name.id, tuple((k, options[k]) for k in knobs))


def _sensible(key: str, value: Any, default: Any, span: Span) -> None:
    if isinstance(default, float) and (isinstance(value, bool) or not isinstance(value, (int, float))):
        fail("E0304", span, f"`{key}` is a number, not {describe(value)}")
    if key == "betas":
        shares = value if isinstance(value, tuple) and len(value) == len(default) else (2,)
        if not all(isinstance(v, (int, float)) and 0 <= v < 1 for v in shares):
            fail("E0601", span, "`betas` are two shares, from 0 and below 1", help="as in `betas = [0.9, 0.999]`")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        positive = key in ("lr", "eps", "k", "size", "width", "std", "radius")
        if (positive and value <= 0) or (key in ("momentum", "weight_decay", "noise") and value < 0):
            fail("E0601", span, f"`{key} = {value}` makes no sense", help=f"`{key}` is a positive number")


def train(ev: Evaluator, section: tree.Section, env: Env, frame: Frame) -> dict[str, Any]:
    """The settings of `train { ... }`; what is not said keeps its default."""
    out: dict[str, Any] = {}
    items = section.body.items if section.body else ()
    once(items)
    for item in items:
        if isinstance(item, tree.Section) and item.kind == "optimizer":
            out["optimizers"] = (*out.get("optimizers", ()), _own_optimizer(ev, item, env, frame, out.get("optimizers", ())))
            continue
        if not isinstance(item, tree.Bind) or not isinstance(item.targets[0], tree.Name) or item.draw:
            fail("E0211", item.span, "`train` takes settings such as `steps = 2000`", help=f"they are {choices(TRAIN)}")
        key = item.targets[0].id
        if key not in TRAIN:
            fail(
                "E0205",
                item.targets[0].span,
                f"`train` has no setting `{key}`",
                caption="not used by anything",
                help=did_you_mean(key, TRAIN) or f"they are {choices(TRAIN)}",
            )
        if TRAIN[key].check == "setting":
            out[key] = setting(ev, value_of(item), env, frame, KINDS_OF_SETTINGS[key])
        else:
            out[key] = _checked(key, plain(ev.expr(value_of(item), env, frame, symbols=True), item.span), item.values[0].span)
    return out


def _own_optimizer(
    ev: Evaluator, item: tree.Section, env: Env, frame: Frame, before: tuple[tuple[str, Setting], ...]
) -> tuple[str, Setting]:
    """`optimizer G = adam(lr = 2e-4)`: of the player that trains G."""
    if not isinstance(item.head, tree.Name) or len(item.values) != 1:
        fail("E0304", item.span, "the optimizer of one player is written `optimizer G = adam(lr = 2e-4)`")
    if item.head.id in dict(before):
        fail("E0208", item.span, f"a second optimizer of `{item.head.id}`")
    return item.head.id, setting(ev, item.values[0], env, frame, "optimizer")


def _checked(key: str, value: Any, span: Span) -> Any:
    check = TRAIN[key].check
    if check == "word":
        if value not in ("fp32", "bf16"):
            fail("E0601", span, f"`precision` is `fp32` or `bf16`, not {describe(value)}")
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        fail("E0304", span, f"`{key}` is a number, not {describe(value)}")
    if check in ("count", "whole"):
        least = 1 if check == "count" else 0
        if not float(value).is_integer() or not least <= value <= MOST:
            fail("E0601", span, f"`{key} = {value}` makes no sense", help=f"{TRAIN[key].doc}: {least} to {MOST:,}")
        return int(value)
    if value < 0 or (check == "fraction" and value >= 1):
        fail("E0601", span, f"`{key} = {value}` makes no sense", help=TRAIN[key].doc)
    return value


def overrides(ev: Evaluator, block: tree.Block | None, env: Env, frame: Frame, known: tuple[str, ...]) -> dict[str, Any]:
    """`with { drop = 0.1 }`"""
    out: dict[str, Any] = {}
    items = block.items if block else ()
    once(items)
    for item in items:
        if not isinstance(item, tree.Bind) or not isinstance(item.targets[0], tree.Name):
            fail("E0205", item.span, f"`with` takes settings: {choices(known)}")
        key = item.targets[0].id
        if key not in known:
            fail(
                "E0205",
                item.span,
                f"there is no `{key}` to override",
                help=did_you_mean(key, known) or f"known are {choices(known)}",
            )
        out[key] = plain(ev.expr(value_of(item), env, frame, symbols=True), item.span)
    return out


def data_space(ev: Evaluator, section: tree.Section, env: Env, frame: Frame) -> tuple[Space, TypeRef]:
    """The space of a `data` or `condition` section."""
    if not isinstance(section.head, tree.Name):
        fail("E0304", section.span, f"`{section.kind}` needs a name: `{section.kind} x: image(1, 8, 8)`")
    if section.type is None:
        fail(
            "E0304",
            section.span,
            f"`{section.kind} {section.head.id}` needs a space",
            help="as in `x: image(1, 8, 8)` or `x: vector(2)`",
        )
    kind = ev.expr(section.type, env, frame)
    if not isinstance(kind, TypeRef):
        sized = isinstance(section.type, tree.Name) and section.type.id in (*spaces.SPACES, *spaces.WHOLE)
        help = "say its sizes, as in `vector(2)` or `image(1, 8, 8)`" if sized else ""
        fail("E0304", section.type.span, f"{describe(kind)} is not a space", help=help)
    low = high = None
    levels = None
    for clause in section.clauses:
        if clause.word == "in":
            ends = plain(ev.expr(clause.values[0], env, frame), clause.span)
            if (
                not isinstance(ends, tuple)
                or len(ends) != 2
                or not all(isinstance(e, (int, float)) for e in ends)
                or ends[0] >= ends[1]
            ):
                fail("E0601", clause.span, "a range is written `in [low, high]` with low below high")
            low, high = float(ends[0]), float(ends[1])
        elif clause.word == "levels":
            levels = plain(ev.expr(clause.values[0], env, frame), clause.span)
            if not isinstance(levels, int) or levels < 2:
                fail("E0601", clause.span, "`levels` is the number of values of a grid: 2 or more")
        elif clause.word != "from":
            fail(
                "E0204",
                clause.span,
                f"`{section.kind}` has no clause `{clause.word}`",
                help=did_you_mean(clause.word, ("in", "levels", "from")),
            )
    knobs = overrides(ev, section.overrides, env, frame, ("drop",) if section.kind == "condition" else ())
    drop = knobs.get("drop", 0.0)
    if not isinstance(drop, (int, float)) or not 0 <= drop < 1:
        fail(
            "E0601",
            section.span,
            f"`drop = {drop}` makes no sense",
            help="it is the share of examples without the condition: 0 up to 1",
        )
    if kind.kind == "counts":
        if low != 0 or high is None or not high.is_integer():
            fail("E0601", section.type.span, "counts have a range that begins at 0", help="as in `counts(1, 8, 8) in [0, 16]`")
        kind = replace(kind, classes=int(high) + 1)
    made = Space(
        name=section.head.id,
        kind=kind.kind,
        shape=tuple(int(d) for d in kind.type.shape),
        dtype=kind.type.dtype.value,
        low=low,
        high=high,
        levels=levels,
        classes=kind.classes,
        drop=float(drop),
        span=section.span,
    )
    return made, kind


def dataset(
    ev: Evaluator, section: tree.Section, env: Env, frame: Frame, doc: str, generated: Mapping[str, Setting]
) -> Dataset:
    """`data x: SPACE from READER |> step`; generated: datasets that a parent's sampler makes, by name."""
    space, kind = data_space(ev, section, env, frame)
    ev.world.names.update(spaces.dimensions(space.kind, space.shape, space.classes))
    source = next((c for c in section.clauses if c.word == "from"), None)
    if source is None:
        fail(
            "E0209",
            section.span,
            "where do the data come from?",
            help="say `from digits`, or list the readers: specc list reader",
        )
    steps: list[tree.Expr] = []
    node = source.values[0]
    while isinstance(node, tree.Binary) and node.op == "|>":
        steps.insert(0, node.right)
        node = node.left
    own = generated.get(node.id) if isinstance(node, tree.Name) else None
    reader = own or setting(ev, node, env, frame, "reader")
    made = tuple(_step(ev, s, env, frame) for s in steps)
    assert section.type is not None
    placed = [(s, n.span) for s, n in zip(made, steps, strict=True)]
    promised = check_examples(ev, (reader, node.span), kind, section.type, placed, env, frame)
    found = None if own else ev.definition("reader", reader.name)
    code = code_of(found[0], promised) if found is not None and not found[0].library else None
    if any(s.name == "dequantize" for s in made) and (space.levels is None or space.low is None):
        help = "as in `data x: image(1, 8, 8) levels 17 in [-1, 1] from digits |> dequantize(uniform)`"
        fail("E0601", section.span, "`dequantize` fills the cells of a grid, and this space has none", help=help)
    return Dataset(space=space, reader=reader, steps=made, code=code, doc=doc)


def _step(ev: Evaluator, node: tree.Expr, env: Env, frame: Frame) -> Setting:
    """What a step after `|>` does to examples."""
    made = setting(ev, node, env, frame)
    if made.name not in STEPS:
        help = did_you_mean(made.name, STEPS) or f"known are {choices(STEPS)}"
        fail("E0203", node.span, f"there is no step `{made.name}` for data", help=help)
    return made
