"""The rows that stand in an artefact with what the library says of them, to check it anywhere by."""

import numpy as np

from multilayer.model.model import Model
from multilayer.model.verification import synthetic_rows
from multilayer.table.sources.read import Table

EXPOSURES = (1.0, 0.5, 2.0)


def rows_to_keep(model: Model) -> Table:
    """The rows of the model's file; of one that was not saved yet, those that its file would have.

    An exposure of theirs is made up: a model's file has predictions for a unit of it.
    """
    if model.verification is None:
        return made_up_rows(model)
    return _with_exposure(model, model.verification.table(model.encoder))


def made_up_rows(model: Model) -> Table:
    """Rows made of the columns' ranges and levels."""
    return _with_exposure(model, synthetic_rows(model.encoder))


def _with_exposure(model: Model, table: Table) -> Table:
    if model.exposure is None:
        return table
    return Table({**table.columns, model.exposure: np.resize(EXPOSURES, table.n_rows)})
