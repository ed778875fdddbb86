"""What is proved about a model before any code is written: the process, the prediction, and how they meet samplers."""

from __future__ import annotations

import fnmatch
import math
from typing import Any

import numpy as np

from specc.ir.formats import WORDS
from specc.ir.ops import Op
from specc.ir.paths import parameters
from specc.ir.program import Function, Program, walk
from specc.ir.types import EXAMPLE, FLOAT
from specc.reference.interpret import evaluate
from specc.sema import library
from specc.sema.decoding import check_caches
from specc.sema.model import Model, mention, place_of
from specc.sema.prove import check_bijections
from specc.sema.reading import check_field
from specc.sema.rehearse import MISSING, Gain, Known, NotFinite, rehearse
from specc.sema.report import choices, diagnostic, fail, foreign
from specc.sema.trial import tried
from specc.sema.values import Captures, Closure, Definition, Network
from specc.source import Span
from specc.syntax import tree
from specc.syntax.tree import names_in

MODE = "training"  # what no module of PyTorch can have as the name of a part
SAVEZ = ("file", "allow_pickle")  # what NumPy cannot have as the names of arrays of a file
MOST_PARAMETERS = 10**13  # of one network
MOST_TENSORS = 10**6
MOST_GAIN = 100  # of an error of the network in the state of a sampler
TRIALS = 8  # of a schedule with parameters
POINTS = 257  # times at which schedules are looked at, ends included
NUMBER = "a schedule is a function of time that gives a number"
GUIDED = "guidance gives `out` or what samplers ask for, such as `denoise`, `score`, `velocity` or `logits`"
NEEDED = {"alpha", "sigma", "target", "t_min", "t_end"}  # without them other errors have been reported
NORMAL_ONLY = {"score": "a score", "bridge": "the posterior of a Gaussian chain"}


def check_mathematics(m: Model) -> None:
    """Add what is wrong with the process and the prediction to the model's diagnostics, whatever else is wrong."""
    said = any(d.severity == "error" and d.span == place_of(m, "process") for d in m.ev.diagnostics)
    if "process" in m.parts and not said and m.ev.world.names.keys() >= NEEDED:
        before = len(m.ev.diagnostics)
        m.attempt(place_of(m, "process"), check_process, m)
        if "predict" in m.parts and len(m.ev.diagnostics) == before:
            m.attempt(place_of(m, "predict"), check_predict, m)


def check_model(m: Model, program: Program) -> None:
    """Add what is wrong with the whole model to its diagnostics."""
    if "process" in m.parts:
        check_pairing(m)
    check_unused(m)
    m.attempt(place_of(m, "backbone"), check_size, m, program)
    check_groups(m)
    check_fields(m)
    check_names(m, program)
    if not _failed(m):
        check_quantize(m, program)
    if not _failed(m):
        check_caches(m, program)
    if not _failed(m):
        check_bijections(m, program)
    if not _failed(m):
        check_samplers(m, program)


def _failed(m: Model) -> bool:
    return any(d.severity == "error" for d in m.ev.diagnostics)


def check_groups(m: Model) -> None:
    """Groups of examples fill the batches of training."""
    batch = m.train.get("batch")
    for (role, span), many in m.ev.groups.items():
        if role == "objective" and isinstance(batch, int) and batch % many:
            message = f"groups of {many} do not fill a batch of {batch}"
            report(m, "E0601", span, message, help=f"as in `train {{ batch = {batch - batch % many or many} }}`")


def check_names(m: Model, program: Program) -> None:
    """Nothing is kept under the one name that a module of PyTorch cannot give away: that of the flag which training sets."""
    for node in (n for f in program.functions.values() for n in walk(f.block)):
        path = node.get("path") or node.get("bundle") or ""
        if MODE in path.split("."):
            message = f"no network or parameter can be called `{MODE}`: a module of PyTorch says so whether it is being trained"
            report(m, "E0208", node.span or m.span, message, help="give it another name")
            return
    conditions = {i.name: e.span for e in m.entries.values() for i in e.inputs if i.role == "condition"}
    queries = {e.name: e.span for e in m.entries.values() if e.role == "query"}
    for name, span in (conditions | queries).items():
        if name in SAVEZ:
            message = f"samples and answers are written under names, and NumPy cannot write an array `{name}`"
            report(m, "E0208", span or m.span, message, help="give it another name")


