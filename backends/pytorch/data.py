"""data.py: the text of a reader, and `examples`, which brings what it reads into the space that the spec declares."""

from __future__ import annotations

import ast
from dataclasses import replace

from specc.backends.pytorch.lines import fit
from specc.backends.pytorch.names import docstring
from specc.backends.pytorch.numbers import literal
from specc.backends.pytorch.own_reader import given_text
from specc.backends.pytorch.source import tidy

from specc.ir.program import Code, Dataset, Program, Setting, Space
from specc.record import record
from specc.runtime.readers import READERS, Reader

INTO = ("tokens", "counts", "bits")  # steps that make integers of numbers
UNIT = {"digits", "image_folder"}  # readers of images, which come in [0, 1]


@record
class Data:
    """A data file: its text, whether the data are finite, and whether it knows the symbols of a text."""

    file: str
    text: str
    finite: bool
    text_symbols: bool = False


def data_file(program: Program, dataset: Dataset, file: str = "data") -> Data:
    reader = reader_of(dataset)
    name = dataset.space.name
    first = dataset.space is program.data[0].space
    conditions = [c for c in program.conditions if not c.derived] if first else []
    doc = dataset.doc or f"data {name} from {dataset.reader.name}"
    about, body = _split(reader.text) if dataset.code is None else _given(dataset, dataset.code, conditions)
    lines = _examples(reader, dataset, conditions, finite(dataset))
    if drawn(dataset):
        where = f'FILE = Path(__file__).parent.parent / "{drawn(dataset)}"  # beside the project of a run'
        body = body.replace("import numpy as np\n", f"import numpy as np\n\n{where}\n", 1)
    symbols = "\ndef symbols(" in body
    if symbols:
        lines += ["", "", *_alphabet(dataset)]
    text = "\n".join([*docstring(doc, 0, about), "", body, "", "", *lines])
    return Data(file, tidy(text), finite(dataset), symbols)


def reader_of(dataset: Dataset) -> Reader:
    """The row of a reader; for one that the spec declares, a row of its own."""
    if dataset.code is not None:
        kind = "endless" if dataset.code.endless else "finite"
        return Reader(kind=kind, module="", doc="", options=dict(dataset.reader.options), fields=("x", *dataset.code.fields))
    if dataset.reader.name not in READERS:
        raise ValueError(f"there is no reader {dataset.reader.name}")
    return READERS[dataset.reader.name]


def _split(text: str) -> tuple[str, str]:
    """What a reader's file says of itself, and the rest of it."""
    parsed = ast.parse(text)
    return ast.get_docstring(parsed) or "", "\n".join(text.splitlines()[parsed.body[0].end_lineno :]).strip("\n")


def _given(dataset: Dataset, code: Code, conditions: list[Space]) -> tuple[str, str]:
    """The same of a reader that the spec declares: the call of its function, and what holds its arrays to the spec."""
    known = {s.name: s for s in (dataset.space, *dataset.fields, *conditions)}
    spaces = {key: known[name] for name, key in _keys(reader_of(dataset), dataset, conditions).items()}
    steps = {s.name for s in dataset.steps}
    if "standardize" in steps:  # the range is that of what comes out
        spaces["x"] = replace(spaces["x"], low=None, high=None)
    text = given_text(dataset.reader.name, code, spaces, numbers=not steps.isdisjoint(INTO))
    return f"The reader is `{code.function}` of {code.file}.", text


def numbers_file(program: Program) -> Data:
    """Examples of a model without data."""
    lines = [
        *docstring(f"{program.name} learns from no data.", 0),
        "",
        "import numpy as np",
        "",
        "",
        "def examples(n: int, rng: np.random.Generator) -> dict[str, np.ndarray]:",
        *docstring("index (n,) int64: an example is a number, and what it is worked out on is drawn by the objective.", 4),
        '    return {"index": np.arange(n)}',
    ]
    return Data("data", tidy("\n".join(lines)), finite=False)


