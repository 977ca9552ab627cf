"""`multilayer card`: a model in Markdown, as model hubs show it."""

from pathlib import Path
from typing import Annotated

import typer

from multilayer.cli.files import check_files, check_out, load_model
from multilayer.cli.options import JsonOption, ModelArgument
from multilayer.cli.printing import show, show_json
from multilayer.output import write_atomically
from multilayer.signals import held_back


def card(
    model: ModelArgument,
    out: Annotated[
        str | None, typer.Option(metavar="FILE", help="The file to write, such as README.md.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say in Markdown what a model is, with the metadata of Hugging Face."""
    check_files(model)
    if out is not None:
        check_out(Path(out), sources=[model])
    with held_back():
        from multilayer.model.card import card as card_of
    text = card_of(load_model(model))
    if out is not None:
        write_atomically(Path(out), text.encode())
    if as_json:
        show_json({"model": model, "out": out, "card": text})
    elif out is None:
        show(text.rstrip("\n"))
    else:
        show(f"{out}: the card of {model}")