def check_fields(m: Model) -> None:
    """What training reads beside x is what the reader gives."""
    if not m.data or not any(e.role == "objective" for e in m.entries.values()):
        return
    for kind, spaces in (("condition", [space for space, _ in m.conditions]), ("field", m.data[0].fields)):
        sections = [s for s in m.found.get(kind, []) if not s.values]
        for i, (section, space) in enumerate(zip(sections, spaces, strict=True)):
            m.attempt(section.span, check_field, m.ev, m.data[0], section, space, not i, m.env, m.top)


def check_size(m: Model, program: Program) -> None:
    """No network is beyond any machine."""
    counted: dict[str, tuple[int, int]] = {}

    def count(name: str) -> tuple[int, int]:
        """Tensors of parameters, and numbers in them."""
        if name not in counted:
            tensors = numbers = 0
            for node in walk(program.functions[name].block):
                if node.op is Op.PARAM:
                    tensors, numbers = tensors + 1, numbers + math.prod(node["shape"])
                elif node.op is Op.REPEAT or (node.op is Op.CALL and node.get("bundle") is not None):
                    inner = count(node["function"])
                    times = node["count"] if node.op is Op.REPEAT else 1
                    tensors, numbers = tensors + times * inner[0], numbers + times * inner[1]
            counted[name] = tensors, numbers
        return counted[name]

    for root, name in program.networks.items():
        tensors, numbers = count(name)
        span = next((s.span for k in ("backbone", "network") for s in m.found.get(k, []) if root in (k, _head(s))), m.span)
        if numbers > MOST_PARAMETERS:
            report(
                m, "E0603", span, f"`{root}` has {numbers:.1e} parameters", help=f"at most {MOST_PARAMETERS:.0e} are supported"
            )
        elif tensors > MOST_TENSORS:
            message = f"`{root}` has {tensors:.1e} tensors of parameters"
            report(m, "E0603", span, message, help=f"at most {MOST_TENSORS:.0e} are supported: fewer layers, or wider ones")


def _head(section: tree.Section) -> str:
    head = section.head.func if isinstance(section.head, tree.Call) else section.head
    return head.id if isinstance(head, tree.Name) else ""


def check_samplers(m: Model, program: Program) -> None:
    """Each sampler is tried out with a stand-in for the network."""
    known: Known = {}
    examples = math.lcm(*m.ev.groups.values())
    for entry in program.entries.values():
        if entry.role in ("objective", "update", "start", "generate"):
            continue
        at = next((mention(s) for k in ("sampler", "query") for s in m.found.get(k, []) if s.span == entry.span), m.span)
        match rehearse(program, entry.name, known, examples, m.ev.tried):
            case NotFinite() as found:
                _not_finite(m, entry.name, found, at)
            case Gain() as found if found.factor > MOST_GAIN and not _warned(m, "W0406"):
                _ill_conditioned(m, entry.name, found, at)


def _warned(m: Model, code: str) -> bool:
    return any(d.code == code for d in m.ev.diagnostics)


def _place(turns: tuple[tuple[int, int], ...], times: dict[str, float]) -> str:
    """Where in a sampler: " at t = 0.5, s = 0.4 (turn 3 of 7)"."""
    rounds = " in ".join(f"turn {k} of {n}" if n else f"turn {k}" for k, n in reversed(turns))
    clock = ", ".join(f"{name} = {times[name]:.4g}" for name in ("t", "s") if name in times)
    return f" at {clock} ({rounds})" if rounds and clock else f" in {rounds}" if rounds else ""


def _not_finite(m: Model, name: str, found: NotFinite, at: Span) -> None:
    where = _place(found.turns, found.times)
    message = f"`{name}` comes to a value that is not a number{where}"
    help = "keep the values that are divided by, or taken a root or logarithm of, away from zero"
    if found.why == MISSING:
        message, help = f"`{name}` asks for an item that does not exist{where}", "indices count from 0"
    elif "predict" in m.parts and found.turns and found.node.span is not None and foreign(found.node.span):
        last = found.turns[-1][0] == found.turns[-1][1]
        predicted = m.parts["predict"].definition.name
        help = f"what `{predicted}` predicts has no such conversion there: predict `velocity` or `v`, or " + (
            "let samplers stop earlier, as in `with { t_end = 1e-3 }`" if last else "end the process earlier"
        )
    origin = found.node.span
    labels = ((origin, found.why),) if origin is not None and origin.source.text else ()
    report(m, "E0303" if found.why == MISSING else "E0406", at, message, help=help, labels=labels)


