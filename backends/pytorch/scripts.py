"""train.py, sample.py and query.py: the parts with this program's numbers, names and variants."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from specc.backends.pytorch.choose import choose, part
from specc.backends.pytorch.conditions import conditions
from specc.backends.pytorch.data import Data, image_shape
from specc.backends.pytorch.lines import exploded, fit
from specc.backends.pytorch.names import WIDTH, docstring, legal
from specc.backends.pytorch.numbers import literal
from specc.backends.pytorch.objective import Objective
from specc.backends.pytorch.related import lenders
from specc.backends.pytorch.routine import CLOCK, Group, Player, Turn, batches_of, parameters_of, players, steps_of
from specc.backends.pytorch.samplers import Way, arguments, leasts
from specc.backends.pytorch.source import grouped, import_lines, table, tidy, used_names

from specc.ir.program import Entry, Program

OPTIMIZERS = {"adam": "Adam", "adamw": "AdamW", "sgd": "SGD", "rmsprop": "RMSprop", "adagrad": "Adagrad"}
DECAYS = ("cosine", "linear", "constant")
NONE: Mapping[str, Any] = {}
PICTURE = 'self.out / f"samples-{self.step}.png"'
KNOBS = {"lr": "LEARNING_RATE", "eps": "EPSILON"}
QUIET = 'os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait leave their cores to the workers of `ahead`'


# train.py ------------------------------------------------------------------------------------------------------------


def train_script(program: Program, losses: list[Objective], samplers: list[Way], data: Data, turn: Turn | None) -> str:
    decay = _word(program.setting("decay", "constant"))
    if decay not in DECAYS:
        raise ValueError(f"there is no schedule of the learning rate {decay}")
    warmup = int(program.setting("warmup", 0) or 0)
    losses = [o for o in losses if o.entry.role == "objective"]
    learns, watched = bool(losses), _watched(program)
    features = {"one" if turn is None else "routine", "finite" if data.finite else "endless", decay}
    features |= {"learns"} if learns else set()
    features |= {"players"} if learns and turn is not None else set()
    features |= {"watched"} if watched else set()
    features |= {"schedule"} if warmup or decay != "constant" else set()
    features |= {"warmup"} if warmup else set()
    features |= {"falls"} if decay != "constant" else set()
    begin = program.by_role("start")
    features |= {"modules"} if program.starts else set()
    features |= {"computed"} if begin else set()
    features |= {"starts"} if program.starts or begin else set()
    features |= {"ema"} if program.setting("ema") else set()
    features |= {"clip"} if program.setting("clip") else set()
    features |= {"text"} if data.text_symbols else set()
    features |= {"prepared"} if learns and losses[0].prepared else set()
    features |= {"pictures"} if previewed(program, samplers) else set()
    over = losses[0].entry.over if learns else ()
    trained = {root for root in program.networks if not program.untrained(root)}
    if turn is None and over and set(over) != trained:
        features.add("over")
    features |= {"frozen"} if len(trained) < len(program.networks) else set()
    features |= {"parents"} if lenders(program) else set()
    features |= {"averages"} if program.averages else set()
    features |= {"generated"} if program.by_role("generate") else set()
    features |= {"states"} if begin or any(not b.trainable for b in program.bare) else set()
    features |= {"groups"} if program.groups > 1 else set()
    features |= {"updates"} if begin or program.by_role("update") else set()
    features |= {"rounds"} if batches_of(steps_of(program)) > 1 else set()
    knobs = _knobs(program, losses, features, warmup)
    default = f"runs/{_folder(program.name)}"
    starts = " --parent" + "".join(f" runs/{_folder(p.name)}" for p in lenders(program)) if "parents" in features else ""
    usage = [
        f"    python train.py{starts}{' ' * (24 - len(starts))} # {int(program.setting('steps', 1000)):,} steps into {default}",
        "    python train.py --resume                # go on from the last checkpoint",
    ]
    usage += ["    torchrun --nproc-per-node 2 train.py    # data parallel: each process takes its share of a batch"] * learns
    names = ["loss", "prepare"] if "prepared" in features else ["loss"]
    starting = _starting(begin[0], turn) if begin and turn is not None else ""
    if turn is not None and program.starts and learns:
        turn.imports.add(losses[0].name)
    every = f"PICTURE_EVERY = {int(program.setting('picture_every', 1000) or 0)}  # steps; 0 for none"
    replaced = {
        "knobs": "\n".join(knobs),
        "optimizer": "\n".join(_make_optimizer(program) if turn is None else _make_optimizers(program)),
        "objective": f"from objective import {', '.join(names if turn is None else turn.imported('objective'))}",
        "process": "\n".join(f"from process import {', '.join(used)}" for used in [turn and turn.imported("process")] if used),
        "value": f"            value = loss(self.model, *batch{_clock(losses[0]) if learns else ''})",
        "trained": f"        self.parameters = {_listed(parameters_of(program, over, 'self.model'))}"
        if "over" in features
        else "",
        "turn": "\n".join(f"        {line}" for line in turn.lines) if turn is not None else "",
        "start_modules": f"        start_from(self.model, {losses[0].name}, batch)" if learns else "",
        "start_tensors": starting,
        "picture_every": every,
        "shown": f"{' ' * 20}preview(self.{'ema' if 'ema' in features else 'model'}, self.device, {PICTURE})",
    }
    _, command = choose(part("command"), features).split("\n\n\n", 1)  # its imports are among those of the rest
    quiet = QUIET if "prepared" in features else ""
    text = grouped(f"{choose(part('train'), features, replaced)}\n\n{command}", quiet)
    return tidy("\n".join([docstring(f"Train {program.name}.", 0)[0][:-3], "", "Usage:", *usage, '"""', "", text]))


