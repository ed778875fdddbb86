"""What is proved about a process and a prediction before any code is written, and about what follows from them."""

from __future__ import annotations

import math

import numpy as np

from specc.ir.program import Function
from specc.ir.types import EXAMPLE, FLOAT
from specc.reference.interpret import evaluate
from specc.sema.model import Model, place_of
from specc.sema.report import fail
from specc.sema.trial import tried
from specc.sema.values import Captures, Closure
from specc.source import Span
from specc.syntax import tree
from specc.syntax.tree import names_in

TRIALS = 8  # of a schedule with parameters
POINTS = 257  # times at which schedules are looked at, ends included
NUMBER = "a schedule is a function of time that gives a number"
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
    span = section_span(m, "process")
    if not (_is_size(m, "alpha", t, alpha, span) and _is_size(m, "sigma", t, sigma, span)):
        return
    ratio = np.arctan2(alpha, sigma)  # falls where the signal-to-noise ratio falls, and exists at its ends
    steps = np.diff(ratio)
    if (steps >= 0).all():
        message = "time runs backwards here: the signal-to-noise ratio rises with t"
        m.report("E0401", span, message, help="t runs from data (smallest) to noise (largest): write the schedule in 1 - t")
        return
    if (steps >= -1e-12).any():
        i = int(np.argmax(steps >= -1e-12))
        m.report(
            "E0402",
            span,
            f"the signal-to-noise ratio does not fall from t = {t[i]:.4g} to {t[i + 1]:.4g}",
            help="alpha(t) / sigma(t) must fall strictly" + (", whatever its parameters are" if m.ev.tried else ""),
        )
        return
    _check_ends(m, t, alpha, sigma, ratio)


def _is_size(m: Model, name: str, t: np.ndarray, values: np.ndarray, span: Span) -> bool:
    """Whether a factor of z is finite and 0 or more at all times."""
    bad, below = ~np.isfinite(values), values < 0
    if bad.any():
        message = f"`{name}({t[np.argmax(bad)]:.4g})` is not a number"
        m.report("E0403", span, message, help="check the schedule at the ends of its range")
    elif below.any():
        message = f"`{name}({t[np.argmax(below)]:.4g})` is negative"
        m.report("E0403", span, message, help=f"`{name}` is the size of a part of z: 0 or more")
    return not (bad | below).any()


def _check_ends(m: Model, t: np.ndarray, alpha: np.ndarray, sigma: np.ndarray, ratio: np.ndarray) -> None:
    """The smallest time is data, the largest noise. ratio: the angle of (sigma, alpha) at each time."""
    low, high, span = t[0], t[-1], section_span(m, "process")
    if ratio[0] < np.pi / 4:
        message = f"at t_min = {low:g} there is more noise than data: alpha = {alpha[0]:.3g}, sigma = {sigma[0]:.3g}"
        m.report("E0403", span, message, help="the smallest t is the end at the data")
    if ratio[-1] > np.pi / 4:
        message = f"at t_max = {high:g} there is more data than noise: alpha = {alpha[-1]:.3g}, sigma = {sigma[-1]:.3g}"
        m.report("E0403", span, message, help="samplers start at t_max from noise alone: let the schedule go further")
    elif ratio[-1] > 0.2:
        message = f"samplers start from noise, but at t_max the data still show: alpha / sigma = {alpha[-1] / sigma[-1]:.2g}"
        m.report("W0403", span, message, severity="warning", help="let the schedule go further")


def check_predict(m: Model) -> None:
    """`target` is affine in x and e, and with z = alpha x + sigma e its system can be solved where samplers ask."""
    target = m.ev.world.names["target"]
    if isinstance(target, Closure):
        with np.errstate(all="ignore"):
            if _is_affine(m, target):
                _check_solvable(m)


def _is_affine(m: Model, target: Closure) -> bool:
    """Looked at in two places; False as well where a schedule with parameters leaves nothing to look at."""

    def at(x: float, e: float, t: float) -> float:
        try:
            return m.ev.numeric(target, x, e, t)
        except Captures:
            found = tried(m.ev, target, 0, *(np.array([v]) for v in (x, e, t)))
            return math.nan if found is None else float(found[0])

    low, high = ends(m)
    middle = low + (high - low) * np.array([0.31, 0.62])
    for t, x, e in zip(middle, (0.63, -1.41), (-1.27, 0.38), strict=True):
        zero = at(0.0, 0.0, t)
        if m.ev.tried and math.isnan(zero):
            return False  # it takes gradients of a schedule with parameters
        bent = abs(at(2 * x, 2 * e, t) - 2 * at(x, e, t) + zero) + abs(at(x, e, t) - at(x, 0.0, t) - at(0.0, e, t) + zero)
        if not bent <= 1e-6 * (1 + abs(x) + abs(e) + abs(zero)):
            message = f"`target` is not affine in x and e (at t = {t:.3g})"
            help = "x and e may be scaled and added, with factors that depend on t alone"
            m.report("E0404", section_span(m, "predict"), message, help=help)
            return False
    return True


def _check_solvable(m: Model) -> None:
    span, t = section_span(m, "predict"), np.linspace(*ends(m), POINTS)
    det, of_x, of_e, alpha, sigma = (curve(m, n, t) for n in ("determinant", "of_x", "of_e", "alpha", "sigma"))
    if det is None or of_x is None or of_e is None or alpha is None or sigma is None:
        return
    size = np.hypot(of_x, of_e) * np.hypot(alpha, sigma)
    name = m.parts["predict"].definition.name
    lost = ~(np.abs(det[1:-1]) > 1e-9 * size[1:-1])
    if lost.any():
        message = f"what `{name}` predicts does not determine x at t = {t[1:-1][np.argmax(lost)]:.4g}"
        m.report("E0405", span, message, help="z and the target must not be multiples of each other")
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
        m.report(
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
        m.report("E0407", at, f"this needs {what}, and there is none: {why}", labels=label, help=help)
        return
    if tangled and m.conditions:
        names = ", ".join(f"`{s.name}`" for s, _ in m.conditions)
        message = f"pairing over the whole batch bends the law of the noise given {names}"
        m.report(
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


def section_span(m: Model, kind: str) -> Span:
    return m.found[kind][0].span if kind in m.found else m.span
