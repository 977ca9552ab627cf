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
    "machine": [],
    "output": [],
    "progress": [],
    "notebook": [],
    "report.charts": [],
    "signals": [],
    "file_values": [],
    "table.sources.names": [],
    "table.sources.intact": [],
    "table.sources.dtype_hints": [],
    "table.sources.sparse": [],
    "table.sources.values": ["table.sources.names", "table.sources.dtype_hints", "table.sources.sparse"],
    "table.sources.notation": ["table.sources.plain_text", "table.sources.values"],
    "table.sources.frames": ["table.sources.values"],
    "table.sources.database": ["machine", "signals", "table.sources.intact", "table.sources.values"],
    "table.sources.header": [],
    "table.sources.plain_text": ["output", "table.sources.intact"],
    "table.sources.plain_rows": ["table.sources.values"],
    "table.sources.delimited": [
        "table.sources.plain_rows",
        "table.sources.database",
        "table.sources.header",
        "table.sources.intact",
        "table.sources.plain_text",
    ],
    "table.sources.arrow_schema": [],
    "table.sources.paths": [],
    "table.sources.spreadsheet": ["machine", "table.sources.frames", "table.sources.intact"],
    "table.sources.files": [
        "table.sources.arrow_schema",
        "table.sources.delimited",
        "table.sources.notation",
        "table.sources.paths",
        "table.sources.spreadsheet",
    ],
    "table.sources.read": ["table.sources.files"],
    "table.sources.streamable": ["table.sources.files"],
    "table.column": [],
    "table.dates": [],
    "table.writing": [],
    "table.text": [],
    "table.cells": ["table.dates"],
    "table.levels": ["table.cells"],
    "table.steps": ["table.column", "table.levels", "table.text"],
    "table.target_encoding": ["table.steps"],
    "table.kinds.kind": ["file_values", "table.steps", "table.sources.dtype_hints"],
    "table.kinds.unscaled": ["table.kinds.kind"],
    "table.kinds.boolean": ["table.kinds.unscaled"],
    "table.kinds.category": ["table.kinds.unscaled"],
    "table.kinds.ordered": ["table.kinds.category", "table.sources.read"],
    "table.kinds.number": ["table.kinds.boolean", "table.writing"],
    "table.kinds.date": ["table.kinds.number"],
    "table.kinds.time": ["table.kinds.number"],
    "table.kinds.duration": ["table.kinds.number"],
    "table.kinds.text": ["table.kinds.number"],
    "table.text_kind": ["table.kinds"],
    "table.infer": ["table.text_kind"],
    "table.odd_cells": ["table.infer"],
    "table.column_json": ["table.infer"],
    "table.schema": ["notebook", "table.column_json", "table.odd_cells"],
    "table.list_columns": ["table.cells", "table.sources.read"],
    "table.encode": ["table.schema", "table.target_encoding"],
    "table.split": ["table.cells"],
    "table.row_weights": [],
    "table.moments": ["table.split", "table.text_kind"],
    "table.merge_rows": ["table.cells"],
    "table.sketch": ["table.merge_rows"],
    "table.on_disk": ["table.schema", "table.sources.read"],
    "table.copy_to_disk": ["output", "signals", "table.on_disk", "table.sources.streamable"],
    "table.schema_on_disk": ["table.on_disk"],
    "nn.blocks": [],
    "nn.embeddings": ["nn.blocks"],
    "nn.monotone": ["nn.blocks"],
    "nn.resnet": ["nn.blocks"],
    "nn.realmlp": ["nn.embeddings"],
    "nn.config": [],
    "nn.tabm": ["nn.config"],
    "nn.networks": ["nn.config", "nn.monotone", "nn.realmlp", "nn.resnet", "nn.tabm"],
    "training.user_arrays": [],
    "training.random_state": [],
    "training.kernels.plain": [],
    "training.datasets": ["training.user_arrays", "training.random_state"],
    "training.history": ["notebook", "report.charts"],
    "training.losses": ["training.user_arrays"],
    "training.targets": ["training.losses"],
    "training.optim": [],
    "training.schedules": ["training.run_length"],
    "training.kernels.plan": ["training.kernels.layers"],
    "training.kernels.readers": [
        "nn",
        "training.kernels.activations",
        "training.kernels.embeddings",
        "training.kernels.plain",
        "training.kernels.plan",
    ],
    "training.kernels.loop": ["training.kernels.compiler", "training.kernels.vector_math"],
    "training.forked": [],
    "training.autograd": [
        "training.forked",
        "nn.monotone",
        "training.losses",
        "training.optim",
        "training.history",
        "training.user_arrays",
        "training.random_state",
    ],
    "training.kernels.blas": ["training.kernels.matmul", "training.forked"],
    "training.kernels.compiler": [],
    "training.kernels.vector_math": ["training.kernels.compiler"],
    "training.kernels.activations": ["training.kernels.loop", "training.kernels.vector_math"],
    "training.kernels.embeddings": ["training.kernels.loop", "training.kernels.vector_math"],
    "training.kernels.layers": ["training.kernels.loop", "training.kernels.vector_math"],
    "training.kernels.losses": ["training.kernels.loop", "training.kernels.vector_math"],
    "training.kernels.updates": ["training.kernels.loop", "training.kernels.vector_math"],
    "training.kernels.update_rules": ["training.kernels.updates", "training.optim"],
    "training.kernels.matmul": ["training.kernels.loop", "training.kernels.vector_math"],
    "training.kernels.predict": ["training.kernels.readers", "training.autograd", "training.kernels.blas"],
    "training.kernels.optimizer_state": [
        "training.kernels.blas",
        "training.kernels.plain",
        "training.kernels.plan",
        "training.kernels.update_rules",
    ],
    "training.kernels.loss_rules": ["training.kernels.losses", "training.kernels.plain", "training.losses"],
    "training.kernels.engine": [
        "training.kernels.loss_rules",
        "training.kernels.predict",
        "training.kernels.optimizer_state",
        "training.kernels.losses",
        "training.kernels.blas",
    ],
    "training.loggers": [],
    "training.settings": [],
    "training.run_length": ["training.settings"],
    "training.kept": [],
    "training.rows": ["table.row_weights", "training.autograd", "training.datasets", "training.targets"],
    "training.pack": [
        "training.rows",
        "training.run_length",
        "training.kept",
        "training.kernels.engine",
        "training.optim",
        "training.schedules",
        "training.history",
    ],
    "training.snapshots": ["training.pack"],
    "training.first_look": ["diagnosis.contracts", "training.rows"],
    "training.loop": ["machine", "training.first_look", "training.pack"],
    "training.outputs": ["training.pack"],
    "tasks.metrics": [],
    "tasks.link_steps": [],
    "tasks.task": ["tasks.link_steps"],
    "tasks.classification": ["tasks.task", "tasks.metrics"],
    "tasks.regression": ["tasks.task", "tasks.metrics", "training.losses"],
    "tasks.positive": ["tasks.regression", "training.losses"],
    "tasks.multi_target": ["tasks.classification", "tasks.regression"],
    "tasks.make": ["tasks.multi_target", "tasks.positive"],
    "runtime.network_steps": [],
    "runtime.networks": ["file_values", "runtime.network_steps"],
    "model.predictor": ["machine", "signals", "training.pack"],
    "model.file": ["machine"],
    "model.record": ["file_values", "output"],
    "model.statistics": ["model.record", "tasks.metrics", "table.encode"],
    "model.reliability": ["model.statistics"],
    "model.conformal": ["model.reliability", "tasks.classification"],
    "model.members": ["model.predictor", "tasks.task"],
    "model.intervals": ["model.conformal", "tasks.positive"],
    "model.flags": ["model.statistics"],
    "model.calibration": ["tasks.classification"],
    "model.sure_model": [
        "model.calibration",
        "model.intervals",
        "model.flags",
        "model.members",
        "model.table_model",
    ],
    "model.check_fields": ["file_values"],
    "model.check_task": ["model.check_fields", "tasks"],
    "model.check_encoder": ["model.check_fields", "table"],
    "model.check_network": ["model.check_fields", "nn.config", "runtime.networks"],
    "model.check": [
        "model.check_encoder",
        "model.check_network",
        "model.check_task",
        "model.statistics",
        "training.history",
    ],
    "model.verification": ["file_values", "table"],
    "model.format": ["model.verification", "model.check", "model.file", "model.intervals", "output"],
    "model.evidence": ["table"],
    "model.first_words": ["notebook", "table.sources.names", "tasks.metrics"],
    "model.networks": ["model.check", "nn", "training"],
    "model.table_reader": ["tasks", "table"],
    "model.table_model": ["model.format", "model.table_reader"],
    "runtime.forward": ["runtime.network_steps"],
    "runtime.one_row": ["table"],
    "runtime.model": ["runtime.forward", "runtime.one_row", "runtime.networks", "model.table_model"],
    "model.model": [
        "signals",
        "model.evidence",
        "model.first_words",
        "model.predictor",
        "model.networks",
        "model.format",
        "model.sure_model",
    ],
    "model.card": ["model.model"],
    "diagnosis.codes": [],
    "diagnosis.finding": ["diagnosis.codes"],
    "diagnosis.setup": ["training.user_arrays"],
    "diagnosis.loss_core": ["training.autograd"],
    "diagnosis.ending": ["diagnosis.loss_core"],
    "diagnosis.scene": ["diagnosis.ending", "diagnosis.setup"],
    "diagnosis.patches": ["diagnosis.finding", "diagnosis.scene"],
    "diagnosis.contracts": ["diagnosis.patches"],
    "diagnosis.refusals": ["diagnosis.finding", "diagnosis.scene"],
    "diagnosis.parameters": ["diagnosis.patches", "diagnosis.refusals"],
    "diagnosis.layers": ["diagnosis.parameters"],
    "diagnosis.rehearsal": ["diagnosis.layers"],
    "diagnosis.loop_signals": ["diagnosis.finding", "diagnosis.ending"],
    "diagnosis.doctor": ["diagnosis.contracts", "diagnosis.rehearsal", "training.settings"],
    "diagnosis.watch": ["diagnosis.contracts", "diagnosis.layers", "diagnosis.loop_signals"],
    "diagnosis.table_checks": ["diagnosis.finding", "table"],
    "diagnosis.tables": ["diagnosis.table_checks", "recipe"],
    "recipe.choices": [],
    "recipe.config": ["recipe.choices"],
    "recipe.declared": ["table"],
    "recipe.arguments": ["recipe.choices", "training.settings", "tasks", "nn", "table"],
    "recipe.asked": [],
    "recipe.wanted": [
        "recipe.arguments",
        "recipe.asked",
        "recipe.config",
        "recipe.declared",
        "training.loop",
    ],
    "recipe.encoded_rows": ["tasks", "table"],
    "recipe.weight_decay": ["recipe.config", "recipe.encoded_rows", "training"],
    "recipe.networks.network": ["recipe.config", "recipe.encoded_rows", "training", "nn"],
    "recipe.networks.default": ["recipe.networks.network", "recipe.weight_decay"],
    "recipe.networks.mlp": ["recipe.networks.network"],
    "recipe.networks.realmlp": ["recipe.networks.network"],
    "recipe.networks.resnet": ["recipe.networks.network"],
    "recipe.networks.tabm": ["recipe.networks.network"],
    "recipe.data": ["recipe.wanted", "model"],
    "recipe.training_facts": ["model.statistics", "table"],
    "recipe.chunks": ["machine", "recipe.encoded_rows", "model"],
    "recipe.split_rows": ["recipe.data"],
    "recipe.plan": ["recipe.split_rows", "recipe.networks", "recipe.training_facts"],
    "recipe.rows_in_memory": ["recipe.plan"],
    "recipe.rows_streamed": ["recipe.plan", "recipe.chunks"],
    "recipe.calibration_rows": ["recipe.chunks", "recipe.data", "model"],
    "recipe.rows": ["recipe.rows_in_memory", "recipe.rows_streamed"],
    "recipe.architecture": ["nn", "training"],
    "recipe.trained": ["recipe.architecture", "recipe.plan"],
    "recipe.best_stretch": ["tasks", "training"],
    "recipe.penalised": ["training.losses"],
    "recipe.linear": ["recipe.penalised", "recipe.plan"],
    "recipe.blend": ["recipe.best_stretch"],
    "recipe.selection": ["recipe.blend", "recipe.linear", "recipe.trained"],
    "recipe.summary": ["recipe.selection"],
    "recipe.findings": ["diagnosis.table_checks", "recipe.rows_in_memory"],
    "recipe.held_out": ["recipe.selection"],
    "recipe.baselines": ["signals", "recipe.selection"],
    "recipe.fit": [
        "progress",
        "recipe.baselines",
        "recipe.calibration_rows",
        "recipe.findings",
        "recipe.rows",
        "recipe.summary",
        "recipe.held_out",
    ],
    "textbook.network": [],
    "textbook.engines": ["textbook.network", "training"],
    "textbook.solver": ["textbook.engines"],
    "estimators.input": ["table"],
    "estimators.settings": ["recipe", "textbook"],
    "estimators.plain_rows": ["estimators.input"],
    "estimators.attributes": ["estimators.plain_rows", "estimators.settings"],
    "estimators.fitted": ["estimators.attributes"],
    "estimators.of_model": ["estimators.fitted"],
    "estimators.estimator": ["estimators.of_model"],
    "inspect.trace": ["model"],
    "inspect.result_table": [],
    "inspect.encoded_table": ["model"],
    "inspect.importance": ["inspect.encoded_table", "inspect.result_table"],
    "inspect.effects": ["inspect.encoded_table"],
    "inspect.shapley": ["inspect.encoded_table"],
    "inspect.interactions": ["inspect.encoded_table", "inspect.result_table"],
    "inspect.gradients": ["inspect.encoded_table"],
    "inspect.drift": ["model", "inspect.result_table"],
    "inspect.explanation": [
        "inspect.importance",
        "inspect.effects",
        "inspect.shapley",
        "inspect.interactions",
        "inspect.gradients",
    ],
    "export.typed": ["table"],
    "export.networks": ["model"],
    "export.parity": ["export.networks", "export.typed", "model"],
    "export.target": ["export.parity"],
    "export.drawn": ["table"],
    "export.kept": ["model"],
    "export.onnx.graph": [],
    "export.onnx.int8": [],
    "export.onnx.session": [],
    "export.onnx.letters": [],
    "export.onnx.search": ["export.onnx.graph"],
    "export.onnx.feed": ["export.typed"],
    "export.onnx.categories": ["export.onnx.graph", "table"],
    "export.onnx.dates": ["export.onnx.search", "table"],
    "export.onnx.text": ["export.onnx.graph", "export.onnx.letters", "table"],
    "export.onnx.encoder": ["export.onnx.categories", "export.onnx.dates", "export.onnx.text"],
    "export.onnx.network": ["export.onnx.graph", "runtime"],
    "export.onnx.link": ["export.onnx.graph", "tasks"],
    "export.onnx.target": [
        "export.networks",
        "export.target",
        "export.onnx.encoder",
        "export.onnx.feed",
        "export.onnx.int8",
        "export.onnx.link",
        "export.onnx.network",
        "export.onnx.session",
    ],
    "export.feeds": ["export.onnx.feed", "model.table_reader"],
    "export.torch.encoder": ["export.typed", "export.onnx.dates", "table"],
    "export.torch.network": ["runtime", "tasks"],
    "export.torch.target": [
        "export.networks",
        "export.target",
        "export.torch.encoder",
        "export.torch.network",
    ],
    "export.script.program": [],
    "export.script.training": ["model", "recipe"],
    "export.script.target": [
        "export.networks",
        "export.target",
        "export.script.program",
        "export.script.training",
    ],
    "export.c.source": [],
    "export.c.compiler": ["export.parity"],
    "export.c.encoder": ["export.c.source", "export.onnx.dates", "export.typed"],
    "export.c.network": ["export.c.source", "runtime"],
    "export.c.link": ["export.c.source", "tasks"],
    "export.c.target": [
        "export.kept",
        "export.c.compiler",
        "export.c.encoder",
        "export.c.link",
        "export.c.network",
        "export.networks",
        "export.outputs",
        "export.target",
    ],
    "export.outputs": ["model"],
    "export.html.document": ["export.networks", "export.onnx.dates", "export.outputs", "export.typed"],
    "export.html.panel": ["export.html.document", "export.parity"],
    "export.html.target": ["export.html.panel", "export.target"],
    "export.sql.stages": [],
    "export.sql.encoder": ["export.sql.stages", "table"],
    "export.sql.network": ["export.sql.stages", "runtime", "tasks"],
    "export.sql.target": [
        "export.networks",
        "export.outputs",
        "export.sql.encoder",
        "export.sql.network",
        "export.target",
    ],
    "export.targets": [
        "export.c",
        "export.html",
        "export.onnx",
        "export.script",
        "export.sql",
        "export.torch",
    ],
    "export.exported": ["export.drawn", "export.kept", "export.targets"],
    "export.verify": ["export.feeds", "export.onnx.session", "export.parity", "export.targets"],
    "report.subject": ["model"],
    "report.refits": ["recipe", "report.subject"],
    "report.words": ["report.subject"],
    "report.sections": ["inspect", "report.charts", "report.refits", "report.words"],
    "report.page": ["export", "report.sections"],
    "report.leaderboard": ["notebook", "report.subject"],
    "distillation.teachers": ["recipe"],
    "distillation.near_rows": ["table"],
    "distillation.distilled": ["inspect.result_table", "model"],
    "distillation.distill": [
        "distillation.distilled",
        "distillation.near_rows",
        "distillation.teachers",
        "recipe",
    ],
    "serve": ["runtime.model"],
    "tuning": ["recipe"],
    "cluster": ["recipe"],
    "cli.words": [],
    "cli.options": [],
    "cli.printing": ["output"],
    "cli.ending": ["cli.printing", "signals"],
    "cli.app": ["cli.ending"],
    "cli.files": ["signals", "model"],
    "cli.model_text": ["cli.printing", "signals", "model"],
    "cli.doctor": ["progress", "cli.files", "cli.options", "cli.printing", "cli.words", "diagnosis"],
    "cli.fit": [
        "progress",
        "cli.ending",
        "cli.files",
        "cli.model_text",
        "cli.options",
        "cli.words",
        "recipe",
    ],
    "cli.predict": ["progress", "cli.files", "cli.model_text", "cli.options", "recipe", "runtime.model"],
    "cli.report": ["progress", "signals", "cli.files", "cli.options", "cli.printing", "report"],
    "cli.explain": ["cli.files", "cli.options", "cli.printing", "inspect", "progress"],
    "cli.inspect": ["cli.files", "cli.model_text", "cli.options"],
    "cli.export": ["cli.files", "cli.options", "cli.printing", "signals", "export"],
    "cli.card": ["cli.files", "cli.options", "cli.printing", "output", "signals", "model"],
    "cli.verify": ["signals", "cli.files", "cli.options", "cli.printing", "export", "runtime"],
    "cli.schema": ["progress", "cli.files", "cli.options", "cli.printing", "cli.words"],
    "cli.serve": ["serve", "signals"],
    "cli.warmup": ["progress", "cli.printing", "signals", "training"],
    "cli.demo": ["cli.app"],
    "__main__": ["cli"],
}
HEAVY = ["torch", "sklearn", "scipy", "numba", "pandas", "polars", "pyarrow", "duckdb", "matplotlib"]


class Import(NamedTuple):
    module: str  # as written, from the top: multilayer.table.sources.read or numpy
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
    assert may_import("table.encode", "table.sources.read")
    assert may_import("cli", "recipe")
    assert may_import("training.loop", "nn.blocks")
    assert may_import("nn", "nn.networks")
    assert may_import("recipe", "table")

    assert not may_import("table.sources.read", "table.schema")
    assert not may_import("table.split", "table.sources.read")
    assert not may_import("nn.blocks", "table.sources.read")
    assert not may_import("training.loop", "model")
    assert not may_import("inspect.trace", "export.onnx")
    assert not may_import("table", "nn")
    assert not may_import("nn.blocks", "nn")
    assert not may_import("cli", "")


@pytest.mark.parametrize(
    "path", sorted((SRC / "table").rglob("*.py")), ids=lambda path: str(path.relative_to(SRC))
)
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
