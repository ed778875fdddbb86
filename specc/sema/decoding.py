"""`decode { cache = true }`: samplers that fill a sequence place by place keep what a causal network needs of earlier places.

They do so where they can, without a word. `cache = true` asks for it: then whatever stands in the way is an error, at the op.
`cache = false` has them ask for the whole sequence in each round.
"""

from __future__ import annotations

from specc.diagnostics import SpecError
from specc.ir.program import Program
from specc.passes.incremental.decode import Decoder
from specc.passes.incremental.places import Stop
from specc.sema.given import once, value_of
from specc.sema.model import Model
from specc.sema.report import did_you_mean, fail, foreign, moved
from specc.sema.sections import plain
from specc.source import Span
from specc.syntax import tree

SAME = "samples are the same, at a call of the network for each place"
HELP = "put what round i draws at place i, as in `for i in 0..n - 1 { ...; z = put(z, i, v) }`"


def caching(m: Model, section: tree.Section) -> bool:
    """What a section `decode` says of `cache`."""
    said: dict[str, bool] = {}
    items = section.body.items if section.body is not None else ()
    once(items)
    for item in items:
        if not isinstance(item, tree.Bind) or not isinstance(item.targets[0], tree.Name) or item.draw:
            fail("E0211", item.span, "`decode` takes settings such as `cache = true`")
        key = item.targets[0].id
        if key == "constraint":
            help = "draw among what is allowed, in a sampler of your own"
            fail("E0211", item.span, "`constraint` is not supported yet", help=help)
        if key == "speculate":
            message = "`speculate` is not supported yet: samplers run without it"
            m.report("W0704", item.span, message, severity="warning", help=SAME)
            continue
        value = plain(m.ev.expr(value_of(item), m.env, m.top, symbols=True), item.span)
        if key != "cache":
            help = did_you_mean(key, ["cache"]) or "it is `cache`"
            fail("E0205", item.targets[0].span, f"`decode` has no setting `{key}`", caption="not used by anything", help=help)
        if not isinstance(value, bool):
            fail("E0304", item.values[0].span, "`cache` is true or false")
        said[key] = value
    return said.get("cache", True)


def check_caches(m: Model, program: Program) -> None:
    """Where a cache is asked for, each sampler that fills a sequence has one, and there is such a sampler."""
    for section in m.found.get("decode", []):
        if not program.cache:
            return
        decoder = Decoder(program, stacked=False)
        decoder.run()
        for entry in program.by_role("sampler"):
            if entry.name not in decoder.kept and (stops := decoder.stops[entry.name]):
                m.attempt(section.span, refused, entry.name, entry.span or section.span, stops[0])
        if not any(e.name in decoder.kept or decoder.stops[e.name] for e in program.by_role("sampler")):
            m.attempt(section.span, fail, "E0409", section.span, "no sampler fills a sequence place by place", help=HELP)


def refused(name: str, span: Span, stop: Stop) -> None:
    """Raises the error at the op, or at the sampler where that is in the library."""
    message = f"`{name}` cannot keep a cache: {stop.reason}"
    at = stop.node.span or span
    try:
        fail("E0409", at, message, caption=f"this `{stop.node.op.value}`", help=stop.help)
    except SpecError as error:
        raise moved(error, span if foreign(at) else None) from None