def _alphabet(dataset: Dataset) -> list[str]:
    """The symbols of the text, which a run keeps beside its weights."""
    given = ", ".join(f"{k}={_value(dataset.reader.get(k), '')}" for k in ("path", "level", "vocab"))
    return ["def alphabet() -> str:", '    """The symbol of each token, in order."""', f"    return symbols({given})"]


def image_shape(dataset: Dataset) -> tuple[int, int, int] | None:
    """The shape of the images that a reader gives, where they became a row of integers."""
    if not unit(dataset) or not any(s.name in INTO for s in dataset.steps) or len(dataset.space.shape) != 1:
        return None
    size = dataset.reader.get("size")
    return (dataset.reader.get("channels", 1), size, size)


def drawn(dataset: Dataset) -> str | None:
    """The file, in the folder of a run, of data that a parent's sampler draws."""
    generated = dataset.reader.name == "generated" and dataset.code is None
    name = dataset.reader.get("name") if generated else None
    return f"{name}.npz" if name else None


def finite(dataset: Dataset) -> bool:
    """Whether a reader gives so many examples, or as many as one asks for."""
    return reader_of(dataset).kind == "finite"


def unit(dataset: Dataset) -> bool:
    """Whether the reader gives images in [0, 1]."""
    return dataset.reader.name in UNIT and dataset.code is None


def _examples(reader: Reader, dataset: Dataset, conditions: list[Space], finite: bool) -> list[str]:
    """The function that reads or draws, in the spec's space and under the spec's names."""
    space, where = dataset.space, _range(dataset.space)
    shape = ", ".join(map(str, space.shape))
    kind = " int64" if space.dtype == "int" else ""
    fields = [f"{space.name} (n, {shape}){kind}{where}" if shape else f"{space.name} (n,){kind}{where}"]
    fields += [
        f"{c.name} (n,) int64" if c.kind == "class" or not c.shape else f"{c.name} (n, {', '.join(map(str, c.shape))})"
        for c in (*dataset.fields, *conditions)
    ]
    options = {k: v for k, v in dataset.reader.options if k in reader.options}
    passed = "".join(f", {k}={_value(v, reader.options[k])}" for k, v in options.items())
    if drawn(dataset):
        passed = f", path=str(path){passed}"
    name = "given" if dataset.code else "load" if finite else "draw"
    call = f"{name}(split{passed})" if finite else f"{name}(n, rng{passed})"
    signature = 'split: str = "train"' if finite else "n: int, rng: np.random.Generator"
    signature += ", path: Path = FILE" if drawn(dataset) else ""
    keys = _keys(reader, dataset, conditions)
    lines = [f"def examples({signature}) -> dict[str, np.ndarray]:", *docstring(f"{'; '.join(fields)}.", 4)]
    scaled = _scaled(dataset)
    if dataset.code and not scaled and all(name == key for name, key in keys.items()):
        return [*lines, *(f"    {part}" for part in fit(f"return {call}", 124))]
    lines += [f"    {part}" for part in fit(f"data = {call}", 124)]
    lines += ['    x = data["x"]', *(f"    {line}" for line in scaled)]
    if not dataset.code:
        lines += [f"    {line}" for line in _tests(space, [(c, keys[c.name]) for c in conditions])]
    entries = ", ".join(f'"{_inside(n)}": ' + ("x" if k == "x" else f'data["{_inside(k)}"]') for n, k in keys.items())
    return [*lines, *(f"    {part}" for part in fit(f"return {{{entries}}}", 124))]


def _keys(reader: Reader, dataset: Dataset, conditions: list[Space]) -> dict[str, str]:
    """What the reader calls what the spec calls x, its fields and conditions."""
    keys = {dataset.space.name: "x"}
    for f in dataset.fields:
        if f.name not in reader.fields:
            raise ValueError(f"the reader {dataset.reader.name} gives no `{f.name}`; it gives {', '.join(reader.fields)}")
        keys[f.name] = f.name
    for k, c in enumerate(conditions):
        keys[c.name] = c.name if c.name in reader.fields else "y" if k == 0 or c.kind == "class" else c.name
    return keys


