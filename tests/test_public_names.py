"""The public interface: what it names, that it is documented, and that nothing hides it."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import multilayer as ml

SRC = Path(__file__).parents[1] / "src" / "multilayer"


def test_all_is_sorted() -> None:
    assert ml.__all__ == sorted(ml.__all__)


def test_all_equals_the_lazy_names() -> None:
    assert ml.__all__ == list(ml._NAMES)


def test_type_checkers_see_the_lazy_names_at_the_same_places() -> None:
    tree = ast.parse((SRC / "__init__.py").read_text())
    seen = {
        alias.name: node.module
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == ml._NAMES


@pytest.mark.parametrize("name", ml.__all__)
def test_public_name_is_documented_with_an_example(name: str) -> None:
    value = getattr(ml, name)

    assert value.__module__ == ml._NAMES[name], "defined elsewhere than said"
    text = inspect.getdoc(value) or ""
    assert text, f"{name} has no docstring"
    own_text = text if not isinstance(value, type) else text + "".join(method_docstrings(value))
    assert ">>> " in own_text, f"{name} has no example"


@pytest.mark.parametrize("name", sorted(set(ml.nn.__all__) - {"ACTIVATIONS"}))  # which is a dict
def test_public_layer_is_documented_with_an_example(name: str) -> None:
    assert ">>> " in (inspect.getdoc(getattr(ml.nn, name)) or "")


def method_docstrings(owner: type) -> list[str]:
    members = [getattr(member, "__func__", member) for member in vars(owner).values()]
    return [inspect.getdoc(member) or "" for member in members if inspect.isroutine(member)]


def test_names_are_listed_before_they_are_loaded() -> None:
    assert set(ml.__all__) <= set(dir(ml))


def test_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(AttributeError, match=r"multilayer has no attribute 'trian'. Did you mean 'train'\?"):
        ml.trian  # noqa: B018


def test_version_is_that_of_the_project() -> None:
    text = (SRC.parents[1] / "pyproject.toml").read_text()
    assert f'version = "{ml.__version__}"' in text


def test_no_module_below_the_package_bears_a_public_name() -> None:
    """Importing multilayer.x binds the module as multilayer.x, which would hide a function x."""
    modules = {path.stem for path in SRC.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert modules.isdisjoint(ml.__all__)


def test_functions_stay_after_every_module_is_loaded() -> None:
    code = """
import importlib, pkgutil, multilayer as ml
for module in pkgutil.walk_packages(ml.__path__, "multilayer."):
    importlib.import_module(module.name)
hidden = [name for name in ml.__all__ if getattr(ml, name).__module__ != ml._NAMES[name]]
assert not hidden, hidden
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
