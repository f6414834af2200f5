"""How the packages may know each other: through doors, downwards, without cycles."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
#: subpackages that are entered by a door of their own
INNER_DOORS = {
    "facekd.preprocess.detectors",
    "facekd.models.teachers",
    "facekd.distillation.losses",
    "facekd.training.data",
    "facekd.verification.protocols",
    "facekd.verification.results",
}
#: the command line is no library: each of its files is run by its name
NO_DOOR = "facekd.cli"


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted((ROOT / "facekd").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()
PACKAGES = {name for name, path in MODULES.items() if path.name == "__init__.py" and name.count(".") == 1}
DOORS = sorted((PACKAGES - {NO_DOOR}) | INNER_DOORS)


def imports_of(path: Path) -> Iterator[str]:
    """Every module of facekd that a file imports, at its top, inside functions and for types alone."""
    yield from imports_of_text(path.read_text(encoding="utf-8"))


def imports_of_text(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("facekd"))
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("facekd"):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else node.module


def door_of(module: str) -> str | None:
    """The innermost package with a door that contains a module."""
    behind = [door for door in DOORS if module == door or module.startswith(f"{door}.")]
    return max(behind, key=len, default=None)


def past_a_door(importer: str, module: str) -> bool:
    door = door_of(module)
    return door is not None and module != door and not f"{importer}.".startswith(f"{door}.")


def test_nothing_is_imported_past_the_door_of_its_package() -> None:
    files = MODULES | {f"tools.{path.stem}": path for path in (ROOT / "tools").glob("*.py")}
    deep = [
        f"{importer} -> {module}"
        for importer, path in files.items()
        for module in imports_of(path)
        if past_a_door(importer, module)
    ]
    assert deep == []


def test_what_past_a_door_is() -> None:
    assert past_a_door("facekd.workflows.verify", "facekd.verification.metrics")
    assert past_a_door("facekd.verification.hardest", "facekd.verification.protocols.lfw")
    assert not past_a_door("facekd.verification.hardest", "facekd.verification.metrics")
    assert not past_a_door("facekd.verification.protocols.lfw", "facekd.verification.metrics")
    assert not past_a_door("facekd.workflows.verify", "facekd.verification.protocols")


def test_nothing_inside_imports_the_public_api() -> None:
    """The public API is above everything; names of its submodules do not count."""
    inside = {name: path for name, path in MODULES.items() if name != "facekd"}
    assert [name for name, path in inside.items() if "facekd" in imports_of(path)] == []
    api = (ROOT / "facekd" / "__init__.py").read_text(encoding="utf-8")
    assert list(imports_of_text(api)) == ["facekd.version"]


def test_what_an_import_of_the_public_api_is() -> None:
    assert list(imports_of_text("import facekd")) == ["facekd"]
    assert list(imports_of_text("from facekd import Gallery, files")) == ["facekd", "facekd.files"]


def test_files_import_each_other_in_one_direction() -> None:
    edges = {name: {m for m in files_behind(path) if m != name} for name, path in MODULES.items()}
    assert cycles(edges) == []


def files_behind(path: Path) -> Iterator[str]:
    """The files whose names a file takes, those that a door shows among them."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module in DOORS:
            shown = exported(node.module)
            yield from (shown[alias.name] for alias in node.names if alias.name in shown)
    yield from imports_of(path)


def test_a_cycle_is_found() -> None:
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert cycles({"a": {"b"}, "b": set()}) == []


def exported(door: str) -> dict[str, str]:
    """The names in a door's stub, with the module of each."""
    stub = MODULES[door].with_suffix(".pyi")
    shown = {}
    for node in ast.parse(stub.read_text(encoding="utf-8")).body:
        assert isinstance(node, ast.ImportFrom), f"{stub}: a door imports and does nothing else"
        shown |= {alias.asname or alias.name: f"{door}.{node.module}" for alias in node.names}
    return shown


@pytest.mark.parametrize("door", DOORS)
def test_a_door_shows_names_that_are_there_and_no_submodule(door: str) -> None:
    package = importlib.import_module(door)
    for name in exported(door):
        assert f"{door}.{name}" not in MODULES, f"{door}.{name} is a submodule too"
        assert getattr(package, name) is not None


def cycles(edges: dict[str, set[str]]) -> list[list[str]]:
    """The groups of nodes that reach each other (Tarjan, SIAM J. Computing 1972), each in order."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        order[node] = low[node] = len(order)
        stack.append(node)
        for after in edges.get(node, ()):
            if after not in order:
                visit(after)
            if after in stack:
                low[node] = min(low[node], low[after])
        if low[node] == order[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in edges:
        if node not in order:
            visit(node)
    return found
