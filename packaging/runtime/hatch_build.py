"""Which files of src/multilayer the distribution multilayer-runtime holds: those that the runtime imports."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "multilayer"
FIRST = f"{PACKAGE}.runtime.model"
# Modules that load others only when a name of theirs is asked for: these are not followed.
LAZY = {PACKAGE, f"{PACKAGE}.nn", f"{PACKAGE}.runtime"}


class ImportedFiles(BuildHookInterface):
    """Adds them to the wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before the wheel is built."""
        source = Path(self.root).parents[1] / "src"
        kept = {file_of(source, module) for module in imported_by(source, FIRST)}
        for file in sorted([*kept, source / PACKAGE / "py.typed"]):
            build_data["force_include"][str(file)] = str(file.relative_to(source))
        build_data["force_include"][str(source.parent / "LICENSE")] = f"{PACKAGE}/LICENSE"


def imported_by(source: Path, first: str) -> set[str]:
    """A module, all that it imports, also within functions, all that these import, and their packages."""
    found: set[str] = set()
    to_visit = [first]
    while to_visit:
        module = to_visit.pop()
        file = file_of(source, module)
        if module in found or not file.exists():
            continue
        found.add(module)
        if "." in module:
            to_visit.append(module.rpartition(".")[0])
        if module not in LAZY:
            to_visit += imports_of(ast.parse(file.read_text(encoding="utf-8")))
    return found


def imports_of(tree: ast.Module) -> Iterator[str]:
    """What may be modules of the package: `from a.b import c` loads a.b, and a.b.c if that is one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == PACKAGE:
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] == PACKAGE)


def file_of(source: Path, module: str) -> Path:
    """Where a module stands."""
    path = source / Path(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
