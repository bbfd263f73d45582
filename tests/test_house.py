"""The house rules of the project, counted so that they cannot rot."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from twin import errors

ROOT = Path(__file__).parent.parent
PACKAGES = ("twin", "layers", "ingest", "simulation", "api", "basemaps")
FILES = sorted(
    path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if "node_modules" not in path.parts
)
MAX_FILE_LINES = 400
MAX_P99_FUNCTION_LINES = 60

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def public(tree: ast.Module) -> Iterator[ast.ClassDef | Function]:
    """Public functions and classes of a module, and the public methods of those classes."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | Function) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from (item for item in node.body if isinstance(item, Function) and not item.name.startswith("_"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_file(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert len(text.splitlines()) <= MAX_FILE_LINES
    assert ast.get_docstring(tree), "a module says what it is for"
    untyped = [node.name for node in functions(tree) if node.returns is None]
    assert not untyped, f"functions without a return type: {untyped}"
    silent = [node.name for node in public(tree) if not ast.get_docstring(node) and not overrides(node)]
    assert not silent, f"public names without a docstring: {silent}"


def overrides(node: ast.AST) -> bool:
    """A method that says it is the same as its parent's needs no docstring of its own."""
    return isinstance(node, Function) and any(
        isinstance(decorator, ast.Name) and decorator.id == "override" for decorator in node.decorator_list
    )


def test_functions_are_short() -> None:
    lengths = sorted(
        node.end_lineno - node.lineno + 1
        for path in FILES
        for node in functions(ast.parse(path.read_text(encoding="utf-8")))
        if node.end_lineno
    )
    assert lengths[int(len(lengths) * 0.99)] <= MAX_P99_FUNCTION_LINES


def test_python_knows_no_city() -> None:
    """What is particular to a city stands in its profile and in the contracts, never in Python."""
    words = ("zaozhuang", "枣庄", "3704", "台儿庄", "滕州")
    default = ROOT / "twin" / "settings.py"  # names the profile that is used when none is chosen
    known = {
        f"{path.relative_to(ROOT)}: {word}"
        for path in FILES
        for word in words
        if path != default and word in path.read_text(encoding="utf-8").lower()
    }
    assert not known


def test_version_tops_the_changelog() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    headings = [line for line in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines() if line[:3] == "## "]
    assert headings[0].startswith("## Unreleased") or version in headings[0]
    assert any(version in heading for heading in headings)


def test_error_tree_is_the_documented_one() -> None:
    """The tree drawn in twin/errors.py names every error of the module, in that order of classes."""
    drawn = [line.split("── ")[1].split()[0] for line in (errors.__doc__ or "").splitlines() if "── " in line]
    assert {"TwinError", *drawn} == set(errors.__all__)
    codes = [
        getattr(errors, name).code for name in errors.__all__ if name not in {"TwinError", "Terminal", "Transient"}
    ]
    assert len(codes) == len(set(codes))