def _ill_conditioned(m: Model, name: str, found: Gain, at: Span) -> None:
    where = _place(found.turns, found.times) or " in its last step"
    message = f"`{name}` multiplies an error of the network by {found.factor:.0f}{where}"
    help = "predict what is well conditioned there, such as `v` or `velocity`, take smaller steps, or end the process earlier"
    predict = m.found.get("predict")
    labels = ((mention(predict[0]), "what the network predicts"),) if predict else ()
    report(m, "W0406", at, message, severity="warning", help=help, labels=labels)


def report(m: Model, code: str, span: Span, message: str, *, severity: Any = "error", help: str = "", labels: Any = ()) -> None:
    m.ev.diagnostics.append(diagnostic(code, span, message, severity=severity, help=help, labels=labels))


def section_span(m: Model, kind: str) -> Span:
    return m.found[kind][0].span if kind in m.found else m.span


def curve(m: Model, name: str, t: np.ndarray, seed: int = 0) -> np.ndarray | None:
    """A function of time of the world at many times; one with parameters, at random ones, if it needs no gradients."""
    f = m.ev.world.names[name]
    assert isinstance(f, Closure)
    try:
        made = m.ev.derivative(f, FLOAT.over(EXAMPLE), section_span(m, "process"))
    except Captures:
        return tried(m.ev, f, seed, t)
    wrong = f"`{name}(t)` should be one number"
    if not isinstance(made, Function):
        if isinstance(made, bool) or not isinstance(made, (int, float)):
            fail("E0304", f.span, wrong, help=NUMBER)
        return np.full_like(t, float(made))
    try:
        with np.errstate(all="ignore"):
            out = evaluate(made, [t], m.ev.functions)[0]
    except IndexError:
        message = f"`{name}(t)` asks for an item that does not exist, at some t from {t[0]:g} to {t[-1]:g}"
        fail("E0303", place_of(m, "process"), message, help="indices count from 0")
    if np.ndim(out) > 1 or made.block.results[0].type.shape:
        fail("E0304", f.span, wrong, help=NUMBER)
    return np.broadcast_to(np.asarray(out, dtype=float), t.shape)


def ends(m: Model) -> tuple[float, float]:
    return float(m.ev.world.names["t_min"]), float(m.ev.world.names["t_max"])


def check_process(m: Model) -> None:
    """Direction of time, ends, and a signal-to-noise ratio that falls strictly; for any parameters, where it has some."""
    t = np.linspace(*ends(m), POINTS)
    for seed in range(TRIALS):
        before = len(m.ev.diagnostics)
        alpha, sigma = curve(m, "alpha", t, seed), curve(m, "sigma", t, seed)
        if alpha is not None and sigma is not None:
            _check_schedule(m, t, alpha, sigma)
        if not m.ev.tried or len(m.ev.diagnostics) > before:
            return


def _check_schedule(m: Model, t: np.ndarray, alpha: np.ndarray, sigma: np.ndarray) -> None:
    low, high = t[0], t[-1]
    span = section_span(m, "process")
    for name, values in (("alpha", alpha), ("sigma", sigma)):
        bad = ~np.isfinite(values)
        if bad.any():
            where = t[np.argmax(bad)]
            report(
                m, "E0403", span, f"`{name}({where:.4g})` is not a number", help="check the schedule at the ends of its range"
            )
            return
        if (values < 0).any():
            report(
                m,
                "E0403",
                span,
                f"`{name}({t[np.argmax(values < 0)]:.4g})` is negative",
                help=f"`{name}` is the size of a part of z: 0 or more",
            )
            return
    ratio = np.arctan2(alpha, sigma)  # falls where the signal-to-noise ratio falls, and exists at its ends
    steps = np.diff(ratio)
    if (steps >= 0).all():
        message = "time runs backwards here: the signal-to-noise ratio rises with t"
        report(m, "E0401", span, message, help="t runs from data (smallest) to noise (largest): write the schedule in 1 - t")
        return
    if (steps >= -1e-12).any():
        i = int(np.argmax(steps >= -1e-12))
        report(
            m,
            "E0402",
            span,
            f"the signal-to-noise ratio does not fall from t = {t[i]:.4g} to {t[i + 1]:.4g}",
            help="alpha(t) / sigma(t) must fall strictly" + (", whatever its parameters are" if m.ev.tried else ""),
        )
        return
    if ratio[0] < np.pi / 4:
        message = f"at t_min = {low:g} there is more noise than data: alpha = {alpha[0]:.3g}, sigma = {sigma[0]:.3g}"
        report(m, "E0403", span, message, help="the smallest t is the end at the data")
    if ratio[-1] > np.pi / 4:
        message = f"at t_max = {high:g} there is more data than noise: alpha = {alpha[-1]:.3g}, sigma = {sigma[-1]:.3g}"
        report(m, "E0403", span, message, help="samplers start at t_max from noise alone: let the schedule go further")
    elif ratio[-1] > 0.2:
        message = f"samplers start from noise, but at t_max the data still show: alpha / sigma = {alpha[-1] / sigma[-1]:.2g}"
        report(m, "W0403", span, message, severity="warning", help="let the schedule go further")


