"""Imports go down, never up or sideways, and the package loads without its heavy parts."""

import ast
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "multilayer"

# Each module or folder, and the ones that it stands on. It may import these, whatever they stand on, and
# errors.py. A folder's __init__.py may import the files of its folder.
LAYERS = {
    "errors": [],
    "output": [],
    "signals": [],
    "table.names": [],
    "table.intact": [],
    "table.notes": [],
    "table.sparse": [],
    "table.values": ["table.names", "table.notes", "table.sparse"],
    "table.notation": ["table.plain_text", "table.values"],
    "table.frames": ["table.values"],
    "table.database": ["signals", "table.intact", "table.values"],
    "table.header": [],
    "table.plain_text": ["output", "table.intact"],
    "table.delimited": ["table.database", "table.header", "table.intact", "table.plain_text"],
    "table.arrow_schema": [],
    "table.paths": [],
    "table.spreadsheet": ["table.frames", "table.intact"],
    "table.files": [
        "table.arrow_schema",
        "table.delimited",
        "table.notation",
        "table.paths",
        "table.spreadsheet",
    ],
    "table.read": ["table.files"],
    "table.column": [],
    "table.dates": [],
    "table.writing": [],
    "table.convert": ["table.column", "table.dates", "table.writing"],
    "table.text_kind": ["table.convert", "table.text"],
    "table.infer": ["table.read", "table.text_kind"],
    "table.odd_cells": ["table.infer"],
    "table.column_json": ["table.infer"],
    "table.schema": ["table.column_json", "table.odd_cells"],
    "table.nested": ["table.schema"],
    "table.target": [],
    "table.text": [],
    "table.coders": ["table.schema", "table.text"],
    "table.encode": ["table.coders", "table.target"],
    "table.split": [],
    "table.moments": ["table.split", "table.text_kind", "table.notes"],
    "table.repeats": [],
    "table.sketch": ["table.repeats"],
    "table.stream": ["output", "signals", "table.read", "table.schema"],
    "nn.blocks": [],
    "nn.embeddings": ["nn.blocks"],
    "nn.monotone": ["nn.blocks"],
    "nn.resnet": ["nn.blocks"],
    "nn.realmlp": ["nn.embeddings"],
    "nn.tabm": [],
    "nn.networks": ["nn.monotone", "nn.realmlp", "nn.resnet", "nn.tabm"],
    "training.arrays": [],
    "training.random_state": [],
    "training.plain": [],
    "training.datasets": ["training.arrays", "training.random_state"],
    "training.history": [],
    "training.losses": ["training.arrays"],
    "training.metrics": [],
    "training.task": ["training.losses"],
    "training.classification": ["training.task", "training.metrics"],
    "training.regression": ["training.task", "training.metrics"],
    "training.log_link": ["training.regression"],
    "training.several": ["training.classification", "training.regression"],
    "training.targets": ["training.several", "training.log_link"],
    "training.optim": [],
    "training.plan": ["nn", "training.layer_kernels", "training.plain"],
    "training.kernels": ["training.compiler", "training.vector_math"],
    "training.forked": [],
    "training.autograd": [
        "training.forked",
        "nn.monotone",
        "training.losses",
        "training.optim",
        "training.history",
        "training.arrays",
        "training.random_state",
    ],
    "training.blas": ["training.matmul", "training.forked"],
    "training.compiler": [],
    "training.vector_math": ["training.compiler"],
    "training.layer_kernels": ["training.kernels", "training.vector_math"],
    "training.loss_kernels": ["training.kernels", "training.vector_math"],
    "training.update_kernels": ["training.kernels", "training.vector_math"],
    "training.update_rules": ["training.update_kernels", "training.optim"],
    "training.matmul": ["training.kernels", "training.vector_math"],
    "training.forward": ["training.plan", "training.autograd", "training.blas"],
    "training.kernel_engine": [
        "training.forward",
        "training.update_rules",
        "training.loss_kernels",
        "training.blas",
    ],
    "training.rows": ["training.autograd", "training.datasets"],
    "training.pack": ["training.rows", "training.kernel_engine", "training.optim", "training.history"],
    "training.ensemble": ["training.pack"],
    "training.loop": ["training.pack"],
    "training.outputs": ["training.pack"],
    "training.predictor": ["signals", "training.pack"],
    "model_file": ["table.intact"],
    "model_check": ["training", "nn", "table"],
    "model": ["model_check", "model_file", "output"],
    "published": ["model"],
    "streaming": ["model"],
    "recipe": ["published", "streaming"],
    "textbook.network": [],
    "textbook.engines": ["textbook.network", "training"],
    "textbook.solver": ["textbook.engines"],
    "estimator_input": ["table"],
    "estimator_settings": ["recipe", "textbook"],
    "estimator_models": ["estimator_input", "estimator_settings", "model"],
    "estimators": ["estimator_models"],
    "inspect": ["model"],
    "export": ["model"],
    "serve": ["model"],
    "tuning": ["recipe"],
    "cluster": ["recipe"],
    "cli_words": [],
    "cli": ["cli_words", "signals", "estimators", "inspect", "export", "serve", "tuning", "cluster"],
    "__main__": ["cli"],
}
HEAVY = ["torch", "sklearn", "scipy", "numba", "pandas", "polars", "pyarrow", "duckdb", "matplotlib"]


