"""Who may import whom, as the README says: arrows only go down, nothing goes round, nothing heavy on the way to a check."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "onnx", "onnxruntime")

BASE = {"specc.source", "specc.diagnostics", "specc.record", "specc.installed"}
MAY = {  # a room: the rooms that it may import; itself and BASE go without saying
    "specc.syntax": {"specc.grammars"},
    "specc.ir": set(),
    "specc.sema": {
        "specc.syntax",
        "specc.ir",
        "specc.specs",
        "specc.reference",
        "specc.passes",
    },  # it folds and proves with the oracle's numbers
    "specc.passes": {"specc.ir"},
    "specc.reference": {"specc.ir", "specc.passes", "specc.runtime"},
    "specc.runtime": {"specc.ir", "specc.reference", "specc.passes", "specc.backends"},
    "specc.backends.pytorch": {"specc.ir", "specc.passes", "specc.runtime"},
    "specc.backends.onnx": {"specc.ir", "specc.passes", "specc.runtime", "specc.reference"},
    "specc.backends.mlir": {"specc.ir", "specc.passes", "specc.backends.pytorch", "specc.backends.onnx"},
    "specc.backends.web": {"specc.ir", "specc.runtime", "specc.backends.onnx"},
    "specc.driver": {"specc.syntax", "specc.sema", "specc.ir", "specc.passes", "specc.backends"},
    "specc.api": {"specc.driver", "specc.ir"},
    "specc.cli": {"specc"},
    "specc": {"specc.api"},
}


def modules() -> dict[str, Path]:
    """Every module by its installed name."""
    found = {}
    for top, name in (
        ("specc", "specc"),
        ("backends", "specc.backends"),
        ("grammars", "specc.grammars"),
        ("specs", "specc.specs"),
    ):
        for path in (ROOT / top).rglob("*.py"):
            parts = path.relative_to(ROOT / top).with_suffix("").parts
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            found[".".join((name, *parts))] = path
    return found


MODULES = modules()


def imports(module: str, *, top_level: bool = False) -> set[str]:
    """The modules of ours that a module imports, anywhere or outside functions and type checking only."""
    found = set()
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    for node in walk(tree.body) if top_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            names = {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            names = {name if name in MODULES else node.module or "" for name in whole}
        else:
            continue
        found |= {name for name in names if name in MODULES}
        assert not any(name.split(".")[0] in ("backends", "grammars", "specs") for name in names), module
    return found - {module}


def walk(body: list[ast.stmt]) -> list[ast.stmt]:
    """Statements that run when a module is imported."""
    found = []
    for node in body:
        found.append(node)
        if isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.unparse(node.test):
            found += walk(node.body) + walk(node.orelse)
        elif isinstance(node, ast.Try):
            found += walk(node.body)
    return found


def inside(module: str, room: str) -> bool:
    return module == room or module.startswith(room + ".")


def room_of(module: str) -> str | None:
    rooms = [room for room in MAY if (module == room if room == "specc" else inside(module, room))]
    return max(rooms, key=len, default=None)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_arrows_only_go_down(module: str) -> None:
    room = room_of(module)
    if room is None:
        assert imports(module) <= BASE, f"{module} is at the bottom" if module in BASE else f"{module} is in no room"
        return
    for other in imports(module):
        may = other in BASE or inside(other, room) or any(inside(other, r) for r in MAY[room])
        assert may or other == "specc", f"{module} ({room}) may not import {other}"


def test_nothing_goes_round() -> None:
    edges = {module: imports(module, top_level=True) for module in MODULES}
    state: dict[str, str] = {}

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert state.get(module) != "open", "a cycle of imports: " + " -> ".join((*path[path.index(module) :], module))
        if module in state:
            return
        state[module] = "open"
        for other in sorted(edges[module]):
            visit(other, (*path, module))
        state[module] = "done"

    for module in sorted(edges):
        visit(module, ())


def loaded_by(*command: str) -> set[str]:
    """The third-party modules that a command of specc has imported at its end."""
    code = (
        "import sys\nfrom specc.cli.main import run\n"
        f"code = run({list(command)!r})\n"
        "print('\\n' + ' '.join(sorted({m.split('.')[0] for m in sys.modules})), file=sys.stderr)\nsys.exit(code)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode in (0, 1), result.stderr
    return set(result.stderr.strip().split("\n")[-1].split())


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from specc.cli.new import STARTER

    path = tmp_path_factory.mktemp("specs") / "starter.spec"
    path.write_text(STARTER.format(name="starter", title="starter"))
    return path


def test_check_imports_nothing_heavy(spec: Path) -> None:
    loaded = loaded_by("check", str(spec))
    assert not loaded & {*HEAVY, "pydantic", "rich", "jinja2", "lark", "scipy", "sklearn"}


def test_compile_imports_neither_torch_nor_onnx(spec: Path, tmp_path: Path) -> None:
    assert not loaded_by("compile", str(spec), "--target", "pytorch", "-o", str(tmp_path / "out")) & set(HEAVY)


def test_importing_the_package_imports_nothing() -> None:
    code = "import specc, sys; print([m for m in sys.modules if m.startswith('specc.')])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
