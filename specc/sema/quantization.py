"""`quantize NAME { ... }`: rules for paths and kinds of layers, what stays as it is, and bounds on what comes out.

quantize w8a8 {
  weights = int8(axis = channel); activations = int8(calibrate = 256)   # of every layer that no other rule takes
  keep = [first, last, clock, "*.skip.*"]
  rule embedding { weights = int4(block = 32) }
  rule attention { activations = int8(calibrate = 256) }
  require frechet_ratio <= 1.1
}
quantize w3 { weights = int3(block = 32, method = gptq, damp = 0.01); calibrate = token_nll }   # on the calls of that query
quantize w2 { weights = ternary; cache = int8; train = qat }   # the model itself computes so, in training and after
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from specc.ir.formats import FORMATS, PRODUCTS, WORDS
from specc.ir.methods.table import METHODS
from specc.ir.metrics import CLASSES, METRICS
from specc.ir.program import Bound, Quantization, QuantizeRule, Setting
from specc.ir.quantizing import is_dynamic, is_microscaled
from specc.sema.arithmetic import describe
from specc.sema.evaluate import Evaluator
from specc.sema.evaluation import COMPARISONS, Judged, fits
from specc.sema.frame import Frame
from specc.sema.given import once, value_of
from specc.sema.report import choices, did_you_mean, fail
from specc.sema.sections import MOST, plain, setting
from specc.sema.values import Env
from specc.source import Span
from specc.syntax import tree

KNOBS = {  # of a format, and what each must be
    "weights": {"axis": "axis", "block": "block", "affine": "truth", "method": "method", "outliers": "count"},
    "activations": {
        "calibrate": "count",
        "percentile": "percentile",
        "dynamic": "truth",
        "block": "count",
        "affine": "truth",
    },
    "cache": {"block": "count", "affine": "truth"},
    "gradients": {},
}
OF_METHODS = {"damp": "share", "act_order": "truth", "sequential": "truth"}  # those that a method does not have are unknown
OF_ADAPTIVE = {"least": "count", "narrowing": "share", "worst": "format"}  # with `block = adaptive`
MEASURED = ("sample_error", "call_error", "size_ratio")  # what every report has
RATIO = "_ratio"  # after the name of a metric: its value after quantisation over that before
JUDGES = ("two sets", *CLASSES)  # metrics of samples, by what they take
TAKES = "`quantize` takes `weights`, `activations`, `cache`, `keep`, `calibrate`, `train`, `require` and rules"


def quantization(ev: Evaluator, section: tree.Section, env: Env, frame: Frame, model: Judged) -> Quantization:
    """The section as data."""
    if not isinstance(section.head, tree.Name) or section.body is None:
        fail("E0304", section.span, "quantisation is written `quantize NAME { weights = int8(axis = channel) }`")
    rules: list[QuantizeRule] = []
    keep: list[QuantizeRule] = []
    bounds: list[Bound] = []
    general: list[tree.Statement] = []
    looked: str | None = None
    trained: tree.Bind | None = None
    once(section.body.items)
    for item in section.body.items:
        match item:
            case tree.Section(kind="rule"):
                rules.append(_rule(ev, item, env, frame))
            case tree.Require():
                bounds.append(_bound(ev, item, env, frame, model))
            case tree.Bind(targets=(tree.Name(id="keep"), *_)):
                words = plain(ev.expr(value_of(item), env, frame, symbols=True), item.span)
                keep.extend(_kept(w, item.span) for w in (words if isinstance(words, tuple) else (words,)))
            case tree.Bind(targets=(tree.Name(id="calibrate"), *_)):
                looked = _word(ev, item, env, frame, "query", model.queries)
            case tree.Bind(targets=(tree.Name(id="train"), *_)):
                _word(ev, item, env, frame, "way of training", ["qat"])
                trained = item
            case _:
                general.append(item)
    if general:
        rules.append(_made("*", _formats(ev, tuple(general), env, frame), section.span))
    if not rules:
        fail("E0602", section.span, f"`{section.head.id}` quantises nothing", help="say `weights = int8(axis = channel)`")
    if trained is not None:
        _trainable(rules, trained.span)
    elif any(r.gradients is not None for r in rules):
        help = "say `train = qat`, or leave out `gradients`"
        fail("E0605", section.span, "there are gradients while training alone", help=help)
    return Quantization(
        name=section.head.id,
        rules=(*keep, *rules),
        bounds=tuple(bounds),
        trained=trained is not None,
        calibrate=looked,
        span=section.span,
    )


def _word(ev: Evaluator, item: tree.Bind, env: Env, frame: Frame, what: str, known: Collection[str]) -> str:
    """`calibrate = token_nll`, `train = qat`."""
    word = plain(ev.expr(value_of(item), env, frame, symbols=True), item.span)
    if word not in known:
        some = f"known are {choices(known)}" if known else "the model has none"
        fail("E0203", item.values[0].span, f"there is no {what} `{word}`", help=did_you_mean(str(word), known) or some)
    return str(word)


def _trainable(rules: list[QuantizeRule], span: Span) -> None:
    """Training rounds to the nearest, by scales of the moment."""
    for rule in rules:
        weights, activations = rule.weights, rule.activations
        if weights is not None and (idle := [k for k in ("method", "outliers") if weights.get(k) is not None]):
            fail(
                "E0605", span, f"`train = qat` rounds to the nearest: `{idle[0]}` has no meaning", help=f"leave out `{idle[0]}`"
            )
        if weights is not None and weights.get("block") == "adaptive":
            fail("E0605", span, "blocks of weights that are still to be trained cannot be adaptive", help="say a number")
        if activations is not None and not is_dynamic(activations):
            help = f"say `activations = {activations.name}(dynamic = true)`"
            fail("E0605", span, "ranges of activations are not known while training", help=help)


def _rule(ev: Evaluator, item: tree.Section, env: Env, frame: Frame) -> QuantizeRule:
    """`rule "PATTERN OF PATHS" { ... }` or `rule KIND { ... }`."""
    items = item.body.items if item.body else ()
    once(items)
    found = _formats(ev, items, env, frame)
    match item.head:
        case tree.String(value=pattern):
            return _made(pattern, found, item.span)
        case tree.Name(id=word) if word in WORDS:
            return _made(word, found, item.span)
        case tree.Name(id=word):
            help = did_you_mean(word, WORDS) or f'kinds are {choices(WORDS)}; paths are written "*.mlp.*"'
            fail("E0203", item.span, f"there is no kind of layer `{word}`", help=help)
        case _:
            fail(
                "E0304", item.span, "a rule names paths or a kind", help='as in `rule "*.mlp.*" { ... }` or `rule conv { ... }`'
            )


def _kept(word: Any, span: Span) -> QuantizeRule:
    """A place, a kind, or a pattern of paths, which has a dot or a star in it."""
    if not isinstance(word, str) or (word.isidentifier() and word not in WORDS):
        help = did_you_mean(str(word), WORDS) or f'known are {choices(WORDS)}, and paths such as "*.mlp.*"'
        fail("E0203", span, f"`keep` does not know `{word}`", help=help)
    return QuantizeRule(match=word)


def _made(match: str, found: dict[str, Setting], span: Span) -> QuantizeRule:
    """Weights are rounded alone or with their operands; products of two activations have no weights."""
    weights, activations, cache, gradients = (found.get(key) for key in KNOBS)
    if match in PRODUCTS:
        if weights is not None:
            fail("E0605", span, f"`{match}` has no weights", help="say `activations = int8(calibrate = 256)`")
    elif weights is None and activations is not None:
        help = "say `weights = int8(axis = channel)` as well"
        fail("E0605", span, f"`{match}` rounds activations and not weights", help=help)
    if gradients is not None and not all(s is not None and is_microscaled(s) for s in (weights, activations, gradients)):
        help = "say `weights = mxfp6_e3m2; activations = mxfp6_e3m2; gradients = mxfp6_e3m2`"
        fail("E0605", span, "gradients are rounded together with weights and activations, in microscaling formats", help=help)
    return QuantizeRule(match=match, weights=weights, activations=activations, cache=cache, gradients=gradients)


def _formats(ev: Evaluator, items: tuple[tree.Statement, ...], env: Env, frame: Frame) -> dict[str, Setting]:
    out: dict[str, Setting] = {}
    for item in items:
        key = item.targets[0].id if isinstance(item, tree.Bind) and isinstance(item.targets[0], tree.Name) else None
        if key not in KNOBS or not isinstance(item, tree.Bind):
            fail("E0205", item.span, TAKES, help=did_you_mean(key or "", ("weights", "activations", "keep")))
        made = setting(ev, value_of(item), env.child(channel="channel"), frame)
        _format(key, made, item.values[0].span)
        out[key] = made
    return out


def _format(key: str, made: Setting, span: Span) -> None:
    """A format that the table has, for this use, with its knobs."""
    able = [name for name, row in FORMATS.items() if (row.weights if key == "weights" else row.activations)]
    if made.name not in able:
        help = did_you_mean(made.name, able) or f"known are {choices(able)}"
        fail("E0203", span, f"there is no format `{made.name}` of {key}", help=help)
    row, knobs = FORMATS[made.name], _knobs(key, made)
    for name, value in made.options:
        if name not in knobs:
            help = did_you_mean(name, knobs) or f"its knobs are {choices(knobs)}"
            fail("E0205", span, f"`{made.name}` has no knob `{name}` for {key}", help=help)
        known = {"axis": row.weights, "method": METHODS, "format": able}.get(knobs[name])
        if known is not None and value not in known:
            fail("E0203", span, f"there is no {name} `{value}` for `{made.name}`", help=f"known are {choices(known)}")
        if known is None and not SENSIBLE[knobs[name]](value):
            fail("E0601", span, f"`{name} = {value}` makes no sense", help=f"it is {WORDING[knobs[name]]}")
    if made.get("block") is not None and made.get("axis", "block") != "block":
        fail("E0605", span, f"`block` and `axis = {made.get('axis')}` say two things", help="leave out one of them")
    if made.get("affine") and not row.affine:
        able = [name for name, r in FORMATS.items() if r.affine]
        fail("E0605", span, f"`{made.name}` has no zero to shift", help=f"affine are {choices(able)}")
    if key == "activations":
        _ranges(made, span)


def _knobs(key: str, made: Setting) -> dict[str, str]:
    """What may be said of a format, with what its method and its blocks add."""
    method = METHODS.get(str(made.get("method", "nearest")))
    own = {} if method is None or key != "weights" else {name: OF_METHODS[name] for name in method.knobs}
    return KNOBS[key] | own | (OF_ADAPTIVE if key == "weights" and made.get("block") == "adaptive" else {})


def _ranges(made: Setting, span: Span) -> None:
    """`calibrate` and `percentile` are of ranges that are found beforehand, `dynamic` and `block` of those that are not."""
    ways = FORMATS[made.name].activations
    if made.get("dynamic") is False and "static" not in ways:
        fail("E0605", span, f"`{made.name}` takes its scales from the values themselves", help="leave out `dynamic`")
    dynamic = is_dynamic(made)
    if made.get("affine") and not dynamic:
        fail("E0605", span, "a range that is found beforehand has a zero of its own", help="leave out `affine`")
    idle = [k for k in (("calibrate", "percentile") if dynamic else ("block",)) if made.get(k) is not None]
    if idle:
        how = "takes its scales from the values themselves" if dynamic else "has one range, found beforehand"
        help = f"leave out `{idle[0]}`" if dynamic else "say `dynamic = true`, or leave out `block`"
        fail("E0605", span, f"`{made.name}` {how}: `{idle[0]}` has no meaning", help=help)


def _bound(ev: Evaluator, item: tree.Require, env: Env, frame: Frame, model: Judged) -> Bound:
    """`require frechet_ratio <= 1.1`, `require sample_error < 0.05`."""
    test = item.test
    if not (isinstance(test, tree.Binary) and test.op in COMPARISONS and isinstance(test.left, tree.Name)):
        fail("E0304", item.span, "a bound is needed here", help="as in `require frechet_ratio <= 1.1`")
    name, value = test.left.id, plain(ev.expr(test.right, env, frame), test.right.span)
    known = (*MEASURED, *(m + RATIO for m, row in METRICS.items() if row.takes in JUDGES and row.numbers == 1))
    if name not in known:
        help = did_you_mean(name, known) or f"known are {choices(known)}"
        fail("E0203", test.left.span, f"the report of a quantised file has no `{name}`", help=help)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        fail("E0304", test.right.span, f"a bound is a number, not {describe(value)}")
    metric = METRICS.get(name.removesuffix(RATIO))
    if metric is not None:
        fits(metric, test.left, model, "pca_frechet" + RATIO)
    return Bound(name=name, compare=test.op, value=float(value), span=item.span)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST


SENSIBLE: dict[str, Callable[[Any], bool]] = {
    "count": _whole,
    "truth": lambda v: isinstance(v, bool),
    "block": lambda v: v == "adaptive" or _whole(v),
    "share": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool) and 0 < v < 1,
    "percentile": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool) and 50 < v <= 100,
}
WORDING = {
    "count": f"a number from 1 to {MOST:,}",
    "truth": "true or false",
    "block": f"a number from 1 to {MOST:,}, or adaptive",
    "share": "a number between 0 and 1",
    "percentile": "a number above 50, up to 100",
}