def _listed(parameters: str) -> str:
    if not parameters.startswith("[p for") or len(parameters) <= WIDTH - len("        self.parameters = "):
        return parameters if parameters.startswith("[") else f"list({parameters})"
    of, test = parameters[len("[p for ") : -1].split(" if ", 1)
    if len(test) > WIDTH - len("            if "):
        test = test.replace(" and not ", "\n            and not ")
    return "\n".join(["[", "            p", f"            for {of}", f"            if {test}", "        ]"])


def _clock(loss: Objective) -> str:
    """How far training is, as arguments of a loss that asks for it."""
    return "".join(f", {i.name}={CLOCK[i.role]}" for i in loss.entry.inputs if i.role in CLOCK)


def _watched(program: Program) -> list[str]:
    """States that are one number: columns of the log."""
    return [b.path for b in program.bare if not b.trainable and b.shape == () and b.dtype == "float"]


def _starting(entry: Entry, turn: Turn) -> str:
    """The line that gives parameters and states their computed starts."""
    name = turn.names[entry.name]
    turn.imports.add(name)
    clock = "".join(f", {i.name}={0 if i.role == 'step' else 0.0}" for i in entry.inputs if i.role in CLOCK)
    return f"        self.update({name}, batch, STARTS{clock})"


def _knobs(program: Program, losses: list[Objective], features: set[str], warmup: int) -> list[str]:
    """Numbers on top, and the optimizer."""
    steps, batch = int(program.setting("steps", 1000)), int(program.setting("batch", 64))
    lines = [f"STEPS = {steps}", f"BATCH = {batch}  # examples, over all processes"]
    if "groups" in features:
        lines.append(f"GROUP = {program.groups}  # examples that see each other; each process has whole groups")
    if "rounds" in features:
        lines.append(f"BATCHES = {batches_of(steps_of(program))}  # a step")
    teams = players(program) if "routine" in features else []
    usual = (bool(losses) and not teams) or any(g.setting is None for player in teams for g in player.groups)
    lines += _numbers(program.setting("optimizer", "adam"), "", "") if usual else []
    for player in teams:
        for group in player.groups:
            if group.setting is not None:
                whose = player.name if len(player.groups) == 1 else ", ".join(group.over)
                lines += _numbers(group.setting, player.prefix(group), f" of {whose}", _beside(program, player, group))
    if "warmup" in features and losses:
        lines.append(f"WARMUP = {warmup}  # steps" + ("" if "constant" in features else ", before the learning rate falls"))
    if "ema" in features:
        lines.append(f"EMA = {literal(program.setting('ema'))}  # of the weights, per step")
    if "clip" in features:
        lines.append(f"CLIP = {literal(program.setting('clip'))}  # the longest gradient")
    lines.append(f'PRECISION = "{"bf16" if _word(program.setting("precision", "fp32")) in ("bf16", "bfloat16") else "fp32"}"')
    lines.append(f'OUT = Path("runs/{_folder(program.name)}")')
    names = ["loss"] if len(losses) == 1 else [o.name for o in losses]
    lines.append(f"LOSSES = {_strings([*names, *_watched(program)])}  # columns of the log")
    if "watched" in features:
        lines.append(f"WATCHED = {_strings(_watched(program))}  # states among them")
    if "computed" in features:
        lines.append(f"STARTS = {_strings(list(program.by_role('start')[0].writes))}  # what the first batch decides")
    lines.append(f"FILES = {_strings(['model', 'optimizer', *(['ema'] if 'ema' in features else [])])}  # of a checkpoint")
    lines.append(f"SAVE_EVERY = {int(program.setting('save_every', 1000) or 10**9)}  # steps")
    return lines


