"""`multilayer verify`: whether a model predicts on this machine what it predicted where it was saved."""

from dataclasses import asdict

from multilayer.cli.files import check_files
from multilayer.cli.options import JsonOption, ModelArgument
from multilayer.cli.printing import show, show_json
from multilayer.signals import held_back


def verify(model: ModelArgument, as_json: JsonOption = False) -> None:
    """Predict the rows that stand in a model file, and compare with the predictions beside them.

    Ends with status 2 if they differ by more than rounding.
    """
    check_files(model)
    with held_back():
        from multilayer.runtime.model import load
    found = load(model).verify()
    if as_json:
        show_json({"model": model, **asdict(found)})
    else:
        show(f"{model} predicts as where it was saved; {found.in_words}")
