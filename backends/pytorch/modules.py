"""Networks as classes: where each parameter, layer and sub-network is registered, so that the keys of a state dict are the
paths of the IR.

A layer is an op whose weight (and bias) are parameters with a common stem; it becomes an attribute of that name. Paths with
dots (`down.1.conv`) become nested ModuleList and ModuleDict.
"""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from specc.backends.pytorch.expressions import call
from specc.backends.pytorch.fills import table
from specc.backends.pytorch.numbers import literal, written
from specc.backends.pytorch.spelling import TORCH

from specc.ir.ops import Op
from specc.ir.program import Bare, Function, Node, walk

# Attributes of nn.Module and of its containers, which a child of that name would hide
HIDDEN = frozenset(
    """
    add_module append apply bfloat16 buffers call_super_init children clear compile copy cpu cuda double dump_patches
    eval extend extra_repr float forward fromkeys get get_buffer get_extra_state get_parameter get_submodule half
    has_key insert ipu items keys load_state_dict modules mtia named_buffers named_children named_modules
    named_parameters parameters pop popitem register_backward_hook register_buffer register_forward_hook
    register_forward_pre_hook register_full_backward_hook register_full_backward_pre_hook
    register_load_state_dict_post_hook register_load_state_dict_pre_hook register_module register_parameter
    register_state_dict_post_hook register_state_dict_pre_hook requires_grad_ set_extra_state set_submodule setdefault
    share_memory state_dict to to_empty train training type update values xpu zero_grad T_destination
    """.split()  # noqa: SIM905
)


@dataclass(slots=True)
class Place:
    """What stands at a path: a module (`make`), a bare parameter (`start`), or only what is below it."""

    make: str | None = None
    start: str | None = None
    buffer: bool = False  # a table of numbers that no checkpoint has
    still: bool = False  # nothing here or below is trained
    below: dict[str, Place] = field(default_factory=dict)

    @property
    def container(self) -> bool:
        return self.make is None and self.start is None


@dataclass(slots=True)
class Layout:
    """Everything that a class registers, and how its code reaches it."""

    root: Place = field(default_factory=Place)
    layers: dict[Node, str] = field(default_factory=dict)  # node to the path of the module that does it
    starts: list[tuple[str, str, tuple[object, ...]]] = field(default_factory=list)  # path of the owner, name, init

    def at(self, path: str) -> Place:
        place = self.root
        for part in path.split("."):
            place = place.below.setdefault(part, Place())
        return place

    def keep(self, path: str) -> None:
        """What is on the way to a path, and there, is not trained."""
        place = self.root
        for part in path.split("."):
            place = place.below[part]
            place.still = True

    def reach(self, path: str) -> str:
        """The expression for what stands at a path, from inside the class."""
        text, place = "self", self.root
        for part in path.split("."):
            kind = _container(place) if place.container and place is not self.root else "module"
            below = place.below.get(part, Place())  # none: a parameter of a module, by itself
            if kind == "list":
                text += f"[{part}]"
            elif kind in ("dict", "parameters"):
                text += f".{part}" if kind == "dict" and _plain(part) else f"[{_string(part)}]"
            elif _plain(part):
                text += f".{part}"
            elif _hidden(part):
                text += f".{'_parameters' if below.start is not None else '_modules'}[{_string(part)}]"
            else:
                text += f".{'get_parameter' if below.start is not None else 'get_submodule'}({_string(part)})"
            place = below
        return text

    def registrations(self) -> list[str]:
        """The lines of `__init__`."""
        lines = [line for part, place in self.root.below.items() for line in self._register("self", part, place, part)]
        return lines + [line for owner, name, init in self.starts for line in self._start(owner, name, init)]

    def _register(self, owner: str, part: str, place: Place, path: str) -> list[str]:
        if place.buffer:
            return [f"{owner}.register_buffer({_string(part)}, {place.start}, persistent=False)"]
        value = f"nn.Parameter({place.start})" if place.start is not None else place.make or self._contents(place)
        if place.still and _container(place) != "module":  # what is below it comes later
            value += ".requires_grad_(False)"
        if _hidden(part):
            line = f"{owner}.{'_parameters' if place.start is not None else '_modules'}[{_string(part)}] = {value}"
        elif part.isidentifier() and not keyword.iskeyword(part):
            line = f"{owner}.{part} = {value}"
        else:
            line = f"{owner}.{'register_parameter' if place.start is not None else 'add_module'}({_string(part)}, {value})"
        return [line, *self._later(place, path)]

    def _later(self, place: Place, path: str) -> list[str]:
        """What is below a module, or stands bare in a container, comes after it."""
        kind = _container(place) if place.container else "module"
        lines = []
        for part, below in place.below.items():
            inner = f"{path}.{part}"
            if kind == "module" or (kind == "dict" and below.start is not None):
                lines += self._register(self.reach(path), part, below, inner)
            elif kind != "parameters":
                lines += self._later(below, inner)
        return lines

    def _contents(self, place: Place) -> str:
        kind = _container(place)
        if kind == "module":
            return "nn.Module()"
        if kind == "parameters":
            return f"nn.ParameterDict({{{', '.join(f'{_string(k)}: {p.start}' for k, p in place.below.items())}}})"
        values = {k: p.make or self._contents(p) for k, p in place.below.items() if p.start is None}
        if kind == "list" and len(values) > 1 and len(set(values.values())) == 1:
            return f"nn.ModuleList({values['0']} for _ in range({len(values)}))"
        if kind == "list":
            return f"nn.ModuleList([{', '.join(values[str(i)] for i in range(len(values)))}])"
        return f"nn.ModuleDict({{{', '.join(f'{_string(k)}: {v}' for k, v in values.items())}}})"

    def _start(self, owner: str, name: str, init: tuple[object, ...]) -> list[str]:
        target = f"{self.reach(owner)}.{name}"
        match init:
            case ("zeros",):
                return [f"nn.init.zeros_({target})"]
            case ("ones",):
                return [f"nn.init.ones_({target})"]
            case ("uniform", float() | int() as bound):
                return [f"nn.init.uniform_({target}, {_bounds(bound)})"]
            case ("normal", float() | int() as std):
                return [call("nn.init.normal_", target, std=None if std == 1 else written(std)[0])]
            case ("constant", float() | int() as value):
                return [f"nn.init.constant_({target}, {literal(value)})"]
        raise ValueError(f"{init} is not a start for parameters")