def _beside(program: Program, player: Player, group: Group) -> dict[str, Any]:
    """The options of a player's first group, which hold for a later one where it says nothing else."""
    first = player.groups[0]
    return {} if group is first else _optimizer(first.setting or program.setting("optimizer", "adam"))[1]


def _numbers(setting: Any, prefix: str, whose: str, known: Mapping[str, Any] = NONE) -> list[str]:
    """The options of an optimizer as constants, but for those that are known."""
    kind, options = _optimizer(setting)
    lines = []
    for key, value in options.items():
        if known.get(key) == value:
            continue
        shown = _tuple(value) if isinstance(value, (list, tuple)) else _scientific(value)
        lines.append(f"{prefix}{_knob(key)} = {shown}" + (f"  # {OPTIMIZERS[kind]}{whose}" if key == "lr" else ""))
    return lines


def _optimizer(setting: Any) -> tuple[str, dict[str, Any]]:
    """The optimizer's name and options."""
    kind, options = _word(setting), dict(getattr(setting, "options", ()))
    if kind not in OPTIMIZERS:
        raise ValueError(f"there is no optimizer {kind}")
    return kind, {"lr": 1e-3} | options


def _made(setting: Any, prefix: str, parameters: str, fused: str) -> tuple[str, list[str]]:
    """The call that makes an optimizer, and its arguments."""
    kind, options = _optimizer(setting)
    passed = [f"{key}={prefix}{_knob(key)}" for key in options]
    return f"torch.optim.{OPTIMIZERS[kind]}(", [parameters, *passed, *([] if kind == "rmsprop" else [f"fused={fused}"])]


def _make_optimizer(program: Program) -> list[str]:
    fused = 'parameters[0].device.type in ("cpu", "cuda")'
    head, inside = _made(program.setting("optimizer", "adam"), "", "parameters", fused)
    call = exploded(f"return {head}", inside, ")", 124)
    return [
        "def make_optimizer(parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:",
        *(f"    {line}" for line in call),
    ]


def _make_optimizers(program: Program) -> list[str]:
    """One for each player."""
    found = players(program)
    rows = []
    for player in found:
        first, *others = player.groups
        parameters = parameters_of(program, first.over)
        if others:
            rows_of = [f'{{"params": {parameters}}}', *(_group(program, player, g) for g in others)]
            parameters = f"[{', '.join(rows_of)}]"
        setting = first.setting or program.setting("optimizer", "adam")
        head, inside = _made(setting, player.prefix(first), parameters, "fused")
        call = exploded(f"{json.dumps(player.name)}: {head}", inside, "),", WIDTH - 8)
        rows += [f"        {line}" for line in call]
    fused = ['    fused = next(model.parameters()).device.type in ("cpu", "cuda")'] if any("fused=" in r for r in rows) else []
    return [
        "def make_optimizers(model: Model) -> dict[str, torch.optim.Optimizer]:",
        '    """Who trains which parameters, and how."""',
        *fused,
        "    return {",
        *rows,
        "    }",
    ]