class Import(NamedTuple):
    module: str  # as written, from the top: multilayer.table.read or numpy
    line: int
    lazy: bool  # inside a function


def imports_of(path: Path) -> Iterator[Import]:
    """Every import in a file, those inside functions and under TYPE_CHECKING included."""
    tree = ast.parse(path.read_text())
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    in_functions = {id(inner) for function in functions for inner in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = modules_behind(node)
        else:
            continue
        for module in modules:
            yield Import(module, node.lineno, lazy=id(node) in in_functions)


def modules_behind(node: ast.ImportFrom) -> list[str]:
    """Both `from multilayer import recipe` and `from multilayer.recipe import fit` load multilayer.recipe."""
    if node.level:
        return ["."]
    module = node.module or ""
    names = [alias.name for alias in node.names if (module, alias.name) != ("multilayer", "__version__")]
    return [f"{module}.{name}" if is_module(f"{module}.{name}") else module for name in names]


def is_module(name: str) -> bool:
    path = SRC.parent / Path(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").exists()


def module_of(path: Path) -> str:
    """src/multilayer/table/read.py -> table.read; src/multilayer/table/__init__.py -> table."""
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def covers(layer: str, module: str) -> bool:
    return module == layer or module.startswith(f"{layer}.")


def layers_of(module: str) -> list[str]:
    """The entries that a module belongs to: all of them for a folder whose files have entries."""
    own = [layer for layer in LAYERS if covers(layer, module)]
    return own or [layer for layer in LAYERS if covers(module, layer)]


def allowed(module: str) -> set[str]:
    """All entries below a module, found by following LAYERS down."""
    found = {"errors"}
    to_visit = [below for layer in layers_of(module) for below in LAYERS[layer]]
    while to_visit:
        layers = layers_of(to_visit.pop())
        to_visit += [below for layer in layers if layer not in found for below in LAYERS[layer]]
        found.update(layers)
    return found


def may_import(module: str, other: str) -> bool:
    wanted = set(layers_of(other))
    return bool(wanted) and wanted <= allowed(module) | set(layers_of(module))


FILES = sorted(path for path in SRC.rglob("*.py") if path != SRC / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SRC)))
def test_imports_go_down(path: Path) -> None:
    module = module_of(path)
    assert layers_of(module), f"{module} has no layer yet: give it one in LAYERS"

    for found in imports_of(path):
        package, _, other = found.module.partition(".")
        assert package, f"{path}:{found.line} imports relatively; write the full name"
        if package == "multilayer":
            assert may_import(module, other), f"{path}:{found.line}: {module} may not import {found.module}"


def test_the_rule_refuses_up_and_sideways() -> None:
    assert may_import("table.encode", "table.read")
    assert may_import("cli", "recipe")
    assert may_import("training.loop", "nn.blocks")
    assert may_import("nn", "nn.networks")
    assert may_import("recipe", "table")

    assert not may_import("table.read", "table.schema")
    assert not may_import("table.split", "table.read")
    assert not may_import("nn.blocks", "table.read")
    assert not may_import("training.loop", "model")
    assert not may_import("inspect.trace", "export.onnx")
    assert not may_import("table", "nn")
    assert not may_import("nn.blocks", "nn")
    assert not may_import("cli", "")


@pytest.mark.parametrize("path", sorted((SRC / "table").glob("*.py")), ids=lambda path: path.name)
def test_table_stands_on_numpy_alone(path: Path) -> None:
    """A served model encodes rows without torch, and without what only reading a file needs."""
    for found in imports_of(path):
        package = found.module.partition(".")[0]
        assert package != "torch", f"{path}:{found.line} imports torch"
        if package not in sys.stdlib_module_names and not found.lazy:
            assert package in ("numpy", "multilayer"), (
                f"{path}:{found.line}: import {package} where it is used"
            )


def test_what_loads_with_a_module_is_a_core_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    core = {dependency.split(">=")[0] for dependency in project["dependencies"]} | {"multilayer"}
    package_names = {"sklearn": "scikit-learn"}

    for path in FILES:
        type_only = type_checking_lines(path)
        for found in imports_of(path):
            package = found.module.partition(".")[0]
            if package in sys.stdlib_module_names or found.lazy or found.line in type_only:
                continue
            assert package_names.get(package, package) in core, (
                f"{path}:{found.line} loads {package}, which is no core dependency: import it in a function"
            )


def type_checking_lines(path: Path) -> set[int]:
    blocks = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
    ]
    return {line for block in blocks for line in range(block.lineno, (block.end_lineno or block.lineno) + 1)}


LOADS = {
    "import multilayer": "import multilayer",
    "multilayer --help": """
import sys
from multilayer.cli import main
sys.argv = ["multilayer", "--help"]
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
""",
}


@pytest.mark.parametrize("code", LOADS.values(), ids=LOADS.keys())
def test_loads_fast_and_without_heavy_packages(code: str) -> None:
    code += f"\nimport sys\nprint('loaded:', *(name for name in {HEAVY} if name in sys.modules))"

    times_s = []
    for _ in range(3):
        before = os.times()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        after = os.times()
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1].strip() == "loaded:"
        # Processor time, the best of three: time on the clock depends on what else the machine does.
        times_s.append(
            after.children_user + after.children_system - before.children_user - before.children_system
        )

    assert min(times_s) < 1