def check_predict(m: Model) -> None:
    """`target` is affine in x and e, and with z = alpha x + sigma e its system can be solved where samplers ask."""
    span = section_span(m, "predict")
    target = m.ev.world.names["target"]
    low, high = ends(m)
    if not isinstance(target, Closure):
        return

    def at(x: float, e: float, t: float) -> float:
        try:
            return m.ev.numeric(target, x, e, t)
        except Captures:
            found = tried(m.ev, target, 0, *(np.array([v]) for v in (x, e, t)))
            return math.nan if found is None else float(found[0])

    middle = low + (high - low) * np.array([0.31, 0.62])
    with np.errstate(all="ignore"):
        for t, x, e in zip(middle, (0.63, -1.41), (-1.27, 0.38), strict=True):
            zero = at(0.0, 0.0, t)
            if m.ev.tried and math.isnan(zero):
                return  # it takes gradients of a schedule with parameters
            bent = abs(at(2 * x, 2 * e, t) - 2 * at(x, e, t) + zero) + abs(at(x, e, t) - at(x, 0.0, t) - at(0.0, e, t) + zero)
            if not bent <= 1e-6 * (1 + abs(x) + abs(e) + abs(zero)):
                report(
                    m,
                    "E0404",
                    span,
                    f"`target` is not affine in x and e (at t = {t:.3g})",
                    help="x and e may be scaled and added, with factors that depend on t alone",
                )
                return
        t = np.linspace(low, high, POINTS)
        inner = t[1:-1]
        det, of_x, of_e, alpha, sigma = (curve(m, n, t) for n in ("determinant", "of_x", "of_e", "alpha", "sigma"))
        if det is None or of_x is None or of_e is None or alpha is None or sigma is None:
            return
        size = np.hypot(of_x, of_e) * np.hypot(alpha, sigma)
    name = m.parts["predict"].definition.name
    lost = ~(np.abs(det[1:-1]) > 1e-9 * size[1:-1])
    if lost.any():
        report(
            m,
            "E0405",
            span,
            f"what `{name}` predicts does not determine x at t = {inner[np.argmax(lost)]:.4g}",
            help="z and the target must not be multiples of each other",
        )
        return
    _check_noise_end(m, name, det, size, span)


def _check_noise_end(m: Model, name: str, det: np.ndarray, size: np.ndarray, span: Span) -> None:
    """At t_max, where every sampler begins."""
    high = ends(m)[1]
    process = m.parts["process"].definition.name
    if not abs(det[-1]) > 1e-7 * size[-1]:
        terms = {"eps": "x = (z - sigma eps) / alpha", "score": "x = (z + sigma^2 score) / alpha"}
        term = terms.get(name, "1 / (of_e alpha - of_x sigma)")
        message = f"`{name}` says nothing about x at t_max = {high:g}: {term} diverges there"
        label = ((section_span(m, "process"), f"`{process}` has alpha({high:g}) = 0: zero signal-to-noise ratio"),)
        report(
            m,
            "E0405",
            span,
            message,
            help="predict `v`, `velocity` or `x0`, or end the process before alpha reaches 0",
            labels=label,
        )


def check_pairing(m: Model) -> None:
    """A score, and what follows from it, exist only for normal noise independent of x."""
    coupling, source = m.parts["coupling"].definition, m.parts["source"].definition
    tangled = coupling.name != "independent"
    odd = source.name != "standard_normal"
    for name, what in NORMAL_ONLY.items():
        if "sigma" not in m.ev.world.names or name not in m.ev.touched or not (tangled or odd):
            continue
        why = f"`coupling {coupling.name}` ties the noise to x" if tangled else f"`source {source.name}` is not standard normal"
        users = [s for s in m.found.get("sampler", []) if _mentions(m, s, name)]
        at = users[0].span if users else section_span(m, "predict")
        label = ((section_span(m, "coupling" if tangled else "source"), why),)
        help = "use a sampler of the ODE, such as `euler`, `heun` or `dopri5`: `velocity` survives"
        report(m, "E0407", at, f"this needs {what}, and there is none: {why}", labels=label, help=help)
        return
    if tangled and m.conditions:
        names = ", ".join(f"`{s.name}`" for s, _ in m.conditions)
        message = f"pairing over the whole batch bends the law of the noise given {names}"
        report(
            m,
            "W0703",
            section_span(m, "coupling"),
            message,
            severity="warning",
            help="couple within a class, or leave the condition out",
        )


