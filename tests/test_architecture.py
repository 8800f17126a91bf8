"""The rules of the structure: who imports whom, and one meaning for each public name."""

from __future__ import annotations

import ast
import importlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src"
# Each package imports only those to its left.
LIBRARY = ("dockerfile", "buildkit", "engine", "builds", "cache", "snapshot", "views", "cli")
COURSE = ("images", "apps", "grading", "exercises", "classroom", "cli")
# Packages at the same level, which import only what stands left of both.
APART = {
    ("buildkit", "dockerfile"),
    ("engine", "buildkit"),
    ("snapshot", "cache"),
    ("classroom", "exercises"),
}
MODULES = sorted(path for path in SRC.rglob("*.py") if not path.stem.endswith("_pb2"))


def imports(path: Path) -> Iterator[str]:
    """Return every module that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def package_of(module: str) -> tuple[str, str]:
    """Return the top-level package of a module, and the package in it ("" for the top)."""
    top, _, rest = module.partition(".")
    return top, rest.partition(".")[0]


def importers() -> Iterator[tuple[Path, str, str]]:
    for path in MODULES:
        module = ".".join(path.relative_to(SRC).with_suffix("").parts)
        for name in imports(path):
            if name.startswith("stagelens"):
                yield path, module, name


def test_the_library_never_imports_the_course() -> None:
    found = [(str(path), name) for path, module, name in importers() if package_of(module)[0] == "stagelens"]
    assert [(path, name) for path, name in found if package_of(name)[0] == "stagelens_course"] == []


def test_a_package_imports_only_packages_to_its_left() -> None:
    wrong: list[tuple[str, str]] = []
    for _, module, name in importers():
        (top, package), (imported_top, imported) = package_of(module), package_of(name)
        order = LIBRARY if top == "stagelens" else COURSE
        if top != imported_top or package == imported or package not in order or imported not in order:
            continue
        if order.index(imported) > order.index(package) or (package, imported) in APART:
            wrong.append((module, name))
    assert wrong == []


def test_only_the_engine_package_makes_a_docker_client() -> None:
    makers = [str(path.relative_to(SRC)) for path in MODULES if "APIClient(" in path.read_text()]
    assert [path for path in makers if not path.startswith("stagelens/engine/")] == []


def public_definitions() -> dict[str, list[str]]:
    """Return the modules of every public class and function of a public face."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for path in MODULES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(".".join(path.relative_to(SRC).with_suffix("").parts))
    return found


def test_no_two_public_classes_have_the_same_name() -> None:
    assert {name: modules for name, modules in public_definitions().items() if len(modules) > 1} == {}


def face(path: Path) -> set[str]:
    """Return the names in a module's `__all__`."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and any(ast.unparse(target) == "__all__" for target in node.targets):
            return set(ast.literal_eval(node.value))
    return set()


@pytest.mark.parametrize(
    "package", sorted(path.parent for path in MODULES if path.name == "__init__.py"), ids=str
)
def test_no_module_shares_its_name_with_a_public_name_of_its_package(package: Path) -> None:
    inside = {
        path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert inside & face(package / "__init__.py") == set()


@pytest.mark.parametrize("package", ["buildkit", "builds", "cache", "engine"])
def test_face_has_each_name_that_it_lists(package: str) -> None:
    module = importlib.import_module(f"stagelens.{package}")
    assert [name for name in module.__all__ if not hasattr(module, name)] == []
    assert set(module.__all__) <= set(dir(module))


def test_no_public_name_stands_in_two_faces() -> None:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for path in MODULES:
        if path.name == "__init__.py" and path.parent.parent != SRC:
            for name in face(path):
                found[name].append(str(path.parent.relative_to(SRC)))
    assert {name: faces for name, faces in found.items() if len(faces) > 1} == {}