def _tests(space: Space, conditions: list[tuple[Space, str]]) -> list[str]:
    """Lines that refuse examples which are not of the space, and conditions that are not there or of other classes."""
    has = f"{space.name} has {_tuple(space.shape)}".replace("{", "{{").replace("}", "}}")
    problem = f"examples have shape {{x.shape[1:]}}, and {has}"
    lines = [*_whole(space), f"if x.shape[1:] != {_tuple(space.shape)}:", f'    raise ValueError(f"{_inside(problem)}")']
    for c, key in conditions:
        lines += [
            f'if "{_inside(key)}" not in data:',
            f'    raise ValueError("there are no classes for {_inside(c.name)} in these data")',
        ]
        if c.classes:
            lines += [f'if data["{key}"].max() >= {c.classes}:']
            lines += [
                f'    raise ValueError(f"class {{data["{key}"].max()}} is not one of {c.classes}")'.replace('["', "['").replace(
                    '"]', "']"
                )
            ]
    return lines


def _scaled(dataset: Dataset) -> list[str]:
    """From the reader's units into the declared range, and the steps after `|>`."""
    space, lines = dataset.space, []
    low, high = space.low, space.high
    steps = {s.name: s for s in dataset.steps}
    unknown = sorted(steps.keys() - {"dequantize", "flip", "standardize", *INTO})
    if unknown:
        raise ValueError(f"there is no preprocessing step {unknown[0]}")
    if "standardize" in steps:
        lines.append("x = (x - x.mean(axis=0)) / (x.std(axis=0) + 1e-6)")
    if unit(dataset) and space.dtype != "int" and low is not None and high is not None and (low, high) != (0, 1):
        shift = f" - {literal(-low)}" if low < 0 else f" + {literal(low)}" if low > 0 else ""
        factor = "" if high - low == 1 else f"{literal(high - low)} * "
        lines.append(f"x = {factor}x{shift}")
    if space.dtype == "int":
        return [*lines, *(_levels(dataset, s) for s in dataset.steps if s.name in INTO)]
    return lines


def _levels(dataset: Dataset, step: Setting) -> str:
    """Numbers of the reader's range as integers on a grid, in the shape of the space."""
    levels = step.get("levels", (step.get("args") or (None,))[0])
    if not isinstance(levels, int) or levels < 2 or levels > (dataset.space.classes or 0):
        raise ValueError(f"`{step.name}(levels = {levels})`: {dataset.space.name} has {dataset.space.classes} values")
    made = f"np.rint(x * {levels - 1}).astype(np.int64)"
    return f"x = {made}.reshape(len(x), {', '.join(map(str, dataset.space.shape))})"


def _whole(space: Space) -> list[str]:
    """Integers are those of the space."""
    if space.dtype != "int" or not space.classes:
        return []
    problem = f"{space.name} has values 0 to {space.classes - 1}, and the data {{x.min()}} to {{x.max()}}"
    return [f"if x.min() < 0 or x.max() >= {space.classes}:", f'    raise ValueError(f"{_inside(problem)}")']


def _range(space: Space) -> str:
    return f" in [{literal(space.low)}, {literal(space.high)}]" if space.low is not None and space.high is not None else ""


def _tuple(shape: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def _value(value: object, default: object) -> str:
    """An option as Python writes it; lists of names become one string, as the readers take them, and others are tuples."""
    if isinstance(value, (list, tuple)) and isinstance(default, str):
        value = ",".join(map(str, value))
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return repr(value)
    return _string(value) if isinstance(value, str) else literal(value)


def _string(text: str) -> str:
    body = repr(text)
    return f'"{body[1:-1]}"' if body[0] == "'" and '"' not in body else body


def _inside(text: str) -> str:
    """Text between double quotes."""
    return repr("'" + text)[2:-1].replace("\\'", "'").replace('"', '\\"')