def submodule(path: str, model: str = "model") -> str:
    """A network of the model, from outside: by attributes, where Python and nn.Module leave its names free."""
    for part in path.split("."):
        if _plain(part):
            model += f".{part}"
        elif _hidden(part):
            model += f"._modules[{_string(part)}]"
        else:
            model += f".get_submodule({_string(part)})"
    return model


def reached(bare: Bare, model: str = "model") -> str:
    """A tensor of the model that belongs to no network, from outside."""
    if _plain(bare.path):
        return f"{model}.{bare.path}"
    return f"{model}.{'_parameters' if bare.trainable else '_buffers'}[{_string(bare.path)}]"


def registered(bare: Bare) -> str:
    """The line of the model's `__init__` that makes it."""
    start = _tensor(bare.shape, bare.init)
    if bare.dtype == "int":
        start = f"{start}.long()"
    if not _plain(bare.path):
        value = f"nn.Parameter({start})" if bare.trainable else start
        return f"self.{'_parameters' if bare.trainable else '_buffers'}[{_string(bare.path)}] = {value}"
    if bare.trainable:
        return f"self.{bare.path} = nn.Parameter({start})"
    return f"self.register_buffer({_string(bare.path)}, {start})"


def layout(functions: Iterable[Function], class_of: dict[str, str], is_plain: Callable[[Node], bool]) -> Layout:
    """Registers what functions over one bundle need. class_of: how a sub-network is made, by its function."""
    out = Layout()
    for function in functions:
        nodes = list(walk(function.block))
        made = {n.out.id: n for n in nodes if n.op is Op.PARAM}
        rounded = {n.out.id: made[n.inputs[0].id] for n in nodes if n.op is Op.ROUND_TO and n.inputs[0].id in made}
        for node in nodes:
            if node.op in (Op.CALL, Op.REPEAT) and not is_plain(node):
                _sub_network(out, node, class_of)
            elif node.op in MAKERS:
                _layer(out, node, made, rounded, nodes)
            elif node.op is Op.PARAM:
                continue
        for node in made.values():
            _bare(out, node)
    return out


def _sub_network(out: Layout, node: Node, class_of: dict[str, str]) -> None:
    turns = [node["bundle"]] if node.op is Op.CALL else [f"{node['bundle']}.{i}" for i in range(node["count"])]
    for path in turns:
        out.at(path).make = class_of[node["function"]]


