"""What is checked of a whole model when its program stands."""

from __future__ import annotations

import fnmatch
import math

from specc.ir.formats import WORDS
from specc.ir.ops import Op
from specc.ir.paths import parameters
from specc.ir.program import Program, walk
from specc.sema.decoding import check_caches
from specc.sema.frame import MODE, OF_MODE
from specc.sema.model import Model, name_of, place_of
from specc.sema.prove import check_bijections
from specc.sema.reading import check_field
from specc.sema.report import choices
from specc.sema.schedules import check_pairing
from specc.sema.tryout import check_samplers
from specc.sema.unused import check_unused
from specc.syntax import tree

SAVEZ = ("file", "allow_pickle")  # what NumPy cannot have as the names of arrays of a file
RENAME = "give it another name"
MOST_PARAMETERS = 10**13  # of one network
MOST_TENSORS = 10**6


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
            m.report("E0601", span, message, help=f"as in `train {{ batch = {batch - batch % many or many} }}`")


def check_names(m: Model, program: Program) -> None:
    """Nothing is kept under the one name that a module of PyTorch cannot give away: that of the flag which training sets."""
    for node in (n for f in program.functions.values() for n in walk(f.block)):
        path = node.get("path") or node.get("bundle") or ""
        if MODE in path.split("."):
            m.report("E0208", node.span or m.span, f"no network or parameter can be called `{MODE}`{OF_MODE}", help=RENAME)
            return
    conditions = {name_of(s): s.span for s in m.found.get("condition", [])}
    if "seed" in conditions:
        m.report("E0208", conditions["seed"], "a sampler's file has an input `seed` of its own, for its noise", help=RENAME)
    queries = [e for e in m.entries.values() if e.role == "query"]
    asked = {name: e.span for e in queries for name in (e.name, *(i.name for i in e.inputs))}
    for name, span in (asked | conditions).items():
        if name in SAVEZ:
            message = f"samples and answers are written under names, and NumPy cannot write an array `{name}`"
            m.report("E0208", span or m.span, message, help=RENAME)


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
            message = f"`{root}` has {numbers:.1e} parameters"
            m.report("E0603", span, message, help=f"at most {MOST_PARAMETERS:.0e} are supported")
        elif tensors > MOST_TENSORS:
            message = f"`{root}` has {tensors:.1e} tensors of parameters"
            m.report("E0603", span, message, help=f"at most {MOST_TENSORS:.0e} are supported: fewer layers, or wider ones")


def _head(section: tree.Section) -> str:
    head = section.head.func if isinstance(section.head, tree.Call) else section.head
    return head.id if isinstance(head, tree.Name) else ""


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
            m.report("E0602", quantization.span, message, help=f"weights have paths such as {some}")
