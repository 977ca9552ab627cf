"""`multilayer verify`: whether a model predicts on this machine what it predicted where it was saved."""

from dataclasses import asdict
from pathlib import Path

from multilayer.cli.files import check_files
from multilayer.cli.options import JsonOption, ModelArgument
from multilayer.cli.printing import show, show_json
from multilayer.signals import held_back

EXPORTED = (".onnx", ".pt2", ".py", ".c", ".html", ".sql")  # names of exported models


def verify(model: ModelArgument, as_json: JsonOption = False) -> None:
    """Predict the rows that stand in a model file or an ONNX file, and compare with those beside them.

    Ends with status 2 if they differ by more than rounding.
    """
    check_files(model)
    if Path(model).suffix.lower() in EXPORTED:
        _verify_exported(model, as_json=as_json)
        return
    with held_back():
        from multilayer.runtime.model import load
    found = load(model).verify()
    if as_json:
        show_json({"model": model, **asdict(found)})
    else:
        show(f"{model} predicts as where it was saved; {found.in_words}")


def _verify_exported(path: str, *, as_json: bool) -> None:
    with held_back():
        from multilayer.export.verify import verify as verify_exported
    found = verify_exported(path)
    if as_json:
        show_json({"model": path, **found.to_json()})
    else:
        show(f"{path} predicts as where it was exported; {found.in_words}")