def _layer(out: Layout, node: Node, made: dict[int, Node], rounded: dict[int, Node], nodes: list[Node]) -> None:
    """A module for a node whose weight and bias are parameters of one stem that nothing else uses in another way. One whose
    weight is rounded first has a module that holds its parameters, and is a function of them."""
    where = 0 if node.op is Op.TAKE else 1
    operands = node.inputs[:1] if where == 0 else node.inputs[1:]
    params = [made.get(v.id) or rounded.get(v.id) for v in operands]
    if not params or any(p is None for p in params):
        return
    paths = [p["path"] for p in params if p is not None]
    stem = paths[0].rpartition(".")[0]
    if not stem or paths != [f"{stem}.weight", f"{stem}.bias"][: len(paths)]:
        return
    plain = operands[0].id not in rounded
    own = {v.id for v in operands} | {p.out.id for p in params if p}
    others = [n for n in nodes if n is not node and n.op is not Op.ROUND_TO and any(v.id in own for v in n.inputs)]
    if any(n.op is not node.op or n.attrs != node.attrs or len(n.inputs) != len(node.inputs) for n in others):
        return
    found = MAKERS[node.op](node, [p for p in params if p is not None])
    if found is None:
        return
    text, defaults = found
    place = out.at(stem)
    if place.make is None:
        place.make = text
        for p, name in zip(params, ("weight", "bias"), strict=False):
            if p is not None and not _same(tuple(p["init"]), defaults[name]):
                out.starts.append((stem, name, tuple(p["init"])))
    if plain and not node.get("rounds"):
        out.layers[node] = stem
    for p, name in zip(params, ("weight", "bias"), strict=False):
        if p is not None:
            out.layers[p] = f"{stem}.{name}"


def _bare(out: Layout, node: Node) -> None:
    if node in out.layers:
        return
    stem, _, name = node["path"].rpartition(".")
    if stem and stem in out.layers.values() and name in ("weight", "bias"):
        return  # the same parameter of a module, read elsewhere
    place = out.at(node["path"])
    if node["init"][0] == "table":
        place.start, place.buffer = table(node["init"][1]), True
    elif place.start is None and place.make is None:
        place.start = _tensor(tuple(node["shape"]), tuple(node["init"]))


def _tensor(shape: tuple[int, ...], init: tuple[object, ...]) -> str:
    sizes = ", ".join(map(str, shape)) or "()"
    match init:
        case ("zeros",):
            return f"torch.zeros({sizes})"
        case ("ones",):
            return f"torch.ones({sizes})"
        case ("normal", float() | int() as std):
            return f"torch.randn({sizes})" if std == 1 else f"{written(std)[0]} * torch.randn({sizes})"
        case ("uniform", float() | int() as bound):
            return f"torch.empty({sizes}).uniform_({_bounds(bound)})"
        case ("constant", float() | int() as value):
            if not shape:
                return f"torch.tensor({float(value)})"
            return f"torch.full(({sizes}{',' if len(shape) == 1 else ''}), {float(value)})"
    raise ValueError(f"{init} is not a start for parameters")


# Layers --------------------------------------------------------------------------------------------------------------


def _usual(fan_in: int) -> dict[str, tuple[object, ...]]:
    bound = 1 / math.sqrt(fan_in)
    return {"weight": ("uniform", bound), "bias": ("uniform", bound)}


NORM: dict[str, tuple[object, ...]] = {"weight": ("ones",), "bias": ("zeros",)}


def _bias(params: list[Node]) -> str | None:
    return None if len(params) == 2 else "False"


def _linear(node: Node, params: list[Node]) -> tuple[str, dict[str, tuple[object, ...]]]:
    n, d = params[0]["shape"]
    return call("nn.Linear", str(d), str(n), bias=_bias(params)), _usual(d)


def _options(node: Node, **defaults: int) -> dict[str, str]:
    return {k: str(node.get(k, d)) for k, d in defaults.items() if node.get(k, d) != d}


def _conv(node: Node, params: list[Node]) -> tuple[str, dict[str, tuple[object, ...]]]:
    n, c, *kernel = params[0]["shape"]
    groups = node.get("groups", 1)
    options = _options(node, stride=1, padding=0, dilation=1, groups=1)
    text = call(f"nn.Conv{len(kernel)}d", str(c * groups), str(n), _kernel(kernel), **options, bias=_bias(params))
    return text, _usual(c * math.prod(kernel))


