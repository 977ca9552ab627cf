"""`multilayer inspect`: what a model file holds."""

from multilayer.cli.files import check_files, load_model
from multilayer.cli.model_text import facts, show_model
from multilayer.cli.options import JsonOption, ModelArgument, VerboseOption
from multilayer.cli.printing import show_json


def inspect(model: ModelArgument, verbose: VerboseOption = False, as_json: JsonOption = False) -> None:
    """Show what a model file holds: columns, network, training, score."""
    check_files(model)
    loaded = load_model(model)
    if as_json:
        show_json({"model": model, **facts(loaded), "schema": loaded.schema.to_json()})
    else:
        show_model(loaded, model, verbose=verbose)
