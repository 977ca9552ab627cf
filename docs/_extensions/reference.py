"""Two directives for the reference: `api` documents Python names, `command-line` documents commands.

    ```{api}                  ```{command-line}
    fit                       predict
    nn.TabM                   ```
    Progress
    ```

`fit` is `multilayer.fit`, `nn.TabM` is `multilayer.nn.TabM`. A name that is neither is a class that public
functions take or give, and is found wherever its file stands.
"""

import enum
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from docstrings import to_rest
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import multilayer

_NAMES = re.compile(r"^```\{api\}\n(.*?)^```", re.M | re.S)


@cache
def modules() -> tuple[ModuleType, ...]:
    """All modules of the package."""
    found = pkgutil.walk_packages(multilayer.__path__, "multilayer.")
    return tuple(importlib.import_module(each.name) for each in found if "__main__" not in each.name)


def full_name(name: str) -> str:
    """Where autodoc finds what the reference calls `name`."""
    owner, _, last = name.rpartition(".")
    module = importlib.import_module(f"multilayer.{owner}" if owner else "multilayer")
    if last in module.__all__:
        return f"{module.__name__}.{last}"
    for module in modules():
        value = vars(module).get(name)
        if inspect.isclass(value) and value.__module__ == module.__name__:
            return f"{module.__name__}.{name}"
    raise LookupError(f"multilayer has no public name and no class {name!r}")


def _value(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


class Api(SphinxDirective):
    """Each name with its signature, docstring and public members."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """What autodoc makes of the names."""
        lines: list[str] = []
        for name in filter(None, map(str.strip, self.content)):
            lines += [*self._documented(name), ""]
        return self.parse_text_to_nodes("\n".join(["```{eval-rst}", *lines, "```"]))

    def _documented(self, name: str) -> list[str]:
        path = full_name(name)
        value = _value(path)
        if inspect.isclass(value):
            return [f".. autoclass:: {path}", "   :members:", "   :member-order: bysource"]
        if inspect.isfunction(value):
            return [f".. autofunction:: {path}"]
        keys = ", ".join(f"``{key}``" for key in value)
        return [f".. py:data:: {path}", "", f"   The names that choose one: {keys}."]


class CommandLine(SphinxDirective):
    """A command's arguments and options, as the program itself knows them."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """A section for each command."""
        lines: list[str] = []
        for name in filter(None, map(str.strip, self.content)):
            lines += _command(name)
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


@cache
def commands() -> dict[str, Any]:
    """The commands of the program, by name."""
    import typer

    from multilayer.cli import app

    return dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def _command(name: str) -> Iterator[str]:
    command = commands()[name]
    hints = get_type_hints(inspect.unwrap(command.callback))
    arguments = [each for each in command.params if not each.opts[0].startswith("-")]
    options = [each for each in command.params if each.opts[0].startswith("-")]
    shown = " ".join([*map(_shown_name, arguments), *(["[OPTIONS]"] if options else [])])
    yield from [f"(command-{name})=", f"## multilayer {name}", "", _prose(command.help), ""]
    yield from ["```text", f"multilayer {name} {shown}".rstrip(), "```", ""]
    for each in arguments:
        yield from [f"`{_shown_name(each)}`", f": {_prose(each.help)}", ""]
    for each in options:
        yield from [_option(each, hints.get(each.name)), f": {_option_text(each)}", ""]


def _shown_name(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _option(option: Any, hint: Any) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    value = option.metavar or "|".join(map(str, _choices(hint)))
    return f"{names} *{value}*" if value else names


def _option_text(option: Any) -> str:
    text = _prose(option.help)
    if option.required:
        return f"{text} Required."
    if isinstance(option.default, bool) or option.default in (None, "", (), []):
        return text
    default = option.default.value if isinstance(option.default, enum.Enum) else option.default
    return f"{text} Default: `{default}`."


def _choices(hint: Any) -> Sequence[Any]:
    """The values of a Literal, also of one within Annotated or a union with None."""
    if get_origin(hint) is Literal:
        return get_args(hint)
    return [choice for part in get_args(hint) for choice in _choices(part)]


def _prose(text: str | None) -> str:
    return " ".join((text or "").split()).replace("<", "&lt;").replace("*", r"\*")


@cache
def _links(folder: Path) -> dict[str, str]:
    """Names that docstrings write in backticks, and where the reference in that folder has them."""
    listed = [name for page in folder.glob("*.md") for name in _NAMES.findall(page.read_text())]
    return {name.removeprefix("nn."): full_name(name) for fence in listed for name in fence.split()} | {
        name: f"multilayer.{name}" for name in multilayer.__all__
    }


def _is_shown(member: Any) -> bool:
    """Whether autodoc shows a member: a method or a property with a docstring."""
    return bool(getattr(member, "__doc__", None)) and (
        inspect.isroutine(member) or isinstance(member, property)
    )


def _on_docstring(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    owner = name if what == "class" else name.rpartition(".")[0]
    holder = _value(owner) if what != "function" else None
    members = (
        [key for key, value in vars(holder).items() if _is_shown(value)] if inspect.isclass(holder) else []
    )

    def link(text: str) -> str | None:
        plain = text.removesuffix("()").removeprefix("ml.").removeprefix("multilayer.")
        path = f"{owner}.{plain}" if plain in members else _links(app.srcdir / "reference").get(plain)
        return f":py:obj:`{text} <{path}>`" if path and path != name else None

    lines[:] = to_rest(lines, link)


def _skip(app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """scikit-learn adds methods to every estimator; their pages are its own."""
    return True if name.startswith("set_") and name.endswith("_request") else None


def _on_signature(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """The signature as people need it.

    NumPy's whole numbers go wherever Python's do, and to say so of each parameter hides what matters. Classes
    with defaults that are made anew are results, which nobody makes by hand.
    """
    if signature and "<factory>" in signature:
        return "", None
    return (signature and re.sub(r" \| ~?(numpy\.)?integer\[~?(typing\.)?Any\]", "", signature)), returns


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives, and read docstrings as this project writes them."""
    app.add_directive("api", Api)
    app.add_directive("command-line", CommandLine)
    app.connect("autodoc-skip-member", _skip)
    app.connect("autodoc-process-signature", _on_signature)
    app.connect("autodoc-process-docstring", _on_docstring)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