def _group(program: Program, player: Player, group: Group) -> str:
    """Parameters with the options in which they differ from the first group."""
    assert group.setting is not None
    known, prefix = _beside(program, player, group), player.prefix(group)
    said = {key: f"{prefix}{_knob(key)}" for key, value in _optimizer(group.setting)[1].items() if known.get(key) != value}
    said = {"params": parameters_of(program, group.over)} | said
    items = ", ".join(f"{json.dumps(key)}: {text}" for key, text in said.items())
    return f"{{{items}}}"


def _scientific(value: float) -> str:
    """2e-4 rather than 0.0002."""
    short = re.sub(r"\.?0*e-0?", "e-", f"{value:.6e}")
    return short if 0 < value < 0.01 and len(short) <= len(literal(value)) else literal(value)


def _knob(key: str) -> str:
    return KNOBS.get(key, key.upper())


def _folder(name: str) -> str:
    return legal(name)


def _word(value: Any) -> str:
    return str(getattr(value, "name", value))


def _tuple(values: Any) -> str:
    """Of floats: an optimizer refuses the integer 0."""
    return f"({', '.join(f'{literal(v)}.0' if literal(v).isdigit() else literal(v) for v in values)})"


def _strings(values: list[str]) -> str:
    inner = ", ".join(json.dumps(v) for v in values)
    return f"({inner},)" if len(values) == 1 else f"({inner})"


def _pictured(program: Program) -> set[str]:
    """Which pictures there are of the data: of images, or of points in the plane."""
    if not program.data:
        return set()
    space = program.data[0].space
    if len(space.shape) == 3 and space.shape[0] in (1, 3):
        return {"images"}
    if image_shape(program.data[0]) is not None:
        return {"images", "folded"}
    return {"points"} if tuple(space.shape) == (2,) else set()


def previewed(program: Program, samplers: list[Way]) -> set[str]:
    """The pictures that training makes of the first sampler: none where that is given a condition that nobody knows then."""
    asked = conditions(program, samplers, [])
    return set() if not samplers or asked.needed() & set(asked.of[samplers[0].entry.name]) else _pictured(program)


def preview_script(program: Program, pictured: set[str]) -> str:
    text = choose(part("preview"), pictured, {"knobs": "\n".join(_scale(program, pictured))})
    return tidy(text)


def _scale(program: Program, pictured: set[str]) -> list[str]:
    """What the numbers of a picture mean."""
    lines = []
    if "images" in pictured:
        low, high = _limits(program)
        lines.append(f"LOW, HIGH = {low}, {high}  # of pixels")
    if "folded" in pictured:
        lines.append(f"SHAPE = {image_shape(program.data[0])}  # of a picture")
    return lines


def _limits(program: Program) -> tuple[str, str]:
    space = program.data[0].space
    low, high = (0.0, 1.0) if space.low is None or space.high is None else (space.low, space.high)
    if space.classes:
        low, high = 0, space.classes - 1
    return f"{float(low)}", f"{float(high)}"


# sample.py -----------------------------------------------------------------------------------------------------------


def sample_script(program: Program, samplers: list[Way], derived: list[Way], local: dict[str, str]) -> str:
    named = arguments(samplers)
    asked = conditions(program, samplers, derived)
    features = set(_pictured(program)) & {"images", "folded"}
    features |= {"ema"} if program.setting("ema") else set()
    features |= asked.features()
    features |= {"named"} if named else set()
    features |= {"whole", "lines"} if program.data and program.data[0].space.dtype == "int" else set()
    features |= {"drawn"} if drawn(program, samplers) else set()
    tables = table("SAMPLERS", {w.entry.name: w.name for w in samplers})
    if asked.inputs:
        tables += table("CONDITIONS", {sampler: _strings(list(names)) for sampler, names in asked.of.items()})
    if "together" in features:
        tables.append(f"DERIVED = {_strings(asked.asked())}  # from one example")
    if named:
        tables += table("ARGUMENTS", {name: json.dumps(param) for name, (param, _) in named.items()})
    if any(lowest := leasts(program, samplers, named)):
        features |= {"counted"}
        tables += table("LEAST", {w.entry.name: json.dumps(low) for w, low in zip(samplers, lowest, strict=True)})
    tables += _scale(program, features)
    options = [_option(n, "int" if i.type.dtype.value == "int" else "float") for n, (_, i) in named.items()]
    replaced = {
        "table": "\n".join(tables),
        "images table": "",
        "arguments": "\n".join([*options, *asked.options()]),
        "usual": "\n".join(asked.usual()),
        "given": "\n".join(asked.given()),
        "forms": _out(features),
    }
    text = choose(part("sample"), features, replaced)
    own = local | ({"examples": "data"} if asked.derived else {})
    ways = [*samplers, *([asked.derived] if asked.derived else [])]
    return with_functions(text, ways, own, _head(program, "Draw from a trained", _sample_usage(program, samplers)))