def _conv_transpose(node: Node, params: list[Node]) -> tuple[str, dict[str, tuple[object, ...]]]:
    c, n, *kernel = params[0]["shape"]
    groups = node.get("groups", 1)
    options = _options(node, stride=1, padding=0, output_padding=0, groups=1, dilation=1)
    text = call(f"nn.ConvTranspose{len(kernel)}d", str(c), str(n * groups), _kernel(kernel), **options, bias=_bias(params))
    return text, _usual(n * math.prod(kernel))


def _kernel(kernel: list[int]) -> str:
    return str(kernel[0]) if len(set(kernel)) == 1 else f"({', '.join(map(str, kernel))})"


def _layernorm(node: Node, params: list[Node]) -> tuple[str, dict[str, tuple[object, ...]]]:
    return call("nn.LayerNorm", str(params[0]["shape"][0]), eps=_eps(node["eps"], 1e-5), bias=_bias(params)), NORM


def _rmsnorm(node: Node, params: list[Node]) -> tuple[str, dict[str, tuple[object, ...]]]:
    return call("nn.RMSNorm", str(params[0]["shape"][0]), eps=literal(node["eps"])), NORM


def _groupnorm(node: Node, params: list[Node]) -> tuple[str, dict[str, tuple[object, ...]]] | None:
    if len(params) == 1 or node.inputs[0].type.rank != node["spatial"] + 2:
        return None
    text = call("nn.GroupNorm", str(node["groups"]), str(params[0]["shape"][0]), eps=_eps(node["eps"], 1e-5))
    return text, NORM


def _embedding(node: Node, params: list[Node]) -> tuple[str, dict[str, tuple[object, ...]]] | None:
    if node["axis"] != 0 or node.get("batch", 0) or len(params[0]["shape"]) != 2:
        return None
    count, n = params[0]["shape"]
    return call("nn.Embedding", str(count), str(n)), {"weight": ("normal", 1.0)}


MAKERS = {
    Op.LINEAR: _linear,
    Op.CONV: _conv,
    Op.CONV_TRANSPOSE: _conv_transpose,
    Op.LAYERNORM: _layernorm,
    Op.RMSNORM: _rmsnorm,
    Op.GROUPNORM: _groupnorm,
    Op.TAKE: _embedding,
}
assert all(op in TORCH for op in MAKERS)


# Text ----------------------------------------------------------------------------------------------------------------


def _eps(value: float, default: float) -> str | None:
    return None if value == default else literal(value)


def _same(init: tuple[object, ...], default: tuple[object, ...]) -> bool:
    if init[0] != default[0] or len(init) != len(default):
        return False
    return all(math.isclose(float(a), float(b), rel_tol=1e-6) for a, b in zip(init[1:], default[1:], strict=True))  # type: ignore[arg-type]


def _bounds(value: float) -> str:
    """From -value to value; 1 / sqrt(n) as such where it is one."""
    inverse = 1 / value**2 if value else 0
    if inverse > 1.5 and math.isclose(inverse, round(inverse), rel_tol=1e-9):
        return f"-({round(inverse)}**-0.5), {round(inverse)}**-0.5"
    return f"-{literal(value)}, {literal(value)}"


def _container(place: Place) -> str:
    """list for 0, 1, 2...; parameters for bare ones alone; dict otherwise, unless a name would hide one of its methods."""
    keys = list(place.below)
    if any(_hidden(k) or not k for k in keys):
        return "module"
    bare = [p.start is not None for p in place.below.values()]
    if all(bare):
        return "parameters"
    if not any(bare) and sorted(keys) == sorted(str(i) for i in range(len(keys))):
        return "list"
    return "dict"


def _plain(part: str) -> bool:
    return bool(re.fullmatch(r"[^\W\d]\w*", part)) and not keyword.iskeyword(part) and not _hidden(part)


def _hidden(part: str) -> bool:
    """Whether the attribute of this name is, or may be, nn.Module's own."""
    return part in HIDDEN or part.startswith("_")


def _string(text: str) -> str:
    body = repr(text)
    return f'"{body[1:-1]}"' if body[0] == "'" and '"' not in body else body
