"""`multilayer explain` and `multilayer drift`: what a model looks at, and what has changed since its fit."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from multilayer.cli.files import load_model, table_source
from multilayer.cli.options import ExtraOption, JsonOption, ModelArgument, QueryOption, TableArgument
from multilayer.cli.printing import show, show_json
from multilayer.progress import progress
from multilayer.signals import held_back

if TYPE_CHECKING:  # written out in full in the hints below, so that a run-time check finds them too
    import multilayer.inspect.explanation

MOST_TOLD = 5  # effects in words


def explain(
    model: ModelArgument,
    table: TableArgument,
    rows: Annotated[
        int, typer.Option(min=0, metavar="N", help="Also say what made the predictions of the first N rows.")
    ] = 0,
    query: QueryOption = None,
    extra: ExtraOption = "warn",
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of shuffles and draws.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Show which columns of TABLE matter to MODEL, and how: better of rows it was not trained on."""
    with table_source(table, model) as source, progress(f"explaining {table}"):
        with held_back():
            from multilayer.inspect.explanation import explain as explain_model

        found = explain_model(
            load_model(model), source, query=query, extra=extra, rows=max(1, rows), seed=seed
        )
        if as_json:
            show_json({"model": model, "table": table, **_as_json(found, rows)})
            return
        show(f"{found.importance}\n")
        groups = [group for group in found.groups if len(group) > 1]
        if groups:
            show(f"Columns that say much the same, shuffled together:\n{found.group_importance}\n")
        for name in list(found.importance["column"])[:MOST_TOLD]:
            if name in found.effects:
                show(_in_words(found.effects[name]))
        for row in range(min(rows, len(found.row_values.values) if rows else 0)):
            show(f"\nrow {row + 1}:\n{found.row_values.of_row(row)}")


def drift(
    model: ModelArgument,
    table: TableArgument,
    query: QueryOption = None,
    extra: ExtraOption = "warn",
    level: Annotated[
        float, typer.Option(metavar="P", help="The chance of any false alarm, of all columns together.")
    ] = 0.01,
    as_json: JsonOption = False,
) -> None:
    """Show which columns of TABLE are not as they were when MODEL was fitted."""
    with table_source(table, model) as source, progress(f"comparing {table}"):
        with held_back():
            from multilayer.inspect.drift import drift as drift_of

        found = drift_of(load_model(model), source, query=query, extra=extra, level=level)
    if as_json:
        show_json({"model": model, "table": table, "columns": found.rows})
    else:
        show(str(found))


def _in_words(effect: Any) -> str:
    """Where a column's effect is lowest and highest."""
    curve = effect.effect[:, -1]
    low, high = int(curve.argmin()), int(curve.argmax())
    return (
        f"{effect.column}: {effect.outputs[-1]} is lowest at {effect.values[low]} ({curve[low]:+.4g}), "
        f"highest at {effect.values[high]} ({curve[high]:+.4g})"
    )


def _as_json(found: "multilayer.inspect.explanation.Explanation", rows: int) -> dict[str, Any]:
    """All that there is to say."""
    effects = {
        name: {
            "values": effect.values.astype(str).tolist()
            if effect.values.dtype.kind == "M"
            else effect.values.tolist(),
            "effect": effect.effect.tolist(),
            "spread": effect.spread.tolist(),
            "share": effect.share.tolist(),
            "sparse": effect.sparse.tolist(),
            "outputs": effect.outputs,
        }
        for name, effect in found.effects.items()
    }
    said: dict[str, Any] = {
        "of": "loss" if found.has_target else "change of the prediction",
        "importance": found.importance.rows,
        "group_importance": found.group_importance.rows,
        "interactions": found.interactions.rows,
        "effects": effects,
    }
    if rows:
        of_rows = found.row_values
        said["rows"] = {
            "columns": of_rows.columns,
            "outputs": of_rows.outputs,
            "base": of_rows.base.tolist(),
            "prediction": of_rows.prediction.tolist(),
            "values": of_rows.values.tolist(),
        }
    return said