def drawn(program: Program, samplers: list[Way]) -> set[str]:
    """The pictures that there are of what the samplers give, and of the data."""
    shapes = [program.functions[w.entry.function].block.results[0].type.shape[1:] for w in samplers]
    found = {"images" for s in shapes if len(s) == 3 and s[0] in (1, 3)} | {"points" for s in shapes if s == (2,)}
    return found | _pictured(program) - {"folded"}


def _out(features: set[str]) -> str:
    """The option that says where samples go, and in which form."""
    forms = [
        ".npz for numbers",
        *[".txt for a line a sample"] * ("lines" in features),
        *[".png for a picture"] * ("drawn" in features),
    ]
    line = f'parser.add_argument("--out", type=Path, default=Path("samples.npz"), help="{", ".join(forms)}")'
    return "\n".join(f"    {part}" for part in fit(line, WIDTH - 4))


def _sample_usage(program: Program, samplers: list[Way]) -> list[str]:
    run, first = f"runs/{_folder(program.name)}", samplers[0].entry.name
    return [f"    python sample.py {run} --sampler {first} -n 64 --seed 0 --out samples.npz"]


def _head(program: Program, what: str, usage: list[str]) -> list[str]:
    return [docstring(f"{what} {program.name}.", 0)[0][:-3], "", "Usage:", *usage, '"""']


def with_functions(text: str, found: list[Way], local: dict[str, str], head: list[str]) -> str:
    """A part with printed functions between its imports and its tables."""
    lines = text.split("\n")
    first = next(i for i, line in enumerate(lines) if line and not line.startswith(("import ", "from ")))
    functions = "\n\n\n".join("\n".join(w.lines) for w in found)
    rest = "\n".join(lines[first:])
    names = used_names(f"{functions}\n\n\n{rest}")
    own = {k: v for k, v in local.items() if v not in ("sample", "query")}
    imports = _imports(names, own)
    return tidy("\n".join([*head, "", *imports, "", "", functions, "", "", rest]))


def _imports(names: set[str], local: dict[str, str]) -> list[str]:
    lines = import_lines(names - {"Path", "Callable"}, local)
    if "Path" not in names:
        return lines
    place = next((i for i, line in enumerate(lines) if not line), len(lines))
    return [*lines[:place], "from pathlib import Path", *lines[place:]]


def _option(name: str, kind: str) -> str:
    return f'    parser.add_argument("--{name}", type={kind}, help="of the sampler")'


# query.py ------------------------------------------------------------------------------------------------------------


def query_script(program: Program, queries: list[Way], local: dict[str, str]) -> str:
    features = {"ema"} if program.setting("ema") else set()
    features |= {"counted"} if any(_counted(w) for w in queries) else set()
    inputs = {w.entry.name: _strings([i.name for i in w.entry.inputs if i.role != "argument"]) for w in queries}
    tables = [*table("QUERIES", {w.entry.name: w.name for w in queries}), *table("INPUTS", inputs)]
    text = choose(part("query"), features, {"table": "\n".join(tables)})
    run = f"runs/{_folder(program.name)}"
    given = "-n 1000" if _counted(queries[0]) else "--data in.npz"
    usage = [f"    python query.py {run} --query {queries[0].entry.name} {given} --out out.npz"]
    return with_functions(text, queries, local, _head(program, "Ask a trained", usage))


def _counted(query: Way) -> bool:
    """Whether it asks about no example, so that somebody must say how many answers there are to be."""
    return not any(i.role in ("data", "condition") for i in query.entry.inputs)
