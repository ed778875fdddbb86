"""Values of the lanes of a call: one tensor along the batch, as the call takes and gives them, and parts of it elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from specc.backends.onnx.emit import Emitter, Packed

from specc.ir.ops import Op
from specc.ir.program import Block, Node, Value
from specc.ir.types import BATCH, Type


def joined(e: Emitter, values: Sequence[Value]) -> str | Packed:
    """These values one after another, by the name of a tensor where they are not packed."""
    if len(values) == 1:
        return e.tensors(values[0])
    known = e.joined.get(tuple(v.id for v in values))
    return known or e.op("Concat", *(e.name(v) for v in values), axis=0, hint="lanes")


def part(e: Emitter, values: Sequence[Value], whole: str | Packed) -> None:
    """Bind values that come one after another. Who asks for them together again takes them as they came."""
    if len(values) == 1:
        e.env[values[0].id] = whole
        return
    e.joined[tuple(v.id for v in values)] = whole
    name = e.named(whole)
    sizes = e.op("Concat", *[e.batch] * len(values), axis=0, hint="sizes")  # WebGPU splits by sizes, not by a number of parts
    e.bind(tuple(values), e.op("Split", name, sizes, outputs=len(values), axis=0, hint="lane"))


def type_of(e: Emitter, values: Sequence[Value]) -> Type:
    first = values[0].type
    return first if len(values) == 1 else first.shaped((f"{len(values)}{e.size}", *first.shape[1:]))


def slots(params: Sequence[Value], body: Block) -> list[tuple[int, ...]]:
    """What a loop carries, by number: as one where a call of its body takes values and gives the next ones in lanes. So the
    caches of guidance stay in one piece."""
    together = {slot[0]: slot for node in body.nodes if node.op is Op.CALL for slot in _through(node, params, body)}
    later = {i for slot in together.values() for i in slot[1:]}
    return [together.get(i, (i,)) for i in range(len(params)) if i not in later]


def _through(node: Node, params: Sequence[Value], body: Block) -> Iterator[tuple[int, ...]]:
    lanes = node.get("lanes", 1)
    if lanes == 1:
        return
    numbers = {v.id: i for i, v in enumerate(params) if v.type.shape[:1] == (BATCH,)}
    width, count = len(node.inputs) // lanes, len(node.outputs) // lanes
    given = [node.outputs[j::count] for j in range(count)]
    for i in range(width):
        slot = tuple(numbers.get(v.id, -1) for v in node.inputs[i::width])
        if -1 not in slot and len(set(slot)) == lanes and tuple(body.results[k] for k in slot) in given:
            yield slot
