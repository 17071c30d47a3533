"""The house's rules, held by tests: imports, lint, types, style, pins and documentation."""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.accounts.roles import PERMISSIONS, ROLES
from workbench.cli import app
from workbench.core.settings import Settings
from workbench.core.texts import LANGUAGES, catalogue
from workbench.kinds import KINDS

ROOT = Path(__file__).parents[2]
PACKAGES = (ROOT / "workbench", ROOT / "extensions" / "workbench_server")
README = (ROOT / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ["lint-imports"],
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy"],
    ],
    ids=lambda command: " ".join(command),
)
def test_the_tools_find_nothing(command: list[str]) -> None:
    tool = Path(sys.executable).with_name(command[0])
    ended = subprocess.run([tool, *command[1:]], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def sources() -> list[Path]:
    return [path for package in PACKAGES for path in package.rglob("*.py") if "migrations" not in path.parts]


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring."""
    first = function.body[0]
    documented = (
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    )
    inside = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
    return (function.end_lineno or 0) - function.lineno + 1 - inside


def test_functions_and_modules_stay_small() -> None:
    functions = []
    for path in sources():
        text = path.read_text()
        assert len(text.splitlines()) <= 400, path
        nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        functions += [(length(node), f"{path}:{node.name}") for node in nodes]
        assert all(node.returns is not None for node in nodes), path
    lengths = sorted(size for size, _ in functions)
    assert statistics.median(lengths) <= 8
    assert lengths[int(0.9 * len(lengths))] <= 28
    assert max(functions)[0] <= 70, max(functions)


def test_every_module_says_what_it_is_for() -> None:
    for path in sources():
        assert ast.get_docstring(ast.parse(path.read_text())), path


def test_every_package_folder_has_its_init() -> None:
    for path in sources():
        assert (path.parent / "__init__.py").exists(), path.parent


def test_the_pins_are_the_same_everywhere() -> None:
    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line]
    listed = [line.strip("- ") for line in (ROOT / "environment.yml").read_text().splitlines() if "==" in line]
    assert listed == pins


def test_the_readme_documents_every_name() -> None:
    commands = [command.callback.__name__ for command in app.registered_commands if command.callback is not None]
    names = [f"`workbench {command}" for command in commands]
    names += [f"`WORKBENCH_{field.upper()}`" for field in Settings.model_fields]
    names += [f"`{permission}`" for permission in PERMISSIONS]
    names += [f"`{kind}`" for kind in KINDS]
    assert [name for name in names if name not in README] == []
    assert [role for role in ROLES if role not in README] == []


def test_both_languages_have_the_same_texts() -> None:
    first, *others = (catalogue(language) for language in LANGUAGES)
    assert all(other.keys() == first.keys() for other in others)