def _mentions(m: Model, section: tree.Section, name: str) -> bool:
    node = section.values[0] if section.values else section.head
    func = node.func if isinstance(node, tree.Call) else node
    found = m.ev.definition(section.kind, func.id) if isinstance(func, tree.Name) else None
    body = section.body if section.body is not None else found[0].body if found else None
    return body is not None and any(n.id == name for n in names_in(body))


def check_unused(m: Model) -> None:
    """Knobs, conditions and networks that nothing reads."""
    for definition, _ in m.ev.user.values():
        _unused_knobs(m, definition)
        if library.find(definition.kind, definition.name) is not None:
            message = f"`{definition.kind} {definition.name}` hides the library's own"
            report(
                m,
                "W0702",
                definition.section.span,
                message,
                severity="warning",
                help="give it another name unless that is meant",
            )
    for part in m.parts.values():
        if not part.definition.library and (part.definition.kind, part.definition.name) not in m.ev.user:
            _unused_knobs(m, part.definition)
    check_guidance(m)
    read = [n.id for item in m.block.items for n in names_in(item)]
    for item in m.block.items:
        for target in item.targets if isinstance(item, tree.Bind) else ():
            if isinstance(target, tree.Name) and read.count(target.id) == 1 and own(m, target.span):
                message = f"nothing reads `{target.id}`"
                report(m, "W0701", target.span, message, severity="warning", help="use it or leave it out")
    for space, _ in m.conditions:
        assert space.span is not None
        if space.name not in m.used and m.entries and own(m, space.span):
            message = f"nothing reads the condition `{space.name}`"
            report(
                m,
                "W0701",
                space.span,
                message,
                severity="warning",
                help=f"the backbone takes it by name: give it an input `{space.name}`",
            )
    for name, value in m.ev.world.names.items():
        if isinstance(value, Network) and value.bundle == name and name not in m.ev.networks and m.entries:
            assert value.partial.span is not None
            if not own(m, value.partial.span):
                continue
            report(m, "W0701", value.partial.span, f"nothing calls the network `{name}`", severity="warning")


def check_guidance(m: Model) -> None:
    """Guidance changes something that the model has, and that one of its samplers asks for."""
    guidance = m.parts.get("guidance")
    if guidance is None or not any(e.role == "sampler" for e in m.entries.values()):
        return
    given, at = sorted(guidance.members), m.found["guidance"][0].span
    strange = next((name for name in given if not isinstance(m.ev.world.names.get(name), Closure)), None)
    if strange is not None:
        report(m, "E0201", at, f"guidance gives `{strange}`, and this model has no such function", help=GUIDED)
    elif m.ev.redirected.isdisjoint(given):
        report(m, "W0701", at, f"no sampler asks for the `{given[0]}` that guidance gives", severity="warning", help=GUIDED)


def own(m: Model, span: Span) -> bool:
    """Whether something stands in this model itself, and not in one that it is made from."""
    return span.source is m.span.source and m.span.start <= span.start < m.span.stop


def _unused_knobs(m: Model, definition: Definition) -> None:
    if definition.body is None:
        return
    read = {n.id for n in names_in(definition.body)} | {n.id for a in definition.params for n in names_in(a.value)}
    read |= {n.id for c in definition.section.clauses for n in names_in(c)}
    for a in definition.params:
        if a.name not in read:
            report(
                m,
                "W0701",
                a.span,
                f"`{definition.name}` never reads its knob `{a.name}`",
                severity="warning",
                help="use it or leave it out",
            )


def check_quantize(m: Model, program: Program) -> None:
    """Each rule of quantisation matches a matrix or a kernel."""
    weights = [p for p, shape in parameters(program.functions, program.networks).items() if len(shape) >= 2]
    for quantization in program.quantize:
        assert quantization.span is not None
        for rule in quantization.rules:
            if rule.match in (*WORDS, "*") or any(fnmatch.fnmatchcase(w, rule.match) for w in weights):
                continue
            some = choices(weights[:4])
            message = f"the rule {rule.match!r} of `{quantization.name}` matches no weight"
            report(m, "E0602", quantization.span, message, help=f"weights have paths such as {some}")
